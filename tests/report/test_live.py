"""What is shown of a run in progress, from what its writer has stored."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from growing import CASES, RUN, SECONDS, begun, grow, results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import AB

from gapbench import summary
from gapbench.errors import GapbenchError
from gapbench.report import live
from gapbench.report.live import Follower
from gapbench.store import Store

SLOWER = {"mean": 2e-5, "fast": 1.5e-5, "slow": 4e-5}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


def by_case(state):
    return {one["case"]: one for one in state["cases"]}


def test_a_run_without_rounds_waits_in_all_of_its_cases(store):
    begun(store)
    state = Follower(store, RUN).state()
    assert state["counts"] == {"done": 0, "in progress": 0, "waiting": 3}
    assert state["said"] == "No round yet: results are checked first."
    assert {one["implementation"] for one in state["cases"]} == {None}
    assert [one["facts"] for one in state["cases"]][1] == "8×256×56×56, bfloat16, contiguous"  # noqa: RUF001


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=25))
def test_every_round_is_counted_once_however_often_one_looks(tmp_path_factory, rounds):
    store = Store(str(tmp_path_factory.mktemp("live")))
    writer, follower, counts = begun(store), Follower(store, RUN), Counter()
    for place, looks in rounds:
        grow(writer, CASES[place], counts[place])
        counts[place] += 1
        if looks:
            assert sum(one["rounds"] for one in follower.state()["cases"]) == counts.total()
    state = follower.state()
    assert [one["rounds"] for one in state["cases"]] == [counts[place] for place in range(3)]
    assert state["rounds"] == counts.total()
    assert sum(state["counts"].values()) == 3
    assert state["cases"] == Follower(store, RUN).state()["cases"]  # who came late sees the same
    json.dumps(state, allow_nan=False)


@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_who_is_ahead_is_what_the_complete_run_would_say(store, rounds):
    writer = begun(store)
    for number in range(rounds):
        for case in CASES[:2]:
            grow(writer, case, number)
    found = by_case(Follower(store, RUN).state())
    kept = results(writer, CASES[:2])
    expected = summary.winners(kept, writer.samples()).to_dict("records")
    assert len(expected) == 2
    for one in expected:
        shown = found[one["case"]]
        assert (shown["implementation"], shown["ties"], shown["reference"]) == ("fast", one["ties"], "mean")
        for name in ("seconds", "seconds_low", "ratio", "ratio_high"):
            assert shown[name] == (None if one[name] is None or np.isnan(one[name]) else one[name])
    assert (found[CASES[0].id]["seconds_low"] is None) == (rounds < 6)


@pytest.mark.parametrize(("noise", "rounds", "done"), [(0.001, 5, False), (0.001, 6, True), (0.3, 12, False)])
def test_a_case_is_done_once_every_ratio_is_known_to_the_target(store, noise, rounds, done):
    writer = begun(store)
    for number in range(rounds):
        grow(writer, CASES[0], number, noise=noise)
    state = Follower(store, RUN).state()
    assert state["counts"] == {"done": int(done), "in progress": int(not done), "waiting": 2}
    width = state["cases"][0]["half_width"]
    assert (width is not None and width <= 0.01) is done
    assert f"{int(done)} of 3 cases are done" in state["said"]


def test_who_no_longer_takes_part_is_not_ahead(store):
    writer = begun(store)
    for number in range(3):
        grow(writer, CASES[0], number)
    del (without := dict(SECONDS))["fast"]
    grow(writer, CASES[0], 3, seconds=without)
    one = Follower(store, RUN).state()["cases"][0]
    assert (one["implementation"], one["contenders"], one["rounds"]) == ("mean", 2, 4)


def test_each_clock_has_a_row_of_its_own(store):
    clocks = ("event_warm", "event_cold")
    writer = begun(store, clocks=clocks)
    for number in range(6):
        grow(writer, CASES[0], number, clocks=clocks)
    shown = [one for one in Follower(store, RUN).state()["cases"] if one["case"] == CASES[0].id]
    assert sorted(one["clock"] for one in shown) == sorted(clocks)
    assert [one["rounds"] for one in shown] == [6, 6]


def test_of_two_sides_only_rounds_are_shown(store):
    writer = begun(store, ab=AB)
    for number in range(8):
        for side in ("base", "head"):
            grow(writer, CASES[0], number, contender=side)
    one = Follower(store, RUN).state()["cases"][0]
    assert (one["rounds"], one["state"], one["implementation"]) == (8, "in progress", None)


def test_of_very_many_cases_those_measured_last_are_listed(store, monkeypatch):
    monkeypatch.setattr(live, "MOST_CASES", 2)
    writer = begun(store)
    grow(writer, CASES[2], 0)
    grow(writer, CASES[1], 0)
    state = Follower(store, RUN).state()
    assert list(by_case(state)) == [CASES[1].id, CASES[2].id]
    assert state["left_out"] == 1
    assert state["counts"] == {"done": 0, "in progress": 2, "waiting": 1}


def test_running_silent_interrupted_resumed_complete(store):
    writer, follower = begun(store), Follower(store, RUN)
    grow(writer, CASES[0], 0)
    assert follower.state()["state"] == "running"
    assert follower.state(datetime.now(UTC) + timedelta(minutes=7))["said"].startswith("No round for 7 min")
    writer.interrupt(results(writer))
    assert follower.state()["state"] == "interrupted"
    again = store.reopen(RUN)
    grow(again, CASES[0], 1, seconds=SLOWER)
    assert (follower.state()["state"], follower.state()["cases"][0]["rounds"]) == ("running", 2)
    again.finish(results(again))
    assert follower.state()["state"] == "complete"


def test_a_run_that_ends_between_two_looks_at_it_is_complete(store, monkeypatch):
    writer, follower = begun(store), Follower(store, RUN)
    grow(writer, CASES[0], 0)
    growth = store.growth

    def ends_meanwhile(run):
        found = growth(run)
        if store.describe(run).ended is None:
            writer.finish(results(writer))
            raise GapbenchError("a shard is gone")
        return found

    monkeypatch.setattr(store, "growth", ends_meanwhile)
    assert follower.state()["state"] == "complete"


def test_a_run_that_is_not_there_or_cannot_be_read_is_one_line(store, tmp_path):
    with pytest.raises(GapbenchError, match="there is no run"):
        Follower(store, "nosuch").state()
    writer = begun(store)
    grow(writer, CASES[0], 0)
    (tmp_path / "results" / RUN / "shards" / "000000.parquet").write_bytes(b"half")
    with pytest.raises(GapbenchError, match="000000.parquet cannot be read"):
        Follower(store, RUN).state()
