"""``gapbench export-rule`` on stored runs."""

import pytest
from stored import CASE, OTHER, keep, side

from gapbench.store.store import Store
from gapbench.workloads.cases import Case

LARGE = Case((8, 64, 56, 56))


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "results"))
    keep(store, side(cases=(CASE, LARGE), changes={"fast": 0.2}, rounds=8))
    return store


def test_a_rule_is_printed_with_its_regret_beside(gapbench, store):
    code, out, err = gapbench("export-rule")
    assert code == 0
    module = {}
    exec(out, module)  # noqa: S102 - it is ours
    assert module["choose"]((8, 64, 7, 7), "torch.float32", "contiguous") == "fast"
    assert module["choose"]((8, 64, 99, 99), "torch.float32", "contiguous") == "mean"
    assert "gapbench" not in out.partition('"""\n')[2]
    assert err.startswith("always use fast: worst regret 0.0 % over 2 cases")


def test_a_file_is_written_and_written_again_but_no_other_is_lost(gapbench, store, tmp_path):
    file = tmp_path / "pool_rule.py"
    for _ in range(2):
        code, out, _ = gapbench("export-rule", "latest", "-o", file)
        assert code == 0
        assert out.startswith(f"{file}: always use fast")
    mine = tmp_path / "mine.py"
    mine.write_text("x = 1\n")
    code, _, err = gapbench("export-rule", "-o", mine)
    assert (code, mine.read_text()) == (2, "x = 1\n")
    assert err == f"gapbench: {str(mine)!r} is not a file of gapbench export-rule, and is kept; name another\n"
    assert gapbench("export-rule", "-o", tmp_path / "rule.txt")[0] == 2
    assert "name another file" in gapbench("export-rule", "-o", tmp_path / "nothing" / "rule.py")[2]


def test_cases_are_selected_as_for_run(gapbench, store):
    assert "over 1 case" in gapbench("export-rule", "-k", "56x56")[2]
    assert gapbench("export-rule", "-k", "nothing")[0] == 5
    assert gapbench("export-rule", "-k", "(mean")[0] == 2


def test_a_rule_that_cannot_keep_within_the_regret_exits_with_1(gapbench, tmp_path):
    """Two shapes of the same sizes have different winners, which no rule of sizes can tell apart."""
    store = Store(str(tmp_path / "results"))
    twin = Case((16, 32, 7, 7))
    stored = side(cases=(CASE, twin), rounds=8)
    factor = (stored.samples["case"] == twin.id) & (stored.samples["implementation"] == "mean")
    stored.samples.loc[factor, "seconds_per_call"] *= 5
    keep(store, remade(stored))
    code, out, err = gapbench("export-rule")
    assert code == 1
    assert "def choose" in out
    assert "no rule keeps within 3.0 %" in err


def remade(stored):
    """Compute the results of changed samples again."""
    from dataclasses import replace

    from gapbench.analysis import summary

    outcomes = [
        summary.Outcome("quick", case, name, "host", qualification, "target")
        for case, name, qualification in _outcomes(stored)
    ]
    return replace(stored, results=summary.results(stored.samples, outcomes))


def _outcomes(stored):
    from gapbench.store.records import Qualification

    for case in (CASE, Case((16, 32, 7, 7))):
        for name in stored.results["implementation"].unique():
            yield case, name, Qualification()


def test_runs_of_several_dtypes_are_one_rule(gapbench, tmp_path):
    keep(Store(str(tmp_path / "results")), side(cases=(CASE, OTHER), rounds=8))
    assert "over 2 cases" in gapbench("export-rule")[2]
