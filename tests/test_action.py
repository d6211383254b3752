"""The composite action: its declaration, and its steps run as GitHub runs them, without GitHub."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gapbench.statistics.verdicts import Verdict

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
SLOW = "def pool(x):\n    for _ in range(3000): pass\n    return x.mean((2, 3), keepdim=True)\n"
SUITE = """from gapbench import grid, suite

@suite(grid({"small": (1, 16, 8, 8)}, dtypes=["float32"], layouts=["contiguous"]))
def test_small(measured):
    measured()
"""


def tool(name):
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def shellcheck(text):
    command = [tool("shellcheck"), "--shell=bash", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_it_declares_what_github_asks_of_a_composite_action():
    assert ACTION.keys() == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    assert all(
        one.keys() == {"description", "default"} and isinstance(one["default"], str)
        for one in ACTION["inputs"].values()
    )
    assert all(one.keys() == {"description", "value"} for one in ACTION["outputs"].values())
    for step in STEPS:
        assert ("uses" in step) != ("run" in step and step["shell"] == "bash" and "name" in step)
        assert step.keys() <= {"name", "id", "if", "uses", "with", "run", "shell", "env"}


def test_its_defaults_are_those_of_the_command():
    from gapbench.cli import ab, diff

    defaults = {name: one["default"] for name, one in ACTION["inputs"].items()}
    assert defaults["fail-on"] == diff.FAIL_ON
    assert defaults["margin"] == f"{diff.MARGIN:.0%}"
    assert defaults["budget"] == f"{ab.BUDGET:.0f}s"


def test_each_verdict_is_an_output():
    values = {name: one["value"] for name, one in ACTION["outputs"].items()}
    assert values.pop("run") == "${{ steps.compare.outputs.head }}"
    assert values == {verdict.value: f"${{{{ steps.compare.outputs.{verdict} }}}}" for verdict in Verdict}


@pytest.mark.parametrize("step", [step for step in STEPS if "run" in step], ids=lambda step: step["name"])
def test_scripts_are_sound_and_take_every_value_through_their_environment(step):
    done = shellcheck(step["run"])
    assert done.returncode == 0, done.stdout
    assert "${{" not in step["run"]
    assert set(re.findall(r"\$\{?([A-Z_]+)", step["run"])) <= {
        *step.get("env", ()),
        "GITHUB_OUTPUT",
        "GITHUB_ACTION_PATH",
    }
    assert shellcheck(step["run"].replace('"$', "$").replace('" ', " ")).returncode == 1  # it does object


def test_every_input_is_used():
    used = set(re.findall(r"inputs\.([\w-]+)", str(STEPS)))
    assert used == ACTION["inputs"].keys()


DOCS = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("right", "wrong", "code"), [("impl:", "impl:", 0), ("impl:", "implementation:", 1)])
def test_the_shortest_recipe_is_a_workflow_with_inputs_that_there_are(tmp_path, right, wrong, code):
    recipe = re.search(r"^```yaml\n(# \.github.*?)^```", DOCS, flags=re.MULTILINE | re.DOTALL)[1]
    local = recipe.replace("OWNER/gapbench@COMMIT", "./").replace(right, wrong)
    assert local.count("uses: ./") == 1
    git(tmp_path, "init", "--quiet")
    workflow = tmp_path / ".github" / "workflows" / "recipe.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(local)
    shutil.copy(ROOT / "action.yml", tmp_path)
    command = [tool("actionlint"), "-no-color", "-shellcheck", tool("shellcheck"), str(workflow)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr


def test_the_documentation_has_every_input_and_output():
    section = re.search(r"^## The action\n(.*?)^## ", DOCS, flags=re.MULTILINE | re.DOTALL)[1]
    assert {*ACTION["inputs"], *ACTION["outputs"]} <= set(re.findall(r"`([\w-]+)`", section))


def value(expression, context):
    """Evaluate `a || b` of names and texts in quotes."""
    for term in map(str.strip, expression.split("||")):
        text = term[1:-1] if term.startswith("'") else context.get(term, "")
        if text:
            return text
    return ""


def evaluated(text, context):
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: value(match[1], context), text)


def holds(condition, context):
    """Evaluate `a == 'x' && b != ''`."""
    comparisons = [re.fullmatch(r"([\w.-]+) ([!=])= ('\w*')", part) for part in condition.split(" && ")]
    return all(
        (value(name, context) == value(text, {})) == (sign == "=")
        for name, sign, text in (one.groups() for one in comparisons)
    )


def act(folder, inputs, programs, **context):
    """Run the action; return its exit code, what it printed, its outputs and the job's summary."""
    defaults = {f"inputs.{name}": one["default"] for name, one in ACTION["inputs"].items()}
    context = {**defaults, **{f"inputs.{name}": given for name, given in inputs.items()}, **context}
    assert context.keys() & {f"inputs.{name}" for name in inputs} <= defaults.keys()
    summary, printed = folder.with_name("summary.md"), ""
    summary.write_text("")
    for number, step in enumerate(STEPS):
        if "uses" in step or not holds(step.get("if", "a == ''"), context):
            continue
        output = folder.with_name(f"output{number}")
        output.write_text("")
        env = {name: evaluated(text, context) for name, text in step.get("env", {}).items()}
        env |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTION_PATH": str(ROOT)}
        env |= {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False
        )
        printed += done.stdout + done.stderr
        written = [line.split("=", 1) for line in output.read_text().splitlines()]
        context |= {f"steps.{step.get('id')}.outputs.{name}": text for name, text in written}
        if done.returncode:
            break
    outputs = {name: evaluated(one["value"], context) for name, one in ACTION["outputs"].items()}
    return done.returncode, printed, outputs, summary.read_text()


def git(folder, *arguments):
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def folder(tmp_path):
    """A checkout of a pull request: its merge with main, whose head has a slower function."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".gitignore").write_text("results/\n")
    (folder / "bench_small.py").write_text(SUITE)
    for branch, content in (("main", HONEST), ("change", SLOW)):
        git(folder, "checkout", "--quiet", "-B", branch)
        (folder / "my pool.py").write_text(content)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", branch)
    git(folder, "update-ref", "refs/remotes/origin/main", "main")
    return folder


@pytest.fixture
def programs(tmp_path):
    """A folder of programs, first on the PATH: this gapbench."""
    programs = tmp_path / "programs"
    programs.mkdir()
    script = f'#!/usr/bin/env bash\nexec {shlex.quote(sys.executable)} -m gapbench "$@"\n'
    (programs / "gapbench").write_text(script)
    (programs / "gapbench").chmod(0o755)
    return programs


def of_pull_request(folder):
    return {"github.base_ref": "main", "github.event.pull_request.head.sha": git(folder, "rev-parse", "change")}


POOL = {"impl": "my pool.py:pool", "suite": "bench_small.py", "budget": "3s", "margin": "5%"}


def test_a_slower_pull_request_fails_with_its_counts_and_summary(folder, programs):
    code, printed, outputs, summary = act(folder, POOL, programs, **of_pull_request(folder))
    assert code == 1, printed
    assert int(outputs["regressed"]) > 0
    assert outputs["equivalent"] == outputs["failed_head"] == "0"
    assert (folder / "results" / outputs["run"] / "results.parquet").exists()
    assert summary.startswith("**gapbench: ")
    assert "### regressed" in summary
    assert "::error title=gapbench%3A regressed::" in printed


def test_two_named_commits_are_compared_and_pass_where_nothing_is_to_fail(folder, programs):
    inputs = {**POOL, "base": "main", "head": "change", "fail-on": "none", "store": "elsewhere"}
    code, printed, outputs, summary = act(folder, inputs, programs, **{"github.sha": "nothing"})
    assert code == 0, printed
    assert int(outputs["regressed"]) > 0
    assert "### regressed" in summary
    assert (folder / "elsewhere" / outputs["run"]).exists()


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ({"impl": "my pool.py:none"}, 2, "no version has this function"),
        ({"impl": "$(touch owned);`touch owned`"}, 2, "touch owned"),
        ({"suite": "--help"}, 2, "--help"),
        ({"base": "--help"}, 2, "--help"),
        ({"fail-on": "everything"}, 2, "everything"),
        ({"budget": "soon"}, 2, "soon"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_names_it_and_runs_nothing(folder, programs, inputs, code, message):
    given, printed, outputs, summary = act(folder, {**POOL, **inputs}, programs, **of_pull_request(folder))
    assert (given, summary) == (code, "")
    assert message in printed
    assert set(outputs.values()) == {""}
    assert not list(folder.glob("owned"))


def test_without_a_pull_request_the_commits_have_to_be_named(folder, programs):
    code, printed, _, _ = act(folder, POOL, programs, **{"github.sha": "change"})
    assert (code, printed) == (2, "::error::this is not a pull request: name the commits with base and head\n")


def test_several_functions_are_one_a_line_and_the_event_names_the_commits(folder, programs):
    (programs / "gapbench").write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    inputs = {"impl": "my pool.py:pool\n\nb.py:c\n"}
    code, printed, _, _ = act(folder, inputs, programs, **of_pull_request(folder))
    base, head = git(folder, "rev-parse", "main"), git(folder, "rev-parse", "change")
    words = ["ab", "--budget", "60s", "--margin", "1%", "--fail-on", "regressed,failed_head", "--store", "results"]
    words += ["--format", "github", "--impl", "my pool.py:pool", "--impl", "b.py:c", "--", base, head, "ci"]
    assert (code, printed.splitlines()) == (0, words)


def test_gapbench_is_installed_from_the_action_itself_unless_it_is_there(folder, programs):
    (programs / "gapbench").unlink()
    for name in ("python", "uv"):
        (programs / name).write_text(f'#!/usr/bin/env bash\necho "{name} $* $UV_SYSTEM_PYTHON $UV_TORCH_BACKEND"\n')
        (programs / name).chmod(0o755)
    (install,) = [step for step in STEPS if step.get("name") == "Install gapbench"]
    env = {name: evaluated(text, {"inputs.torch": "cu128"}) for name, text in install["env"].items()}
    env |= {"PATH": f"{programs}:/usr/bin:/bin", "GITHUB_ACTION_PATH": "/the action"}
    command = ["/bin/bash", "-eo", "pipefail", "-c", install["run"]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "python -m pip install --quiet uv 1 cu128",
        "uv pip install --quiet /the action 1 cu128",
    ]
