import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report.redaction import public, run, text
from gapbench.store.run import decode

RUN = decode({
    "run": "20260101T000000Z-abc1234-0001",
    "argv": ["gapbench", "run", "--impl", "/home/alice/lab/mine.py:f", "--store", "s3://secret-bucket/lab/runs"],
    "tag": "for-bob",
    "git": {"commit": "abc1234", "branch": "alice/secret", "subject": "Fix /home/alice/x/y.py", "dirty": False},
    "machine": {"cpu": "EPYC", "gpus": [{"name": "H100", "uuid": "GPU-1234", "serial": 9}]},
    "sides": [{"name": "this", "ref": "/home/alice/lab/HEAD"}],
    "fleet": [{"number": 1, "node": "10.1.2.3", "device": "cpu"}],
    "parts": [{"environ": {"TOKEN": "hunter2"}}],
    "plan": [{"case": "c", "specs": {"f": "/home/alice/lab/mine.py:f"}}],
    "warnings": ["/home/alice/lab/mine.py was slow; see /home/alice"],
})  # fmt: skip


def test_hosts_users_serials_environment_and_folders_are_on_no_page():
    shown = str(run(RUN))
    for secret in ("/home", "lab/", "10.1.2.3", "GPU-1234", "hunter2", "secret-bucket"):
        assert secret not in shown
    for kept in ("…/mine.py:f", "EPYC", "H100", "abc1234", "alice/secret", "for-bob", "was slow"):
        assert kept in shown


def test_redacted_pages_lack_the_work_too():
    shown = str(run(RUN, redact=True))
    for secret in ("alice", "for-bob", "--impl", "Fix", "mine.py:f"):
        assert secret not in shown
    assert "abc1234" in shown


def test_reasons_are_masked_and_the_run_itself_is_left_as_it_is(stored):
    row = stored(machine={"cpu": "EPYC", "device_uuid": "GPU-1"})
    row.results.loc[0, "reason"] = "raised in /home/alice/lab/mine.py: ValueError"
    assert public(row).results.loc[0, "reason"] == "raised in …/mine.py: ValueError"
    assert "alice" in row.results.loc[0, "reason"]
    assert row.run.machine.device_uuid == "GPU-1"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("C:\\Users\\bob\\x.py", "…/x.py"),
        ("~/x/y.py and ../a/b.py", "…/y.py and …/b.py"),
        ("--store=/srv/runs/a", "--store=…/a"),
        ("file:///home/u/x", "…/x"),
        ("in /home/alice, so", "in …/, so"),
        ("'/Users/bob'", "'…/'"),
    ],
)
def test_paths_lose_their_folders(message, shown):
    assert text(message) == shown


@pytest.mark.parametrize(
    "message",
    [
        "34.1 GB/s of N/A and/or 1/2",
        "8x2048x7x7",
        "https://pytorch.org/docs/stable/index.html",
        "echo off | sudo tee /sys/devices/system/cpu/smt/control",
        "gapbench/report/site.py",
        "no /sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_min_freq here",
    ],
)
def test_what_is_no_private_path_stays(message):
    assert text(message) == message


@given(st.text())
def test_masking_twice_is_masking_once(message):
    assert text(text(message)) == text(message)


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=4))
def test_no_folder_of_a_path_survives(folders):
    path = "/" + "/".join(f"dir{name}" for name in folders) + "/file.py"
    assert "dir" not in text(f"{path}: it failed in {path}:12")
