"""The window of a case, and the views of a run."""

import re
from types import SimpleNamespace

import plotly.graph_objects as go
from axe_playwright_python.sync_playwright import Axe
from browsing import HEAD
from playwright.sync_api import expect

from gapbench.report import site
from gapbench.report.charts import style
from gapbench.report.views import VIEWS, View
from gapbench.store.store import Store


def test_a_case_opens_with_its_chart_its_summary_and_all_its_rows(run_page):
    page = run_page()
    page.get_by_role("button", name="squeeze").first.click()
    window = page.locator("#case")
    (distribution,) = window.locator("figure").all()
    distribution.locator(".main-svg").first.wait_for()
    assert distribution.locator("figcaption").inner_text().startswith("396 samples of 11 implementations")
    assert "fast" in distribution.locator(".chart").inner_text()
    assert len(window.locator("tbody tr").all()) == 12
    assert "it is wrong" in window.locator("tbody tr").last.inner_text()
    buttons = distribution.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert buttons == ["Download plot as a PNG"]  # and no service to send it to
    assert window.locator(".chart [href]").count() == 0


def test_every_view_is_drawn_while_the_page_is_idle_so_that_paper_has_them(run_page):
    page = run_page()
    page.wait_for_selector("html[data-drawn]")
    drawn = [view for view in VIEWS if view.of == "run" and hasattr(view.chart, "figure")]
    assert page.locator("main .chart").count() == len(drawn)
    assert page.locator("main .chart:not(:has(.main-svg))").count() == 0


def test_a_view_without_a_figure_shows_its_table_at_once(run_page):
    page = run_page()
    expect(page.locator("#regret tbody tr").first).to_be_visible()
    assert page.locator("#regret .chart").count() == 0


def test_a_view_of_the_run_is_drawn_and_shown_as_a_table_on_request(pages, visit, tmp_path, monkeypatch):
    def figure(frame):
        return go.Figure(go.Bar(x=frame["implementation"], y=frame["seconds"]), layout=style.LAYOUT)

    columns = ["implementation", "dtype", "seconds"]
    chart = SimpleNamespace(figure=figure, summary=lambda _: "All.", table=lambda frame: frame[columns])
    view = View("bars", "Bars", "Which is lowest?", "run", chart, lambda row: (row.results,))
    monkeypatch.setattr("gapbench.report.views.VIEWS", (view,))
    (path,) = site.write(Store(str(pages / "results")), [HEAD], tmp_path)
    page = visit(path)
    assert page.locator("#bars figcaption").inner_text() == "Which is lowest? All."
    page.get_by_role("link", name="Bars").click()
    page.wait_for_selector("#bars .main-svg")
    page.get_by_text("View as table").click()
    table = page.locator("#bars table")
    expect(table.locator("thead th")).to_have_text([re.compile(row) for row in columns])
    assert table.locator("tbody tr").count() == 25
    result = Axe().run(page, options={"preload": False}).response["violations"]
    assert [row["id"] for row in result if row["impact"] in ("serious", "critical")] == []
