"""Test that a worker's profile and its files are validated before use."""

import os

from gapbench.profiling import profiles


def test_documents_without_what_is_compared_are_not_used():
    assert profiles._is_document({"status": "oom", "reason": "too large"})
    for message in ({}, {"status": "ok"}, {"status": "splendid", "reason": "x"}, {"status": "failed", "reason": None}):
        assert not profiles._is_document(message)


def test_files_that_lead_elsewhere_or_never_end_are_left(tmp_path):
    (tmp_path / "trace.json.gz").write_text("x")
    (tmp_path / "link.py").symlink_to("/dev/zero")
    (tmp_path / "a folder").mkdir()
    (tmp_path / "odd\nname").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir() if profiles._is_plain(path)] == ["trace.json.gz"]
