import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_case

from gapbench.store import ceilings
from gapbench.store.records import case_columns, former_traits


def ceiling(level, nbytes, gbps, kind="read", device="cpu", threads=1):
    return ceilings.Ceiling(level, kind, device, threads, nbytes, gbps)


L1, L2, MEMORY = ceiling("L1", 2**15, 500.0), ceiling("L2", 2**20, 250.0), ceiling("memory", None, 40.0)
ALL = [MEMORY, L1, L2]


def row(nbytes, **changes):
    of = {"bytes_moved": nbytes, "device": "cpu", "threads": 1, "pass": "forward", "cold": False, "times_launch": False}
    return of | changes


@given(st.integers(1, 2**40), st.permutations(ALL))
def test_the_level_is_the_smallest_that_holds_the_data(nbytes, levels):
    limit = ceilings.limit_of(levels, row(nbytes))
    assert nbytes <= (limit.bytes or math.inf)
    assert all(level.bytes is not None and level.bytes < nbytes for level in levels if level.gbps > limit.gbps)


@given(st.integers(1, 2**40))
def test_cold_data_comes_from_memory_however_little_it_is(nbytes):
    assert ceilings.limit_of(ALL, row(nbytes, cold=True)) is MEMORY
    assert ceilings.limit_of([L1, L2], row(nbytes, cold=True)) is None


@given(any_case, st.sampled_from(["host", "host_cold", "event_warm", "host_call"]))
def test_whatever_the_case_a_ceiling_is_of_its_device_threads_and_kind(case, clock):
    levels = [
        ceiling(level, nbytes, gbps, kind, device, threads)
        for level, nbytes, gbps in (("L1", 2**15, 100.0), ("memory", None, 10.0))
        for kind in ("read", "copy", "write", "datasheet")
        for device in ("cpu", "cuda:0")
        for threads in (1, 2)
    ]
    of = case_columns(case) | former_traits(case.operation, clock)
    limit = ceilings.limit_of(levels, of)
    if limit is None:
        known_here = case.device in ("cpu", "cuda:0") and case.threads in (1, 2) and case.bytes_moved
        assert clock == "host_call" or case.pass_ not in ceilings.KIND_OF_PASS or not known_here
        return
    assert (limit.device, limit.threads) == (case.device, case.threads)
    assert limit.kind == {"forward": "read", "backward": "write"}[case.pass_]


@pytest.mark.parametrize(
    "changes",
    [{"threads": 2}, {"device": "cuda:0"}, {"pass": "training"}, {"times_launch": True}, {"bytes_moved": None}],
)
def test_where_nothing_is_known_there_is_no_ceiling(changes):
    assert ceilings.limit_of(ALL, row(2**10) | changes) is None


def test_a_ceiling_without_a_number_is_none_and_hands_nothing_to_the_next_level_by_accident():
    unknown = replace(L1, gbps=None, reason="busy")
    assert ceilings.limit_of([unknown], row(2**10)) is None
    assert ceilings.limit_of(None, row(2**10)) is None


@pytest.mark.parametrize("null", [None, math.nan, pd.NA])
def test_nulls_of_any_frame_are_held_against_nothing(null):
    for column in ("bytes_moved", "threads", "device"):
        assert ceilings.limit_of(ALL, row(2**10) | {column: null}) is None
        assert not ceilings.partly_cached(ALL, row(2 * 2**20) | {column: null})
    assert ceilings.limit_of([replace(L1, gbps=null)], row(2**10)) is None


def test_threads_that_do_not_matter_match_any():
    assert ceilings.limit_of([replace(MEMORY, threads=None)], row(1, threads=7)).gbps == 40


def test_what_a_nearer_cache_may_have_served():
    assert not ceilings.partly_cached(ALL, row(2**10))
    assert ceilings.partly_cached(ALL, row(2 * 2**20))
    assert not ceilings.partly_cached(ALL, row(9 * 2**20))
    assert not ceilings.partly_cached(ALL, row(2 * 2**20, cold=True))


def test_a_datasheet_peak_is_of_one_device():
    gpu = ceiling("memory", None, 3352.0, "datasheet", "cuda:0", None)
    cpu = ceiling("memory", None, None, "datasheet")
    assert ceilings.datasheet_peak([*ALL, gpu, cpu]) == 3352
    assert ceilings.datasheet_peak([gpu, replace(gpu, device="cuda:1")]) is None
    assert ceilings.datasheet_peak([cpu]) is None


def test_a_ceiling_has_a_name():
    assert ceilings.said(L2) == "read ceiling (L2)"
