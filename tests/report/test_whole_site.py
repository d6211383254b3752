"""Test all pages of a site: links, single files, hostile texts, the diff."""

import csv
import re
from urllib.parse import unquote

import pytest
from browsing import BASE, CASE, CASES, FORMULA, HEAD, HOSTILE, column
from playwright.sync_api import expect

from gapbench.report import assets


def text_of(page):
    page.wait_for_selector("html[data-drawn]")
    return page.locator("body").inner_text()


@pytest.mark.parametrize("name", [f"{HEAD}.html", f"{BASE}..{HEAD}.html", "runs.html"])
def test_a_single_file_says_the_same_as_the_site(pages, visit, name):
    assert text_of(visit(pages / "single" / name)) == text_of(visit(pages / "site" / name))
    if name == f"{HEAD}.html":
        page = visit(pages / "single" / name, f"#case={CASE}")
        page.wait_for_selector("#case .chart .main-svg")
        assert page.locator("a:not([href^='#'])").count() == 0


def test_every_link_leads_somewhere(pages, visit):
    for path in sorted((pages / "site").glob("*.html")):
        page = visit(path)
        for link in page.locator("[href]").evaluate_all("all => all.map(one => one.getAttribute('href'))"):
            name, _, anchor = unquote(link).partition("#")
            assert (pages / "site" / (name or path.name)).is_file(), (path.name, link)
            is_state = "=" in anchor  # filters and selections are no places
            assert not anchor or is_state or page.locator(f"[id='{anchor}']").count() == 1, (path.name, link)


@pytest.mark.parametrize("library", ["datatables", "plotly"])
def test_a_library_that_is_missing_is_named(pages, browser, tmp_path, library):
    missing = getattr(assets, library)().name
    for path in (pages / "site").iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    page = browser.new_page()
    page.goto((tmp_path / f"{HEAD}.html").as_uri())
    expect(page.locator("#problem")).to_contain_text(f"{missing} is missing")
    page.close()


def test_the_diff_shows_red_first_folds_what_did_not_change_and_says_how_to_measure_again(pages, visit):
    page = visit(pages / "site" / f"{BASE}..{HEAD}.html")
    verdicts = column(page, "diff", "Verdict")
    assert verdicts[0] == "▲ regressed"
    assert not any("equivalent" in text for text in verdicts)
    assert (
        page.get_by_role("link", name=CASES[0].id).first.get_attribute("href").startswith(f"{HEAD}.html#case=8x64x7x7")
    )
    commands = page.locator("#again code").all_inner_texts()
    assert len(commands) == sum("regressed" in text for text in verdicts) > 0
    assert all(command.startswith("gapbench run --shape") and command.endswith("--impl fast") for command in commands)
    shown = int(re.search(r"of (\d+) rows", page.locator("#rows .dt-info").inner_text())[1])
    folded = int(re.search(r"(\d+) equivalent", page.locator("#rows").inner_text())[1])
    page.get_by_label("more").check()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#rows .dt-info").inner_text().endswith(f"of {shown + folded} rows")


def test_hostile_text_stays_text(pages, visit):
    for name in (f"{HEAD}.html", f"{BASE}..{HEAD}.html", "index.html"):
        plain, page = visit(pages / "site" / name), visit(pages / "hostile" / name)
        for item in (plain, page):
            item.get_by_role("searchbox").last.fill("script")
            item.get_by_role("searchbox").last.fill("")
        if name == f"{HEAD}.html":
            for item in (plain, page):
                item.locator("[data-table=winners] tbody button").first.click()
                item.wait_for_selector("#case .chart .main-svg")
            page.locator("#case .chart .point").first.hover(force=True)
            page.wait_for_selector(".hoverlayer text")
            assert page.locator("#case").get_by_text(HOSTILE).count() >= 2
        assert page.evaluate("window.pwned") is None
        assert page.locator("img, iframe, b b").count() == 0
        for selector in ("script:not([type])", "script[src]"):
            assert page.locator(selector).count() == plain.locator(selector).count()
        assert page.locator("[onerror]").count() == 0
        assert page.get_by_text(HOSTILE).count() >= 1


def test_a_spreadsheet_gets_no_formulas(pages, visit, tmp_path):
    page = visit(pages / "hostile" / f"{HEAD}.html")
    with page.expect_download() as download:
        page.locator("#results").get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "rows.csv")
    cells = [cell for row in csv.reader((tmp_path / "rows.csv").open(encoding="utf-8-sig")) for cell in row]
    assert f"'{FORMULA}" in cells
    assert not any(cell.startswith(("=", "@", "+")) for cell in cells)
