# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""The page that compares several runs: by times on one device, by shares of ceilings on several."""

import json
import re

import pytest
from playwright.sync_api import expect
from stored import keep, side

from gapbench.report import site
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

RUNS = "20261121T101112Z-abc1234-0001", "20261122T101112Z-def5678-0002", "20261123T101112Z-def5678-0003"
SHAPES = (8, 64, 7, 7), (8, 64, 14, 14)
GPU = {"cpu": "EPYC", "device": "cuda:0", "device_description": "H100", "gpus": []}


def ceiling(device, gbps):
    return [{"level": "memory", "bytes": None, "gbps": gbps, "kind": "read", "device": device, "threads": None}]


@pytest.fixture
def compared(tmp_path, visit):
    """Return a function that opens the page of runs, each given by arguments of `side`, with the page's data."""

    def make(*runs, names=("mean", "fast")):
        store = Store(str(tmp_path / "results"))
        common = {"cases": [Case(shape, label="head") for shape in SHAPES], "names": names}
        ids = [keep(store, side(run, seed=7, **{**common, **fields})) for run, fields in zip(RUNS, runs, strict=False)]
        *_, path = site.write(store, ids, tmp_path / "site")
        assert path.name == "runs.html"
        page = visit(path)
        return page, json.loads(page.locator("#data").text_content())

    return make


def line(page, number=0):
    return page.locator("[data-table=runs] tbody tr").nth(number).locator("td").all_inner_texts()


def test_runs_of_one_device_are_compared_by_the_times_of_one_implementation_or_of_the_fastest(compared):
    page, data = compared({"changes": {"fast": 0.25}}, {"changes": {"fast": 0.25}}, {"changes": {"fast": 0.5}})
    assert not data["shares"]
    assert page.locator("[data-table=runs] thead th").all_inner_texts()[1:] == [
        "abc1234-0001", "def5678-0002", "def5678-0003"
    ]  # fmt: skip
    assert [text.partition(",")[0].strip() for text in line(page)] == ["★1.00×", "≈1.00×", "2.00×"]
    page.get_by_label("Implementation").select_option("mean")
    assert [text.partition(",")[0].strip() for text in line(page)] == ["★1.00×", "≈1.00×", "≈1.00×"]
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.get_by_label("Implementation")).to_have_value("mean")
    cell = page.locator("[data-table=runs] tbody tr").first.locator(".cell").nth(1)
    cell.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(f"^mean {RUNS[1]}\\s*head, .* µs \\[.*\\] per call"))
    cell.click()
    page.wait_for_url(f"**/{RUNS[1]}.html*")
    expect(page.locator("#case h2")).to_contain_text("8×64×7×7")


def test_runs_of_different_devices_are_compared_only_by_shares_of_their_ceilings(compared):
    cuda = {"cases": [Case(shape, device="cuda:0") for shape in SHAPES], "machine": GPU}
    page, data = compared({"ceilings": ceiling("cpu", 20.0)}, {**cuda, "ceilings": ceiling("cuda:0", 40.0)})
    assert data["shares"]
    assert not any(name.startswith(("seconds", "ratio", "best")) for name in data["cells"]["columns"])
    assert data["cases"]["count"] == len(SHAPES)  # whatever the device
    heads = page.locator("[data-table=runs] thead th").all_inner_texts()
    assert [head.partition(", ")[0] for head in heads[1:]] == ["EPYC", "H100"]
    high, low = (float(re.sub(r"[^\d.]", "", text.partition(",")[0])) for text in line(page))
    assert high == pytest.approx(2 * low, rel=0.02)  # the same time, and twice the ceiling
    assert "×" not in "".join(line(page))
    page.locator("[data-table=runs] .cell").first.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("% of its device's ceiling")


def test_devices_that_nobody_knows_may_differ(compared):
    _, data = compared({"machine": {}}, {"machine": {}})
    assert data["shares"]
    assert "seconds" not in data["cells"]["columns"]


def test_what_has_no_time_says_why_and_what_was_not_measured_is_a_dash(compared):
    page, _ = compared({"statuses": {"fast": "wrong"}}, {"cases": [Case(SHAPES[0])]})
    page.get_by_label("Implementation").select_option("fast")
    assert line(page) == ["✕ wrong", "1.00×"]
    assert line(page, 1) == ["✕ wrong", "–"]
    page.locator("[data-table=runs] .cell").first.focus()
    expect(page.get_by_role("tooltip")).to_contain_text("wrong it is wrong")


def test_one_run_has_no_page_beside_others(tmp_path):
    store = Store(str(tmp_path / "results"))
    assert [page.stem for page in site.write(store, [keep(store, side(RUNS[0]))], tmp_path / "site")] == [RUNS[0]]
    assert "runs.html" not in (tmp_path / "site" / "index.html").read_text("utf-8")
