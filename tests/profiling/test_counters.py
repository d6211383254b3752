import ast
import sys
import time
from pathlib import Path

import pytest

from gapbench.profiling import counters

REPORT = """# started on Tue Nov 24 18:00:00 2026

1200000;;instructions:u;1000;100.00;1.2;insn per cycle
1000000;;cycles:u;1000;100.00;;
<not supported>;;cache-references;0;100.00;;
<not counted>;;cache-misses;0;0.00;;
100,5;msec;task-clock;100;100.00;;
507;;page-faults;507;100.00;;
many;;context-switches;1;100.00;;
"""


def by_name(result):
    return {row.name: row for row in result}


def test_what_perf_reports_is_per_call_and_what_it_does_not_has_a_reason():
    result = by_name(counters.parse(REPORT, 10))
    assert result["instructions"].value == 120_000
    assert result["cycles"].value == 100_000
    assert result["page-faults"].value == 50.7
    assert result["task-clock"].value == 10.05
    for name, words in (
        ("cache-references", "does not count it"),
        ("cache-misses", "had no time to"),
        ("branch-misses", "did not report"),
        ("context-switches", "'many'"),
    ):
        assert result[name].value is None
        assert words in result[name].reason
    assert tuple(result) == counters.EVENTS


@pytest.fixture
def program(tmp_path):
    """Return a function that writes an executable in place of perf."""

    def write(script):
        path = tmp_path / "perf"
        path.write_text(f"#!/usr/bin/env python3\n{script}")
        path.chmod(0o755)
        return str(path)

    return write


STANDIN = """
import os, signal, sys
report = sys.argv[sys.argv.index("-o") + 1]
control, acknowledge = map(int, sys.argv[sys.argv.index("--control") + 1].removeprefix("fd:").split(","))
told = []
def end(*_):
    open(report, "w").write(f"{len(told)};;page-faults;1;100.00;;\\n" if told == [b"enable", b"disable"] else "")
    sys.exit(0)
signal.signal(signal.SIGINT, end)
while True:
    word = os.read(control, 64)
    if not word:
        break
    told.append(word.strip())
    os.write(acknowledge, b"ack\\n")
signal.pause()
"""


def test_perf_is_attached_to_this_process_and_told_when_to_count(program):
    ran = []
    result = by_name(counters.count(lambda: ran.append(time.monotonic()), 2, program(STANDIN)))
    assert len(ran) == 1
    assert result["page-faults"].value == 1.0


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


REFUSING = """
import sys
sys.exit("Error: No permission to enable cycles event.\\nConsider perf_event_paranoid")
"""


def test_a_perf_that_may_not_count_says_so(program):
    result = counters.count(lambda: None, 1, program(REFUSING))
    assert {row.value for row in result} == {None}
    assert "No permission to enable cycles event" in result[0].reason
    assert "\n" not in result[0].reason


def test_a_machine_without_perf_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "linux-perf" in counters.count(lambda: pytest.fail("nothing is counted"), 1)[0].reason
    assert "No such file" in counters.count(lambda: None, 1, "/nonexistent/perf")[0].reason


def test_no_descriptor_is_left_open(program):
    before = open_descriptors()
    for script in (STANDIN, REFUSING):
        counters.count(lambda: None, 1, program(script))
    assert open_descriptors() == before


HEADER = '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
ROWS = [
    '"0","1","reduce_kernel","dram__bytes_read.sum","Mbyte","12.50"',
    '"0","1","reduce_kernel","dram__bytes_write.sum","Kbyte","8.00"',
    '"0","1","reduce_kernel","gpu__time_duration.sum","usecond","9.50"',
    '"0","1","reduce_kernel","sm__warps_active.avg.pct_of_peak_sustained_active","%","48.2"',
    '"0","1","reduce_kernel","smsp__inst_executed.sum","inst","1,234"',
    '"1","1","fill","dram__bytes_read.sum","byte","256"',
    '"1","1","fill","gpu__time_duration.sum","nsecond","500"',
    '"1","1","fill","sm__warps_active.avg.pct_of_peak_sustained_active","%","99.0"',
    '"1","1","fill","something__else","%","n/a"',
]
SAID = "\n".join(["==PROF== Connected to process 1", HEADER, *ROWS, "==PROF== Disconnected"])


def values(result):
    return {row.name: row.value for row in result}


def test_kernels_of_a_call_add_up_and_the_longest_ones_occupancy_counts():
    result = values(counters.parse_ncu(SAID))
    assert result["dram-bytes-read"] == 12_500_256
    assert result["dram-bytes-written"] == 8000
    assert result["kernel-seconds"] == pytest.approx(10e-6)
    assert result["occupancy"] == 48.2
    assert result["instructions"] == 1234


def test_counters_that_the_driver_keeps_for_administrators_are_null_with_its_words():
    result = counters.parse_ncu("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission\n")
    assert set(values(result).values()) == {None}
    assert "ERR_NVGPUCTRPERM" in result[0].reason
    assert counters.parse_ncu("")[0].reason == "ncu reported no kernel"


def test_ncu_is_given_a_process_of_its_own_that_replays_the_call(tmp_path):
    program = tmp_path / "ncu"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        f"Path({str(tmp_path / 'argv')!r}).write_text(repr(sys.argv))\nprint({SAID!r})\n"
    )
    program.chmod(0o755)
    result = counters.ncu("1x8x4x4-float32-contiguous-cuda:0-forward-t1", "it's.py:f", str(program))
    assert values(result)["instructions"] == 1234
    argv = ast.literal_eval((tmp_path / "argv").read_text())
    assert argv[-2] == "-c"
    assert compile(argv[-1], "replay", "exec")
    assert '"it\'s.py:f"' in argv[-1]
    assert {*counters.METRICS} == {*argv[argv.index("--metrics") + 1].split(",")}
    options = {"--cache-control": "none", "--clock-control": "none", "--print-units": "base"}
    assert {name: argv[argv.index(name) + 1] for name in options} == options  # or it would be no warm call


def test_a_machine_without_ncu_says_where_it_comes_from(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "CUDA toolkit" in counters.ncu("case", "mean")[0].reason
    assert "did not answer" in counters.ncu("case", "mean", "/nonexistent/ncu")[0].reason
