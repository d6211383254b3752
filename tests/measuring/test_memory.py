"""The memory conditions: what glibc is told, what else is in its place, and that no two workers begin alike."""

import os
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import memory
from gapbench.store.records import MEMORY

words = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1)
settings = st.dictionaries(st.tuples(st.sampled_from(["malloc", "cpu", "rtld"]), words), st.integers(0, 2**31))
ARRANGED = {"mmap_threshold", "trim_threshold", "top_pad", "hugetlb"}


def parsed(value):
    """Return what glibc reads of its variable: the last word on each tunable counts."""
    return dict(item.split("=") for item in value.split(":"))


@given(st.sampled_from([*MEMORY]), settings)
def test_the_callers_own_tunables_stay_but_for_those_that_make_the_condition(condition, own):
    inherited = ":".join(f"glibc.{space}.{name}={value}" for (space, name), value in own.items())
    results = parsed(memory.variables(condition, inherited)["GLIBC_TUNABLES"])
    arranged = parsed(memory.variables(condition)["GLIBC_TUNABLES"])
    kept = {
        f"glibc.{space}.{name}": str(value)
        for (space, name), value in own.items()
        if space != "malloc" or name not in ARRANGED
    }
    assert results == kept | arranged


@pytest.mark.parametrize("inherited", [None, "", ":", "glibc.malloc.hugetlb=2:"])
@pytest.mark.parametrize("condition", [*MEMORY])
def test_nothing_of_the_callers_is_nothing_more(condition, inherited):
    assert memory.variables(condition, inherited) == memory.variables(condition)


def test_the_callers_arrangement_does_not_leak_into_the_other_condition():
    """Who runs gapbench with huge pages still measures fresh memory without them."""
    assert "hugetlb" not in memory.variables("fresh", memory.variables("kept")["GLIBC_TUNABLES"])["GLIBC_TUNABLES"]


TOUCH = """
from resource import RUSAGE_SELF, getrusage
block = bytes(1 << 20)
bytearray(block)
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(50):
    bytearray(block)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    memory.other_allocator(os.environ.get("LD_PRELOAD", "")) is not None, reason="not glibc's allocator"
)
def test_kept_memory_costs_no_faults_and_fresh_memory_does():
    """50 blocks of 1 MiB are written, one after the other."""
    faults = {
        condition: int(
            subprocess.run(
                [sys.executable, "-c", TOUCH],
                env=os.environ | memory.variables(condition),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for condition in MEMORY
    }
    assert faults["kept"] < 50
    assert faults["fresh"] > 50 * 256


@pytest.mark.parametrize("name", ["jemalloc", "tcmalloc", "mimalloc"])
def test_another_allocator_is_named_whether_preloaded_or_linked(name, tmp_path):
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 00:00 0 /lib/libc.so.6\n")
    assert memory.other_allocator(f"/usr/lib/lib{name}.so.2", maps) == name
    assert memory.other_allocator("/usr/lib/libother.so", maps) is None
    maps.write_text(f"7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/x86_64-linux-gnu/lib{name}_minimal.so.4\n")
    assert memory.other_allocator("", maps) == name


def test_musl_is_not_arranged_and_glibc_is(monkeypatch, tmp_path):
    for libc, expected in ((("glibc", "2.36"), None), (("", ""), "musl or another C library")):
        monkeypatch.setattr(memory.platform, "libc_ver", lambda libc=libc: libc)
        assert memory.other_allocator("", tmp_path / "no maps") == expected


@given(st.integers(0, 2**32))
def test_half_of_the_blocks_stay_and_none_is_large(seed):
    kept = memory.shuffle_heap(Random(seed))
    assert len(kept) == 32
    assert all(256 <= len(block) <= 2**20 for block in kept)


def test_every_worker_gets_another_heap():
    sizes = [tuple(map(len, memory.shuffle_heap(Random(f"{7}/{process}")))) for process in range(3)]
    assert len(set(sizes)) == 3
