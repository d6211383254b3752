import math
from dataclasses import replace

import pytest
from frames import CASES, EMPTY, check, results, row, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.report.charts import roofline
from gapbench.store.ceilings import Ceiling

SMALL, LARGE = CASES[0], CASES[3]  # 102,400 and 12,849,152 bytes

L2 = Ceiling(level="L2", bytes=2**20, gbps=100.0, threads=1)
MEMORY = Ceiling(level="DRAM", gbps=10.0, threads=1)

ceilings = st.lists(
    st.builds(
        Ceiling,
        level=st.sampled_from(["L1", "L2", "<b>", None]),
        bytes=st.sampled_from([None, 2**15, 2**20, 2**25]),
        gbps=st.sampled_from([None, 0.0, 10.0, 200.0]),
        threads=st.sampled_from([None, 1, 2]),
        kind=st.sampled_from([None, "read", "copy"]),
    ),
    max_size=5,
)


def run(*gbps, case=LARGE, **changes):
    return stored(row(case, f"at {item:g}", case.bytes_moved / item / 1e9, **changes) for item in gbps)


@settings(max_examples=25)
@given(results(), st.none() | ceilings, st.none() | st.floats(1, 8000))
def test_any_run_and_any_ceilings_give_a_roofline(result, limits, peak):
    _, words, table = check(roofline, result, limits, peak)
    timed = result[(result["status"] == "ok") & result["gbps"].gt(0) & result["bytes_moved"].gt(0)]
    assert len(table) == len(timed)
    assert words.startswith("No bandwidth is known") == timed.empty
    if len(timed) and not any(limit.gbps for limit in limits or ()):
        assert "Ceilings were not measured" in words


def test_the_ceiling_is_that_of_the_level_which_holds_the_data():
    result = stored([row(SMALL, "a", SMALL.bytes_moved / 50e9), row(LARGE, "a", LARGE.bytes_moved / 8e9)])
    table = roofline.table(result, [MEMORY, L2])
    assert table["% of ceiling"].tolist() == pytest.approx([50, 80])
    assert "nearest to its measured ceiling is a at 12.3 MiB, 80.0 % of it." in roofline.summary(result, [MEMORY, L2])


def test_above_the_ceiling_is_reported():
    assert "1 of 2 measurements are above" in roofline.summary(run(5, 20), [L2, MEMORY])
    assert "above" not in roofline.summary(run(5, 9), [L2, MEMORY])


def test_ceilings_of_other_threads_are_not_drawn():
    two = replace(MEMORY, threads=2, gbps=20.0)
    assert roofline.table(run(5), [MEMORY, two])["ceiling GB/s"].tolist() == [10]
    assert "Ceilings were not measured" in roofline.summary(run(5), [two])
    both = stored([row(LARGE, "a", 1e-3), row(LARGE, "b", 1e-3, threads=2)])
    assert roofline.table(both, [MEMORY, two])["ceiling GB/s"].tolist() == [10, 20]


def test_each_ceiling_is_drawn_over_the_sizes_that_it_is_the_ceiling_of():
    result = stored([row(SMALL, "a", 1e-5), row(LARGE, "a", 1e-3)])
    figure = roofline.figure(result, [L2, MEMORY], peak=12.0)
    lines = [trace for trace in figure.data if trace.mode == "lines+text"]
    assert [(line.x[-1], line.y[0]) for line in lines[:1]] == [(2**20, 100)]
    assert (lines[1].x[0], lines[1].y[0]) == (2**20, 10)
    assert lines[2].line.dash != lines[0].line.dash
    assert [max(line.text, key=len) for line in lines] == [
        "L2 read 100 GB/s, 1 thread",
        "DRAM read 10.0 GB/s, 1 thread",
        "datasheet peak 12.0 GB/s",
    ]
    low, high = figure.layout.yaxis.range
    assert low < math.log10(SMALL.bytes_moved / 1e-5 / 1e9)
    assert high > 2  # the highest ceiling


def test_the_datasheet_is_compared_with_the_largest_size():
    result = stored([row(SMALL, "a", SMALL.bytes_moved / 500e9), row(LARGE, "b", LARGE.bytes_moved / 6e9)])
    assert "At the largest size, 12.3 MiB, b reaches 50.0 % of the datasheet peak of 12.0 GB/s." in roofline.summary(
        result, None, 12.0
    )


def test_ceilings_of_other_devices_and_of_copies_hold_for_none():
    gpu = replace(MEMORY, device="cuda:0", gbps=2000.0)
    copy = replace(MEMORY, kind="copy", gbps=30.0)
    assert roofline.table(run(5), [MEMORY, gpu, copy])["ceiling GB/s"].tolist() == [10]
    lines = [trace for trace in roofline.figure(run(5), [MEMORY, gpu, copy]).data if trace.mode == "lines+text"]
    assert len(lines) == 1


def test_a_cold_clock_is_held_against_memory():
    result = stored([row(SMALL, "a", 1e-3, clock=clock) for clock in ("host", "host_cold")])
    assert roofline.table(result, [L2, MEMORY])["ceiling GB/s"].tolist() == [100, 10]


def test_no_rows():
    assert roofline.table(EMPTY).empty


def test_more_measurements_than_marks_share_them_at_their_medians(monkeypatch):
    monkeypatch.setattr(roofline.style, "MOST", 4)
    small = [row(SMALL, "a", SMALL.bytes_moved / gbps / 1e9) for gbps in (10, 50, 60)]
    large = [row(LARGE, name, LARGE.bytes_moved / 8e9) for name in "ab"]
    table = roofline.table(stored([*small, *large]), [MEMORY, L2])
    assert table["cases"].tolist() == [3, 1, 1]
    assert table["GB/s"].tolist() == pytest.approx([50, 8, 8])
    assert "5 measurements share 3 marks" in roofline.summary(stored([*small, *large]))
