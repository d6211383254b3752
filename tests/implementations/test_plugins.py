"""Plug-ins as users have them: packages with metadata on the path of a real process."""

import json
import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def gapbench(tmp_path):
    """Return a function that runs the command line beside a package of plug-ins: entry points by name, and source."""
    site = tmp_path / "site"
    site.mkdir()

    def run(points, source, *arguments):
        (site / "theirs.py").write_text(textwrap.dedent(source))
        metadata = site / "theirs-1.2.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[gapbench.implementations]", *lines, ""]))
        return subprocess.run(
            [sys.executable, "-m", "gapbench", *arguments],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


CASE = ["--shape", "1x8x4x4", "--dtype", "float32", "--layout", "contiguous"]
MEASURE = ["run", *CASE, "--budget", "12s", "--rounds", "1", "--target", "90%"]
CHOSEN = ["--impl", "theirs_good", "--impl", "theirs_wrong", "--impl", "theirs_declared", "--impl", "theirs_broken"]

SOURCE = '''
    """Implementations of another package."""

    from gapbench.implementations import Implementation


    def good(x):
        """Mean, as they do it."""
        return x.mean((2, 3), keepdim=True)


    def wrong(x):
        return x.amax((2, 3), keepdim=True)


    declared = Implementation(
        "ignored", "theirs", "declared in full", "x", lambda case: good,
        lambda case: None if case.dtype == "float32" else "float32 only; use mean",
    )
    number = 5
    '''
POINTS = {
    "theirs_good": "theirs:good",
    "theirs_wrong": "theirs:wrong",
    "theirs_declared": "theirs:declared",
    "theirs_broken": "theirs:number",
}


def test_plug_ins_compete_through_the_same_oracle(gapbench):
    done = gapbench(POINTS, SOURCE, *MEASURE, *CHOSEN, "--json")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["counts"] == {"ok": 3, "wrong": 1, "failed": 1}


def test_plug_ins_are_listed_with_their_package_and_run_no_code_there(gapbench):
    done = gapbench(POINTS, "raise RuntimeError", "list", "implementations", "--json")
    listed = {row["name"]: row for row in json.loads(done.stdout)}
    assert listed["theirs_good"] == {
        "name": "theirs_good", "operation": "gap", "family": "plug-in", "summary": "theirs 1.2", "here": None,
        "variant_of": None, "code": "theirs:good",
    }  # fmt: skip


def test_a_plug_in_may_say_why_not(gapbench):
    done = gapbench(POINTS, SOURCE, *MEASURE, "--dtype", "bfloat16", "--impl", "theirs_declared")
    assert "float32 only; use mean" in done.stdout


@pytest.mark.parametrize(
    ("points", "source", "code", "said"),
    [
        ({"theirs_good": "theirs:good"}, "1 / 0", 3, "theirs_good of theirs 1.2 does not import: ZeroDivisionError"),
        ({"theirs_good": "theirs:missing"}, SOURCE, 3, "theirs_good of theirs 1.2 does not import: AttributeError"),
        ({"theirs_good": "theirs:number"}, SOURCE, 3, "neither a function f(x) nor an Implementation"),
        (
            {"theirs_good": "theirs:good", "mean": "theirs:good"},
            SOURCE,
            2,
            "'mean' of theirs 1.2 takes a built-in name",
        ),
    ],
)
def test_a_broken_plug_in_names_its_package(gapbench, points, source, code, said):
    done = gapbench(points, source, *MEASURE, "--impl", "theirs_good")
    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
