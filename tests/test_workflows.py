"""The CI recipes: checked by actionlint, their commands parsed by the real command line, their scripts run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from gapbench.cli import COMMANDS
from gapbench.errors import ExitCode, GapbenchError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "ci.md"
RECIPE, OURS, GITLAB = ROOT / "docs/ci/gapbench.yml", ROOT / ".github/workflows/ci.yml", ROOT / "docs/ci/gitlab.yml"
PAGES, ACTION = ROOT / "docs/ci/pages.yml", ROOT / "action.yml"
WORKFLOWS = [RECIPE, *sorted((ROOT / ".github" / "workflows").glob("*.yml"))]


def relative(path):
    return str(path.relative_to(ROOT))


def tool(name):
    """A program of the dev extra: beside the interpreter, or on the PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is missing: make test installs it with the dev extra"
    return found


def actionlint(path):
    command = [tool("actionlint"), "-no-color", "-shellcheck", tool("shellcheck"), str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [*WORKFLOWS, PAGES], ids=relative)
def test_actionlint_and_shellcheck_have_nothing_to_object_to(path):
    done = actionlint(path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("runs-on:", "run-on:"), ("steps.commits.outputs.base", "steps.commit.outputs.base"), ('"$IMPL"', "$IMPL")],
)  # fmt: skip
def test_they_do_object_to_mistakes(tmp_path, right, wrong):
    text = RECIPE.read_text()
    assert right in text
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace(right, wrong))
    assert actionlint(broken).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_what_runs_a_pull_request_can_write_nothing_and_knows_no_secret(path):
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert workflow[True].keys() - {"schedule"} == {"pull_request", "push"}  # "on" is a Boolean in YAML 1.1
    assert "secrets." not in text
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
        assert not (checkouts and "permissions" in job)


def test_the_whole_tested_set_is_audited_every_week_by_a_pinned_version():
    workflow = yaml.safe_load(OURS.read_text())
    ((_, hour, *days, weekday),) = [one["cron"].split() for one in workflow[True]["schedule"]]
    assert hour.isdigit()
    assert days == ["*", "*"]
    assert weekday.isdigit()
    job = workflow["jobs"]["audit"]
    assert "if" not in job  # pull requests and pushes, too
    assert any(re.search(r"pip-audit==\d+\.\d+\.\d+$", step.get("run", "")) for step in job["steps"])
    (audit,) = [step["run"] for step in job["steps"] if step.get("run", "").startswith("pip-audit ")]
    assert shlex.split(audit)[1:] == ["--requirement", "constraints.txt", "--no-deps", "--disable-pip"]
    for line in (ROOT / "constraints.txt").read_text().splitlines():  # --no-deps audits exact versions only
        assert not line or line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.!+]+", line), line


def test_gitlab_finds_what_it_needs():
    jobs = yaml.safe_load(GITLAB.read_text())
    hidden = jobs.pop(".gapbench")
    assert {"image", "variables", "before_script", "artifacts"} <= hidden.keys()
    assert jobs
    for job in jobs.values():
        assert job["extends"] == ".gapbench"
        assert job["rules"]
        assert job["script"]
        assert all(isinstance(line, str) for line in (*hidden["before_script"], *job["script"]))


def commands(path):
    """Every command line of gapbench in a file, up to a pipe or the next command."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = "\n".join([*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)])
    lines = text.replace("\\\n", " ").splitlines()
    return [
        found[1] for line in lines if (found := re.search(r"(?<![\w./-])(?:\.venv/bin/)?gapbench ([a-z].*)$", line))
    ]


def words(command):
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = []
    for word in lexer:
        if word[0] in "|&;<>()":
            break
        found.append(word)
    return found


def parse(arguments):
    """Parse as the command line does, without running anything."""
    command = click.Group("gapbench", {one.name: one for one in COMMANDS})
    while isinstance(command, click.Group):
        name, *arguments = arguments
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    command.make_context(command.name, arguments)


@pytest.mark.parametrize("path", [DOCS, RECIPE, GITLAB, OURS, PAGES], ids=relative)
def test_the_commands_it_names_exist_and_take_these_options(path):
    found = commands(path)
    assert found
    for command in found:
        try:
            parse(words(command))
        except (click.ClickException, GapbenchError, AssertionError) as error:
            pytest.fail(f"gapbench {command}: {error}")


def test_the_exit_codes_it_explains_are_the_ones_there_are():
    explained = re.findall(r"^\| (\d+) \|", DOCS.read_text(), flags=re.MULTILINE)
    assert {int(code) for code in explained} == {code.value for code in ExitCode}


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", DOCS.read_text(encoding="utf-8")))
def test_its_links_lead_somewhere(link):
    assert (DOCS.parent / link).exists()


def steps(path):
    """Every step of a workflow's jobs, or of an action."""
    document = yaml.safe_load(path.read_text())
    return [step for job in document.get("jobs", {"": document.get("runs")}).values() for step in job["steps"]]


def script(path, name):
    (found,) = [step["run"] for step in steps(path) if step.get("name") == name]
    return found


def run(text, folder, *options, **variables):
    """Run a step as GitHub does: bash, stopping at the first failure."""
    command = ["bash", "-e", *options, "-c", text]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, message, *parents):
    """A commit in no branch yet, in a repository that needs no work tree."""
    tree = git(folder, "hash-object", "-t", "tree", "-w", os.devnull)
    return git(folder, "commit-tree", tree, "-m", message, *(word for parent in parents for word in ("-p", parent)))


TARGET = "release/1.0"


@pytest.fixture
def pull_request(tmp_path, monkeypatch):
    """A bare repository with a fork's pull request 7: its head and its merge with a target that went on meanwhile."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    upstream = tmp_path / "upstream.git"
    git(tmp_path, "init", "--quiet", "--bare", str(upstream))
    base = commit(upstream, "base", commit(upstream, "first"))
    target = commit(upstream, "target", commit(upstream, "target's", base))
    head = commit(upstream, "head", commit(upstream, "head's", base))
    merge = commit(upstream, "merge", target, head)
    refs = {f"refs/heads/{TARGET}": target, "refs/pull/7/head": head, "refs/pull/7/merge": merge}
    for ref, value in refs.items():
        git(upstream, "update-ref", ref, value)
    return {"upstream": upstream, "base": base, "target": target, "head": head, "merge": merge}


def checkout(folder, upstream, depth, name="pull/7/merge"):
    """What actions/checkout does on a pull_request event: the merge commit, and all branches where ``depth`` is 0."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "remote", "add", "origin", upstream.as_uri())
    refs = [f"+refs/{name}:refs/remotes/{name}"]
    refs += ["+refs/heads/*:refs/remotes/origin/*"] if depth == 0 else []
    git(folder, "fetch", "--quiet", "--no-tags", *([f"--depth={depth}"] if depth else []), "origin", *refs)
    git(folder, "checkout", "--quiet", "--force", f"refs/remotes/{name}")
    return folder


def find_commits(path, folder, head, target=TARGET):
    output = folder.with_name("output")
    output.write_text("earlier=1\n")
    done = run(script(path, "Find the commits to compare"), folder, TARGET=target, HEAD=head, GITHUB_OUTPUT=str(output))
    return done, dict(line.split("=", 1) for line in output.read_text().splitlines())


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("path", [RECIPE, ACTION], ids=relative)
def test_the_merge_base_and_the_head_are_found_in_the_checkout_of_a_merge(tmp_path, pull_request, path, depth):
    folder = checkout(tmp_path / "checkout", pull_request["upstream"], depth)
    assert git(folder, "rev-parse", "HEAD") == pull_request["merge"]
    done, outputs = find_commits(path, folder, pull_request["head"])
    assert done.returncode == 0, done.stderr
    assert outputs == {"earlier": "1", "base": pull_request["base"], "head": pull_request["head"]}
    for side in ("base", "head"):  # ab checks both out
        git(folder, "worktree", "add", "--quiet", str(tmp_path / side), outputs[side])


def test_a_full_checkout_asks_the_server_for_nothing(tmp_path, pull_request):
    folder = checkout(tmp_path / "checkout", pull_request["upstream"], depth=0)
    shutil.rmtree(pull_request["upstream"])  # as a private repository is for a job that kept no credentials
    done, outputs = find_commits(RECIPE, folder, pull_request["head"])
    assert done.returncode == 0, done.stderr
    assert outputs["base"] == pull_request["base"]


def test_unrelated_commits_are_an_error_with_a_reason(tmp_path, pull_request):
    stranger = commit(pull_request["upstream"], "another root")
    git(pull_request["upstream"], "update-ref", "refs/pull/7/merge", stranger)
    folder = checkout(tmp_path / "checkout", pull_request["upstream"], depth=0)
    done, outputs = find_commits(RECIPE, folder, stranger)
    assert done.returncode == 2
    assert outputs == {"earlier": "1"}
    assert done.stdout == f"::error::{stranger} shares no commit with {TARGET}\n"


def test_the_recipe_and_the_action_find_the_commits_alike():
    assert script(RECIPE, "Find the commits to compare") == script(ACTION, "Find the commits to compare")


def stub(folder, name, text):
    """A program that stands in for a real one, and the PATH that finds it first."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / name
    program.write_text(f"#!/usr/bin/env bash\n{text}\n")
    program.chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_comparison_keeps_its_exit_code_and_leaves_the_comment(tmp_path, code):
    path = stub(tmp_path, "gapbench", f'echo "$*"; echo found >> "$GITHUB_STEP_SUMMARY"; exit {code}')
    summary = tmp_path / "summary"
    variables = {"BASE": "b", "HEAD": "h", "IMPL": "my file.py:gap", "GITHUB_STEP_SUMMARY": str(summary)}
    done = run(script(RECIPE, "Compare"), tmp_path, PATH=path, **variables)
    assert done.returncode == code
    assert done.stdout == "ab b h ci --impl my file.py:gap --format github\n"
    assert (tmp_path / "comment.md").read_text() == "found\n"


@pytest.mark.parametrize(
    ("existing", "written"),
    [("", "repos/o/r/issues/7/comments"), ("41\n42\n", "--method PATCH repos/o/r/issues/comments/41")],
)
def test_the_comment_is_written_once_and_renewed_from_then_on(tmp_path, existing, written):
    (tmp_path / "comment.md").write_text("**found**\n")
    log = tmp_path / "log"
    path = stub(tmp_path, "gh", f'echo "$*" >> {log}; case "$*" in *--jq*) printf "{existing}";; esac')
    variables = {"GH_TOKEN": "t", "PR": "7", "GITHUB_REPOSITORY": "o/r"}
    done = run(script(RECIPE, "Write the comment, or renew it"), tmp_path, PATH=path, **variables)
    assert done.returncode == 0, done.stderr
    asked, request = log.read_text().splitlines()
    assert 'user.login == "github-actions[bot]"' in asked
    assert request == f"api --silent {written} -F body=@body.md"
    assert (tmp_path / "body.md").read_text() == "<!-- gapbench -->\n**found**\n"


@pytest.mark.parametrize("merged", [True, False])
def test_gitlab_compares_the_merge_base_and_the_head(tmp_path, pull_request, merged):
    folder = checkout(tmp_path / "checkout", pull_request["upstream"], 0, "pull/7/merge" if merged else "pull/7/head")
    here, source = (pull_request["merge"], pull_request["head"]) if merged else (pull_request["head"], "")
    variables = {"CI_COMMIT_SHA": here, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": source, "IMPL": "f.py:gap"}
    lines = yaml.safe_load(GITLAB.read_text())["gapbench:compare"]["script"]
    path = stub(tmp_path, "gapbench", 'echo "$*"')
    base = pull_request["base"]
    done = run("\n".join(lines), folder, PATH=path, CI_MERGE_REQUEST_DIFF_BASE_SHA=base, **variables)
    assert done.stdout == f"ab {base} {pull_request['head']} ci --impl f.py:gap\n", done.stderr
