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
        site._write(tmp_path, {name: ""})


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


def published(store, folder, runs=(), redact=False):
    """Publish; return the ids of the runs whose pages were written, and why others were left out."""
    left_out = []
    pages = site.publish(store, runs, folder, redact, left_out.append)
    return [page.stem for page in pages], list(map(str, left_out))


def test_publishing_adds_what_the_folder_lacks_and_keeps_what_came_from_another_store(store, both, tmp_path):
    folder, other = tmp_path / "site", Store(str(tmp_path / "other"))
    elsewhere = keep(other, side("20261201T101112Z-fff0000-0009", suites=["ci"]))
    assert published(other, folder) == ([elsewhere], [])
    assert published(store, folder) == (both, [])
    assert published(store, folder) == ([], [])
    last = keep(store, side("20261125T101112Z-fff0000-0004", seed=9))
    assert published(store, folder) == ([last], [])
    index = (folder / "index.html").read_text()
    assert all(f'href="{run}.html"' in index for run in (elsewhere, *both, last))
    assert (folder / ".nojekyll").exists()
    names = {path.name for path in folder.iterdir()}
    badges = {f"{name}.{kind}" for name in ("badge", "badge-ci", "badge-quick") for kind in ("svg", "json")}
    assert badges | {"history.html"} <= names


def test_published_links_lead_to_published_pages(store, both, tmp_path):
    published(store, tmp_path / "site", both[1:])  # whose baseline has no page
    for page in (tmp_path / "site").glob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', page.read_text()):
            assert (tmp_path / "site" / link).exists(), f"{page.name} links to {link}"


def test_a_run_that_cannot_be_read_or_is_not_complete_does_not_keep_others_from_being_published(store, both, tmp_path):
    store.create(replace(side().run, id="20261126T101112Z-fff0000-0005")).interrupt(side().results)
    (tmp_path / "results" / both[0] / "results.parquet").write_bytes(b"PAR1")
    (tmp_path / "results" / "20261127T101112Z-fff0000-0006").mkdir()
    (tmp_path / "results" / "20261127T101112Z-fff0000-0006" / "run.json").write_text("{")
    written, left_out = published(store, tmp_path / "site")
    assert written == both[1:]
    assert [reason.count(run) > 0 for reason, run in zip(left_out, ("20261127T", both[0]), strict=True)] == [True, True]
    for named, reason in ((both[0], both[0]), ("20261126T101112Z-fff0000-0005", "gapbench run --resume")):
        with pytest.raises(GapbenchError, match=reason):
            published(store, tmp_path / "site", [named])


@pytest.mark.parametrize("name", ["index.html", "history.html", "badge.svg", "badge-quick.json", "{run}.html"])
@pytest.mark.parametrize("content", ["", "<p>gapbench</p>", '{"label": "gapbench"}', "<svg/>"])
def test_publishing_overwrites_nothing_of_the_users(store, both, tmp_path, name, content):
    (tmp_path / "site").mkdir()
    foreign = tmp_path / "site" / name.format(run=both[0])
    foreign.write_text(content)
    with pytest.raises(GapbenchError, match=f"{foreign.name} is not from gapbench, so it was not overwritten"):
        published(store, tmp_path / "site")
    assert foreign.read_text() == content


def test_what_else_is_in_the_folder_stays(store, both, tmp_path):
    (tmp_path / "site" / "docs.html").mkdir(parents=True)
    (tmp_path / "site" / "mine.html").write_text("mine")
    (tmp_path / "site" / ".nojekyll").write_text("mine")
    for _ in range(2):
        published(store, tmp_path / "site", both)
    assert {(tmp_path / "site" / name).read_text() for name in ("mine.html", ".nojekyll")} == {"mine"}
    assert "docs" not in (tmp_path / "site" / "index.html").read_text()


def test_published_pages_are_redacted_where_that_is_asked(store, tmp_path):
    run = keep(store, side(tag="secret", git={"commit": "abc1234", "branch": "secret", "subject": "secret"}))
    for redact in (False, True):
        published(store, tmp_path / str(redact), [run], redact)
        texts = "".join(path.read_text() for path in (tmp_path / str(redact)).glob("[!dpr]*.*"))
        assert ("secret" in texts) is not redact


def test_cards_that_make_no_sense_are_left_out(store, both, tmp_path):
    site.write(store, both[:1], tmp_path)
    good = (tmp_path / f"{both[0]}.html").read_text()
    for number, (right, wrong) in enumerate(
        [("&#34;cases&#34;: 1", "&#34;cases&#34;: &#34;1&#34;"), ("&#34;kind&#34;: &#34;run", "&#34;kind&#34;: &#34;x")]
    ):
        assert right in good
        (tmp_path / f"wrong{number}.html").write_text(good.replace(right, wrong))
    nested = re.sub(r'(<meta name="gapbench" content=")[^"]*', r"\g<1>" + "[" * 30000, good)
    (tmp_path / "wrong2.html").write_text(nested)
    newer = good.replace("&#34;trust&#34;: &#34;", "&#34;trust&#34;: &#34;\\ud800 ")
    (tmp_path / "newer.html").write_text(newer)
    runs, _ = site.cards(tmp_path)
    assert {card["name"] for card in runs} == {both[0], "newer"}
    assert published(store, tmp_path)[0] == both[1:]
