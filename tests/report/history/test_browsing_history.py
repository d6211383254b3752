"""The page of history in a real browser, opened from its file; `visit` fails a test on any error or request."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from stored import CASE, OTHER, keep, side

from gapbench.report import site
from gapbench.store.store import Store

HOSTILE = "<img src=x onerror=window.pwned=1>"
RUNS = [f"202611{10 + number}T101112Z-abc1234-{number:04}" for number in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site of eight runs: `fast` is 1.3 times slower from the fifth on, torch changes at the seventh."""
    folder = tmp_path_factory.mktemp("history")
    store = Store(str(folder / "results"))
    for number, run in enumerate(RUNS):
        fields = {
            "git": {"commit": f"{number:07x}" * 5, "branch": "main", "subject": HOSTILE, "dirty": False},
            "versions": {"torch": HOSTILE if number > 6 else "2.13.0"},
            "names": ("mean", "fast", HOSTILE),
            "cases": (CASE, OTHER),
        }
        keep(store, side(run, {"fast": 1.3 if number > 3 else 1}, seed=number, spread=0.001, **fields))
    site.write(store, RUNS[-1:], folder / "reports")
    return folder / "reports"


@pytest.fixture
def history(folder, visit):
    """Open the page."""
    return lambda address="", **options: visit(folder / "history.html", address, **options)


def test_the_trend_that_stepped_is_first_and_opens_with_its_chart_and_every_run(history):
    page = history()
    first = page.locator("[data-table=history] tbody tr").first
    expect(first).to_contain_text("fast")
    expect(first).to_contain_text("0000004")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    window = page.locator("#trend")
    page.wait_for_selector("#trend .main-svg")
    expect(window.locator("tbody tr")).to_have_count(len(RUNS))
    assert "after one step: the last at 0000004" in window.locator("figcaption").inner_text()
    steps = [text for text in window.locator("tbody td[data-label=Step]").all_inner_texts() if text]
    assert [step[:3] for step in steps] == ["1.3"]
    page.reload()
    page.wait_for_selector("#trend .main-svg")
    page.keyboard.press("Escape")
    expect(window).to_be_hidden()
    expect(page).not_to_have_url(re.compile("trend="))


def test_a_case_leads_to_its_history(folder, visit):
    page = visit(folder / f"{RUNS[-1]}.html")
    page.locator("#winners [data-case]").first.click()
    page.get_by_role("link", name="History of this case").click()
    page.wait_for_selector("html[data-ready]")
    rows = page.locator("[data-table=history] tbody tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_label("Search Trends")).to_have_value(CASE.id)


def test_the_index_leads_to_it_and_it_leads_back(folder, visit):
    page = visit(folder / "index.html")
    page.get_by_role("link", name="History").click()
    page.wait_for_selector("[data-table=history] tbody tr")
    page.get_by_role("link", name="All reports").click()
    page.wait_for_selector("html[data-ready]")
    assert page.title() == "Reports · gapbench"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_serious_and_nothing_sideways(history, scheme, width):
    page = history(color_scheme=scheme, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("[data-trend]").first.click()
    page.wait_for_selector("#trend .main-svg")
    result = Axe().run(page, options={"preload": False}).response["violations"]
    assert [(row["id"], row["nodes"][0]["html"]) for row in result if row["impact"] in ("serious", "critical")] == []


def test_hostile_text_stays_text(history):
    page = history()
    for opener in page.locator("[data-trend]").all():
        opener.click()
        page.wait_for_selector("#trend .main-svg")
        page.keyboard.press("Escape")
    assert page.evaluate("window.pwned") is None
    assert HOSTILE in page.locator("main").inner_text()
