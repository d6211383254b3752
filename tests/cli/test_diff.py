"""``gapbench diff`` on stored runs of known times."""

import json
import pkgutil

import pytest
from stored import MACHINE, OTHER, keep, side, two_sides

from gapbench.analysis import compare
from gapbench.analysis.compare.rows import MORE_WORK
from gapbench.cli import diff as diff_command
from gapbench.statistics.verdicts import Verdict
from gapbench.store.run import COMPARED, Run, decode
from gapbench.store.store import Store


@pytest.fixture(autouse=True)
def outside_of_github(monkeypatch):
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stored(tmp_path):
    """Store a base tagged ``old`` and a head, described as for `two_sides`."""

    def store(**sides):
        sides["base"] = {"tag": "old", **sides.get("base", {})}
        return [keep(Store(str(tmp_path / "results")), side) for side in two_sides(**sides)]

    return store


def test_a_regression_is_listed_and_exits_with_1(gapbench, stored):
    base, head = stored(head={"changes": {"slow": 1.1}})
    code, out, err = gapbench("diff", "old")
    assert (code, err) == (1, "")
    assert base in out
    assert head in out
    assert "regressed" in out
    assert "gapbench run --shape 8x64x7x7" in out
    assert out.splitlines()[-1].startswith("1 regressed, ")


def test_a_wider_margin_and_another_policy_forgive(gapbench, stored):
    stored(head={"changes": {"slow": 1.1}})
    assert gapbench("diff", "old", "--margin", "20%")[0] == 0
    assert gapbench("diff", "old", "--fail-on", "none")[0] == 0
    assert gapbench("diff", "old", "--fail-on", "failed,removed")[0] == 0


@pytest.mark.parametrize(
    ("policy", "code"),
    [(None, 1), ("failed", 1), ("failed_head", 1), ("failed_base,added", 0), ("regressed", 0), ("added, failed", 1)],
)
def test_failures_follow_the_policy(gapbench, stored, policy, code):
    stored(head={"statuses": {"odd": "wrong"}})
    arguments = [] if policy is None else ["--fail-on", policy]
    assert gapbench("diff", "old", *arguments)[0] == code


def test_what_base_failed_does_not_fail_the_head_unless_asked(gapbench, stored):
    stored(base={"statuses": {"odd": "wrong"}})
    assert gapbench("diff", "old")[0] == 0
    assert gapbench("diff", "old", "--fail-on", "failed")[0] == 1


def test_identical_code_exits_with_0(gapbench, stored):
    stored()
    code, out, _ = gapbench("diff", "old", "latest")
    assert code == 0
    assert "regressed" not in out


def test_another_environment_exits_with_4_unless_it_is_allowed_or_the_policy_names_it(gapbench, stored):
    stored(head={"versions": {"torch": "3.0"}, "machine": {**MACHINE, "usable_cores": 4}})
    code, out, err = gapbench("diff", "old")
    assert code == 4
    assert "4 environment_mismatch" in out
    assert "--allow-environment" in err
    assert len(err.splitlines()) == 1
    assert gapbench("diff", "old", "--allow-environment", "torch")[0] == 4
    assert gapbench("diff", "old", "--allow-environment", "torch", "--allow-environment", "threads")[0] == 0
    assert gapbench("diff", "old", "--fail-on", "environment_mismatch")[0] == 1


def test_json_is_one_document(gapbench, stored):
    base, head = stored(head={"changes": {"slow": 1.1}})
    code, out, err = gapbench("diff", base, head, "--format", "json", "--margin", "0.02")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert (document["base"]["run"], document["head"]["run"], document["margin"]) == (base, head, 0.02)
    assert document["summary"]["regressed"] == 1
    assert {case["implementation"] for case in document["cases"]} == {"mean", "fast", "slow", "odd"}


def test_github_gets_annotations_a_summary_and_outputs(gapbench, stored, monkeypatch, tmp_path):
    stored(head={"changes": {"slow": 1.1}})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    code, out, _ = gapbench("diff", "old", "--format", "github")
    assert code == 1
    assert out.startswith("::error title=gapbench%3A regressed::slow ")
    assert "### regressed" in (tmp_path / "summary.md").read_text()
    assert "regressed=1\n" in (tmp_path / "output").read_text()


def test_markdown_goes_to_stdout(gapbench, stored):
    stored()
    assert gapbench("diff", "old", "--format", "markdown")[1].startswith("**gapbench: ")


@pytest.mark.parametrize(
    ("arguments", "code", "culprit", "remedy"),
    [
        (["old", "nosuch"], 2, "'nosuch'", "the newest are"),
        (["latest"], 2, "-0002", "another BASE"),
        (["old", "--margin", "much"], 2, "'much'", "1%"),
        (["old", "--format", "xml"], 2, "'xml'", "table"),
        (["old", "--fail-on", "regresed"], 2, "'regresed'", "there are: regressed,"),
        (["old", "--fail-on", ""], 2, "--fail-on is empty", "write none"),
        (["old", "--fail-on", ",,"], 2, "--fail-on is empty", "write none"),
        (["old", "--margin", "5"], 2, "a share of 5 is 500 %", "write 5%"),
        (["old", "--allow-environment", "torhc"], 2, "'torhc'", "there are: torch,"),
        (["old", "--store", "elsewhere"], 2, "elsewhere", "gapbench run"),
        ([], 2, "BASE", ""),
    ],
)
def test_bad_input_is_one_line_that_names_culprit_and_remedy(gapbench, stored, arguments, code, culprit, remedy):
    stored()
    got, out, err = gapbench("diff", *arguments)
    assert (got, out, len(err.splitlines())) == (code, "", 1)
    assert culprit in err
    assert remedy in err


def test_runs_that_cannot_be_compared_are_said_in_one_line(gapbench, stored, tmp_path):
    base, _ = stored()
    store = Store(str(tmp_path / "results"))
    keep(store, side("20261125T000000Z-aaaaaaa-0003", cases=(OTHER,), tag="elsewhere"))
    store.create(decode({"run": "20261126T000000Z-aaaaaaa-0004", "tag": "begun"}))
    store.create(decode({"run": "20261127T000000Z-aaaaaaa-0005", "tag": "empty"})).finish(side().results[:0])
    for name, code, sentence in (
        ("elsewhere", 5, "in common"),
        ("begun", 2, "gapbench run --resume"),
        ("empty", 5, "no results"),
    ):
        got, out, err = gapbench("diff", base, name)
        assert (got, out, len(err.splitlines())) == (code, "", 1)
        assert sentence in err
    path = tmp_path / "results" / base / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    got, out, err = gapbench("diff", base, "elsewhere")
    assert (got, out, len(err.splitlines())) == (2, "", 1)
    assert "schema 99" in err


def test_earlier_runs_of_the_store_are_taken_into_account(gapbench, stored, tmp_path, monkeypatch):
    """Those of the same suites in the same environment, complete and readable, the newest before head."""
    stored(head={"changes": {"slow": 1.1}})
    store = Store(str(tmp_path / "results"))
    for day in range(1, 12):
        keep(store, side(f"202610{day:02}T101112Z-abc1234-0009", seed=day))
    keep(store, side("20261101T101112Z-abc1234-0009", versions={"torch": "3.0"}))
    keep(store, side("20261102T101112Z-abc1234-0009", suites=["other"]))
    keep(store, side("20261224T101112Z-abc1234-0009"))
    store.create(Run(id="20261103T101112Z-abc1234-0009", suites=("quick",)))
    (tmp_path / "results" / "20261011T101112Z-abc1234-0009" / "samples.parquet").write_bytes(b"damaged")
    sides, original = [], compare.compare
    monkeypatch.setattr(compare, "compare", lambda *given, earlier: sides.extend(earlier) or original(*given))
    assert gapbench("diff", "old", "20261123")[0] == 1
    assert [side.run.id[6:8] for side in sides] == ["10", "09", "08", "07", "06", "05", "04", "03"]


def test_another_condition_of_memory_exits_with_4_and_says_so(gapbench, stored):
    stored(base={"memory": "fresh"}, head={"memory": "kept"})
    code, out, err = gapbench("diff", "old")
    assert code == 4
    assert "4 environment_mismatch" in out
    assert "memory is kept, was fresh" in err
    assert len(err.splitlines()) == 1


def test_a_run_without_git_is_compared(gapbench, stored):
    stored(git=None)
    assert gapbench("diff", "old")[0] == 0


def test_the_options_repeat_what_the_libraries_know():
    assert diff_command.MARGIN == compare.MARGIN
    assert all(callable(pkgutil.resolve_name(name)) for name in diff_command.FORMATS.values())
    verdicts = {verdict.value for verdict in Verdict}
    assert verdicts <= set(diff_command.POLICIES)
    assert set().union(*diff_command.POLICIES.values()) == {*verdicts, MORE_WORK}
    (option,) = [param for param in diff_command.command.params if param.name == "allowed"]
    assert all(name in option.help for name in COMPARED)
