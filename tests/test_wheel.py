"""The wheel as a user installs it, outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_it_carries_the_package_the_suites_and_the_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "gapbench/_suites/bench_quick.py" in names
    assert "gapbench/measuring/engine.py" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "suites", "results")) for name in names)


def test_it_runs_outside_the_checkout(wheel, tmp_path, monkeypatch):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["run", "quick", "-k", "1x64 and mean_flat", "--budget", "2s", "--rounds", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "gapbench", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1x64x32x32" in done.stdout
    where = "import gapbench.workloads.suites; print(gapbench.workloads.suites.folder())"
    folder = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert folder.stdout.strip() == str(site / "gapbench" / "_suites")
