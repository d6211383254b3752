"""Suites as pytest-benchmark suites: ``pytest suites/bench_quick.py``.

One item per case and implementation. All selected items are measured together by the engine of ``gapbench run``, into
the same store; then each passes its samples to pytest-benchmark, whose options work on them.
"""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from gapbench.errors import GapbenchError
from gapbench.workloads.case_lists import is_list

if TYPE_CHECKING:
    from gapbench.machine.device_lock import Lock
    from gapbench.measuring.recording import Recording
    from gapbench.workloads.cases import Case
    from gapbench.workloads.suites import Suite

_RECORDINGS: "pytest.StashKey[dict[int, Recording]]" = pytest.StashKey()
_REPEAT: pytest.StashKey[int] = pytest.StashKey()
"""The number of items before this one with the same case and implementation."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that have no counterpart in pytest or pytest-benchmark."""
    group = parser.getgroup("gapbench")
    group.addoption("--gapbench-budget", default="60s", metavar="TIME", help="Wall time of all items: 60s, 5m.")
    group.addoption("--gapbench-store", default="results", metavar="URL", help="Folder or fsspec URL of the runs.")
    group.addoption("--gapbench-device", default="auto", metavar="NAME", help="Device: auto, cpu, cuda, cuda:1, ...")


def _suite(item: object) -> "Suite | None":
    return getattr(item, "gapbench_suite", None)


class _CaseList(pytest.Module):
    def _getobj(self) -> ModuleType:
        from gapbench.workloads import suites

        def test_cases(measured: Callable[[], None]) -> None:
            measured()

        try:
            (test_cases.gapbench_suite,) = suites.find(str(self.path))  # type: ignore[attr-defined]  # as `suite` does
        except GapbenchError as error:
            raise self.CollectError(str(error)) from error
        module = ModuleType(self.path.stem, f"The cases of {self.path.name}.")
        module.test_cases = test_cases  # type: ignore[attr-defined]
        return module


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect a weighted list of cases that the command line names."""
    is_named = is_list(file_path.name) and parent.session.isinitpath(file_path)
    return _CaseList.from_parent(parent, path=file_path) if is_named else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item per case and implementation of a declared suite."""
    suite = _suite(metafunc.function)
    if suite is None:
        return
    from gapbench.machine.devices import device
    from gapbench.operations import competing

    cases = suite.on(device(metafunc.config.getoption("--gapbench-device")).name).cases
    pairs = [(case, name) for case in cases for name in competing(case.operation, suite.implementations)]
    metafunc.parametrize("measured", pairs, ids=[f"{case.id}-{name}" for case, name in pairs], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each item its own replayed timer, and its case as pytest-benchmark's group."""
    repeats: Counter[tuple[Case, str]] = Counter()
    for item in items:
        if _suite(getattr(item, "function", None)):
            pair = _pair(item)
            item.add_marker(pytest.mark.benchmark(timer=Replay(), group=pair[0].id))
            item.stash[_REPEAT] = repeats[pair]
            repeats[pair] += 1


def _pair(item: pytest.Item) -> "tuple[Case, str]":
    pair: tuple[Case, str] = item.callspec.params["measured"]  # type: ignore[attr-defined]  # pytest.Function's
    return pair


class Replay:
    """A timer whose time advances by the next sample whenever `step` runs."""

    __name__ = "gapbench"

    def __init__(self) -> None:
        self._now = 0.0
        self._samples: Iterator[float] = iter(())

    def __call__(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def load(self, samples: list[float]) -> None:
        """Set the samples to replay, in seconds."""
        self._samples = iter(samples)

    def reset(self) -> None:
        """Set the time to 0, so that the difference of two readings equals a sample to the last bit."""
        self._now = 0.0

    def step(self) -> None:
        """Advance the time by the next sample, in place of the benchmarked call."""
        self._now += next(self._samples, 0.0)  # --benchmark-cprofile calls it once more


@pytest.fixture
def measured(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[], None]:
    """Return a function that passes this item's samples to pytest-benchmark, or skips or fails the item."""
    case, name = request.param

    def report() -> None:
        if benchmark.disabled:
            benchmark(_check, case, name)
            return
        recording = _recording(request.session, request.node.stash[_REPEAT])
        results = recording.results
        rows = results[(results["case"] == case.id) & (results["implementation"] == name)]
        if rows.empty:
            pytest.skip("dropped to fit --gapbench-budget; give it more time, or select fewer items")
        row = rows.iloc[0]
        if row["status"] == "unsupported":
            pytest.skip(row["reason"])
        if row["status"] != "ok":
            pytest.fail(f"{row['status']}: {row['reason']}", pytrace=False)
        samples = recording.samples
        mine = samples[(samples["case"] == case.id) & (samples["implementation"] == name)]
        mine = mine[(mine["memory"] == row["memory"]) | mine["memory"].isna()]
        replay: Replay = request.node.get_closest_marker("benchmark").kwargs["timer"]
        replay.load(mine["seconds_per_call"].tolist())
        benchmark.extra_info.update(run=recording.run.id, case=case.id, implementation=name, clock=row["clock"])
        benchmark.pedantic(replay.step, setup=replay.reset, rounds=len(mine))

    return report


def _check(case: "Case", name: str) -> None:
    from gapbench.operations import load
    from gapbench.workloads import oracle

    implementation = load(name)
    if reason := implementation.unsupported_reason(case):
        pytest.skip(reason)
    judgement = oracle.examine(case, implementation.prepare(case), 0, implementation.truth)
    assert judgement.reason is None, judgement.reason


def _recording(session: pytest.Session, repeat: int) -> "Recording":
    """Measure all selected items of the session once; items that repeat others, in separate runs."""
    recordings = session.config.stash.setdefault(_RECORDINGS, {})
    if repeat not in recordings:
        from gapbench.machine.devices import device
        from gapbench.measuring import recording
        from gapbench.measuring.budget import fit_to_budget
        from gapbench.measuring.plan import CasePlan, Effort
        from gapbench.operations import operation
        from gapbench.store.store import Store
        from gapbench.workloads.cases import parse_duration

        option = session.config.getoption
        plans: dict[Case, CasePlan] = {}
        for item in session.items:
            suite = _suite(getattr(item, "function", None))
            if suite is not None and item.stash[_REPEAT] == repeat:
                case, name = _pair(item)
                clocks = device(case.device).clocks[:1]  # pytest-benchmark has one time for an item
                reference = operation(case.operation).reference
                case_plan = CasePlan(suite.name, case, {reference: reference}, clocks, reference)
                plans.setdefault(case, case_plan).specs[name] = name
        # without racing, since pytest-benchmark cannot show that an implementation stopped early
        repeats = len({item.stash[_REPEAT] for item in session.items if _REPEAT in item.stash})
        effort = Effort(budget=parse_duration(option("--gapbench-budget")) / repeats, race=False)
        trimmed = fit_to_budget(list(plans.values()), effort)
        with _locked(session.config, trimmed.kept[0].case.device):
            store, words = Store(option("--gapbench-store")), session.config.invocation_params.args
            recorded = recording.measure(store, trimmed.kept, effort, words, notes=trimmed.warnings)
        if recorded.interrupted:
            raise KeyboardInterrupt
        recordings[repeat] = recorded
    return recordings[repeat]


def _locked(config: pytest.Config, name: str) -> "Lock":
    from gapbench.machine import device_lock
    from gapbench.machine.devices import device

    capture: Any = config.pluginmanager.getplugin("capturemanager")

    def waiting(busy: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\ngapbench waits: {busy}; Ctrl-C gives up", file=sys.stderr, flush=True)

    folder = os.environ.get("GAPBENCH_LOCKS")
    command = shlex.join(["pytest", *map(str, config.invocation_params.args)])
    return device_lock.take(device(name), command, Path(folder) if folder else None, waiting)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the ids of the stored runs."""
    for recording in config.stash.get(_RECORDINGS, {}).values():
        terminalreporter.write_line(f"gapbench run {recording.run.id} in {config.getoption('--gapbench-store')}")
