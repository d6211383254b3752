import pytest

from gapbench import recording
from gapbench.cases import Case
from gapbench.measuring import engine
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.records import Qualification
from gapbench.store import Store

CONTESTS = [
    Contest("test", Case((1, 8, 4, 4), label="small"), {"mean": "mean", "sum_scale": "sum_scale"}),
    Contest("test", Case((2, 4, 3, 3), dtype="float16"), {"mean": "mean", "triton": "triton"}),
]
EFFORT = Effort(budget=2, rounds=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def recorded(store):
    return recording.record(recording.begin(store, CONTESTS, EFFORT, ["run"], "mine"), CONTESTS, EFFORT)


def test_the_store_has_what_was_measured(store, recorded):
    run = recorded.run.id
    assert store.resolve("mine") == run
    assert len(store.samples([run])) == len(recorded.samples) > 0
    results = store.results([run])
    assert recording.counts(results) == {"ok": 3, "unsupported": 1}
    assert (results.loc[results["status"] == "ok", "rounds"] >= 3).all()
    assert list(recorded.winners["case"]) == [contest.case.id for contest in CONTESTS]


def test_the_run_describes_itself(recorded):
    run = recorded.run
    assert run.ended >= run.started
    assert run.versions["torch"].startswith("2.")
    assert 0 < run.timed_seconds < run.wall_seconds
    assert run.suites == ("test",)
    assert run.machine.cpu


def test_the_machines_limits_are_measured_once_and_kept(recorded):
    known = recorded.run.ceilings
    assert {one.device for one in known} == {"cpu"}
    assert all(one.gbps or one.seconds or one.reason for one in known)
    assert {one.level for one in known if one.kind == "read"} >= {"L1", "memory"}
    limit = {one.level: one.gbps for one in known if one.kind == "read"}["L1"]
    ok = recorded.results[recorded.results["status"] == "ok"]
    if limit is None:  # a machine that is never quiet
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
        rounds += isinstance(event, engine.RoundMeasured)
        if rounds == 3:
            raise KeyboardInterrupt

    cut = recording.record(recording.begin(store, CONTESTS, EFFORT, []), CONTESTS, EFFORT, interrupt)
    run = cut.run.id
    assert cut.interrupted
    assert store.describe(run).ended is None
    ceilings = store.describe(run).ceilings
    assert ceilings
    kept = store.samples([run])
    assert kept.groupby(["case", "round"]).ngroups == 3

    writer = store.reopen(run)
    resumed = recording.record(writer, *recording.plan_of(writer.run))
    assert not resumed.interrupted
    assert store.describe(run).ceilings == ceilings
    assert store.describe(run).ended is not None
    samples = store.samples([run])
    merged = samples.merge(kept, on=["case", "implementation", "round", "process", "turn", "seconds_per_call"])
    assert len(merged) == len(kept)
    assert samples.groupby("case")["round"].nunique().min() >= 3
    assert not samples.duplicated(["case", "implementation", "round", "turn"]).any()


def test_throttling_and_lost_workers_are_warned_of(monkeypatch, store):
    case = CONTESTS[0].case
    batches = Batches()
    for turn in range(4):
        for contender in range(2):
            batches.add(contender, turn, contender, 10, 1e-3)

    def measure(contests, effort, earlier, with_ceilings, with_energy):
        yield engine.Qualified(case, "mean", Qualification())
        yield engine.WorkerLost(case, "sum_scale", 0, "killed by SIGKILL")
        for number, slowdown in enumerate((1.0, 1.4)):
            result = RoundResult({"host": batches}, {"host": {"floor_seconds": 1e-6 * number}}, {"host": slowdown})
            yield engine.RoundMeasured(case, number, number, ("mean", "sum_scale"), result)

    monkeypatch.setattr(engine, "measure", measure)
    recorded = recording.record(recording.begin(store, CONTESTS, EFFORT, []), CONTESTS, EFFORT)
    said = "\n".join(map(str, recorded.run.warnings))
    assert "in 1 of 2 rounds the device took up to 1.40 times as long" in said
    assert "a worker was lost in round 0 while it ran sum_scale (killed by SIGKILL)" in said
    assert recorded.run.clocks == {"host": {"floor_seconds": 5e-7}}
    assert recorded.samples["round"].nunique() == 2
