# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""The pages in a real browser, opened from their files, offline; `visit` fails a test on any error or request."""

import csv
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import plotly.graph_objects as go
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect
from stored import keep, side

from gapbench.cases import Case
from gapbench.report import assets, site
from gapbench.report import format as fmt
from gapbench.report.charts import style
from gapbench.report.views import View
from gapbench.store import Store

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1></script><b>%{x}&lt;`${1}"
FORMULA = "=HYPERLINK(1)"
CASES = (
    Case((8, 64, 7, 7), label="small head"),
    Case((8, 64, 7, 7), layout="channels_last", label="small head"),
    Case((8, 256, 56, 56), dtype="bfloat16", label="squeeze"),
    Case((1, 64, 32, 32), label="tutorial"),
)
NAMES = ("mean", "fast", "slow", "odd", *(f"other_{number}" for number in range(8)))
BASE, HEAD = "20261122T101112Z-abc1234-0001", "20261123T101112Z-def5678-0002"
CASE = f"{CASES[0].id}@host"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A site of two runs, the second slower for `fast`, the same as single files, and a site of hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    changes = {"fast": 0.2, "odd": 0.1256}
    snippets = {"fast": "fast(x)", "mean": "x.mean((2, 3))"}
    common = {"cases": CASES, "names": NAMES, "statuses": {"slow": "wrong"}, "snippets": snippets}
    store = Store(str(folder / "results"))
    keep(store, side(BASE, changes, seed=1, **common))
    keep(store, side(HEAD, {**changes, "fast": 0.25}, seed=2, warnings=["busy; stop other work"], **common))
    site.write(store, [BASE, HEAD], folder / "site")
    site.write(store, [BASE, HEAD], folder / "single", single_file=True)
    _hostile(Store(str(folder / "hostile-results")), folder / "hostile")
    return folder


def _hostile(store, folder):
    names = ("mean", HOSTILE, f"{HOSTILE}2", FORMULA)
    fields = {
        "cases": (Case((2, 3, 4, 4), label=HOSTILE), Case((2, 3, 4, 4), dtype="float16", label="plain")),
        "names": names,
        "statuses": {f"{HOSTILE}2": "wrong"},
        "git": {"commit": "abc1234", "branch": HOSTILE, "subject": HOSTILE, "dirty": True},
        "argv": ["gapbench", HOSTILE],
        "tag": HOSTILE,
        "warnings": [HOSTILE],
        "settings": {HOSTILE: {HOSTILE: [HOSTILE]}},
        "machine": {"cpu": HOSTILE},
        "snippets": dict.fromkeys(names, HOSTILE),
        "plan": [],
    }
    runs = [
        keep(store, side(run, {HOSTILE: 0.3 * place}, seed=place, **fields))
        for place, run in enumerate((BASE, HEAD), 1)
    ]
    site.write(store, runs, folder)


@pytest.fixture
def run_page(pages, visit):
    """Open the page of the newer run."""
    return lambda address="", **options: visit(pages / "site" / f"{HEAD}.html", address, **options)


def rows(page, table="results"):
    return page.locator(f"[data-table={table}] tbody tr").all_inner_texts()


def column(page, table, title):
    """The texts of a column by its header."""
    headers = page.locator(f"[data-table={table}] thead th").all_inner_texts()
    place = next(index for index, header in enumerate(headers) if header.startswith(title))
    return page.locator(f"[data-table={table}] tbody td:nth-child({place + 1})").all_inner_texts()


def asked(page, label):
    """A field of the form."""
    return page.locator("#ask").get_by_label(label)


def facet(page, label):
    """A filter of the table of all results."""
    return page.locator("#results .facets").get_by_label(label)


# Which implementation?


def test_a_shape_is_typed_and_the_winner_read(run_page):
    page = run_page()
    asked(page, "Shape").fill("8, 256, 56, 56")
    asked(page, "Dtype").select_option("bfloat16")
    answer = page.locator("#ask output")
    expect(answer.locator(".answer")).to_have_text("★fast")
    expect(answer).to_contain_text("Time per call4.99 µs [")
    expect(answer).to_contain_text("Time against mean\n0.50×", use_inner_text=True)
    expect(answer).to_contain_text("ceiling: not measured")
    expect(answer.locator("pre")).to_have_text("fast(x)")


def test_the_answer_says_how_much_of_which_ceiling_is_reached(tmp_path, visit):
    levels = {"L1": (2**15, 100.0), "L2": (2**20, 2.0)}
    common = {"kind": "read", "device": "cpu", "threads": 1}
    known = [{"level": name, "bytes": nbytes, "gbps": gbps, **common} for name, (nbytes, gbps) in levels.items()]
    store = Store(str(tmp_path / "results"))
    keep(store, side(BASE, cases=CASES[:1], ceilings=known))
    site.write(store, [BASE], tmp_path / "site")
    answer = visit(tmp_path / "site" / f"{BASE}.html").locator("#ask output")
    expect(answer).to_contain_text("% of the measured read ceiling (L2) – above it")
    roofline = visit(tmp_path / "site" / f"{BASE}.html", "#roofline").locator("#roofline")
    expect(roofline).to_contain_text("4 of 4 measurements are above their ceiling")


def test_ties_are_named_and_a_winner_without_a_snippet_says_so(run_page):
    page = run_page()
    answer = page.locator("#ask output")
    winners = column(page, "winners", "Fastest")
    assert any("tied with" in text for text in winners)
    tied = next(place for place, text in enumerate(winners) if "tied with" in text)
    case = CASES[tied]
    asked(page, "Shape").fill("x".join(map(str, case.shape)))
    asked(page, "Dtype").select_option(case.dtype)
    asked(page, "Layout").select_option(case.layout)
    expect(answer).not_to_contain_text("none")
    expect(answer).to_contain_text("◆")


def test_a_shape_that_was_not_measured_gets_the_nearest_with_their_distance(run_page):
    page = run_page()
    asked(page, "Shape").fill("16x64x7x7")
    answer = page.locator("#ask output")
    expect(answer).to_contain_text("16×64×7×7 was not measured")
    near = answer.locator("li").all_inner_texts()
    assert [text.split(":")[0] for text in near] == ["8×64×7×7", "1×64×32×32"]
    assert "distance 0.69: 0.500 times N·C, the same H·W" in near[0]
    expect(answer).to_contain_text("gapbench run --shape 16x64x7x7 --dtype float32")
    answer.get_by_role("button", name="8×64×7×7").click()
    expect(answer.locator(".answer")).to_be_visible()


@pytest.mark.parametrize("typed", ["", "abc", "8x2048", "8x0x7x7", "1x2x3x4x5x6"])
def test_what_is_no_shape_says_how_to_write_one(run_page, typed):
    page = run_page()
    asked(page, "Shape").fill(typed)
    expect(page.locator("#ask output")).to_have_text("Write a shape as N x C x spatial sizes: 8x2048x7x7.")


# Tables


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
    found = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8-sig")))
    assert len(found) == 11
    fast = next(row for row in found if row["implementation"] == "fast")
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


# The window of a case, charts


def test_a_case_opens_with_its_chart_its_summary_and_all_its_rows(run_page):
    page = run_page()
    page.get_by_role("button", name="squeeze").first.click()
    window = page.locator("#case")
    times, distribution = window.locator("figure").all()
    times.locator(".main-svg").first.wait_for()
    assert distribution.locator("figcaption").inner_text().startswith("396 samples of 11 implementations")
    assert "fast" in times.locator(".chart").inner_text()
    assert times.locator("figcaption").inner_text().startswith("fast is fastest at")
    assert len(window.locator("tbody tr").all()) == 12
    assert "it is wrong" in window.locator("tbody tr").last.inner_text()
    buttons = times.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert buttons == ["Download plot as a PNG"]  # and no service to send it to
    assert window.locator(".chart [href]").count() == 0


def test_a_view_of_the_run_is_drawn_when_it_comes_near_and_shown_as_a_table_on_request(
    pages, visit, tmp_path, monkeypatch
):
    def figure(frame):
        return go.Figure(go.Bar(x=frame["implementation"], y=frame["seconds"]), layout=style.LAYOUT)

    columns = ["implementation", "dtype", "seconds"]
    chart = SimpleNamespace(figure=figure, summary=lambda _: "All.", table=lambda frame: frame[columns])
    view = View("bars", "Bars", "Which is lowest?", "run", chart, lambda one: (one.results,))
    monkeypatch.setattr("gapbench.report.views.VIEWS", (view,))
    (path,) = site.write(Store(str(pages / "results")), [HEAD], tmp_path)
    page = visit(path)
    assert page.locator("#bars figcaption").inner_text() == "Which is lowest? All."
    assert page.locator(".main-svg").count() == 0
    page.get_by_role("link", name="Bars").click()
    page.wait_for_selector("#bars .main-svg")
    page.get_by_text("View as table").click()
    table = page.locator("#bars table")
    expect(table.locator("thead th")).to_have_text([re.compile(one) for one in columns])
    assert table.locator("tbody tr").count() == 25
    found = Axe().run(page, options={"preload": False}).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


# Habits


def test_the_keyboard_searches_moves_opens_and_tells(run_page):
    page = run_page()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("[data-table=winners] tbody tr").nth(1).get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#case h2")).to_contain_text("channels_last")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Search Winners")).to_be_focused()
    page.keyboard.type("jk?")
    expect(page.get_by_label("Search Winners")).to_have_value("jk?")
    page.get_by_label("Search Winners").fill("")
    page.get_by_label("Search Winners").blur()
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
@pytest.mark.parametrize("name", [f"{HEAD}.html", f"{BASE}..{HEAD}.html", "index.html"])
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
    for name in (f"{HEAD}.html", f"{HEAD}.html#case={CASE}", f"{BASE}..{HEAD}.html", "index.html"):
        name, _, address = name.partition("#")
        page = visit(
            pages / "site" / name, f"#{address}", color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        if address:
            page.wait_for_selector("#case .chart .main-svg")
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_without_javascript_the_page_says_what_is_missing_and_the_rest_reads(pages, visit):
    page = visit(pages / "site" / f"{HEAD}.html", ready=False, java_script_enabled=False)
    text = page.locator("main").inner_text()
    for part in ("which this browser does not run", "fast is fastest in", "! caution", "busy", "it is wrong"):
        assert part in text


# The site as a whole


def text_of(page):
    page.wait_for_selector("html[data-ready]")
    return page.locator("body").inner_text()


@pytest.mark.parametrize("name", [f"{HEAD}.html", f"{BASE}..{HEAD}.html"])
def test_a_single_file_says_the_same_as_the_site(pages, visit, name):
    assert text_of(visit(pages / "single" / name)) == text_of(visit(pages / "site" / name))
    if ".." not in name:
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


def test_a_library_that_is_missing_is_named(pages, browser, tmp_path):
    for path in (pages / "site").iterdir():
        if not path.name.startswith("datatables"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    page = browser.new_page()
    page.goto((tmp_path / f"{HEAD}.html").as_uri())
    expect(page.locator("#problem")).to_contain_text(f"{assets.datatables().name} is missing")
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
    shown = len(rows(page, "diff"))
    folded = int(re.search(r"(\d+) equivalent", page.locator("#rows").inner_text())[1])
    page.get_by_label("more").check()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#rows .dt-info").inner_text().endswith(f"of {shown + folded} rows")


def test_hostile_text_stays_text(pages, visit):
    for name in (f"{HEAD}.html", f"{BASE}..{HEAD}.html", "index.html"):
        plain, page = visit(pages / "site" / name), visit(pages / "hostile" / name)
        for one in (plain, page):
            one.get_by_role("searchbox").last.fill("script")
            one.get_by_role("searchbox").last.fill("")
        if name == f"{HEAD}.html":
            for one in (plain, page):
                one.locator("[data-table=winners] tbody button").first.click()
                one.wait_for_selector("#case .chart .main-svg")
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


# What scripts and Python must say alike


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.floats(1e-10, 1e5), min_size=3, max_size=40))
def test_numbers_read_the_same_in_the_page_and_in_the_terminal(formats, values):
    values = [value * math.pi for value in values]  # 0.5 rounds to even in Python only; nothing measured is so round
    calls = {
        "seconds": [fmt.seconds(one) for one in values],
        "ratio": [fmt.ratio(one) for one in values],
        "number": [fmt.number(one) for one in values],
        "bytes": [fmt.size(one) for one in values],
    }
    for name, expected in calls.items():
        assert formats(f"values.map((one) => {name}(one))", values) == expected
    for name, python in (("secondsInterval", fmt.seconds_interval), ("ratioInterval", fmt.ratio_interval)):
        shown = formats(f"values.map((one) => {name}(one, 0.97 * one, 1.049 * one))", values)
        assert shown == [python(one, 0.97 * one, 1.049 * one) for one in values]


@pytest.fixture(scope="module")
def formats(browser):
    """Evaluate an expression over ``values`` with the page's own formats."""
    source = (Path(assets.TEMPLATES) / "js" / "format.js").read_text(encoding="utf-8")
    page = browser.new_page()
    yield lambda expression, values: page.evaluate(
        f"(() => {{ {source}; const values = {json.dumps(values)}; return {expression}; }})()"
    )
    page.close()
