"""Many machines: the commands of docs/fleet.md are run, as are its scripts, in an empty folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gapbench.store.store import Store
from gapbench.store.verify import verify

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "fleet.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
HURRY = ["-k", "(8x2048x7x7 or 1x64) and adaptive", "--budget", "4s", "--rounds", "1", "--json"]


@pytest.fixture
def shell(tmp_path):
    """Run a line in bash as a reader would, with ``gapbench run`` hurried and a scheduler that runs jobs at once."""
    programs = tmp_path / "bin"
    programs.mkdir()
    hurried = " ".join(f"'{word}'" for word in HURRY)
    gapbench = f'[ "$1" = run ] && set -- "$@" {hurried}\nexec {sys.executable} -m gapbench "$@"'
    (programs / "gapbench").write_text(f"#!/bin/bash\n{gapbench}\n")
    (programs / "sbatch").write_text(
        "#!/bin/bash\nexport SLURM_ARRAY_JOB_ID=$$\necho $$\n"
        'for last; do :; done\n[[ "$*" == *--wrap* ]] && exec bash -c "$last" >&2\n'
        'numbers=$(sed -n "s/#SBATCH --array=\\([0-9]*\\)-\\([0-9]*\\)/\\1 \\2/p" "$last")\n'
        'numbers=$(seq $numbers)\n[[ "$*" =~ --array=([0-9,]+) ]] && numbers=${BASH_REMATCH[1]//,/ }\n'
        'for SLURM_ARRAY_TASK_ID in $numbers; do export SLURM_ARRAY_TASK_ID; bash "$last" >&2; done\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)

    def run(script, folder=tmp_path):
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


def commands(block):
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines())


def test_the_shards_that_two_machines_measured_become_one_run(shell, tmp_path):
    done = shell(commands(BLOCKS[0]))
    assert done.returncode == 0, done.stderr
    shards, store = Store(str(tmp_path / "shards")), Store(str(tmp_path / "results"))
    (run,) = store.ids()
    document = store.describe(run)
    assert done.stdout.splitlines()[-1].endswith(f"in results/{run}")
    assert [part["run"] for part in document.parts] == shards.ids()
    assert len({part["sweep"] for part in document.parts}) == 1
    assert [part["shard"] for part in document.parts] == ["1/2", "2/2"]
    assert verify(store) == []
    assert len(store.samples()) == len(shards.samples()) > 0
    whole = shell("gapbench run quick --dry-run")
    planned = [case["name"] for case in json.loads(whole.stdout)["cases"]]
    assert [case.case for case in document.plan] == planned


def test_the_array_of_slurm_measures_one_shard_a_job(shell, tmp_path):
    (tmp_path / "docs").mkdir()
    script = (DOCS / "fleet" / "array.sh").read_text()
    assert re.search(r"--array=1-(\d+)", script)[1] == re.search(r"^SHARDS=(\d+)", script, flags=re.MULTILINE)[1]
    smaller = script.replace("--array=1-8", "--array=1-2").replace("SHARDS=8", "SHARDS=2")
    (tmp_path / "docs/fleet").mkdir()
    (tmp_path / "docs/fleet/array.sh").write_text(smaller.replace("run heads", "run quick"))
    done = shell(commands(BLOCKS[1]))
    assert done.returncode == 0, done.stderr
    (run,) = Store(str(tmp_path / "results")).ids()
    assert f"in results/{run}" in done.stderr

    (folder,) = tmp_path.glob("shards-*")
    lost = Store(str(folder)).ids()[1]
    shutil.rmtree(folder / lost)
    shutil.rmtree(tmp_path / "results")
    missing = shell(f"gapbench store import {folder.name}")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "1 shard is missing: 2/2" in missing.stderr
    again = commands(BLOCKS[2]).replace("--array=3,7", "--array=2")
    done = shell(f"array={folder.name.removeprefix('shards-')}\n{again}")
    assert done.returncode == 0, done.stderr
    assert len(Store(str(tmp_path / "results")).ids()) == 1


def test_more_shards_than_cases_are_refused(shell):
    done = shell("gapbench run quick --shard 2/50")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gapbench: 50 shards are too many: the selection has ")


def test_shellcheck_has_nothing_to_object_to():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "shellcheck is missing: make test installs it with the dev extra"
    done = subprocess.run([shellcheck, str(DOCS / "fleet" / "array.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
