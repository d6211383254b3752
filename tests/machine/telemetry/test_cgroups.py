import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine.telemetry import host
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

MOUNT = "sys/fs/cgroup"


def test_version_2_writes_quota_and_period_and_a_limit(tree):
    root = tree(
        {
            "proc/self/cgroup": "0::/jobs/one\n",
            f"{MOUNT}/cgroup.controllers": "cpu memory\n",
            f"{MOUNT}/jobs/one/cpu.max": "150000 100000\n",
            f"{MOUNT}/jobs/one/memory.max": "2147483648\n",
        }
    )
    assert host.cpu_quota(root) == 1.5
    assert host.memory_limit(root) == 2**31


def test_version_1_writes_them_in_files_of_their_own(tree):
    root = tree(
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/box\n3:cpu,cpuacct:/box\n",
            f"{MOUNT}/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
            f"{MOUNT}/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            f"{MOUNT}/memory/box/memory.limit_in_bytes": "1073741824\n",
        }
    )
    assert host.cpu_quota(root) == 0.5
    assert host.memory_limit(root) == 2**30


def test_no_limit_is_none_in_either_version(tree):
    root = tree({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "max 100000\n", f"{MOUNT}/memory.max": "max\n"})
    assert host.cpu_quota(root) is None
    assert host.memory_limit(root) is None
    root = tree(
        {
            "proc/self/cgroup": "2:memory:/\n1:cpu:/\n",
            f"{MOUNT}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{MOUNT}/cpu/cpu.cfs_period_us": "100000\n",
            f"{MOUNT}/memory/memory.limit_in_bytes": "9223372036854710272\n",  # of pages of 64 KiB
        }
    )
    assert host.cpu_quota(root) is None
    assert host.memory_limit(root) is None


def test_a_hybrid_holds_each_controller_in_one_version(tree):
    root = tree(
        {
            "proc/self/cgroup": "1:cpu:/\n0::/box\n",
            f"{MOUNT}/cpu/cpu.shares": "1024\n",
            f"{MOUNT}/unified/box/memory.max": "4096\n",
        }
    )
    assert host.cpu_quota(root) is None
    assert host.memory_limit(root) == 4096


@pytest.mark.parametrize("group", ["/docker/0123", "/../../other", "/"])
def test_in_a_container_the_mounts_root_is_the_group(tree, group):
    root = tree({"proc/self/cgroup": f"0::{group}\n", f"{MOUNT}/cpu.max": "200000 100000\n"})
    assert host.cpu_quota(root) == 2


@given(st.lists(st.none() | st.integers(1, 10**7), min_size=1, max_size=5), st.integers(1000, 10**6))
def test_the_tightest_limit_of_all_ancestors_binds(quotas, period):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/" + "/".join("abcd"[: len(quotas) - 1]) + "\n")
        group = root / MOUNT
        for level, quota in enumerate(quotas):
            group.mkdir(parents=True)
            (group / "cpu.max").write_text(f"{'max' if quota is None else quota} {period}\n")
            (group / "memory.max").write_text(f"{'max' if quota is None else quota}\n")
            group /= "abcd"[level : level + 1] or "unused"
        values = [quota for quota in quotas if quota is not None]
        assert host.cpu_quota(root) == (min(values) / period if values else None)
        assert host.memory_limit(root) == min(values, default=None)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_garbage_is_a_reason_or_a_number_and_never_a_crash(content):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        group = root / MOUNT / "alices-job"
        for path in (root / "proc/self", group):
            path.mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/alices-job\n")
        (group / "cpu.max").write_text(content)
        (group / "memory.max").write_text(content)
        for read in (host.cpu_quota, host.memory_limit):
            reasons = Reasons()
            limit = reasons.attempt("limit", lambda read=read: read(root))
            assert limit is None or isinstance(limit, int | float)
            assert "alice" not in str(reasons.unreadable)
        (root / "proc/self/cgroup").write_text(content)
        reasons.attempt("limit", lambda: host.cpu_quota(root))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "No such file"),
        ({"proc/self/cgroup": "1:pids:/\n"}, "no group for cpu"),
        ({"proc/self/cgroup": "1:cpu:/\n"}, "no cgroup file system"),
        ({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "100000 0\n"}, "as a number"),
        ({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "\n"}, "as a number"),
        ({"proc/self/cgroup": "1:cpu:/\n", f"{MOUNT}/cpu/cpu.cfs_quota_us": "5\n"}, "as a number"),
    ],
)
def test_what_is_not_there_is_a_reason(tree, files, reason):
    with pytest.raises(UnreadableError, match=reason):
        host.cpu_quota(tree(files))
