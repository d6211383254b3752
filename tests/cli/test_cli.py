"""The command line from the inside: selections, tables, JSON, exit codes. Real runs, small ones."""

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from factories import a_run

from gapbench import cli
from gapbench.cli import common
from gapbench.cli import run as run_command
from gapbench.cli.selection import keyword_match
from gapbench.errors import GapbenchError
from gapbench.implementations import IMPLEMENTATIONS
from gapbench.measuring.plan import Effort
from gapbench.report import text
from gapbench.store import records
from gapbench.store.run import Warning
from gapbench.store.store import Store

FEW = [f"--impl={name}" for name in ("mean", "sum_scale", "adaptive", "triton")]
SMALL = ["run", "--shape", "1x8x4x4", "--dtype", "float32", "--layout", "contiguous", *FEW]
FAST = ["--budget", "3s", "--rounds", "2"]


@pytest.mark.parametrize(
    ("arguments", "code", "culprit", "remedy"),
    [
        (["run", "quik"], 2, "'quik'", "there are: quick"),
        (["run", "nosuch.py"], 2, "'nosuch.py'", "quick"),
        (["run", "--impl", "adaptve"], 2, "'adaptve'", "there are: adaptive,"),
        (["run", "--impl", "nosuch.py:f"], 2, "'nosuch.py'", "no file"),
        (["run", "--impl", "nosuch.py"], 2, "'nosuch.py'", "FILE.py:FUNCTION"),
        (["run", "--dtype", "float23"], 2, "'float23'", "float32"),
        (["run", "--layout", "chanels_last"], 2, "'chanels_last'", "there are: channels_last,"),
        (["run", "--pass", "forwards"], 2, "'forwards'", "there are: forward,"),
        (["run", "--device", "cuda:7"], 2, "'cuda:7'", "there are:"),
        (["run", "--shape", "8xfoo"], 2, "'8xfoo'", "8x2048x7x7"),
        (["run", "--threads", "0"], 2, "threads", "1 to 8192"),
        (["run", "--budget", "soon"], 2, "'soon'", "60s"),
        (["run", "--budget", "0s"], 2, "budget", "above 0"),
        (["run", "--rounds", "0"], 2, "rounds", "at least 1"),
        (["run", "--target", "100%"], 2, "target", "between"),
        (["run", "-k", "mean and"], 2, "'mean and'", "and, or, not"),
        (["run", "-k", "nothing_like_this"], 5, "'nothing_like_this'", "gapbench list cases"),
        (["run", "--store", "/dev/null/x"], 2, "/dev/null/x", "cannot write"),
        (["run", "--store", "nosuchprotocol://x"], 2, "nosuchprotocol", "cannot open"),
        (["run", "--resume", "latest"], 2, "results", "gapbench run"),
        (["run", "--nosuch"], 2, "--nosuch", ""),
        (["report", "nosuch"], 2, "results", "gapbench run"),
        (["which", "--shape", "1x2x3x4"], 5, "1x2x3x4", "gapbench run --shape 1x2x3x4"),
        (["list", "nosuch"], 2, "nosuch", "suites"),
        (["list", "runs", "--store", "nosuch"], 2, "'nosuch'", "--store URL"),
        (["nosuch"], 2, "nosuch", ""),
    ],
)
def test_bad_input_is_one_line_that_names_culprit_and_remedy(gapbench, arguments, code, culprit, remedy):
    got, out, err = gapbench(*arguments)
    assert got == code
    assert out == ""
    assert len(err.splitlines()) == 1
    assert culprit in err
    assert remedy in err


def test_nothing_is_measured_where_the_store_cannot_be_written(gapbench, monkeypatch):
    monkeypatch.setattr("gapbench.measuring.engine.measure", lambda *_: pytest.fail("measured"))
    assert gapbench("run", "--store", "/dev/null/x")[0] == 2


def test_a_run_as_json_is_one_document_and_the_files_have_the_contracts_columns(gapbench):
    code, out, err = gapbench(*SMALL, *FAST, "--json")
    document = json.loads(out)
    assert code == 0, err
    assert document["schema"] == 1
    assert document["counts"] == {"ok": 3, "unsupported": 1}
    assert document["winners"][0]["case"] == "1x8x4x4-float32-contiguous-cpu-forward-t1"
    results = pd.read_parquet(f"{document['path']}/results.parquet")
    samples = pd.read_parquet(f"{document['path']}/samples.parquet")
    assert list(results) == list(records.RESULTS)
    assert list(samples) == list(records.SAMPLES)
    assert set(results["run"]) == {document["run"]}


def test_a_run_by_hand_then_which_report_and_list(gapbench, user_file):
    code, out, err = gapbench(*SMALL, *FAST, "--impl", user_file("good"), "--tag", "mine")
    assert code == 0, err
    assert any(line.startswith("good") and "×" in line for line in out.splitlines())  # noqa: RUF001
    assert "1x8x4x4 float32" in out
    assert "unsupported" in out
    page = Path(out.splitlines()[-1].removeprefix("page "))
    assert page.is_file()
    assert "x.mean((2, 3), keepdim=True)" in page.read_text()  # the run knows what to write

    code, out, _ = gapbench("which", "--shape", "1x8x4x4", "--json")
    winner = json.loads(out)
    assert winner["implementation"] in {"good", *(one.name for one in IMPLEMENTATIONS)}
    assert winner["ratio_low"] is None  # two rounds allow no interval
    assert (winner["ceiling"] is None) == (winner["ceiling_fraction"] is None)
    _, out, _ = gapbench("which", "--shape", "1x8x4x4")
    assert ("of the measured read ceiling (" in out) == (winner["ceiling"] is not None)

    code, out, _ = gapbench("list", "runs", "--json")
    (listed,) = json.loads(out)
    assert listed["tag"] == "mine"
    assert listed["name"] == winner["run"]

    code, out, _ = gapbench("report", "mine", "-o", "pages")
    assert code == 0
    assert out.strip() == f"pages/{winner['run']}.html"
    assert Path("pages/index.html").is_file()


def test_a_wrong_implementation_exits_with_3_and_is_not_ranked(gapbench, user_file):
    code, out, _ = gapbench(*SMALL, *FAST, "--impl", user_file("wrong_shape"))
    assert code == 3
    assert "returned shape (1, 8), expected (1, 8, 1, 1)" in out


def test_sum_scale_overflows_in_float16_and_is_shown_with_its_error(gapbench):
    arguments = [*FAST, "--shape", "1x8x64x64", "--dtype", "float16", "--layout", "contiguous", *FEW, "--json"]
    code, out, _ = gapbench("run", *arguments)
    assert code == 3
    results = pd.read_parquet(f"{json.loads(out)['path']}/results.parquet").set_index("implementation")
    assert results.loc["sum_scale", "status"] == "wrong"
    assert "got inf" in results.loc["sum_scale", "reason"]
    assert results.loc["sum_scale", "max_error"] == float("inf")
    assert pd.isna(results.loc["sum_scale", "seconds"])
    assert "sum_scale" not in {winner["implementation"] for winner in json.loads(out)["winners"]}


def test_a_user_function_that_takes_a_built_in_name_is_refused(gapbench, user_file):
    code, _, err = gapbench("run", "--impl", user_file("mean", "def mean(x): return x"))
    assert code == 2
    assert "rename" in err


def test_a_dry_run_measures_nothing_and_stores_nothing(gapbench, tmp_path):
    code, out, _ = gapbench("run", "quick", "--dry-run")
    assert code == 0
    assert "5 cases" in out
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(gapbench("run", "quick", "--dry-run", "--json")[1])
    assert len(plan["cases"]) == 5


def test_axes_that_are_given_replace_the_suites_own(gapbench):
    plan = json.loads(
        gapbench("run", "--shape", "2x3x5", "--pass", "backward", "--threads", "2", "--dry-run", "--json")[1]
    )
    assert {case["name"] for case in plan["cases"]} == {
        f"2x3x5-{rest}-cpu-backward-t2"
        for rest in ("float32-contiguous", "bfloat16-contiguous", "bfloat16-channels_last")
    }


@pytest.mark.parametrize("what", ["suites", "cases", "implementations", "devices", "runs"])
def test_lists_are_tables_or_objects_with_a_name(gapbench, what):
    code, out, _ = gapbench("list", what, "--json")
    assert code == 0
    assert all(row["name"] for row in json.loads(out))
    assert gapbench("list", what)[0] == 0


@pytest.mark.parametrize(("width", "most"), [(60, 4), (80, 3), (200, 2)])
def test_listed_runs_take_a_few_lines_each(gapbench, monkeypatch, width, most):
    monkeypatch.setattr(text._STDOUT, "_width", width)  # it read COLUMNS when it was imported
    git = {"commit": "0123456789" * 4, "branch": "main", "subject": "Pool channels_last in one pass"}
    run = a_run(Store("results"), tag="nightly", rounds=2, git=git)
    code, out, _ = gapbench("list", "runs")
    assert code == 0
    assert run in out
    assert "nightly" in out
    assert "main, Pool" in out
    assert git["commit"] not in out
    assert len(out.splitlines()) <= most
    (listed,) = json.loads(gapbench("list", "runs", "--json")[1])
    assert listed["commit"] == git["commit"]
    assert listed["complete"] is True


def test_a_store_of_which_the_first_run_is_yet_to_come_has_no_runs(gapbench):
    assert gapbench("list", "runs", "--json") == (0, "[]\n", "no runs in results yet; measure one with: gapbench run\n")


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("mean", True), ("MEAN", True), ("max", False), ("not max", True), ("mean and 8x2048", True),
        ("mean and max", False), ("max or (mean and not x9)", True), ("bfloat16", False),
    ],
)  # fmt: skip
def test_keyword_expressions(expression, matches):
    assert keyword_match(expression, "quick 8x2048x7x7-float32 mean") is matches


def test_keyword_expressions_run_no_code():
    assert keyword_match("__import__", "text") is False
    with pytest.raises(GapbenchError):
        keyword_match("()", "text")


def test_the_defaults_of_run_are_the_engines():
    assert Effort() == Effort(budget=run_command.BUDGET, rounds=run_command.ROUNDS, target=run_command.TARGET)


def test_an_internal_error_exits_with_70(monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(cli.gapbench, "main", broken)
    monkeypatch.setattr(sys, "argv", ["gapbench", "list", "suites"])
    assert cli._exit_code() == 70
    assert "internal error" in capsys.readouterr().err


def test_what_a_terminal_cannot_show_is_printed_all_the_same(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii", "strict")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(cli.gapbench, "main", lambda *_, **__: print("reports/caf\udce9.html → é"))
    assert cli._exit_code() == 0
    out.flush()
    assert out.buffer.getvalue() == b"reports/caf\\udce9.html \\u2192 \\xe9\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_memory_that_runs_out_is_said_in_a_line(monkeypatch, capsys, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(cli.gapbench, "main", broken)
    assert cli._exit_code() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gapbench: out of memory; ")
    assert "--resume" in line


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit")
def test_a_real_limit_of_memory_is_said_in_a_line(tmp_path):
    # Too little for torch to be loaded. With more, it depends on libraries what fails first: OpenBLAS exits with 1.
    limit = resource.RLIMIT_AS, (350 * 2**20, 350 * 2**20)
    command = [sys.executable, "-m", "gapbench", "run", "--shape", "1x8x4x4", "--store", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=lambda: resource.setrlimit(*limit)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gapbench: out of memory; ")
    assert len(done.stderr.splitlines()) == 1


def started(*arguments, **streams):
    command = [sys.executable, "-m", "gapbench", *arguments]
    return subprocess.run(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | streams)


def test_a_reader_that_left_does_not_change_the_exit_code():
    for arguments, code in ((["list", "suites"], 0), (["list", "runs", "--store", "nosuch"], 2)):
        ours, theirs = os.pipe()
        os.close(ours)
        done = started(*arguments, stdout=theirs)
        os.close(theirs)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")  # noqa: PTH110
def test_a_full_disk_is_said_in_a_line():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = started("list", "suites", stdout=full)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("gapbench: cannot write the output: No space left on device; ")
        assert started("list", "suites", stderr=full).returncode == 0


def test_streams_that_are_closed_do_not_hang_a_run(tmp_path):
    command = [sys.executable, "-m", "gapbench", *SMALL, *FAST]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=tmp_path, timeout=300)
    assert done.returncode == 0
    assert len(list((tmp_path / "results").glob("2*/results.parquet"))) == 1


def test_warnings_of_a_kind_are_one_line_with_their_number(capsys):
    uneven = [Warning("uneven batches", f"mean on case {number} varies", "use a quiet machine") for number in range(3)]
    common.show_warnings([uneven[0], Warning("load", "the load was 3", ""), *uneven[1:]])
    assert capsys.readouterr().err.splitlines() == [
        "warning: mean on case 0 varies. Use a quiet machine. And 2 more warnings of this kind: see the run's page.",
        "warning: the load was 3.",
    ]


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "gapbench", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("gapbench, version")
