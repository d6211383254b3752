from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import AB

from gapbench.report import standing
from gapbench.store import Growth
from gapbench.store.documents import decode

STARTED = datetime(2026, 11, 24, 10, 11, 12, tzinfo=UTC)
RUN = {"run": "R", "started": "2026-11-24T10:11:12Z", "ended": None, "settings": {"patience": 60.0}}


def of(shards=3, silence=1, left=False, **fields):
    written = STARTED + timedelta(seconds=100)
    return standing.of(decode(RUN | fields), Growth(shards, written, left), written + timedelta(seconds=silence))


def test_a_run_that_grows_is_running_and_nothing_is_to_be_done():
    one = of()
    assert (one["state"], one["command"], one["elapsed"], one["silence"]) == ("running", None, 101, 1)


def test_one_that_has_fallen_silent_says_for_how_long_and_how_to_go_on():
    one = of(silence=185)
    assert one["state"] == "silent"
    assert one["said"] == "No round for 3 min, 3 rounds are kept. If it was killed, go on with:"
    assert one["command"] == "gapbench run --resume R"
    assert one["elapsed"] == 100  # a run that stands still takes no time


@pytest.mark.parametrize(("patience", "state"), [(30.0, "silent"), (60.0, "silent"), (600.0, "running")])
def test_silence_is_measured_by_the_runs_own_patience(patience, state):
    assert of(silence=121, settings={"patience": patience})["state"] == state


def test_one_that_was_left_says_so_at_once():
    one = of(left=True)
    assert one["state"] == "interrupted"
    assert one["said"] == "3 rounds are kept; go on with:"


def test_two_sides_are_not_resumed():
    one = of(left=True, ab=AB)
    assert "not resumed" in one["said"]
    assert one["command"] == "gapbench ab"


def test_a_complete_run_is_complete_however_old():
    assert of(silence=1e6, ended="2026-11-24T10:12:12Z")["state"] == "complete"


@given(
    st.fixed_dictionaries({}, optional={name: st.none() | st.text() for name in ("tag", "started", "ended")}),
    st.none() | st.just({}) | st.fixed_dictionaries({"patience": st.none() | st.floats(1, 1e4)}),
    st.integers(0, 10**6),
    st.floats(-1e6, 1e6),
    st.booleans(),
)
def test_whatever_run_json_lacks_there_is_something_to_say(fields, settings, shards, silence, left):
    one = of(shards, silence, left, **fields, settings=settings)
    assert bool(one["said"]) or one["command"] is None
    assert one["silence"] >= 0
    assert (one["command"] is None) == (one["state"] in ("running", "complete"))


def test_those_that_are_measured_come_first_and_the_newest_of_them():
    states = {"a": "running", "b": "silent", "c": "running", "d": "interrupted"}
    runs = [{"run": run, "state": state} for run, state in states.items()]
    assert [one["run"] for one in standing.newest_first(runs)] == ["c", "a", "b", "d"]
