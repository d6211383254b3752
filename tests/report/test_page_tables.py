# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""The tables of a run's page: filters, order, CSV, paging."""

import csv
import re

import pytest
from browsing import asked, column, facet, rows
from playwright.sync_api import expect


def test_filters_search_order_and_selection_survive_a_reload(run_page):
    page = run_page()
    facet(page, "Dtype").select_option("float32")
    facet(page, "Status").select_option("ok")
    page.get_by_label("Search All results").fill("other")
    page.locator("[data-table=results] th", has_text="Time per call").click()
    asked(page, "Shape").fill("1x64x32x32")
    before = rows(page), page.locator("#ask output").inner_text()
    assert len(before[0]) == 24
    page.get_by_role("button", name="tutorial").first.click()
    expect(page.locator("#case")).to_be_visible()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert (rows(page), page.locator("#ask output").inner_text()) == before
    expect(page.locator("#case h2")).to_contain_text("tutorial")
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("case="))  # a window says that it closed a moment later
    assert len(rows(page, "winners")) == 3  # the filter by dtype holds in both tables


def test_links_within_the_page_keep_the_filters(run_page):
    page = run_page("#dtype=bfloat16")
    page.get_by_role("link", name="Help").click()
    expect(page).to_have_url(re.compile("#dtype=bfloat16&at=help$"))
    page.goto(page.url.partition("#")[0] + "#trust")
    page.wait_for_function("document.activeElement.id === 'trust'")


def test_numbers_that_were_not_measured_sort_last_both_ways(run_page):
    page = run_page()
    header = page.locator("[data-table=results] th", has_text="Time per call")
    orders = []
    for direction in ("ascending", "descending"):
        header.click()
        expect(header).to_have_attribute("aria-sort", direction)
        page.locator("#results").get_by_label("rows a page").select_option("100")
        orders.append(column(page, "results", "Time per call"))
    assert orders[0][-4:] == orders[1][-4:] == ["–"] * 4
    assert orders[0][0].endswith("]")
    assert orders[0][:-4] == orders[1][-5::-1]


def test_the_csv_has_what_the_filters_leave_in_si_units(run_page, tmp_path):
    page = run_page("#dtype=bfloat16&status=ok")
    with page.expect_download() as download:
        page.locator("#results").get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "rows.csv")
    result = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8-sig")))
    assert len(result) == 11
    fast = next(row for row in result if row["implementation"] == "fast")
    assert float(fast["seconds"]) == pytest.approx(5e-6, rel=0.1)
    assert float(fast["seconds_low"]) < float(fast["seconds"]) < float(fast["seconds_high"])
    assert fast["dtype"] == "bfloat16"


def test_no_row_is_lost_to_paging_on_paper(run_page):
    page = run_page()
    assert len(rows(page)) == 25
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(rows(page)) == 48
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(rows(page)) == 25


def test_the_buttons_of_the_pager_are_in_one_row(run_page):
    """That to the first page has DataTables' class "first", which was one of the page's own, of a grid."""
    page = run_page()
    boxes = [button.bounding_box() for button in page.locator("#results .dt-paging-button").all()]
    assert len(boxes) >= 5
    assert len({(round(box["y"]), round(box["height"])) for box in boxes}) == 1


def test_long_names_break_after_underscores_and_in_no_word(run_page):
    """``compiled_sum_scal`` and ``e`` were two lines."""
    page = run_page()
    names = page.locator("[data-table=results] .name")
    shown = names.evaluate_all("names => names.map((name) => [name.textContent, name.innerHTML])")
    assert any("_" in text for text, _ in shown)
    assert all(html == text.replace("_", "_<wbr>") for text, html in shown)
    assert names.first.evaluate("name => getComputedStyle(name).overflowWrap") == "break-word"
