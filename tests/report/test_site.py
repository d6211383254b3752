import re

import pytest
from msgspec.structs import replace
from stored import CASE, OTHER, keep, side, two_sides

from gapbench.errors import GapbenchError
from gapbench.report import assets, html, site
from gapbench.statistics.verdicts import Verdict
from gapbench.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def both(store):
    """The ids of two runs; the second is the slower one for `fast`."""
    return [keep(store, row) for row in two_sides(head={"changes": {"fast": 1.3}})]


def verdicts(page):
    return {name: int(count) for count, name in re.findall(r"<b>([\d,]+)</b> (\w+)</li>", page.read_text())}


def test_a_site_has_an_index_a_page_a_run_a_page_a_diff_and_one_copy_of_what_they_share(store, both, tmp_path):
    pages = site.write(store, both, tmp_path / "reports")
    assert [page.stem for page in pages] == [*both, "runs"]
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    shared = {asset.name for asset in assets.all_of_them()}
    assert names == shared | {
        "index.html",
        "history.html",
        "runs.html",
        *(f"{run}.html" for run in both),
        f"{both[0]}..{both[1]}.html",
    }


def test_pages_that_stand_alone_are_alone(store, both, tmp_path):
    (page,) = site.write(store, both[1:], tmp_path, single_file=True)
    assert {path.name for path in tmp_path.glob("*.*")} == {page.name, f"{both[0]}..{both[1]}.html"}


def test_the_line_of_change_counts_every_verdict_as_the_diff_does(store, both, tmp_path):
    site.write(store, both[1:], tmp_path, baseline=both[0])
    counts = verdicts(tmp_path / f"{both[1]}.html")
    assert counts == verdicts(tmp_path / f"{both[0]}..{both[1]}.html")
    assert counts["regressed"] == 1
    assert {"improved", "equivalent", "inconclusive"} <= counts.keys()
    assert sum(counts.values()) == 4


def test_without_a_baseline_the_newest_earlier_run_of_the_same_kind_is_it(store, both, tmp_path):
    other = keep(store, side("20261124T101112Z-fff0000-0003", suites=["other"]))
    last = keep(store, side("20261125T101112Z-fff0000-0004", seed=9))
    site.write(store, [last, other, both[0]], tmp_path)
    assert both[1] in (tmp_path / f"{last}.html").read_text()
    for run in (other, both[0]):
        assert "no baseline: no earlier run of the same suites" in (tmp_path / f"{run}.html").read_text()


def test_a_run_elsewhere_or_unfinished_is_no_baseline(store, both, tmp_path):
    elsewhere = keep(store, side("20261125T101112Z-fff0000-0004", versions={"torch": "1.0"}))
    site.write(store, [elsewhere], tmp_path)
    assert "no baseline" in (tmp_path / f"{elsewhere}.html").read_text()
    writer = store.create(replace(side().run, id="20261126T101112Z-fff0000-0005"))
    writer.interrupt(side().results)
    site.write(store, [writer.id], tmp_path)
    page = (tmp_path / f"{writer.id}.html").read_text()
    assert f"gapbench run --resume {writer.id}" in page
    assert "caution" in page


def test_runs_too_large_to_compare_unasked_say_how_to_ask(store, both, tmp_path, monkeypatch):
    monkeypatch.setattr("gapbench.report.loaded_run.MOST_ROWS", 3)
    site.write(store, both[1:], tmp_path)
    assert f"gapbench report {both[1]} --baseline RUN" in (tmp_path / f"{both[1]}.html").read_text()


def test_a_baseline_among_the_runs_is_a_page_without_a_diff_of_its_own(store, both, tmp_path):
    site.write(store, both, tmp_path, baseline=both[0])
    assert f"{both[0]}..{both[0]}.html" not in {path.name for path in tmp_path.iterdir()}
    with pytest.raises(GapbenchError, match="compared with itself"):
        site.write(store, both[:1], tmp_path, baseline=both[0])


def test_differing_environments_are_named_on_the_diff_and_under_trust(store, both, tmp_path):
    head = keep(store, side("20261125T101112Z-fff0000-0004", versions={"torch": "1.0"}))
    site.write(store, [head], tmp_path, baseline=both[0])
    for name in (f"{head}.html", f"{both[0]}..{head}.html"):
        assert "torch is 1.0, was 2.13.0+cpu" in (tmp_path / name).read_text()
    assert verdicts(tmp_path / f"{head}.html")[Verdict.ENVIRONMENT_MISMATCH] == 4
    assert "--allow-environment NAME" in (tmp_path / f"{both[0]}..{head}.html").read_text()


def test_the_index_lists_what_earlier_reports_wrote_newest_first(store, both, tmp_path):
    site.write(store, both[1:], tmp_path)
    site.write(store, both[:1], tmp_path)
    index = (tmp_path / "index.html").read_text()
    assert index.index(f'href="{both[1]}.html"') < index.index(f'href="{both[0]}.html"')
    assert f'href="{both[0]}..{both[1]}.html"' in index


@pytest.mark.parametrize("content", ["", "<html>", '<meta name="gapbench" content="[1]">', "\x00\xff"])
def test_files_that_are_no_pages_of_ours_are_left_alone(store, both, tmp_path, content):
    foreign = tmp_path / "mine.html"
    foreign.write_text(content)
    site.write(store, both[:1], tmp_path)
    assert "mine" not in (tmp_path / "index.html").read_text()
    assert foreign.read_text() == content


def test_an_empty_index_says_how_to_fill_it():
    page = html.index_page([], [], compared=False)
    assert "gapbench report" in page
    assert "--baseline RUN" in page


def test_redacted_pages_lack_commands_and_subjects_everywhere(store, tmp_path):
    git = {"commit": "abc1234", "branch": "secret-branch", "subject": "secret subject", "dirty": False}
    sides = two_sides(git=git, argv=["secret-argv"], tag="secret-tag")
    runs = [keep(store, row) for row in sides]
    site.write(store, runs, tmp_path / "open")
    site.write(store, runs, tmp_path / "redacted", redact=True)
    texts = {name: "".join(p.read_text() for p in (tmp_path / name).glob("*.html")) for name in ("open", "redacted")}
    assert texts["open"].count("secret-") > 3
    assert "secret" not in texts["redacted"]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a\nb"])
def test_a_run_id_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(GapbenchError, match="cannot name a file"):
        site._write(tmp_path, name, "")


def test_a_run_without_results_says_how_to_complete_it(store, tmp_path):
    writer = store.create(side().run)
    with pytest.raises(GapbenchError, match=f"gapbench run --resume {writer.id}"):
        site.write(store, [writer.id], tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(store, both, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GapbenchError, match="choose another folder"):
        site.write(store, both[:1], tmp_path / "file")


def test_a_run_of_one_case_and_one_implementation_is_a_page(store, tmp_path):
    for number, changes in enumerate(({"cases": (CASE,)}, {"cases": (CASE, OTHER), "names": ("mean",)})):
        run = keep(store, side(f"2026112{number}T101112Z-abc1234-000{number}", **changes))
        (page,) = site.write(store, [run], tmp_path)
        assert "is fastest in" in page.read_text()
