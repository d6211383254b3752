"""Settings of a project: which commands they are defaults of, what replaces them, and what is refused."""

import json

import pytest
from stored import keep, side

from gapbench.store.store import Store

SETTINGS = """
[tool.gapbench]
store = "runs"
implementation = ["adaptive"]
budget = "7s"
margin = "3%"
fail-on = ["regressed", "inconclusive"]
"""
SMALL = ("--shape", "1x4x3x3", "--dtype", "float32", "--layout", "contiguous", "--dry-run", "--json")


@pytest.fixture
def project(gapbench, tmp_path, monkeypatch):
    """A project with settings, whose folder below is the current one."""
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    monkeypatch.chdir(tmp_path / "src")
    return gapbench


def test_settings_say_where_they_come_from(project, tmp_path):
    rows = json.loads(project("config", "--json")[1])
    assert {row["name"]: row["value"] for row in rows} == {
        "store": "runs", "implementation": ["adaptive"], "budget": "7s", "margin": "3%",
        "fail-on": ["regressed", "inconclusive"],
    }  # fmt: skip
    assert {row["from"] for row in rows} == {str(tmp_path / "pyproject.toml")}


def test_without_settings_defaults_hold(gapbench):
    rows = json.loads(gapbench("config", "--json")[1])
    assert {row["name"]: row["value"] for row in rows} == {
        "store": "results", "implementation": [], "budget": 60.0, "margin": 0.01, "fail-on": "regressed,failed_head",
    }  # fmt: skip
    assert {row["from"] for row in rows} == {"default"}
    assert gapbench("config")[1].startswith("name ")


def test_they_are_defaults_that_options_replace(project):
    plan = json.loads(project("run", "tutorial", *SMALL)[1])
    assert (plan["budget"], plan["cases"][0]["implementations"]) == (7.0, ["mean", "adaptive"])
    plan = json.loads(project("run", "tutorial", *SMALL, "--budget", "9s", "--impl", "avg_pool")[1])
    assert (plan["budget"], plan["cases"][0]["implementations"]) == (9.0, ["mean", "avg_pool"])


def test_store_margin_and_policy_hold_for_diff(project, tmp_path):
    store = Store("runs")
    for number, change in ((1, 1.0), (2, 1.02)):
        keep(store, side(f"2026112{number}T101112Z-abc1234-000{number}", {"fast": change}, seed=number))
    code, out, _ = project("diff", "20261121", "--format", "json")
    document = json.loads(out)
    assert document["margin"] == 0.03
    assert (code == 1) == bool({"regressed", "inconclusive"} & {*document["summary"]})
    assert json.loads(project("diff", "20261121", "--margin", "1%", "--format", "json")[1])["margin"] == 0.01
    assert {row["name"] for row in json.loads(project("list", "runs", "--json")[1])} == {*store.ids()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.gapbench]\nstores = 'x'", "stores"),
        ("[tool.gapbench]\nbudget = 60", 'is 60; write a text, as in budget = "…"'),
        ("[tool.gapbench]\nstore = ['a']", "store of"),
        ("[tool]\ngapbench = 3", "[tool.gapbench]"),
        ("[tool.gapbench", "pyproject.toml: "),
        ("[tool.gapbench]\nbudget = 'soon'", "malformed duration 'soon'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_file(gapbench, tmp_path, text, message):
    (tmp_path / "pyproject.toml").write_text(text)
    code, out, err = gapbench("run", "tutorial", "--dry-run")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
