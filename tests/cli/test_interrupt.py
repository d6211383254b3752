"""Ctrl-C as a user presses it: a real signal to a real process group."""

import os
import signal
import subprocess
import sys

RUN = ["run", "--shape", "1x8x4x4", "--dtype", "float32", "--impl", "sum_scale"]


def test_ctrl_c_keeps_what_was_measured_and_resume_completes_it(measuring, tmp_path):
    process, store = measuring(*RUN, "--rounds", "25", "--budget", "6s")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (run,) = store.ids()
    assert f"--resume {run}" in err
    assert run in out
    rounds = store.samples([run])["round"].nunique()
    assert rounds >= 1
    assert not store.results([run]).empty

    resumed = subprocess.run(
        [sys.executable, "-m", "gapbench", "run", "--resume", run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert store.describe(run).ended is not None
    assert store.samples([run])["round"].nunique() >= 25


def test_a_request_to_terminate_keeps_what_was_measured_as_well(measuring):
    process, store = measuring(*RUN, "--budget", "30s")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not store.results(store.ids()).empty
