"""Real runs of the engine on small cases, with implementations that misbehave in every way that we know."""

from pathlib import Path

import pytest

from gapbench.measuring import engine
from gapbench.measuring.events import CaseDone, Qualified, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.store.records import THIS
from gapbench.workloads.cases import Case

SMALL = Case((1, 8, 4, 4))
DISHONEST = Path(__file__).parent.parent / "misbehaving.py"
HONEST = {"mean", "good", "prints", "sleeps_first"}
HASTY = Effort(budget=4, rounds=2, patience=8, target=0.9, race=False)


def measure(specs, effort=HASTY, case=SMALL, earlier=()):
    specs = {"mean": "mean", **specs}
    return list(engine.measure(Plan((CasePlan("test", case, specs),), effort), earlier=earlier))


def last_status(events):
    results = {}
    for event in events:
        if isinstance(event, Qualified):
            results[event.implementation] = event.qualification
    return results


def rounds(events):
    return [event for event in events if isinstance(event, RoundMeasured)]


def took_part(measured, clock="host"):
    """Return the names of those that a round timed."""
    return {name for _, name in measured.by_turn(clock)}


@pytest.fixture(scope="module")
def rogues():
    """One run in which all misbehave, each in its own way."""
    names = [
        "good", "raises", "wrong_shape", "wrong_dtype", "mutates", "kills", "hangs", "exits", "missing",
        "tires", "dies_later", "raises_later", "prints", "remembers", "previous", "threaded", "stops_the_clock",
        "lazy", "zero_mean_only", "mutates_later", "sleeps_first", "remembers_by_first_element",
        "remembers_by_hundredth", "remembers_by_tenth",
    ]  # fmt: skip
    return measure({name: f"{DISHONEST}:{name}" for name in names})


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("raises", "failed", "ValueError: no good"),
        ("wrong_shape", "wrong", "returned shape (1, 8)"),
        ("wrong_dtype", "wrong", "returned float64, expected float32"),
        ("mutates", "wrong", "changes its input"),
        ("kills", "failed", "SIGKILL"),
        ("hangs", "timeout", "did not finish within 8 s"),
        ("exits", "failed", "exited with status 7"),
        ("missing", "failed", "no function 'missing'"),
        ("tires", "wrong", "was right when examined"),
        ("dies_later", "failed", "SIGKILL"),
        ("raises_later", "failed", "RuntimeError: worn out"),
        ("remembers", "wrong", "without reading its input"),
        ("remembers_by_first_element", "wrong", "without reading its input"),
        ("remembers_by_hundredth", "wrong", "without reading its input"),
        ("remembers_by_tenth", "wrong", "without reading its input"),
        ("previous", "wrong", "wrong at"),
        ("threaded", "failed", "on threads other than"),
        ("stops_the_clock", "failed", "replaces time.perf_counter_ns"),
        ("lazy", "wrong", "returned _Lazy"),
        ("zero_mean_only", "wrong", "got 0"),
        ("mutates_later", "wrong", "changes its input"),
    ],
)
def test_each_rogue_carries_its_own_reason(rogues, name, status, reason):
    qualification = last_status(rogues)[name]
    assert qualification.status == status
    assert reason in qualification.reason


def test_everyone_else_is_measured_all_the_same(rogues):
    statuses = last_status(rogues)
    assert [name for name, result in statuses.items() if result.status == "ok"] == sorted(
        HONEST, key=list(statuses).index
    )
    complete = [measured for measured in rounds(rogues) if took_part(measured) == HONEST]
    assert len(complete) >= 2


def test_rounds_are_numbered_and_have_a_process_each(rogues):
    numbers = [measured.round for measured in rounds(rogues)]
    assert numbers == list(range(len(numbers)))
    processes = [measured.process for measured in rounds(rogues)]
    assert len(set(processes)) == len(processes)


def test_a_case_ends_with_its_reason(rogues):
    assert [event.stopped_by for event in rogues if isinstance(event, CaseDone)] in (["target"], ["budget"])


def test_a_case_without_a_contender_left_has_failed():
    broken = list(engine.measure(Plan((CasePlan("test", SMALL, {"triton": "triton"}),), HASTY)))
    assert last_status(broken)["triton"].status == "unsupported"
    assert [event.stopped_by for event in broken if isinstance(event, CaseDone)] == ["failed"]


def test_rounds_measured_earlier_are_not_measured_again():
    earlier = rounds(measure({}, Effort(budget=1, rounds=2)))[:2]
    later = rounds(measure({}, Effort(budget=0.1, rounds=3), earlier=earlier))
    assert [measured.round for measured in later] == [2]
    assert later[0].process > max(measured.process for measured in earlier)


def test_a_users_compilation_that_falls_back_is_not_a_number_either(user_file):
    patient = Effort(budget=1, rounds=1)
    qualification = last_status(measure({"falls_back": user_file("falls_back")}, patient))["falls_back"]
    assert qualification.status == "failed"
    assert "broke the graph" in qualification.reason


def test_compiled_rows_are_compiled_and_say_how_long_it_took():
    events = measure({"compiled_mean": "compiled_mean"}, Effort(budget=1, rounds=1))
    qualification = last_status(events)["compiled_mean"]
    assert qualification.status == "ok"
    assert qualification.compile_seconds > 0.01


def test_a_compilation_that_falls_back_to_eager_is_not_a_number(monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    qualification = last_status(measure({"compiled_mean": "compiled_mean"}, Effort(budget=1, rounds=1)))[
        "compiled_mean"
    ]
    assert qualification.status == "failed"
    assert "ran eagerly" in qualification.reason


def test_two_clocks_time_the_same_rounds():
    case = Case((4, 64, 28, 28))  # of SMALL, more would be rotated on a host with a large cache than it should hold
    case_plan = CasePlan("test", case, {"mean": "mean", "sum_scale": "sum_scale"}, ("host", "host_cold"))
    events = list(engine.measure(Plan((case_plan,), Effort(budget=10, rounds=2))))
    for measured in rounds(events):
        warm, cold = measured.by_turn("host"), measured.by_turn("host_cold")
        assert set(warm) == set(cold) == {(THIS, "mean"), (THIS, "sum_scale")}
    assert len(rounds(events)) >= 2


@pytest.mark.parametrize("pass_", ["backward", "training"])
def test_gradients_that_depend_on_the_input_follow_its_content(pass_):
    """A maximum's graph remembers where it was; half-way through a round that is somewhere else."""
    case = Case((2, 8, 6, 6), pass_=pass_, operation="pooling")
    specs = {name: name for name in ("global_average", "global_max", "adaptive_max", "max_2x2")}
    case_plan = CasePlan("test", case, specs, reference="global_average")
    events = list(engine.measure(Plan((case_plan,), Effort(budget=2, rounds=2))))
    assert {name: result.status for name, result in last_status(events).items()} == dict.fromkeys(specs, "ok")
    assert len(rounds(events)) >= 2


def test_heads_are_measured_with_their_weights_and_judged_by_their_own_truth():
    case = Case((2, 4, 7, 7), pass_="update", operation="classifier_head")
    specs = {name: name for name in ("gap_linear", "flatten_linear")}
    case_plan = CasePlan("test", case, specs, reference="gap_linear")
    events = list(engine.measure(Plan((case_plan,), Effort(budget=2, rounds=2))))
    results = last_status(events)
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(specs, "ok")
    assert results["gap_linear"].parameters == 5 * 1000
    assert results["flatten_linear"].parameters == (4 * 49 + 1) * 1000


def test_compiled_rows_say_what_inductor_made_of_them():
    events = measure({"compiled_mean": "compiled_mean"}, Effort(budget=1, rounds=1))
    assert last_status(events)["compiled_mean"].code_path == "Inductor generated 1 kernel"
