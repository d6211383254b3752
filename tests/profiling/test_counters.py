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


def by_name(found):
    return {one.name: one for one in found}


def test_what_perf_reports_is_per_call_and_what_it_does_not_has_a_reason():
    found = by_name(counters.parse(REPORT, 10))
    assert found["instructions"].value == 120_000
    assert found["cycles"].value == 100_000
    assert found["page-faults"].value == 50.7
    assert found["task-clock"].value == 10.05
    for name, words in (
        ("cache-references", "does not count it"),
        ("cache-misses", "get round to"),
        ("branch-misses", "did not report"),
        ("context-switches", "'many'"),
    ):
        assert found[name].value is None
        assert words in found[name].reason
    assert tuple(found) == counters.EVENTS


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
    found = by_name(counters.count(lambda: ran.append(time.monotonic()), 2, program(STANDIN)))
    assert len(ran) == 1
    assert found["page-faults"].value == 1.0


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


REFUSING = """
import sys
sys.exit("Error: No permission to enable cycles event.\\nConsider perf_event_paranoid")
"""


def test_a_perf_that_may_not_count_says_so(program):
    found = counters.count(lambda: None, 1, program(REFUSING))
    assert {one.value for one in found} == {None}
    assert "No permission to enable cycles event" in found[0].reason
    assert "\n" not in found[0].reason


def test_a_machine_without_perf_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "linux-perf" in counters.count(lambda: pytest.fail("nothing is counted"), 1)[0].reason
    assert "No such file" in counters.count(lambda: None, 1, "/nonexistent/perf")[0].reason


def test_no_descriptor_is_left_open(program):
    before = open_descriptors()
    for script in (STANDIN, REFUSING):
        counters.count(lambda: None, 1, program(script))
    assert open_descriptors() == before
