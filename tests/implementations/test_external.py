"""What implementations on other runtimes have in common."""

import subprocess
import sys
import time

import pytest

from gapbench.implementations import IMPLEMENTATIONS
from gapbench.measuring import worker
from gapbench.measuring.examiner import Examination, Paper
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import HERE
from gapbench.measuring.prepared import CaseTask
from gapbench.measuring.protocol import Judged, Prepared, WorkerExit
from gapbench.workloads.cases import LAYOUTS, Case

EXTERNAL = [implementation for implementation in IMPLEMENTATIONS if implementation.family == "numpy"]

by_name = pytest.mark.parametrize("implementation", EXTERNAL, ids=lambda implementation: implementation.name)


def home(implementation, **fields):
    """Return a case on a device where this implementation computes."""
    return Case((2, 3, 7, 7), **fields)


def test_every_family_is_there():
    assert [implementation.name for implementation in EXTERNAL] == ["numpy_mean"]


@by_name
def test_is_forward_only_and_says_so(implementation):
    assert not implementation.differentiable
    assert "autograd cannot differentiate" in implementation.unsupported_reason(home(implementation, pass_="backward"))


@by_name
def test_computes_on_one_kind_of_device(implementation):
    assert "choose" in implementation.unsupported(Case((2, 3, 7, 7), device="cuda"))


def test_asking_imports_no_library():
    code = f"""
import sys, itertools
from gapbench.workloads.cases import Case
from gapbench.implementations import IMPLEMENTATIONS
for one, device, layout in itertools.product(IMPLEMENTATIONS, ("cpu", "cuda"), {list(LAYOUTS)}):
    one.unsupported(Case((2, 3, 7, 7), device=device, layout=layout))
print({{"triton"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def server():
    with ForkServer(["gapbench.measuring.worker"]) as server:
        server.wait_ready()
        yield server


@pytest.mark.parametrize("threads", [1, 2])
@by_name
def test_qualifies_in_a_forked_worker_without_hidden_threads(server, implementation, threads):
    """With one thread, qualification measures that none but the caller's works."""
    case = Case((4, 64, 28, 28), threads=threads)
    task = CaseTask(case, (implementation.name,), (HERE,), (0,), 0)
    with Examination(server, [Paper(task, (0, 1), stressed=True)]) as examination:
        job = examination.start(server, worker.judge_contenders, task, (0,), (0, 1))
        prepared, judged, end = job.messages(time.monotonic() + 60)
        confirmed = examination.confirm(0, judged.qualification)
    assert isinstance(prepared, Prepared)
    assert (prepared.first_call.keys(), prepared.rejected) == ({0}, {})
    assert isinstance(judged, Judged)
    assert (confirmed.status, confirmed.reason) == ("ok", None)
    assert judged.qualification.saved_bytes is None
    assert end == WorkerExit(0)
