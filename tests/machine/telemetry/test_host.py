import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine.telemetry import host
from gapbench.machine.telemetry.host import CpuTime
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

CPU = "sys/devices/system/cpu"
counts = st.integers(0, 2**63)


@given(st.dictionaries(st.integers(0, 1023), st.lists(counts, min_size=8, max_size=12), max_size=8))
def test_proc_stat_is_read_cpu_by_cpu(lines):
    cpus = [f"cpu{cpu} {' '.join(map(str, line))}" for cpu, line in lines.items()]
    content = "\n".join(["cpu  1 2 3 4 5 6 7 8 9 0", *cpus, "intr 5 0", "ctxt 9"])
    assert host.parse_stat(content) == {
        cpu: CpuTime(busy=sum(line[:3]) + sum(line[5:8]), steal=line[7]) for cpu, line in lines.items()
    }


@given(st.text())
def test_no_text_is_too_strange_for_proc_stat(content):
    for text in (content, f"cpu0 {content}", f"cpu0 1 2 3\ncpu1 {content}"):
        reasons = Reasons()
        times = reasons.attempt("times", lambda text=text: host.parse_stat(text))
        assert "steal" in reasons.unreadable["times"] if times is None else isinstance(times, dict)


@given(counts, counts, counts, counts)
def test_a_stolen_share_is_a_share(work, steal, more_work, more_steal):
    before = CpuTime(work + steal, steal)
    after = CpuTime(before.busy + more_work + more_steal, steal + more_steal)
    share = host.stolen_share(before, after)
    if more_work + more_steal == 0:
        assert share is None
    else:
        assert share == more_steal / (more_work + more_steal)
        assert 0 <= share <= 1
    if more_steal:
        assert host.stolen_share(after, before) is None  # counters that ran backwards
        assert host.stolen_share(CpuTime(before.busy, after.steal), CpuTime(before.busy + 1, steal)) is None


def test_only_the_cpus_that_the_process_may_use_count(tree):
    root = tree({"proc/stat": "cpu0 1 2 4 8 16 32 64 128\ncpu1 1000 0 0 0 0 0 0 500 0 0\n"})
    assert host.cpu_time({0}, root) == CpuTime(231, 128)
    assert host.cpu_time({0, 1, 7}, root) == CpuTime(1731, 628)
    with pytest.raises(UnreadableError, match="no line for a CPU"):
        host.cpu_time({7}, root)


def test_the_frequency_is_the_drivers_and_never_nominal(tree):
    root = tree({"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2596.122\n"})
    with pytest.raises(UnreadableError, match="no cpufreq driver"):
        host.cpu_mhz(root)
    tree({f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "3400000\n", f"{CPU}/cpu1/cpufreq/scaling_cur_freq": "3600000\n"})
    assert host.cpu_mhz(root) == 3500


def test_limits_and_governors_are_those_of_all_cpus(tree):
    root = tree(
        {
            f"{CPU}/cpu0/cpufreq/cpuinfo_min_freq": "800000\n",
            f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "5100000\n",
            f"{CPU}/cpu12/cpufreq/cpuinfo_min_freq": "400000\n",
            f"{CPU}/cpu12/cpufreq/cpuinfo_max_freq": "3800000\n",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/cpu12/cpufreq/scaling_governor": "performance\n",
        }
    )
    assert host.cpu_mhz_limits(root) == (400, 5100)
    assert host.governor(root) == "performance,powersave"


def test_a_container_without_cpufreq_says_so(tree):
    root = tree({f"{CPU}/online": "0-1\n"})
    for read in (host.governor, host.cpu_mhz_limits):
        with pytest.raises(UnreadableError, match="no cpufreq driver"):
            read(root)


def test_smt_and_virtualisation(tree):
    root = tree({f"{CPU}/smt/active": "1\n", "proc/cpuinfo": "flags\t\t: fpu vme hypervisor\n"})
    assert host.smt(root)
    assert host.virtualised(root)
    root = tree({f"{CPU}/smt/active": "0\n", "proc/cpuinfo": "flags\t\t: fpu nohypervisor\n"})
    assert not host.smt(root)
    assert not host.virtualised(root)
    root = tree({f"{CPU}/smt/active": "maybe\n", "proc/cpuinfo": "Features\t: fp asimd\n"})
    with pytest.raises(UnreadableError, match="'maybe', not a number"):
        host.smt(root)
    with pytest.raises(UnreadableError, match="not an x86"):
        host.virtualised(root)


def test_a_cache_is_one_cache_and_not_the_instructions(tree):
    caches = {"index0": ("1", "Instruction", "32K"), "index1": ("1", "Data", "48K"), "index3": ("3", "Unified", "32M")}
    root = tree(
        {
            f"{CPU}/cpu0/cache/{index}/{name}": f"{value}\n"
            for index, values in caches.items()
            for name, value in zip(("level", "type", "size"), values, strict=True)
        }
    )
    assert host.cache_bytes(1, root) == 48 * 1024
    assert host.cache_bytes(3, root) == 32 * 2**20
    with pytest.raises(UnreadableError, match="level 2"):
        host.cache_bytes(2, root)
    tree({f"{CPU}/cpu0/cache/index3/size": "much\n"})
    with pytest.raises(UnreadableError, match="'much', not a size"):
        host.cache_bytes(3, root)


def test_caches_are_told_with_how_many_cpus_share_one(tree):
    caches = {
        "index0": ("1", "Data", "48K", "00000001,00000000,00000001"),
        "index2": ("2", "Unified", "2M", "all"),
        "index3": ("3", "Unified", "32M", "ff,00000000,000000ff"),
    }
    root = tree(
        {
            f"{CPU}/cpu0/cache/{index}/{name}": f"{value}\n"
            for index, values in caches.items()
            for name, value in zip(("level", "type", "size", "shared_cpu_map"), values, strict=True)
        }
    )
    assert host.data_caches(root) == [host.DataCache(1, 48 * 1024, 2), host.DataCache(3, 32 * 2**20, 16)]


def test_a_file_may_be_empty_binary_or_a_folder(tree):
    root = tree({f"{CPU}/smt/active": "\n"})
    with pytest.raises(UnreadableError, match="is empty"):
        host.smt(root)
    (root / CPU / "smt/active").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableError, match="not a number"):
        host.smt(root)
    (root / CPU / "smt/active").unlink()
    (root / CPU / "smt/active").mkdir()
    with pytest.raises(UnreadableError, match="directory"):
        host.smt(root)


def test_a_process_has_its_name_where_that_can_be_read_and_moves_no_cursor(tree):
    root = tree({"proc/41/comm": "python3\n", "proc/42/comm": "\x1b[2Jx\n", "proc/43/comm": ""})
    assert [host.process(pid, root) for pid in (41, 42, 43, 44)] == ["41 (python3)", "42 (?[2Jx)", "43", "44"]
