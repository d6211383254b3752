import json
import math

from gapbench.report import diff as contract
from gapbench.store.run import Run


def test_the_document_has_the_contracts_keys(every):
    document = json.loads(contract.document(every))
    assert list(document) == ["schema", "base", "head", "margin", "summary", "cases"]
    assert document["schema"] == 1
    assert document["margin"] == 0.01
    assert {"run", "commit"} <= set(document["base"])
    assert document["head"]["run"] == every.head.id
    assert document["summary"] == {str(verdict): 1 for verdict in every.summary}
    for case in document["cases"]:
        assert list(case) == [
            "case", "implementation", "clock", "verdict", "ratio", "ratio_low", "ratio_high", "p_value", "rounds",
            "reason", "explanation", "memory", "counts",
        ]  # fmt: skip


def test_what_was_not_measured_is_null(make, make_row):
    (case,) = json.loads(contract.document(make(make_row("added", reason=""))))["cases"]
    assert [case[name] for name in ("ratio", "ratio_low", "p_value", "rounds", "reason")] == [None] * 5


def test_numbers_keep_their_digits(make, make_row):
    (case,) = json.loads(contract.document(make(make_row(ratio=math.pi))))["cases"]
    assert case["ratio"] == math.pi


def test_a_run_without_git_has_no_commit(make, make_row):
    diff = make(make_row(), base=Run(id="r"))
    assert json.loads(contract.document(diff))["base"]["commit"] is None
