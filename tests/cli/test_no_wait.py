"""Two commands and one device: the second waits, and says so, or exits with 4; in processes as users start them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest

from gapbench.cli import common
from gapbench.machine import device_lock
from gapbench.machine.devices import Cpu, Cuda
from gapbench.store.store import Store

SMALL = ["--shape", "1x8x4x4", "--dtype", "float32", "--layout", "contiguous", "--impl", "sum_scale"]
RUN = ["run", *SMALL, "--budget", "2s", "--rounds", "1", "--json"]
CASE = "2x3x4x4-float32-contiguous-cpu-forward-t1"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start gapbench in a process group of its own, with locks that no other test takes."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path / "locks"))
    started = []

    def process(*arguments):
        command = [sys.executable, "-m", "gapbench", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                **pipes,
            )
        )
        return started[-1]

    yield process
    for process in started:
        process.kill()
        process.communicate()


def measured(store):
    """Wait until a round of its run is stored."""
    while not (store.ids() and store.shard_names(store.ids()[0])):
        time.sleep(0.05)


def test_the_second_run_waits_and_says_for_whom_and_then_completes(start, tmp_path):
    store = Store(str(tmp_path / "results"))
    first = start("run", *SMALL, "--budget", "60s", "--target", "0.0001%", "--tag", "mine", "--json")
    measured(store)
    second = start(*RUN, "--tag", "after")
    line = second.stderr.readline()
    assert line.startswith(f"waiting: cpu is in use by process {first.pid} (gapbench run --shape 1x8x4x4 ")
    assert "--tag mine --json) since 20" in line
    assert "--no-wait" in line
    assert len(store.ids()) == 1, "a run that waits has not begun"
    assert second.poll() is None
    os.killpg(first.pid, signal.SIGINT)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert "waiting" not in err
    first.communicate(timeout=60)
    (before,) = (store.describe(run) for run in store.ids() if store.describe(run).tag == "mine")
    (after,) = (store.describe(run) for run in store.ids() if store.describe(run).tag == "after")
    assert before.ended is None
    assert after.ended
    assert after.wall_seconds < 60


def test_a_killed_run_leaves_its_device_free_and_can_be_resumed(start, tmp_path):
    store = Store(str(tmp_path / "results"))
    first = start("run", *SMALL, "--budget", "4s", "--rounds", "12", "--target", "0.0001%")
    measured(store)
    (run,) = store.ids()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    resumed = start("run", "--resume", run, "--no-wait", "--json")
    _, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert "waiting" not in err
    assert store.describe(run).ended


def test_ctrl_c_ends_a_wait_with_nothing_begun(start, tmp_path):
    with device_lock.take(Cpu(), "somebody", tmp_path / "locks"):
        waiting = start(*RUN)
        assert "somebody" in waiting.stderr.readline()
        time.sleep(0.2)  # interrupted while it writes a line, Python writes it again at its end
        os.killpg(waiting.pid, signal.SIGINT)
        out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out, err.strip()) == (130, "", "")
    assert not (tmp_path / "results").exists()


def test_every_command_that_measures_exits_with_4_on_request(gapbench, tmp_path, monkeypatch):
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "pool.py").write_text("def pool(x):\n    return x.mean((2, 3), keepdim=True)\n")
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    for command in (["init", "--quiet"], ["add", "pool.py"], [*identity, "commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    before = sorted(tmp_path.iterdir())
    with device_lock.take(Cpu(), "somebody", tmp_path / "locks"):
        for command in (
            RUN,
            ["ab", "HEAD", ".", "--impl", "pool.py:pool", "--shape", "1x16x8x8"],
            ["doctor"],
            ["profile", CASE],
        ):
            code, out, err = gapbench(*command, "--no-wait")
            assert (code, out, len(err.splitlines())) == (4, "", 1), command
            assert f"cpu is in use by process {os.getpid()} (somebody) since 20" in err
        for command in ([*RUN, "--dry-run"], ["list", "devices"]):
            code, _, err = gapbench(*command)
            assert (code, err) == (0, ""), command
    assert sorted(tmp_path.iterdir()) == before, "nothing was begun"
    assert len(subprocess.run(["git", "worktree", "list"], capture_output=True, check=True).stdout.splitlines()) == 1


def test_a_resume_waits_as_well_and_may_be_tried_again(gapbench, tmp_path, monkeypatch):
    """The run that could not go on is not kept from others."""
    monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path))
    from gapbench.measuring import recording

    monkeypatch.setattr(recording, "record", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert gapbench(*RUN)[0] == 130
    (run,) = Store("results").ids()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gapbench"])
    with device_lock.take(Cpu(), "somebody", tmp_path):
        assert gapbench("run", "--resume", run, "--no-wait")[0] == 4
    code, _, err = gapbench("run", "--resume", run, "--no-wait")
    assert code == 0, err


def test_a_folder_for_locks_that_is_not_there_is_one_line(gapbench, tmp_path, monkeypatch):
    monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path / "missing"))
    code, out, err = gapbench(*RUN)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "set GAPBENCH_LOCKS to a folder" in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("device", "marks", "folder", "warned"),
    [("cuda:0", True, None, True), ("cuda:0", True, "locks", False), ("cuda:0", False, None, False),
     ("cpu", True, None, False)],
)  # fmt: skip
def test_a_container_whose_locks_are_its_own_is_warned_of(monkeypatch, tmp_path, capsys, device, marks, folder, warned):
    """Another container measures on the same GPU, and neither knows of the other."""
    monkeypatch.setattr(common, "_CONTAINER", (str(tmp_path if marks else tmp_path / "none"),))
    monkeypatch.setattr("gapbench.machine.devices.device", lambda name: Cpu() if name == "cpu" else Cuda(name))
    monkeypatch.setattr(common, "take", lambda *_: nullcontext())
    monkeypatch.setattr(common, "lock_folder", lambda: folder and tmp_path / folder)
    common.locked(device, no_wait=True)
    assert ("GAPBENCH_LOCKS" in capsys.readouterr().err) == warned
