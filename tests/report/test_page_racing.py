# ruff: noqa: RUF001 - pages write multiplication signs
"""Test the page of a run that raced under two memory conditions, with too little time to decide all winners."""

import re

import numpy as np
import pytest
from msgspec import structs
from playwright.sync_api import expect

from gapbench.analysis import summary
from gapbench.report import site
from gapbench.store.records import SLOWER, Qualification
from gapbench.store.run import Machine, Run
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

RUN = "20261122T101112Z-abc1234-0001"
CASES = (Case((8, 2048, 7, 7), dtype="bfloat16", label="ResNet-50 head"), Case((8, 256, 56, 56)))
SPREADS = {CASES[0]: 0.001, CASES[1]: 0.04}
SPEEDS = {"compiled_mean": 1.0, "matmul": 1.005, "sum_scale": 1.3, "mean": 3.0}


def raced(url):
    """Store a run in which ``mean`` stops after three rounds, and takes longer still with fresh memory."""
    rng = np.random.default_rng(1)
    machine = Machine(cpu="EPYC", device="cpu")
    run = Run(id=RUN, started="2026-11-22T10:11:12Z", suites=("quick",), machine=machine)
    writer = Store(url).create(structs.replace(run, wall_seconds=60.0, timed_seconds=0.1))
    outcomes = []
    for case in CASES:
        for memory in ("kept", "fresh"):
            for name, speed in SPEEDS.items():
                slow = name == "mean"
                rounds, turns, factor = (3 if slow else 12), 4, 1.9 if slow and memory == "fresh" else 1.0
                noise = rng.normal(0, SPREADS[case], rounds)
                writer.append(
                    {
                        "case": case.id, "implementation": name, "contender": "this", "clock": "host",
                        "memory": memory, "round": np.repeat(np.arange(rounds), turns), "process": 0,
                        "turn": np.tile(np.arange(turns), rounds), "position": 0, "calls": 7,
                        "seconds_per_call": np.repeat(1e-5 * speed * factor * np.exp(noise), turns),
                        "page_faults": 412.0 if memory == "fresh" else 0.0,
                    }
                )  # fmt: skip
                stopped = SLOWER if slow else "budget"
                outcomes.append(summary.Outcome("quick", case, name, "host", Qualification(), stopped, memory=memory))
    writer.finish(summary.results(writer.samples(), outcomes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("raced")
    raced(str(made / "results"))
    site.write(Store(str(made / "results")), [RUN], made / "site")
    return made / "site"


@pytest.fixture
def page(folder, visit):
    return visit(folder / f"{RUN}.html")


def test_one_that_stopped_early_is_known_by_its_bound_alone(page):
    row = page.locator("[data-table=results] tbody tr", has_text="mean").filter(has_text="slower").first
    cells = row.locator("td[data-label='÷ fastest']").inner_text()
    assert cells.startswith("at least 2.")
    assert cells.endswith("slower")
    assert "[" not in cells


def test_the_heat_map_shows_the_bound_of_one_that_stopped_early(page):
    cell = page.locator("[data-table=heat] tbody tr").first.locator(".cell", has_text="≥")
    expect(cell).to_have_text(re.compile(r"^≥2\.\d\d×$"))
    cell.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(r"at least 2\.\d\d× slower: stopped early"))
    expect(page.locator("[data-table=heat] tbody tr").first.locator("td").first).to_have_text(re.compile("^≥1"))


def test_the_form_asks_for_memory_where_a_run_has_both(page):
    expect(page.locator("#ask [name=memory]")).to_be_visible()
    page.locator("#ask [name=shape]").fill("8x256x56x56")
    page.locator("#ask select[name=dtype]").select_option("float32")
    for choice in ("kept", "fresh"):
        page.locator("#ask select[name=memory]").select_option(choice)
        expect(page.locator("#ask .answer")).to_have_count(1)
        expect(page.locator("#ask .answer")).to_contain_text(f"{choice} memory")


def test_what_is_undecided_is_reported_with_how_much_longer_would_decide(page):
    page.locator("#ask [name=shape]").fill("8x256x56x56")
    page.locator("#ask select[name=dtype]").select_option("float32")
    expect(page.locator("#ask output")).to_contain_text("more would decide")
    expect(page.locator("[data-table=winners]")).to_contain_text("more would decide")


def test_what_fresh_memory_costs_is_reported_with_the_setting_that_saves_it(page):
    message = page.locator("#memory-effects")
    expect(message).to_contain_text(
        "mean on 8x2048x7x7 bfloat16: 1.9x slower with fresh memory (412 page faults a call)."
    )
    expect(message).to_contain_text("Set GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:")


def test_each_condition_of_memory_has_its_window(folder, visit):
    name = f"{CASES[0].id}@host@fresh"
    page = visit(folder / f"{RUN}.html", f"#case={name}")
    expect(page.locator("#case")).to_contain_text("fresh memory")
    expect(page.locator("#case")).to_contain_text("at least")


def test_nothing_is_wider_than_a_narrow_screen(folder, visit):
    page = visit(folder / f"{RUN}.html", viewport={"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_run_with_one_condition_of_memory_is_not_asked_for_it(run_page):
    expect(run_page().locator("#ask [name=memory]")).to_be_hidden()
