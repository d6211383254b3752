"""Things break, a few times each; benchmarks/faults.py does it hundreds of times, and to whole runs."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import faults
import power

from gapbench.errors import GapbenchError
from gapbench.store import durable_io
from gapbench.store.run import decode
from gapbench.store.store import Store


@pytest.mark.parametrize("name", faults.FAULTS)
def test_no_finished_round_is_lost(name):
    assert faults.inject(name, 4, seed=1) == 0


@pytest.mark.slow
def test_power_that_goes_at_every_single_step_loses_nothing(tmp_path):
    rng = random.Random(0)
    with power.Disk(float("inf"), rng).plugged_in() as counting:
        faults.drive(faults.fresh(tmp_path / "counted"), faults.RUN, rounds=2)
    for step in range(0, counting.steps, 3):
        store, finished = faults.fresh(tmp_path / str(step)), set()
        with power.Disk(step, rng).plugged_in() as off:
            try:
                faults.drive(store, faults.RUN, finished.add)
            except power.PowerCut:
                off.lose(Path(store.url))
        assert faults.check(store, finished) == 0


def test_a_write_that_is_not_forced_to_the_disk_would_be_lost(tmp_path, monkeypatch):
    """The model of power cuts can tell: without fsync it finds losses."""
    monkeypatch.setattr(durable_io.os, "fsync", lambda descriptor: None)
    lost = 0
    for seed in range(12):
        store, rng, finished = faults.fresh(tmp_path / str(seed)), random.Random(seed), set()
        with power.Disk(rng.randrange(8, 20), rng).plugged_in() as off:
            monkeypatch.setattr(durable_io.os, "fsync", lambda descriptor, off=off: off._step())
            try:
                faults.drive(store, faults.RUN, finished.add)
            except power.PowerCut:
                off.lose(Path(store.url))
        try:
            lost += faults.check(store, finished)
        except (AssertionError, GapbenchError):
            lost += 1
    assert lost


def test_a_run_that_another_process_writes_is_not_resumed(tmp_path):
    store = faults.fresh(tmp_path)
    writer = store.create(decode({"run": faults.RUN, "suites": ["quick"]}))
    code = f"from gapbench.store.store import Store; Store({store.url!r}).reopen({faults.RUN!r})"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"run {faults.RUN} is being written by another process" in asked.stderr
    writer.release()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_file_takes_nobodys_place(tmp_path):
    durable_io.write(str(tmp_path / "file"), b"first", new=True)
    with pytest.raises(FileExistsError):
        durable_io.write(str(tmp_path / "file"), b"second", new=True)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_nor_where_there_are_no_hard_links(tmp_path, monkeypatch, code):
    def refuse(*paths):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable_io.os, "link", refuse)
    test_a_new_file_takes_nobodys_place(tmp_path)


def test_samples_of_an_unknown_run_are_an_error(tmp_path):
    store = Store(str(tmp_path))
    for read in (store.samples, store.results, lambda runs: store.describe(*runs)):
        for name in ("nosuch", "../outside", "", "a/b"):
            with pytest.raises(GapbenchError, match="there is no run"):
                read([name])


def test_a_round_after_one_that_was_lost_has_a_number_of_its_own():
    from gapbench.measuring.case_processes import CaseProcesses
    from gapbench.measuring.events import RoundMeasured
    from gapbench.measuring.plan import CasePlan, Plan
    from gapbench.measuring.policies import CaseState
    from gapbench.measuring.protocol import RoundResult
    from gapbench.workloads.cases import Case

    case = Case((1, 2, 3))
    case_plan = CasePlan("quick", case, {"mean": "mean"})
    plan = Plan((case_plan,))
    state = CaseState(case_plan, plan, CaseProcesses(case_plan, plan, None))
    for number in (0, 2):
        state.record(RoundMeasured(case, number, number, ("mean",), RoundResult({})))
    assert (state.rounds, state.next_round) == (2, 3)
