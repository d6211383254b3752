import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import tuning

FIRST, SECOND = (f"GPU-11111111-2222-3333-4444-{index:012}" for index in range(2))
AS_FOUND, TUNED = "0 0\n0 0\n", "1 1500\n0 0\n"


@pytest.fixture
def machine(builds, tmp_path):
    """Return a function that starts ``gapbench tune`` on a machine with two GPUs, whose state outlives it."""
    state, locks = tmp_path / "state", tmp_path / "locks"
    state.write_text(AS_FOUND)
    locks.mkdir()
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(builds["new"]), "STANDIN_STATE": str(state), "GAPBENCH_LOCKS": str(locks),
    }  # fmt: skip

    def start(*arguments, **more):
        return subprocess.Popen(
            [sys.executable, "-m", "gapbench", *arguments], env=environment | more, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(*arguments, **more):
        with start(*arguments, **more) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    return SimpleNamespace(start=start, run=run, state=state, locks=locks)


def tuned(machine, *command):
    return machine.start("tune", "--gpu", "0", "--sm-clock", "1500", "--", *command)


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_the_command_runs_with_a_locked_clock_and_its_exit_code_is_passed_on(machine):
    with tuned(machine, "sh", "-c", "cat $STANDIN_STATE; exit 7") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (7, TUNED)
    assert err == f"gapbench: SM clock of {FIRST} locked to 1500 MHz\n"
    assert machine.state.read_text() == AS_FOUND
    assert not list(machine.locks.iterdir())


def test_persistence_that_was_on_stays_on(machine):
    machine.state.write_text("1 0\n0 0\n")
    with tuned(machine, "true") as process:
        process.communicate()
    assert machine.state.read_text() == "1 0\n0 0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_and_the_gpu_is_put_back(machine, number):
    with tuned(machine, "sleep", "100") as process:
        until(lambda: "sleep" in {child.name() for child in psutil.Process(process.pid).children()})
        assert machine.state.read_text() == TUNED
        process.send_signal(number)
        process.communicate()
    assert process.returncode == 128 + number
    assert machine.state.read_text() == AS_FOUND
    assert not list(machine.locks.iterdir())


def test_a_command_that_cannot_be_started_leaves_nothing_locked(machine):
    code, _, err = machine.run("tune", "--gpu", "0", "--sm-clock", "1500", "--", "no-such-command")
    assert code == 2
    assert err.endswith("gapbench: cannot run no-such-command: No such file or directory\n")
    assert machine.state.read_text() == AS_FOUND


def killed(machine):
    """Kill ``gapbench tune`` and its command in mid-run."""
    with tuned(machine, "sleep", "100") as process:
        until(lambda: psutil.Process(process.pid).children())
        children = psutil.Process(process.pid).children()
        process.kill()
        for child in children:
            child.kill()
        process.communicate()
    assert machine.state.read_text() == TUNED


def test_after_a_kill_the_next_command_says_what_is_locked_and_one_puts_it_back(machine):
    killed(machine)
    (sentence,) = tuning.left_behind(machine.locks)
    assert f"the SM clock of GPU {FIRST} is still locked to 1500 MHz" in sentence
    assert "gapbench tune --restore" in sentence
    limits = ("--shape", "1x8x4x4", "--impl", "mean", "--rounds", "1", "--device", "cpu")
    store = ("--store", str(machine.locks.parent / "store"))
    assert f"warning: {sentence}" in machine.run("run", *limits, *store)[2]
    assert machine.run("tune", "--restore") == (0, "", f"restored: {FIRST}\n")
    assert machine.state.read_text() == AS_FOUND
    assert tuning.left_behind(machine.locks) == []
    assert machine.run("tune", "--restore") == (0, "", "nothing was left locked\n")


def test_tuning_after_a_kill_puts_back_what_was_found_at_first(machine):
    killed(machine)
    with tuned(machine, "true") as process:
        process.communicate()
    assert process.returncode == 0
    assert machine.state.read_text() == AS_FOUND


def test_a_gpu_is_tuned_once_at_a_time(machine):
    with tuned(machine, "sleep", "100") as first:
        until(lambda: machine.state.read_text() == TUNED)
        code, _, err = machine.run("tune", "--gpu", FIRST, "--sm-clock", "1200", "--", "true")
        assert code == 4
        assert f"GPU {FIRST} is tuned by process {first.pid} already" in err
        assert machine.state.read_text() == TUNED
        first.terminate()


def test_without_rights_one_line_says_what_an_administrator_would_run(machine):
    code, _, err = machine.run("tune", "--gpu", "0", "--sm-clock", "1500", "--", "true", STANDIN_RIGHTS="none")
    assert code == 4
    assert len(err.splitlines()) == 1
    assert f"sudo nvidia-smi -i {FIRST} -pm 1 && sudo nvidia-smi -i {FIRST} -lgc 1500" in err
    assert not list(machine.locks.iterdir())


def test_without_rights_what_was_left_stays_noted(machine):
    killed(machine)
    code, _, err = machine.run("tune", "--restore", STANDIN_RIGHTS="none")
    assert code == 4
    assert f"sudo nvidia-smi -i {FIRST} -rgc && sudo nvidia-smi -i {FIRST} -pm 0" in err
    assert len(tuning.left_behind(machine.locks)) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "5", "--", "true"], f"there is no GPU '5'; there are: 0 ({FIRST}), 1 ({SECOND})"),
        (["--", "true"], f"there are several GPUs; name one with --gpu: 0 ({FIRST}), 1 ({SECOND})"),
        ([], "give a command to run"),
        (["--restore", "--", "true"], "give a command to run"),
    ],
)
def test_what_cannot_be_meant_is_one_line(machine, arguments, words):
    code, _, err = machine.run("tune", *arguments)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_machine_without_a_gpu_is_told(machine):
    code, _, err = machine.run("tune", "--", "true", LD_LIBRARY_PATH="")
    assert code == 2
    assert "no NVIDIA GPU can be tuned: there is no libnvidia-ml.so.1" in err


@pytest.fixture
def gpu(driver):
    with tuning.gpus(FIRST) as (gpu,):
        yield gpu


@pytest.mark.parametrize(("held", "clock"), [(1980, 1980), (1507, 1500), (100, 315)])
def test_the_clock_is_the_highest_that_is_held_under_load(driver, gpu, monkeypatch, held, clock):
    """The first half of the soak, in which the GPU is still cool, does not count."""
    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += seconds
        driver.clocks(0, 1980 if now < 4 else held)

    monkeypatch.setattr(tuning, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    assert tuning.sustained_clock(gpu, 10, lambda: True) == clock


def test_a_load_that_ends_early_finds_no_clock(gpu):
    with pytest.raises(GapbenchError, match="the load for finding the clock ended early"):
        tuning.sustained_clock(gpu, 10, lambda: False)


def test_a_driver_that_stops_answering_leaves_the_note(driver, gpu, tmp_path):
    with pytest.raises(RefusedError, match="cannot be restored"), tuning.tuned(gpu, 1500, tmp_path):
        driver.refuse(15)  # the GPU is lost
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("change", [{"booted": 1.0}, {"clock": None, "extra": 1}])
def test_notes_from_before_a_restart_and_damaged_ones_are_void(gpu, tmp_path, change):
    with tuning.tuned(gpu, 1500, tmp_path):
        (path,) = tmp_path.iterdir()
        note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"pid": 1 << 22} | change))
    assert tuning.left_behind(tmp_path) == []


def test_a_process_number_that_is_used_again_holds_nothing(gpu, tmp_path):
    with tuning.tuned(gpu, 1500, tmp_path):
        (path,) = tmp_path.iterdir()
        note = json.loads(path.read_text())
        assert tuning.left_behind(tmp_path) == []
    path.write_text(json.dumps(note | {"started": note["started"] - 100}))
    assert len(tuning.left_behind(tmp_path)) == 1
