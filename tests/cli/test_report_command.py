from pathlib import Path

import pytest
from factories import a_run, run_id
from stored import keep, two_sides

from gapbench.cli import report as report_command
from gapbench.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def opened(monkeypatch):
    """What was opened in a browser."""
    launched = []
    monkeypatch.setattr("click.launch", launched.append)
    return launched


def test_several_runs_give_several_pages_and_the_index_is_opened(gapbench, store, opened):
    runs = [a_run(store, run=run_id(day)) for day in (1, 2)]
    code, out, err = gapbench("report", *runs, runs[0], "--open")
    assert (code, err) == (0, "")
    assert out.split() == [f"reports/{name}.html" for name in (*runs, "runs")]
    assert opened == ["reports/index.html"]


def test_one_run_is_opened_itself(gapbench, store, opened):
    run = a_run(store)
    assert gapbench("report", "--open", "--single-file", "-o", "out")[0] == 0
    assert opened == [f"out/{run}.html"]


def test_a_baseline_gives_a_page_of_the_diff(gapbench, store, tmp_path):
    base, head = [keep(store, side) for side in two_sides(tag="v1")]
    code, _, err = gapbench("report", head, "--baseline", base)
    assert code == 0, err
    assert (tmp_path / "reports" / f"{base}..{head}.html").is_file()


def test_redacting_takes_out_the_tag(gapbench, store, tmp_path):
    run = a_run(store, tag="for-bob")
    for options, tagged in (([], True), (["--redact"], False)):
        gapbench("report", *options)
        assert ("for-bob" in (tmp_path / "reports" / f"{run}.html").read_text()) is tagged


@pytest.mark.parametrize(
    ("arguments", "culprit", "remedy"),
    [
        (["nosuch"], "'nosuch'", "the newest are"),
        (["--baseline", "nosuch"], "'nosuch'", "the newest are"),
        (["--baseline", "latest"], "compared with itself", "name another"),
        (["-o", "results/file"], "results/file", "choose another folder"),
        (["--publish", "results/file"], "results/file", "choose another folder"),
        (["--publish", "site", "nosuch"], "'nosuch'", "the newest are"),
        (["--publish", "site", "-o", "out"], "--publish", "leave out -o"),
        (["--publish", "site", "--single-file"], "--publish", "leave out -o, --single-file"),
        (["--publish", "site", "--baseline", "latest"], "--publish", "--baseline"),
    ],
)
def test_bad_input_is_one_line_that_names_culprit_and_remedy(gapbench, store, tmp_path, arguments, culprit, remedy):
    a_run(store)
    (tmp_path / "results" / "file").write_text("")
    code, out, err = gapbench("report", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert culprit in err
    assert remedy in err


def test_publishing_says_what_was_added_and_what_was_left_out(gapbench, store, opened):
    first, second = (a_run(store, run=run_id(day)) for day in (1, 2))
    code, out, err = gapbench("report", "--publish", "site", "--open")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["2 runs added to site/index.html", f"site/{first}.html", f"site/{second}.html"]
    third = a_run(store, run=run_id(3))
    (Path("results") / third / "results.parquet").unlink()
    code, out, err = gapbench("report", "--publish", "site", "--open")
    assert (code, out, len(err.splitlines())) == (0, "0 runs added to site/index.html\n", 1)
    assert err.startswith(f"warning: left out: run {third}")
    assert gapbench("report", "--publish", "site", first)[1].startswith("1 run written to site/index.html")
    assert opened == ["site/index.html"] * 2


def test_publishing_a_store_without_a_complete_run_exits_with_5(gapbench):
    assert gapbench("report", "--publish", "site")[::2] == (
        5,
        "gapbench: no run in results is complete; measure one with: gapbench run\n",
    )
    assert not Path("site").exists()


def test_a_disk_that_refuses_is_one_line(gapbench, store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    a_run(store)
    monkeypatch.setattr("gapbench.store.durable_io.write", refuse)
    code, out, err = gapbench("report", "--publish", "site")
    assert (code, out) == (2, "")
    assert err == "gapbench: cannot write the report site/index.html: Permission denied; choose another folder\n"


def test_an_empty_store_and_a_run_of_another_schema_say_what_to_do(gapbench, store, tmp_path):
    assert "measure one with: gapbench run" in gapbench("report")[2]
    run = a_run(store)
    path = tmp_path / "results" / run / "run.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 0'))
    code, _, err = gapbench("report")
    assert code == 2
    assert "use the gapbench that wrote it" in err


def test_the_help_says_what_is_on_no_page(gapbench):
    text = " ".join(gapbench("report", "--help")[1].split())
    assert "No page has names of host and user, serial numbers, environment variables" in text
    assert str(report_command.FOLDER) in text


def test_a_run_whose_page_cannot_be_written_is_kept_and_says_so(gapbench, tmp_path):
    (tmp_path / "reports").write_text("in the way")
    small = ["--shape", "1x8x4x4", "--dtype", "float32", "--layout", "contiguous", "--impl", "mean"]
    code, out, err = gapbench("run", *small, "--budget", "1s", "--rounds", "1")
    assert code == 0
    assert "page" not in out.splitlines()[-1]
    assert "the run is stored: gapbench report" in err
