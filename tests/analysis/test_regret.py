import math

import pandas as pd
import pytest
from frames import CASES, EMPTY, results, row, stored
from hypothesis import given, settings

from gapbench.analysis.regret import BY, regrets

FIRST, SECOND = CASES[0], CASES[3]  # weights 3 and 2


def of(found, name):
    (one,) = found[found["implementation"] == name].to_dict("records")
    return one


def test_regret_is_against_the_best_of_each_case():
    found = regrets(
        stored([row(FIRST, "a", 1e-5), row(SECOND, "a", 8e-5), row(FIRST, "b", 2e-5), row(SECOND, "b", 4e-5)])
    )
    assert of(found, "a")["geometric_mean"] == pytest.approx(math.sqrt(2))
    assert (of(found, "a")["worst"], of(found, "a")["worst_case"]) == (pytest.approx(2), SECOND.id)
    assert of(found, "b")["worst_case"] == FIRST.id
    assert of(found, "a")["seconds"] == pytest.approx(3 * 1e-5 + 2 * 8e-5)
    assert of(found, "a")["best_of_each"] == pytest.approx(3 * 1e-5 + 2 * 4e-5)


def test_who_lacks_a_case_does_not_compete_but_counts_as_the_best_where_it_is():
    rows = [row(FIRST, "a", 2e-5), row(SECOND, "a", 2e-5), row(FIRST, "b", 1e-5), row(SECOND, "b", status="wrong")]
    found = regrets(stored(rows))
    assert list(found["implementation"]) == ["a", "b"]
    assert list(found["lacks"]) == [0, 1]
    assert of(found, "a")["worst"] == pytest.approx(2)
    assert found.loc[1, ["geometric_mean", "worst", "worst_case", "seconds"]].isna().all()


def test_regret_is_by_the_paired_ratio_where_it_is_known():
    """Times alone would have ``b`` win by a round that was quiet for all."""
    rows = [row(FIRST, "a", 1e-5, best="a", best_ratio=1.0), row(FIRST, "b", 0.9e-5, best="a", best_ratio=1.2)]
    rows += [row(FIRST, "c", 3.6e-5, best="a")]
    found = regrets(stored(rows))
    assert found["implementation"].tolist() == ["a", "b", "c"]
    assert found["geometric_mean"].tolist() == pytest.approx([1.0, 1.2, 4.0])


def test_one_choice_is_made_for_each_condition_of_memory():
    rows = [row(FIRST, name, 1e-5 * size, memory=memory) for name, size, memory in
            (("a", 1, "kept"), ("b", 2, "kept"), ("a", 3, "fresh"), ("b", 1, "fresh"))]  # fmt: skip
    found = regrets(stored(rows))
    assert found[["memory", "implementation"]].to_numpy().tolist() == [
        ["kept", "a"], ["kept", "b"], ["fresh", "b"], ["fresh", "a"],
    ]  # fmt: skip
    assert found["geometric_mean"].tolist() == pytest.approx([1, 2, 1, 3])


def test_without_weights_there_is_no_total():
    found = regrets(stored([row(FIRST, "a", 1e-5, weight=1), row(SECOND, "a", 1e-5, weight=1)]))
    assert found[["seconds", "best_of_each"]].isna().all().all()
    assert found["geometric_mean"].tolist() == [1.0]


def test_a_case_that_nobody_is_ok_in_counts_for_nobody():
    found = regrets(stored([row(FIRST, "a", 1e-5), row(SECOND, "a", status="failed")]))
    assert found[["cases", "unanswered", "lacks"]].to_numpy().tolist() == [[1, 1, 0]]


@settings(max_examples=50)
@given(results())
def test_it_is_what_counting_by_hand_gives(frame):
    found = regrets(frame)
    contested = frame[frame["ranked"].astype(bool)]
    for key, group in contested.groupby([*BY], dropna=False):
        ok = group[(group["status"] == "ok") & group["seconds"].notna()]
        mine = found
        for name, value in zip(BY, key, strict=True):
            mine = mine[mine[name].isna() if pd.isna(value) else mine[name] == value]
        if ok.empty:
            assert mine.empty
            continue
        assert set(mine["implementation"]) == set(group["implementation"])
        best = {case: rows["seconds"].min() for case, rows in ok.groupby("case")}
        for one in mine.to_dict("records"):
            own = ok[ok["implementation"] == one["implementation"]]
            assert one["lacks"] == len(best) - len(own)
            if one["lacks"] == 0:
                logs = [math.log(row.seconds / best[row.case]) for row in own.itertuples()]
                assert one["geometric_mean"] == pytest.approx(math.exp(sum(logs) / len(logs)))
                assert one["worst"] == pytest.approx(math.exp(max(logs)))
            else:
                assert pd.isna(one["geometric_mean"])


def test_nothing_measured_is_nothing_regretted():
    assert regrets(EMPTY).empty
    assert regrets(stored([row(FIRST, "a", status="failed")])).empty
