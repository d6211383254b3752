# ruff: noqa: RUF001 - pages write multiplication signs and dashes
"""The form of a run's page: which implementation?"""

import pytest
from browsing import BASE, CASES, asked, column
from playwright.sync_api import expect
from stored import keep, side

from gapbench.report import site
from gapbench.store.store import Store


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
    limits = [{"level": name, "bytes": nbytes, "gbps": gbps, **common} for name, (nbytes, gbps) in levels.items()]
    store = Store(str(tmp_path / "results"))
    keep(store, side(BASE, cases=CASES[:1], ceilings=limits))
    site.write(store, [BASE], tmp_path / "site")
    answer = visit(tmp_path / "site" / f"{BASE}.html").locator("#ask output")
    expect(answer).to_contain_text("% of the measured read ceiling (L2) – above it")
    roofline = visit(tmp_path / "site" / f"{BASE}.html", "#roofline").locator("#roofline")
    expect(roofline).to_contain_text("4 of 4 measurements are above their ceiling")


def test_ties_are_named_and_a_winner_without_a_snippet_says_so(run_page):
    page = run_page()
    answer = page.locator("#ask output")
    winners = column(page, "winners", "Fastest")
    assert any("ties with" in text for text in winners)
    tied = next(index for index, text in enumerate(winners) if "ties with" in text)
    case = CASES[tied]
    asked(page, "Shape").fill("x".join(map(str, case.shape)))
    asked(page, "Dtype").select_option(case.dtype)
    asked(page, "Layout").select_option(case.layout)
    expect(answer).to_contain_text("How sure")
    expect(answer).not_to_contain_text("next is")
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
