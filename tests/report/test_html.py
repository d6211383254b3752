import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import plotly.graph_objects as go
import pytest
from stored import side, two_sides

from gapbench.analysis import summary
from gapbench.analysis.compare import compare
from gapbench.report import assets, html, page_data, views
from gapbench.report.loaded_run import Stored
from gapbench.report.redaction import public
from gapbench.store.records import RESULTS
from gapbench.store.run import Run, decode
from gapbench.workloads.cases import Case

ORDER = ["badge", "which", "heat", "winners", "results", "not-measured", "trust", "environment", "help"]


@pytest.fixture
def render(stored):
    """Return a function that renders the page of a run without a baseline, from `build`'s arguments or frames."""

    def render(frames=None, single_file=False, **changes):
        return html.run_page(public(stored(frames, **changes)), None, "no baseline", single_file=single_file)

    return render


def visible(page):
    """The page without scripts, styles and tags, spaces folded."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def carried(page):
    """The page's data."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_sections_come_in_the_order_of_the_question_that_they_answer(render):
    sections = re.findall(r'<section id="([\w-]+)"', render(warnings=["busy; run again"]))
    drawn = [view.name for view in views.VIEWS if view.of == "run"]
    assert sections == [*ORDER[:5], *drawn, *ORDER[5:]]


def test_the_first_screen_says_which_run_who_won_and_what_speaks_against_it(render, frames):
    text = visible(render(warnings=["the machine was busy; run again"]))
    for part in (frames()[0].id, "abc1234 (main, uncommitted changes)", "2026-11-22 10:11 UTC", "AMD EPYC"):
        assert part in text
    assert "avg_pool2d is fastest in 3 of 5 cases, sum_scale in 2." in text
    assert text.index("the machine was busy run again") < text.index("Which implementation?")
    assert "no baseline" in text


def test_every_case_and_row_is_in_the_data_once(stored):
    data = page_data.data(stored())
    assert data["cases"]["count"] == 5
    assert data["rows"]["count"] == 55
    assert json.dumps(data["rows"]).count("adaptive_avg_pool2d") == 1
    assert "sum_scale" in data["cases"]["columns"]["ties"]["values"][1]
    winner = data["cases"]["columns"]["winner"]
    assert [winner["names"][code] for code in winner["codes"]].count("avg_pool2d") == 3
    assert data["cases"]["columns"]["rows"] == {"constant": 11}


def test_rows_of_a_case_lie_together_whatever_their_order_in_the_results(stored):
    item = stored()
    mixed = stored((item.run, item.results.sample(frac=1, random_state=1), item.winners))
    data = page_data.data(mixed)
    rows, cases = (data[name]["columns"] for name in ("rows", "cases"))
    names = [rows["implementation"]["names"][code] for code in rows["implementation"]["codes"]]
    for number, case in enumerate(cases["case"]["values"]):
        own = mixed.results[mixed.results["case"] == case]
        assert names[11 * number : 11 * number + 11] == list(own["implementation"])


def test_snippets_are_those_that_the_run_recorded(stored):
    assert page_data.data(stored())["snippets"] == {}
    assert page_data.data(stored(snippets={"mean": "x.mean()"}))["snippets"] == {"mean": "x.mean()"}


def test_what_is_not_ok_is_listed_once_with_its_reason_the_worst_first(render):
    text = visible(render())
    wrong, unsupported = text.index("off by 31 ULP"), text.index("Triton has no CPU backend")
    assert wrong < unsupported
    assert text.count("off by 31 ULP") == 1


def test_facts_that_all_cases_share_are_reported_once(render):
    cases = (Case((1, 8, 4, 4)), Case((1, 8, 4, 4), "float32", "contiguous", "cpu", "backward", 2))
    assert "1 thread, clock host" in visible(render(cases=cases[:1]))
    assert "1 thread, clock host" not in visible(render(cases=cases))


def test_cases_that_each_have_another_winner_have_no_single_winner(render, frames):
    run, results, winners = frames()
    winners["implementation"] = list("abcde")
    text = visible(render((run, results, winners)))
    assert "No single winner: 5 implementations are fastest in one case each." in text


def test_where_contenders_compute_different_things_there_is_no_winner(render, frames):
    cases = (Case((1, 8, 4, 4)), Case((1, 8, 7, 7), operation="classifier_head", label="a head"))
    run, results, winners = frames(cases=cases)
    assert "of 1 case" in visible(render((run, results, winners[:1])))
    alone = results[results["operation"] != "gap"]
    assert "No winner: these contenders" in visible(render((run, alone, winners[:0])))


def test_old_runs_say_what_they_know_and_nothing_else(render, frames):
    _, results, winners = frames()
    for expected in ({}, {"git": None, "machine": {"cpu": None}, "argv": [], "warnings": None}, {"git": {}}):
        text = visible(render((decode({"run": "r", **expected}), results, winners)))
        assert not re.search(r"\b(None|nan|NaN|NaT|NA|null)\b", text)
        assert "Machine" not in text
        assert "the commit is unknown" in text


def test_nothing_at_all_is_a_page_too(render):
    text = visible(render((Run(id="r"), pd.DataFrame(columns=list(RESULTS)), pd.DataFrame())))
    assert "No case has a winner: nothing was measured successfully." in text
    assert "untrusted" in text


def test_only_failures_one_case_or_one_implementation_are_pages_that_say_what_is_missing(render, frames):
    run, results, winners = frames()
    results["status"], results["reason"] = "failed", "raised RuntimeError; mend it"
    results[["seconds", "ratio", "seconds_low", "ratio_low"]] = None
    text = visible(render((run, results, winners[:0])))
    assert "nothing was measured successfully" in text
    assert "raised RuntimeError; mend it" in text
    assert "mean is fastest in 1 of 1 case." in visible(render(cases=(Case((1, 8, 4, 4)),), speeds={"mean": 1.0}))


def test_nulls_of_every_kind_are_nulls_in_the_data(render, frames):
    run, results, winners = frames()
    results.loc[results["implementation"] == "numpy", ["label", "ratio", "gbps", "stopped_by", "samples"]] = None
    winners[["ratio", "reference"]] = None
    winners["ties"] = None
    for kind in ("numpy_nullable", "pyarrow"):
        page = render((run, results.convert_dtypes(dtype_backend=kind), winners))
        assert not re.search(r"\b(None|nan|NaN|NaT|null)\b|<NA>", visible(page))
        assert not re.search(r'"(nan|None|<NA>|\\u003cNA\\u003e)"', json.dumps(carried(page)))


def test_unknown_fields_of_the_environment_are_shown_as_they_are(render):
    machine = {"l3_bytes": 33554432, "gpus": [{"name": "H200", "mig": None}], "smt": False}
    text = visible(render(machine=machine))
    for part in ("l3 32.0 MiB", "gpus name H200", "smt no"):
        assert part in text


def test_ceilings_are_reported_with_their_reasons(render):
    ceilings = [
        {"level": "L2", "kind": "read", "device": "cpu", "threads": 1, "bytes": 2**20, "gbps": 262.7, "seconds": None},
        {"level": "memory", "kind": "read", "device": "cpu", "threads": 2, "gbps": None, "reason": "<b>busy"},
        {"level": None, "kind": "dispatch", "device": "cpu", "threads": None, "seconds": 2.7e-7, "gbps": None},
    ]
    text = visible(render(ceilings=ceilings))
    for part in ("263 GB/s up to 1.00 MiB", "cpu memory read 2 threads", "&lt;b&gt;busy", "270 ns"):
        assert part in text, part


def test_the_same_run_gives_the_same_page(render):
    assert render() == render()


def test_a_page_that_stands_alone_points_nowhere(render):
    page = re.sub(r"<(script|style)\b.*?</\1>", "", render(single_file=True), flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))


def test_figures_stop_where_a_page_would_grow_too_large(stored, monkeypatch):
    monkeypatch.setattr(views, "VIEWS", tuple(view for view in views.VIEWS if view.name == "distribution"))
    assert [drawn.case for drawn in views.of_cases(stored())] == [0, 1, 2, 3, 4]
    size = len(str(next(views.of_cases(stored())).figure.to_json()))
    monkeypatch.setattr(views, "BYTES", int(2.5 * size))
    assert [drawn.case for drawn in views.of_cases(stored())] == [0, 1]


def test_views_have_names_that_can_stand_in_an_address():
    names = [view.name for view in views.VIEWS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z-]*", name) and name not in ORDER for name in names)


def a_view(of, frame, figure=lambda _: go.Figure(go.Bar(y=[1]))):
    def table(drawn):
        return drawn[[name for name in ("shape", "ratio") if name in drawn]]

    chart = SimpleNamespace(figure=figure, summary=lambda _: "<b>All</b>", table=table)
    return views.View("map", "Map", "Who wins where?", of, chart, lambda item: (frame(item),))


def test_a_view_of_a_case_gets_the_rows_and_the_samples_of_that_case(monkeypatch):
    both = [Case((8, 64, 7, 7)), Case((8, 256, 56, 56))]
    item = side(cases=both)
    observed = []
    monkeypatch.setattr(views, "VIEWS", (a_view("case", lambda case: observed.append(case) or case.samples),))
    stored = Stored(item.run, item.results, item.samples, summary.winners(item.results, item.samples))
    assert len(list(views.of_cases(stored))) == 2
    for case, result in zip(both, observed, strict=True):
        assert set(result.rows["case"]) == set(result.samples["case"]) == {case.id}
        assert len(result.samples) == len(item.samples) / 2


def test_a_page_without_figures_carries_no_plotly(render, monkeypatch):
    assert "library-plotly" in render(single_file=True)
    monkeypatch.setattr(views, "VIEWS", ())
    assert "library-plotly" not in render(single_file=True)
    assert "library-plotly" not in html.diff_page(compare(*two_sides()), pages=set(), redact=False, single_file=True)


def test_a_view_of_the_whole_run_gets_its_section_its_summary_and_its_table(render, monkeypatch):
    monkeypatch.setattr(views, "VIEWS", (a_view("run", lambda stored: stored.results),))
    page = render()
    assert 'id="map"' in page
    assert "Who wins where? &lt;b&gt;All&lt;/b&gt;" in visible(page)
    assert 'id="figure-map"' in page
    assert set(json.loads(re.search(r'id="table-map">(.*?)</script>', page)[1])["columns"]) == {"shape", "ratio"}


def test_a_figure_cannot_end_the_script_that_holds_it():
    text = "</script><!-- & <script>"
    script = page_data.script_json(go.Figure(layout={"title": {"text": text}}))
    assert not re.search("[<>&]", script)
    assert json.loads(script)["layout"]["title"]["text"] == text


def test_libraries_cannot_end_the_script_that_holds_them():
    for asset in (assets.script(), assets.datatables(), assets.plotly()):
        assert not re.search(r"</?script|<!--", asset.inline, flags=re.IGNORECASE)


def test_files_are_named_after_their_version_or_their_content():
    names = [asset.name for asset in assets.all_of_them()]
    assert re.fullmatch(r"report-[0-9a-f]{8}\.css", names[0])
    assert re.fullmatch(r"plotly-[\d.]+\.min\.js", names[-1])


def test_reports_do_not_import_torch():
    code = "import sys, gapbench.report.site; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_view_without_data_takes_a_line(render, monkeypatch):
    monkeypatch.setattr(views, "VIEWS", (a_view("run", lambda stored: stored.results, lambda _: go.Figure()),))
    page = render()
    assert '<p id="map" class="soft"><b>Map</b>: &lt;b&gt;All&lt;/b&gt;</p>' in page
    assert "Who wins where?" not in visible(page)
