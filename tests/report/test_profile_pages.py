"""The page of a profiled case: as text, and in a real browser."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from factories import CASE, a_run
from profiled import document, operator

from gapbench.report import html, profiles, site
from gapbench.store import profiles as kept
from gapbench.store.store import Store

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1></script><b>%{x}&lt;`${1}"

GENERATED = {
    "sentence": "Inductor generated cpp_fused_mean_0", "kernels": ["cpp_fused_mean_0"], "fallbacks": [],
    "graph_breaks": 0, "recompilations": 2,
}  # fmt: skip


def text(page):
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def rendered(*documents):
    return html.profile_page("a-run", profiles.public(documents), single_file=False)


def test_a_page_says_what_dominates():
    shown = text(
        rendered(
            document("fast", seconds=5e-6, notes=["the trace has one call"], generated=GENERATED),
            document("mean"),
            document("triton", status="unsupported", reason="needs a GPU"),
        )
    )
    for part in (
        "64 % of the time is kernel; the most expensive operator is aten::sum.", "the trace has one call.",
        "unsupported triton needs a GPU",
        "Implementation Time per call python, % dispatch, % allocation, % kernel, %", "fast 5.00 µs",
        "Inductor generated cpp_fused_mean_0", "2, graph breaks 0", "unknown: this machine does not count it",
        "0.5000 a call", f"profiles/{CASE.id} : fast.trace.json.gz", "peak extra memory 4.00 KiB",
    ):  # fmt: skip
        assert part in shown, part
    assert not re.search(r"\b(None|nan)\b", shown)


def test_hostile_names_stay_text_and_private_paths_are_masked():
    hostile = document(
        HOSTILE,
        operators=[operator(HOSTILE, (HOSTILE,))],
        notes=["/home/alice/lab/mine.py did it"],
        files=[HOSTILE],
        shares={HOSTILE: 100.0},
        counters=[{"name": HOSTILE, "value": None, "reason": "in /home/alice/lab/perf"}],
    )
    page = rendered(hostile, document("x", status="failed", reason=f"raised {HOSTILE} in /home/alice/lab/mine.py"))
    assert "<script>window" not in page
    assert "<img" not in page
    assert "alice" not in page
    assert "…/mine.py did it" in page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiled")
    store = Store(str(folder / "results"))
    run = a_run(store)
    for row in (
        document("mean"),
        document(HOSTILE, seconds=3e-6, operators=[operator(HOSTILE)]),
        document("triton", status="unsupported"),
    ):
        kept.keep(store, run, row, {})
    site.write(store, [run], folder / "site")
    site.write(store, [run], folder / "single", single_file=True)
    return folder, run


def test_the_runs_page_links_to_a_page_for_each_profiled_case(folder, visit):
    path, run = folder
    page = visit(path / "site" / f"{run}.html")
    link = page.locator("#profiles a.page")
    assert link.inner_text() == CASE.id
    assert "mean: 64 % of the time" in page.locator("#profiles").inner_text()
    link.click()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("h1").inner_text() == CASE.id
    assert page.locator("#shares tbody tr").count() == 2
    assert page.evaluate("window.pwned") is None
    page.locator(".kicker a").nth(1).click()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("h1").inner_text() == run


def test_a_run_without_profiles_has_no_section_of_them(tmp_path):
    store = Store(str(tmp_path / "results"))
    (page,) = site.write(store, [a_run(store)], tmp_path)
    assert 'id="profiles"' not in page.read_text()


def test_a_page_that_stands_alone_has_all_that_it_needs(folder, visit):
    path, run = folder
    page = visit(path / "single" / f"{profiles.name(run, CASE.id)}.html")
    assert page.locator("#shares tbody tr").count() == 2
    assert page.locator(".kicker a").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 400)])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(folder, visit, scheme, width):
    path, run = folder
    path = path / "site" / f"{profiles.name(run, CASE.id)}.html"
    page = visit(path, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    result = Axe().run(page, options={"preload": False}).response["violations"]
    assert [row["id"] for row in result if row["impact"] in ("serious", "critical")] == []
