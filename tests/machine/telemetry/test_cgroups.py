import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine.telemetry import host
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

MOUNT = "sys/fs/cgroup"


def test_groups_have_a_quota_with_its_period_and_a_limit(tree):
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


def test_no_limit_is_none(tree):
    root = tree({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "max 100000\n", f"{MOUNT}/memory.max": "max\n"})
    assert host.cpu_quota(root) is None
    assert host.memory_limit(root) is None


@pytest.mark.parametrize("version_1", ["1:cpu:/\n", "9:name=systemd:/\n4:memory:/box\n3:cpu,cpuacct:/box\n0::/box\n"])
def test_limits_of_version_1_are_unknown_and_not_absent(tree, version_1):
    root = tree({"proc/self/cgroup": version_1, f"{MOUNT}/unified/box/cpu.max": "100000 100000\n"})
    for read in (host.cpu_quota, host.memory_limit):
        with pytest.raises(UnreadableError, match="version 2"):
            read(root)


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
        ({"proc/self/cgroup": "0::/\n"}, "mounted at /sys/fs/cgroup"),
        ({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "100000 0\n"}, "as a number"),
        ({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "\n"}, "as a number"),
        ({"proc/self/cgroup": "0::/\n", f"{MOUNT}/cpu.max": "many 100000\n"}, "as a number"),
    ],
)
def test_what_is_not_there_is_a_reason(tree, files, reason):
    with pytest.raises(UnreadableError, match=reason):
        host.cpu_quota(tree(files))
