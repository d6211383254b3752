"""What a worker says of a profile or a network is looked at before it is used, and so are the files that it leaves."""

import os

import pytest

from gapbench.profiling import network, profiles

STEPS = {"clock": "host", "sites": [(1, 2, 3, 3)], "seconds": {"mean": [1.0] * 4}, "pooling": {"mean": 0.1}, "out": {}}
SPECS = {"mean": "mean"}


def test_steps_that_were_asked_for_are_used():
    assert network._answers(STEPS, SPECS)
    assert network._answers({**STEPS, "seconds": {}, "pooling": {}, "out": {"mean": "why"}}, SPECS)
    assert network._answers({"failed": "because"}, SPECS)


@pytest.mark.parametrize(
    "other",
    [
        {"failed": 1}, {"seconds": {}}, {"seconds": {"mean": [1.0] * 3}}, {"seconds": {"mean": [0.0] * 4}},
        {"seconds": {"mean": "1111"}}, {"seconds": {"other": [1.0] * 4}}, {"sites": 3}, {"out": {"mean": None}},
        {"pooling": {"other": 0.1}}, {"clock": None},
    ],
)  # fmt: skip
def test_other_steps_are_not(other):
    assert not network._answers(STEPS | other, SPECS)


def test_documents_without_what_is_compared_are_not_used():
    assert profiles._is_document({"status": "oom", "reason": "too large"})
    for said in ({}, {"status": "ok"}, {"status": "splendid", "reason": "x"}, {"status": "failed", "reason": None}):
        assert not profiles._is_document(said)


def test_files_that_lead_elsewhere_or_never_end_are_left(tmp_path):
    (tmp_path / "trace.json.gz").write_text("x")
    (tmp_path / "link.py").symlink_to("/dev/zero")
    (tmp_path / "a folder").mkdir()
    (tmp_path / "odd\nname").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir() if profiles._is_plain(path)] == ["trace.json.gz"]
