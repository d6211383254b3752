# ruff: noqa: RUF001 - the page writes multiplication signs and dashes
import json
import re
import subprocess
import sys

import pandas as pd
import plotly.graph_objects as go
import pytest
from playwright.sync_api import expect, sync_playwright

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.records import RESULTS
from gapbench.report import html

ORDER = ["winners", "warnings", "charts", "results", "not-measured", "environment", "reading"]
HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1></script><b>%{x}&lt;"


def visible(page):
    """The page without scripts, styles and tags, spaces folded."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_sections_come_in_the_order_of_the_question_that_they_answer(frames):
    page = html.render(*frames(warnings=["the machine was busy; run again"]))
    assert re.findall(r'<section id="([\w-]+)"', page) == ORDER


def test_the_first_screen_says_which_run_and_who_won(frames):
    run, results, winners = frames()
    text = visible(html.render(run, results, winners))
    for part in (run["run"], "abc1234 (main, uncommitted changes)", "2026-11-22 10:11 UTC", "AMD EPYC"):
        assert part in text
    assert "avg_pool2d is fastest in 3 of 5 cases, sum_scale in 2." in text
    assert "ResNet-50 head 8×2048×7×7, float32, channels_last" in text
    assert "tied with sum_scale" in text
    assert "157 µs [155, 159]" in text
    assert "0.43× [0.423, 0.429]" in text


def test_every_case_and_implementation_is_in_the_table(frames):
    page = html.render(*frames())
    table = page[page.index('<table class="results">') :]
    assert table[: table.index("</table>")].count("<tr>") == 1 + 5 * 11


def test_rows_say_which_code_ran_where_that_is_known(frames):
    run, results, winners = frames()
    results.loc[results["implementation"] == "compiled_mean", "code_path"] = "Inductor fell back to aten.<mean>"
    assert html.render(run, results, winners).count("Inductor fell back to aten.&lt;mean&gt;") == 5


def test_where_contenders_compute_different_things_nobody_wins_and_costs_are_shown(frames):
    cases = (Case((1, 8, 4, 4)), Case((1, 8, 7, 7), operation="classifier_head", label="a head"))
    run, results, winners = frames(cases=cases)
    results.loc[results["operation"] != "gap", ["parameters", "recompilations"]] = [513_000, 2]
    results["reference"] = "mean"
    page = html.render(run, results, winners[:1])
    assert "of 1 case" in visible(page)
    costs = visible(page[page.index('<section id="costs">') : page.index('<section id="charts">')])
    for part in (
        "a head",
        "avg_pool2d 513,000 weights, peak –",
        "compiled 2 more times",
        "is the reference",
        "of mean",
    ):
        assert part in costs
    assert costs.count("a head") == 1
    alone = html.render(run, results[results["operation"] != "gap"], winners[:0])
    assert "Nobody wins here" in visible(alone)
    assert 'href="#costs"' in alone
    assert "costs" not in html.render(*frames()).split("<main>")[1].split("</main>")[0].split("How to read")[0]


def test_what_is_not_ok_is_listed_once_with_its_reason_the_worst_first(frames):
    text = visible(html.render(*frames()))
    wrong, unsupported = text.index("off by 31 ULP"), text.index("Triton has no CPU backend")
    assert wrong < unsupported
    assert text.count("off by 31 ULP") == 1


def test_facts_that_all_cases_share_are_said_once_and_others_become_columns(frames):
    cases = (Case((1, 8, 4, 4)), Case((1, 8, 4, 4), "float32", "contiguous", "cpu", "backward", 2))
    one, two = (html.render(*frames(cases=cases[:count])) for count in (1, 2))
    assert "1 thread, clock host" in visible(one)
    assert '<th scope="col">Threads</th>' not in one
    assert '<th scope="col">Threads</th>' in two
    assert "1×8×4×4, float32, contiguous, backward, 2 threads" in visible(two)


def test_cases_that_each_have_another_winner_have_no_single_winner(frames):
    run, results, winners = frames()
    winners["implementation"] = list("abcde")
    text = visible(html.render(run, results, winners))
    assert "No single winner: 5 implementations are fastest in one case each." in text


def test_a_reference_that_wins_is_said_to_be_the_reference(frames):
    assert "is the reference" in visible(html.render(*frames(speeds={"mean": 1.0, "einsum": 2.0})))


def test_a_case_without_a_winner_says_so(frames):
    run, results, winners = frames()
    lost = results["case"] == winners["case"][0]
    results.loc[lost, ["status", "reason"]] = ["failed", "raised RuntimeError"]
    results.loc[lost, ["seconds", "ratio"]] = None
    text = visible(html.render(run, results, winners[1:]))
    assert "no winner: nothing was measured successfully" in text
    assert "No time was measured." in text


def test_old_runs_say_what_they_know_and_nothing_else(frames):
    _, results, winners = frames()
    for run in ({}, dict.fromkeys(frames()[0]), {"git": None, "machine": {"cpu": None}, "argv": [], "warnings": None}):
        text = visible(html.render(run, results, winners))
        assert not re.search(r"\b(None|nan|NaN|NaT|NA|null)\b", text)
        assert "Commit" not in text
        assert "Machine" not in text


def test_nothing_at_all_is_a_page_too():
    text = visible(html.render({}, pd.DataFrame(columns=list(RESULTS)), pd.DataFrame()))
    assert "No case has a winner: nothing was measured successfully." in text


def test_nulls_of_every_kind_are_dashes(frames):
    run, results, winners = frames()
    results.loc[results["implementation"] == "numpy", ["label", "ratio", "gbps", "stopped_by", "samples"]] = None
    winners[["ratio", "reference", "label"]] = None
    winners["ties"] = None
    for kind in ("numpy_nullable", "pyarrow"):
        text = visible(html.render(run, results.convert_dtypes(dtype_backend=kind), winners))
        assert not re.search(r"\b(None|nan|NaN|NaT|null)\b|<NA>", text)


@pytest.mark.parametrize("changes", [{"complete": False}, {"ended": None}])
def test_an_unfinished_run_warns(frames, changes):
    assert "1 warning" in visible(html.render(*frames(**changes)))
    assert "not complete" in visible(html.render(*frames(**changes)))


def test_unknown_fields_of_the_environment_are_shown_as_they_are(frames):
    machine = {"l3_bytes": 33554432, "gpus": [{"name": "H200", "uuid": "GPU-1", "mig": None}], "smt": False}
    text = visible(html.render(*frames(machine=machine)))
    for part in ("l3 32.0 MiB", "gpus name H200, uuid GPU-1", "smt no"):
        assert part in text


def test_the_same_run_gives_the_same_page(frames):
    assert html.render(*frames()) == html.render(*frames())


def test_nothing_points_outside_the_page(frames):
    page = re.sub(r"<(script|style)\b.*?</\1>", "", html.render(*frames()), flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))


def test_a_figure_cannot_end_the_script_that_holds_it():
    text = "</script><!-- & <script>"
    script = html._figure_json(go.Figure(layout={"title": {"text": text}}))
    assert not re.search("[<>&]", script)
    assert json.loads(script)["layout"]["title"]["text"] == text


def test_writing_names_the_file_after_the_run(frames, tmp_path):
    path = html.write(tmp_path / "reports", *frames())
    assert path == tmp_path / "reports" / "20261122T101112Z-abc1234-9f3c.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a\nb"])
def test_a_run_id_cannot_leave_the_folder(frames, tmp_path, name):
    run, results, winners = frames(run=name)
    if name:
        with pytest.raises(GapbenchError, match="cannot name a file"):
            html.write(tmp_path, run, results, winners)
    else:
        assert html.write(tmp_path, run, results, winners) == tmp_path / "unnamed.html"


def test_reports_do_not_import_torch():
    code = "import sys, gapbench.report.html; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# In a browser


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Return a function that writes a report, opens it from its file and fails the test on anything untoward."""
    contexts, untoward = [], []

    def visit(frames, ready=True, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: untoward.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: untoward.append(f"error: {error}"))
        page.on("request", lambda request: untoward.append(request.url) if request.url not in expected else None)
        path = html.write(tmp_path, *frames)
        expected = _Local(path.as_uri())
        page.goto(path.as_uri())
        if ready:
            page.wait_for_selector("html[data-ready]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert untoward == []


class _Local:
    """The addresses that a page may ask for: itself and what it made itself."""

    def __init__(self, address):
        self.address = address

    def __contains__(self, url):
        return url.split("#")[0] == self.address or url.startswith(("blob:null/", "data:"))


def column(page, number):
    return page.locator(f"table.results tbody td:nth-child({number})").all_inner_texts()


def sorted_by(page, header, number):
    """Click a header and return the column as it is sorted then."""
    cell = page.locator("table.results th", has_text=header)
    before = cell.get_attribute("aria-sort")
    cell.click()
    expect(cell).to_have_attribute("aria-sort", "descending" if before == "ascending" else "ascending")
    return column(page, number)


def test_the_page_opens_offline_and_draws_its_charts(visit, frames):
    page = visit(frames())
    page.locator(".chart").last.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.chart .main-svg').length >= 5")
    first = page.locator(".chart").first
    assert "sum_scale" in first.inner_text()
    assert first.get_attribute("aria-label").startswith("Time per call, tutorial example")
    # An image of the chart, and no service to send it to.
    buttons = first.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert buttons == ["Download plot as a PNG"]
    assert first.locator("[href]").count() == 0


def test_the_table_searches_and_sorts_with_nulls_last_both_ways(visit, frames):
    page = visit(frames())
    page.get_by_placeholder("Search results").fill("bfloat16 pool2d")
    assert {text.split()[0] for text in column(page, 5)} == {"avg_pool2d", "adaptive_avg_pool2d"}
    page.get_by_placeholder("Search results").fill("bfloat16")
    ascending, descending = sorted_by(page, "Time per call", 7), sorted_by(page, "Time per call", 7)
    assert ascending[0].startswith("620 µs")
    assert descending[0].startswith("11.4 ms")
    assert ascending[-2:] == descending[-2:] == ["–", "–"]
    assert ascending[:-2] == descending[-3::-1]


def test_no_row_is_lost_to_paging_on_paper(visit, frames):
    page = visit(frames())
    assert len(column(page, 1)) == 25
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(column(page, 1)) == 55
    assert page.locator(".chart .main-svg").count() >= 5
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(column(page, 1)) == 25


@pytest.mark.parametrize("hostile", [False, True])
def test_a_phone_never_scrolls_sideways(visit, frames, hostile):
    made = with_hostile_text(frames) if hostile else frames()
    page = visit(made, viewport={"width": 400, "height": 900})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # draws all charts
    assert page.evaluate("document.documentElement.scrollWidth") == 400


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_paper_and_ink_follow_the_readers_colour_scheme(visit, frames, scheme, bright):
    page = visit(frames(), color_scheme=scheme)
    page.wait_for_selector(".chart .ytick text")
    colour = "(element, name) => getComputedStyle(element)[name].match(/\\d+/g).slice(0, 3).map(Number)"
    paper = page.locator("body").evaluate(colour, "backgroundColor")
    ink = page.locator(".chart .ytick text").first.evaluate(colour, "fill")
    assert (min(paper) > 200) is bright
    assert (max(ink) < 60) is bright
    assert abs(sum(paper) - sum(ink)) > 450


def test_the_page_reads_without_javascript(visit, frames):
    page = visit(frames(), ready=False, java_script_enabled=False)
    assert len(column(page, 1)) == 55
    assert page.get_by_text("avg_pool2d is fastest at 157 µs").first.is_visible()


def with_hostile_text(frames):
    """A run whose every text is an attack on the page."""
    git = {"commit": "abc1234", "branch": HOSTILE, "subject": HOSTILE}
    run, results, winners = frames(
        cases=(Case((2, 3, 4, 4), label=HOSTILE), Case((2, 3, 4, 4), dtype="float16", label="plain")),
        speeds={"mean": 1.0, HOSTILE: 0.5, f"{HOSTILE}2": 0.51, "compiled_sum": None},
        git=git,
        argv=["gapbench", HOSTILE],
        warnings=[HOSTILE],
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        machine={"cpu": HOSTILE},
    )
    results["reason"] = results["reason"].where(results["reason"].isna(), HOSTILE)
    results["stopped_by"] = HOSTILE
    return run, results, winners


def test_hostile_text_stays_text(visit, frames):
    plain = visit(frames(cases=(Case((2, 3, 4, 4)),), speeds={"mean": 1.0, "einsum": 1.2, "compiled_sum": None}))
    page = visit(with_hostile_text(frames))
    for one in (plain, page):
        one.evaluate("dispatchEvent(new Event('beforeprint'))")
        one.get_by_placeholder("Search results").fill("script")
        one.get_by_placeholder("Search results").fill("")
        one.locator("table.results th", has_text="Implementation").click()
        one.wait_for_selector(".chart .main-svg")
    page.locator(".chart .point").first.hover(force=True)
    page.wait_for_selector(".hoverlayer text")
    assert page.evaluate("window.pwned") is None
    for selector in ("script", "img", "main a:not([href^='#'])", "b b", "iframe"):
        assert page.locator(selector).count() == plain.locator(selector).count()
    assert page.get_by_text(HOSTILE).count() >= 10
