from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.errors import ExitCode, RefusedError
from gapbench.measuring import engine, events, recording
from gapbench.measuring.plan import CasePlan, Effort, Plan, Side
from gapbench.measuring.protocol import DEVICE_FULL, Batches, RoundResult
from gapbench.measuring.recording import RunCollector
from gapbench.store.records import Qualification
from gapbench.store.run import Comparison, Environment, FlaggedRow, Machine, Warning
from gapbench.store.run import Side as RunSide
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

CONTESTS = [
    CasePlan("test", Case((1, 8, 4, 4), label="small"), {"mean": "mean", "sum_scale": "sum_scale"}),
    CasePlan("test", Case((2, 4, 3, 3), dtype="float16"), {"mean": "mean", "triton": "triton"}),
]
EFFORT = Effort(budget=2, rounds=3)
PLAN = Plan(tuple(CONTESTS), EFFORT)


def planned(writer):
    """Return the plan of a run that is to be resumed."""
    plans, effort = recording.plan_of(writer.run)
    return Plan(tuple(plans), effort)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def recorded(store):
    return recording.record(recording.begin(store, CONTESTS, EFFORT, ["run"], "mine"), PLAN)


def test_the_store_has_what_was_measured(store, recorded):
    run = recorded.run.id
    assert store.resolve("mine") == run
    assert len(store.samples([run])) == len(recorded.samples) > 0
    results = store.results([run])
    assert recording.counts(results) == {"ok": 3, "unsupported": 1}
    assert (results.loc[results["status"] == "ok", "rounds"] >= 3).all()
    assert list(recorded.winners["case"]) == [case_plan.case.id for case_plan in CONTESTS]


def test_the_run_describes_itself(recorded):
    run = recorded.run
    assert run.ended >= run.started
    assert run.versions["torch"].startswith("2.")
    assert 0 < run.timed_seconds < run.wall_seconds
    assert run.suites == ("test",)
    assert run.machine.cpu


def test_the_machines_limits_are_measured_once_and_kept(recorded):
    limits = recorded.run.ceilings
    assert {ceiling.device for ceiling in limits} == {"cpu"}
    assert all(ceiling.gbps or ceiling.seconds or ceiling.reason for ceiling in limits)
    assert {ceiling.level for ceiling in limits if ceiling.kind == "read"} >= {"L1", "memory"}
    # On a machine that is never quiet the nearer levels may be unknown: the next one that is known limits then.
    reads = sorted((c for c in limits if c.kind == "read" and c.gbps), key=lambda c: c.bytes or inf)
    limit = reads[0].gbps if reads else None
    ok = recorded.results[recorded.results["status"] == "ok"]
    if limit is None:
        assert ok["ceiling_fraction"].isna().all()
    else:
        assert (ok["ceiling_fraction"] == ok["gbps"] / limit).all()


def test_a_plan_survives_being_written_down(recorded):
    assert recording.plan_of(recorded.run) == (CONTESTS, EFFORT)
    assert recording.plan_of(recorded.run)[0][0].case.label == "small"


def test_an_interrupted_run_keeps_its_rounds_and_is_completed_by_resuming(store):
    rounds = 0

    def interrupt(event):
        nonlocal rounds
        rounds += isinstance(event, events.RoundMeasured)
        if rounds == 3:
            raise KeyboardInterrupt

    cut = recording.record(recording.begin(store, CONTESTS, EFFORT, []), PLAN, interrupt)
    run = cut.run.id
    assert cut.interrupted
    assert store.describe(run).ended is None
    ceilings = store.describe(run).ceilings
    assert ceilings
    kept = store.samples([run])
    assert kept.groupby(["case", "round"]).ngroups == 3

    writer = store.reopen(run)
    resumed = recording.record(writer, planned(writer))
    assert not resumed.interrupted
    assert store.describe(run).ceilings == ceilings
    assert store.describe(run).ended is not None
    samples = store.samples([run])
    merged = samples.merge(kept, on=["case", "implementation", "round", "process", "turn", "seconds_per_call"])
    assert len(merged) == len(kept)
    assert samples.groupby("case")["round"].nunique().min() >= 3
    assert not samples.duplicated(["case", "implementation", "round", "turn"]).any()


@pytest.mark.parametrize("slow", [None, 1700.0, 1000.0], ids="cycles {}".format)
def test_throttling_and_lost_workers_are_warned_of(monkeypatch, store, slow):
    """Throttling once, by the rate of the device's clock where its cycles are counted."""
    case = CONTESTS[0].case
    batches = Batches()
    for turn in range(4):
        for contender in range(2):
            batches.add(contender, turn, contender, 10, 1e-3, 0.0, slow and (slow if turn else 1700.0))

    def measure(plan, earlier, with_ceilings, servers):
        yield events.Qualified(case, "mean", Qualification())
        yield events.WorkerLost(case, "sum_scale", 0, "killed by SIGKILL")
        for number, slowdown in enumerate((1.0, 1.4)):
            floor = {"host": {"floor_seconds": 1e-6 * number}}
            result = RoundResult({"host": batches}, preparations=floor, slowdowns={"host": slowdown})
            yield events.RoundMeasured(case, number, number, ("mean", "sum_scale"), result)

    monkeypatch.setattr(engine, "measure", measure)
    recorded = recording.record(recording.begin(store, CONTESTS, EFFORT, []), PLAN)
    messages = "\n".join(map(str, recorded.run.warnings))
    assert ("in 1 of 2 rounds the device took up to 1.40 times as long" in messages) == (slow is None)
    assert ("12 of 16 batches ran at less than 75% of the highest" in messages) == (slow == 1000.0)
    assert "round 0 was lost while sum_scale ran (killed by SIGKILL)" in messages
    assert recorded.run.clocks == {"host": {"floor_seconds": 5e-7}}
    assert recorded.samples["round"].nunique() == 2


def test_a_device_without_free_memory_ends_the_run_and_keeps_its_rounds(monkeypatch, store):
    case, batches = CONTESTS[0].case, Batches()
    batches.add(0, 0, 0, 10, 1e-3)
    ended = []

    def measure(plan, earlier, with_ceilings, servers):
        try:
            yield events.Qualified(case, "mean", Qualification())
            yield events.RoundMeasured(case, 0, 0, ("mean",), RoundResult({"host": batches}))
            yield events.Qualified(case, "mean", Qualification("oom", f"{DEVICE_FULL}: 0 bytes are free"))
            pytest.fail("the next case was begun")
        finally:
            ended.append("processes")

    monkeypatch.setattr(engine, "measure", measure)
    writer = recording.begin(store, CONTESTS, EFFORT, [])
    with pytest.raises(RefusedError) as refused:
        recording.record(writer, PLAN)
    assert refused.value.exit_code == ExitCode.REFUSED
    assert str(refused.value) == (
        "the device's memory is full: 0 bytes are free; all earlier rounds are kept; fix that and resume with: "
        f"gapbench run --resume {writer.id}"
    )
    assert len(store.samples([writer.id])) == 1
    assert ended == ["processes"]


@pytest.mark.parametrize(("threads", "warned"), [(1, False), (2, False), (3, True)])
def test_more_threads_than_usable_cpus_are_warned_of(store, threads, warned):
    plans = [replace(CONTESTS[0], case=replace(CONTESTS[0].case, threads=threads))]
    machine = Environment(Machine(usable_cores=2))
    run = recording.begin(store, plans, EFFORT, ["run"], elsewhere=machine).run
    expected = Warning(
        "threads", "3 threads share 2 usable CPUs and wait for each other", "measure with --threads 2 or fewer"
    )
    assert (expected in run.notes) == warned


def test_conditions_of_memory_are_rows_of_their_own(store):
    plans = [CasePlan("test", Case((4, 64, 28, 28)), {"mean": "mean"}, memory=memory) for memory in ("kept", "fresh")]
    plan = Plan(tuple(plans), EFFORT)
    writer = recording.begin(store, plans, EFFORT, [])
    run = recording.record(writer, plan).run.id
    assert planned(writer) == plan
    results, samples = store.results([run]), store.samples([run])
    assert sorted(results["memory"]) == ["fresh", "kept"]
    assert set(results["status"]) == {"ok"}
    assert (samples.groupby("memory")["round"].nunique() >= 3).all()
    assert samples["page_faults"].notna().all()
    faults = samples.groupby("memory")["page_faults"].median()
    assert faults["kept"] < 1


def test_page_faults_are_not_known_off_the_cpu(monkeypatch, store):
    """A device's own memory is no page of the host's."""
    case = Case((1, 8, 4, 4), device="cuda:0")
    case_plan = CasePlan("test", case, {"mean": "mean"}, ("event_warm",))
    batches = Batches()
    for turn in range(4):
        batches.add(0, turn, 0, 10, 1e-3)

    def measure(plan, earlier, with_ceilings, servers):
        yield events.Qualified(case, "mean", Qualification())
        yield events.RoundMeasured(case, 0, 0, ("mean",), RoundResult({"event_warm": batches}))

    monkeypatch.setattr(engine, "measure", measure)
    writer = recording.begin(store, CONTESTS[:1], EFFORT, [])
    recorded = recording.record(writer, Plan((case_plan,), EFFORT))
    assert recorded.samples["page_faults"].isna().all()
    assert recorded.results["page_faults"].isna().all()


def test_each_batch_has_its_clock_rate_and_slow_ones_are_warned_of(monkeypatch, store):
    case = Case((1, 8, 4, 4), device="cuda:0")
    rates = [1980.0, 1950.0, 1200.0, None]
    batches = Batches()
    for turn, rate in enumerate(rates):
        batches.add(0, turn, 0, 10, 1e-3, sm_clock_mhz=rate)

    def measure(plan, earlier, with_ceilings, servers):
        yield events.Qualified(case, "mean", Qualification())
        result = RoundResult({"event_warm": batches}, telemetry={"sm_clock_mhz": 1900.0})
        yield events.RoundMeasured(case, 0, 0, ("mean",), result)

    monkeypatch.setattr(engine, "measure", measure)
    plan = Plan((CasePlan("test", case, {"mean": "mean"}, ("event_warm",)),), EFFORT)
    recorded = recording.record(recording.begin(store, CONTESTS[:1], EFFORT, []), plan)
    assert store.samples([recorded.run.id])["sm_clock_mhz"].tolist() == [1980, 1950, 1200, 1900]
    (warning,) = [warning for warning in recorded.run.warnings if warning.topic == "throttling"]
    assert warning.evidence == (
        "1 of 4 batches ran at less than 75% of the highest clock rate, 1980 MHz: their times are too long"
    )


CASE = Case((1, 8, 4, 4))
names = st.lists(st.sampled_from(["pool", "mean", "sum"]), min_size=1, unique=True)


@st.composite
def measured_rounds(draw, sides):
    """Draw a round as the engine yields it: some contenders, some turns, in any order."""
    implementations = tuple(draw(names))
    number = draw(st.integers(0, 99))
    contenders = range(len(implementations) * len(sides))
    chosen = draw(st.sets(st.sampled_from(contenders), min_size=1))
    batches = Batches()
    for turn in range(draw(st.integers(1, 3))):
        for position, index in enumerate(draw(st.permutations(sorted(chosen)))):
            batches.add(
                index,
                turn,
                position,
                draw(st.integers(1, 50)),
                draw(st.floats(1e-9, 1)),
                draw(st.none() | st.just(1.5)),
            )
    clocks = draw(st.sampled_from([("host",), ("host", "host_cold")]))
    memory = draw(st.sampled_from(["kept", "fresh"]))
    result = RoundResult(dict.fromkeys(clocks, batches))
    return events.RoundMeasured(CASE, number, 2 * number, implementations, result, sides, memory)


@given(st.sampled_from([("this",), ("base", "head"), ("base", "head", "null")]).flatmap(measured_rounds))
def test_rounds_are_read_back_as_the_events_that_they_were(measured):
    """Whatever indices the contenders had: their sides, names, turns, calls and times are the same."""
    (again,) = recording._earlier(RunCollector().add_round(measured))
    assert (again.case, again.round, again.process, again.memory) == (
        CASE,
        measured.round,
        measured.process,
        measured.memory,
    )

    def rows_of(event, clock):
        batches = event.result.batches[clock]
        contenders = [event.contender(index) for index in batches.contender]
        columns = [getattr(batches, name) for name in ("turn", "position", "calls", "seconds_per_call")]
        return list(zip(contenders, *columns, strict=True))

    assert again.result.batches.keys() == measured.result.batches.keys()
    for clock in measured.result.batches:
        assert rows_of(again, clock) == rows_of(measured, clock)


def test_who_was_raced_and_what_separated_sides_is_kept(monkeypatch, store):
    sides = (Side("base"), Side("head"), Side("null"))

    def measure(plan, *_, **__):
        for side in ("base", "head"):
            yield events.Qualified(CASE, "mean", Qualification(), contender=side)
        yield events.SidesSeparated(CASE, "it changes the default dtype for the whole process")
        yield events.Flagged((FlaggedRow(CASE.id, "mean", "host", 8, 11),))

    monkeypatch.setattr(engine, "measure", measure)
    described = {"sides": (RunSide("base"), RunSide("head")), "comparison": Comparison(0.01, ("HEAD~1", "HEAD"))}
    case_plan = CasePlan("test", CASE, {"mean": "mean"})
    writer = recording.begin(store, [case_plan], EFFORT, [], **described)
    recorded = recording.record(writer, Plan((case_plan,), EFFORT, sides))
    assert recorded.run.comparison.flagged == (FlaggedRow(CASE.id, "mean", "host", 8, 11),)
    (messages,) = [warning.evidence for warning in recorded.run.warnings if warning.topic == "sides"]
    assert "separate processes: it changes the default dtype for the whole process" in messages


def test_variables_that_change_what_a_launch_is_are_named(monkeypatch, store):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(recording.environment, "describe", lambda _device: Environment())
    on_gpu = [replace(CONTESTS[0], case=replace(CASE, device="cuda:0"))]
    writer = recording.begin(store, on_gpu, EFFORT, [])
    (warning,) = [one for one in writer.run.warnings if one.topic == "variables"]
    assert warning.evidence == "CUDA_LAUNCH_BLOCKING is set: every launch waits for its kernel, and that is timed"
    on_cpu = recording.begin(store, CONTESTS, EFFORT, []).run.warnings
    assert "variables" not in {one.topic for one in on_cpu}
