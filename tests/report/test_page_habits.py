# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""Keyboard, themes, phones, accessibility, and no script at all."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import BASE, CASE, HEAD
from playwright.sync_api import expect


def test_the_keyboard_searches_moves_opens_and_tells(run_page):
    page = run_page()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("[data-table=heat] tbody th button").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#case h2")).to_contain_text("channels_last")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Search Heat map")).to_be_focused()
    page.keyboard.type("jk?")
    expect(page.get_by_label("Search Heat map")).to_have_value("jk?")
    page.get_by_label("Search Heat map").fill("")
    page.get_by_label("Search Heat map").blur()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def test_the_keyboard_opens_a_run_from_the_index_and_a_case_from_a_diff(pages, visit):
    page = visit(pages / "site" / "index.html")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{HEAD}.html*")
    page = visit(pages / "site" / f"{BASE}..{HEAD}.html")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#case")).to_be_visible()


def test_j_turns_the_page_at_its_end(run_page):
    page = run_page()
    page.get_by_label("Search All results").focus()
    page.locator("[data-table=results] tbody button").nth(24).focus()
    page.keyboard.press("j")
    expect(page.locator("#results .dt-info")).to_have_text("26–48 of 48 rows")
    expect(page.locator("[data-table=results] tbody button").first).to_be_focused()


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_paper_and_ink_follow_the_system_until_the_switch_says_otherwise(run_page, scheme, bright):
    page = run_page(f"#case={CASE}", color_scheme=scheme)
    page.wait_for_selector(".chart .ytick text")

    def is_bright():
        colour = "(element, name) => getComputedStyle(element)[name].match(/\\d+/g).slice(0, 3).map(Number)"
        paper = page.locator("body").evaluate(colour, "backgroundColor")
        ink = page.locator(".chart .ytick text").first.evaluate(colour, "fill")
        assert abs(sum(paper) - sum(ink)) > 450
        return min(paper) > 200

    assert is_bright() is bright
    page.keyboard.press("Escape")
    switch = page.get_by_role("button", name="Theme")
    while switch.inner_text() != f"Theme: {'dark' if bright else 'light'}":
        switch.click()
    page.goto(page.url.partition("#")[0] + f"#case={CASE}")
    page.wait_for_selector(".chart .ytick text")
    assert is_bright() is not bright


@pytest.mark.parametrize("folder", ["site", "hostile"])
@pytest.mark.parametrize("name", [f"{HEAD}.html", f"{BASE}..{HEAD}.html", "index.html", "runs.html"])
def test_a_phone_never_scrolls_sideways(pages, visit, folder, name):
    page = visit(pages / folder / name, viewport={"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    if name == f"{HEAD}.html":
        page.locator("[data-table=winners] tbody button").first.click()
        page.wait_for_selector("#case .chart .main-svg")
        assert page.locator("#case").evaluate("one => one.scrollWidth - one.clientWidth") <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious(pages, visit, scheme, width):
    for name in (f"{HEAD}.html", f"{HEAD}.html#case={CASE}", f"{BASE}..{HEAD}.html", "index.html", "runs.html"):
        name, _, address = name.partition("#")
        page = visit(
            pages / "site" / name, f"#{address}", color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        if address:
            page.wait_for_selector("#case .chart .main-svg")
        result = Axe().run(page, options={"preload": False}).response["violations"]
        assert [
            (row["id"], row["nodes"][0]["html"]) for row in result if row["impact"] in ("serious", "critical")
        ] == []


def test_without_javascript_the_page_says_what_is_missing_and_the_rest_reads(pages, visit):
    page = visit(pages / "site" / f"{HEAD}.html", ready=False, java_script_enabled=False)
    text = page.locator("main").inner_text()
    for part in ("this browser does not run scripts", "fast is fastest in", "! caution", "busy", "it is wrong"):
        assert part in text
