# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""The heat map of a run's page: its cells, its order, its keys, and phones."""

import re

import pytest
from browsing import BASE, HEAD, HOSTILE, facet
from playwright.sync_api import expect
from stored import keep, side

from gapbench.report import site
from gapbench.store.store import Store
from gapbench.workloads.cases import Case


@pytest.fixture
def heat_of(tmp_path, visit):
    """Return a function that opens the page of a run of `side`'s arguments, and gives it with its heat map."""

    def make(address="", options=None, **fields):
        store = Store(str(tmp_path / "results"))
        keep(store, side(BASE, **fields))
        site.write(store, [BASE], tmp_path / "site")
        page = visit(tmp_path / "site" / f"{BASE}.html", address, **(options or {}))
        return page, page.locator("[data-table=heat]")

    return make


def names(table):
    return [re.sub(r"\W+$", "", text) for text in table.locator("thead th").all_inner_texts()]


def cell(table, name, line=0):
    return table.locator("tbody tr").nth(line).locator(f"td:nth-child({names(table).index(name) + 1}) button")


def test_a_cell_has_its_ratio_and_says_its_time_its_interval_and_its_case(heat_of):
    page, table = heat_of(changes={"fast": 0.25})
    assert names(table) == ["Case", "Regret", "fast", "mean", "slow", "odd"]
    expect(cell(table, "fast")).to_contain_text("★1.00, fastest")
    expect(cell(table, "mean")).to_have_text(re.compile(r"^(1\.9|2\.0)\d×$"))
    cell(table, "mean").hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_have_text(
        re.compile(r"^mean small head, 8×64×7×7, .*\d µs \[.*\] per call(1\.9|2\.0)\d× \[.*\] the")
    )
    expect(cell(table, "mean")).to_have_attribute("aria-describedby", "tip")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    assert page.locator("[aria-describedby=tip]").count() == 0
    cell(table, "mean").click()
    expect(page.locator("#case h2")).to_contain_text("small head")


def test_ties_are_hatched_and_marked(heat_of):
    page, table = heat_of(changes={"fast": 0.5005}, seed=1, spread=0.002)
    tie = table.locator(".tie")
    expect(tie).to_have_text(re.compile(r"^≈1\.0\d×$"))
    assert "gradient" in tie.evaluate("cell => getComputedStyle(cell).backgroundImage")
    tie.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("a tie: not shown to be more than 1 % slower")


@pytest.mark.parametrize(
    ("status", "text"), [("wrong", "✕ wrong"), ("failed", "✕ failed"), ("unsupported", "⊘unsupported")]
)
def test_what_has_no_ratio_is_marked_and_says_why_where_the_focus_is(heat_of, status, text):
    page, table = heat_of(statuses={"odd": status})
    expect(cell(table, "odd")).to_have_text(text)
    cell(table, "odd").focus()
    expect(page.get_by_role("tooltip")).to_contain_text(f"{status} it is {status}")


def test_contenders_that_compute_different_things_have_times_and_no_colour(heat_of):
    page, table = heat_of(cases=[Case((8, 64, 7, 7), operation="classifier_head", pass_="update")])
    expect(cell(table, "odd")).to_have_text(re.compile(r"µs$"))
    assert table.locator(".fastest").count() == 0
    assert cell(table, "odd").get_attribute("style") == cell(table, "mean").get_attribute("style")
    cell(table, "odd").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("not ranked: these compute different things")


def test_slower_cells_are_hotter_until_four_times_the_fastest(heat_of):
    _, table = heat_of(names=[f"m{number}" for number in range(1, 7)])
    heats = [cell(table, f"m{number}").get_attribute("style") for number in range(1, 7)]
    assert heats[0] == "--heat: 0%"
    assert [int(re.sub(r"\D", "", heat)) for heat in heats] == pytest.approx([0, 50, 79, 100, 100, 100], abs=2)


def test_it_is_sorted_by_any_column_and_a_reload_keeps_it(run_page):
    page = run_page()
    table = page.locator("[data-table=heat]")
    for name in ("other_0", "Regret", "Case"):
        header = table.locator("thead th", has_text=name)
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "ascending")
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "descending")
        rows = table.locator("tbody tr").all_inner_texts()
        if name == "other_0":
            assert "heat.sort=impl.other_0" in page.url
            ratios = [float(cell(table, name, line).inner_text().strip("×≈")) for line in range(4)]
            assert ratios == sorted(ratios, reverse=True)
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert table.locator("tbody tr").all_inner_texts() == rows
    facet(page, "Dtype").select_option("bfloat16")
    expect(table.locator("tbody tr")).to_have_count(1)


def test_arrows_move_between_cells_which_are_one_stop_of_the_tab_key(run_page):
    page = run_page()
    table = page.locator("[data-table=heat]")
    expect(table.locator("tbody [tabindex='0']")).to_have_count(1)
    table.locator("tbody button").first.focus()
    steps = {"ArrowRight": (0, 0), "ArrowDown": (1, 0), "End": (1, 11), "ArrowUp": (0, 11), "ArrowRight ": (0, 11)}
    for key, (line, place) in steps.items():
        page.keyboard.press(key.strip())
        expect(table.locator("tbody tr").nth(line).locator(".cell").nth(place)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#case h2")).to_be_visible()
    page.keyboard.press("Escape")
    expect(table.locator("tbody tr").first.locator(".cell").nth(11)).to_be_focused()
    expect(table.locator("tbody [tabindex='0']")).to_have_count(1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-table=heat] tbody')") is None


def test_on_a_phone_cells_scroll_under_their_case(run_page):
    page = run_page(viewport={"width": 400, "height": 900})
    table = page.locator("[data-table=heat]")
    last = table.locator("tbody tr").first.locator("td").last
    last.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert table.locator("tbody th").first.bounding_box()["x"] >= 0
    assert last.bounding_box()["x"] < 400
    last.locator("button").hover()
    box = page.get_by_role("tooltip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400


def test_hidden_words_of_cells_do_not_widen_a_phones_page(heat_of):
    several = ("mean", "fast", "slow", "odd", "even", "last")
    phone = {"viewport": {"width": 400, "height": 900}}
    page, table = heat_of(options=phone, names=several, statuses={"last": "unsupported"})
    expect(cell(table, "last")).to_contain_text("unsupported")
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_many_cases_are_drawn_a_page_at_a_time(heat_of):
    page, table = heat_of(cases=[Case((1, 64, size, 7)) for size in range(1, 41)], names=("mean", "fast"))
    expect(table.locator("tbody tr")).to_have_count(25)
    expect(page.locator("#heat .dt-info")).to_have_text("1–25 of 40 rows")
    page.locator("#heat").get_by_label("Next").click()
    expect(table.locator("tbody tr")).to_have_count(15)
    expect(table.locator("tbody [tabindex='0']")).to_have_count(1)


def test_names_are_text_and_those_with_a_colon_are_sorted_by(heat_of):
    page, table = heat_of(names=("mean", HOSTILE, "pool.py:fast"))
    header = table.locator("thead th", has_text="pool.py:fast")
    header.click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(header).to_have_attribute("aria-sort", "ascending")
    table.locator("tbody .cell").nth(1).hover()
    expect(page.get_by_role("tooltip")).to_contain_text(HOSTILE)
    expect(table.locator("thead")).to_contain_text(HOSTILE)
    assert page.evaluate("window.pwned") is None


def test_it_comes_first_and_all_results_is_its_table(pages, run_page):
    page = run_page()
    assert page.locator("main section:not(.card)").first.get_attribute("id") == "heat"
    assert page.locator("#heat table").count() == 1
    assert 'data-table="heat"' in (pages / "single" / f"{HEAD}.html").read_text("utf-8")
