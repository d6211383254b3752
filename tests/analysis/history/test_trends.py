import numpy as np
import pandas as pd
import pytest

from gapbench.analysis.history import LEAST_NOISE, SHORTEST, Order, steps, trends
from gapbench.store.run import decode

CASE = "2x3x4x4-float32-contiguous-cpu-forward-t1"
GPU = {"name": "H100", "driver": "560"}


def history(seconds, device="cpu", **changes):
    """Return run.json documents and results of runs with these times; ``changes`` are lists of values by field."""
    documents, rows = {}, []
    for index, value in enumerate(seconds):
        at = {name: values[index] for name, values in changes.items()}
        run = f"202601{index + 1:02}T000000Z-x-0000"
        commit = at.get("commit", f"{index:040x}")
        document = {
            "run": run,
            "started": f"2026-01-{index + 1:02}T00:00:00Z",
            "git": commit and {"commit": commit, "dirty": at.get("dirty", False)},
            "machine": {
                "cpu": at.get("cpu", "CPU"),
                "usable_cores": 2,
                "device": device,
                "gpus": [{**GPU, "driver": at.get("driver", "560")}],
            },
            "versions": {"torch": at.get("torch", "2.13")},
        }
        documents[run] = decode(document)
        row = {"run": run, "case": CASE, "implementation": "mean", "contender": "this", "clock": "host"}
        interval = {"seconds_low": None, "seconds_high": None}
        rows.append({**row, **interval, "device": device, "status": "ok", "seconds": value})
    return documents, pd.DataFrame(rows)


def trend(seconds, **changes):
    documents, results = history(seconds, **changes)
    (result,) = trends(documents, Order(list(documents), "start", ""), results)
    return result


SLOWER = [1.00e-5, 1.01e-5, 0.99e-5, 1.00e-5, 1.01e-5, 1.20e-5, 1.21e-5, 1.19e-5, 1.20e-5, 1.21e-5]


def test_a_step_is_found_where_it_is_with_its_ratio():
    (change,) = trend(SLOWER).changes
    assert change.index == 5
    assert change.run == "20260106T000000Z-x-0000"
    assert change.ratio == pytest.approx(1.2, rel=0.01)
    assert change.ratio_low < 1.2 < change.ratio_high
    assert (change.cause, change.environment) == ("code", [])


def test_conditions_of_memory_are_trends_of_their_own():
    """Runs that begin to record their memory start a new trend, not a step."""
    documents, results = history(SLOWER)
    memory = [None] * 5 + ["kept"] * 5
    result = trends(documents, Order(list(documents), "start", ""), results.assign(memory=memory))
    assert [(item.memory, len(item.points), item.changes) for item in result] == [(None, 5, []), ("kept", 5, [])]


def test_faster_is_a_step_too():
    (change,) = trend(SLOWER[::-1]).changes
    assert change.ratio == pytest.approx(1 / 1.2, rel=0.01)


def test_one_run_that_is_off_is_no_step():
    assert trend([*SLOWER[:5], 3e-5, *SLOWER[:4]]).changes == []


def test_a_step_shows_with_the_third_run_after_it():
    assert SHORTEST == 3
    assert [len(trend(SLOWER[:count]).changes) for count in (5, 6, 7, 8)] == [0, 0, 0, 1]


def test_too_few_runs_show_nothing():
    assert steps(np.log([1.0, 1.0, 9.0, 9.0, 9.0])) == []
    assert steps(np.array([])) == []


def test_runs_that_agree_to_the_last_bit_do_not_make_a_hair_a_step():
    assert steps(np.zeros(20)) == []
    assert steps(np.repeat([0.0, LEAST_NOISE / 2], 10)) == []
    assert steps(np.repeat([0.0, 4 * LEAST_NOISE], 10)) == [10]


@pytest.mark.parametrize(("count", "most"), [(6, 0.07), (10, 0.07), (20, 0.04), (60, 0.02)])
def test_noise_alone_rarely_makes_a_step(count, most):
    rng = np.random.default_rng(5)
    false = sum(bool(steps(rng.normal(0, 0.03, count))) for _ in range(400))
    assert false / 400 <= most


def test_steps_of_three_sigma_are_mostly_found_in_their_place():
    rng = np.random.default_rng(6)
    result = [steps(rng.normal(0, 0.02, 20) + np.repeat([0, 0.06], 10)) for _ in range(200)]
    assert sum(any(abs(step - 10) <= 1 for step in item) for item in result) / 200 > 0.9


def squares(values, cuts):
    return sum(part.var() * len(part) for part in np.split(values, cuts))


def test_the_search_is_exact():
    """Try every way to cut nine values; a cut that would be better within a shortest segment is not a step."""
    rng = np.random.default_rng(7)
    observed = set()
    for _ in range(200):
        values = rng.normal(0, 0.03, 9) + np.repeat([0, rng.normal(0, 0.1)], [4, 5])
        penalty = 4 * max(np.mean(np.diff(values) ** 2) / 2, LEAST_NOISE**2) * np.log(9)
        cuts = min([[], [3], [4], [5], [6], [3, 6]], key=lambda cuts: squares(values, cuts) + penalty * len(cuts))
        alone = min(range(1, 9), key=lambda cut: squares(values, [cut]))
        if len(cuts) < 2:
            assert steps(values) == [cut for cut in cuts if cut == alone]
        observed.add(tuple(steps(values)))
    assert {(), (4,)} <= observed


def test_one_run_that_is_off_is_no_step_wherever_it_is():
    rng = np.random.default_rng(8)
    for at in range(12):
        values = rng.normal(0, 0.01, 12)
        values[at] += 0.5
        assert steps(values) == []


@pytest.mark.parametrize(
    ("device", "field", "old", "new", "message"),
    [
        ("cpu", "torch", "2.12", "2.13", "torch 2.12 → 2.13"),
        ("cpu", "cpu", "EPYC", "Xeon", "cpu EPYC → Xeon"),
        ("cuda:0", "driver", "550", "560", "driver 550 → 560"),
        ("cuda", "driver", "550", "560", "driver 550 → 560"),
    ],
)
def test_a_step_where_the_environment_changed_is_put_down_to_that(device, field, old, new, message):
    result = trend(SLOWER, device=device, **{field: [old] * 5 + [new] * 5})
    assert [point.environment for point in result.points] == [[]] * 5 + [[message]] + [[]] * 4
    (change,) = result.changes
    assert (change.cause, change.environment) == ("environment", [message])


def test_an_environment_that_changed_elsewhere_does_not_excuse_a_step():
    result = trend(SLOWER, torch=["2.12"] * 2 + ["2.13"] * 8)
    assert result.points[2].environment == ["torch 2.12 → 2.13"]
    assert result.changes[0].cause == "code"


def test_a_driver_is_nothing_to_a_cpu():
    result = trend(SLOWER, driver=["550"] * 5 + ["560"] * 5)
    assert result.changes[0].cause == "code"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"torch": [None] * 5 + ["2.13"] * 5}, "unknown"),
        ({"commit": [None] * 10}, "unknown"),
        ({"commit": ["a" * 40] * 10}, "unexplained"),
        ({"commit": ["a" * 40] * 10, "dirty": [True] * 10}, "code"),
        ({"commit": ["a" * 40] * 10, "dirty": [None] * 10}, "code"),
    ],
)
def test_what_a_run_does_not_say_is_not_put_down_to_code(changes, cause):
    (change,) = trend(SLOWER, **changes).changes
    assert change.cause == cause


def test_a_gpu_that_run_json_lacks_is_unknown():
    documents, results = history(SLOWER, device="cuda:3")
    (result,) = trends(documents, Order(list(documents), "start", ""), results)
    assert result.changes[0].cause == "unknown"


def test_points_are_in_the_order_given_and_only_plain_ok_runs_count():
    documents, results = history(SLOWER)
    results.loc[0, "status"] = "failed"
    results.loc[1, "contender"] = "base"
    results.loc[2, "seconds"] = float("nan")
    (result,) = trends(documents, Order(list(documents)[::-1], "start", ""), results)
    assert [point.run for point in result.points] == list(documents)[:2:-1]
    assert result.points[0].seconds == SLOWER[-1]
