"""Both sides' profiles, chosen and kept, with profiles that never were: no processes."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from fabricated import CASE, a_run
from profiled import document

from gapbench.compare import Row
from gapbench.measuring.source import Source
from gapbench.profiling import explaining
from gapbench.store import Store, profiles
from gapbench.verdicts import Verdict

BASE, HEAD = Source(Path("/base")), Source(Path("/head"))


def row(name="pool", clock="host", **changes):
    return Row("ci", CASE.id, name, clock, f"{name}.py:{name}", Verdict.REGRESSED, **{"ratio": 2.0, **changes})


@pytest.fixture
def profiling(monkeypatch):
    """Give documents in the order in which they are asked for, per side; return the requests."""
    given, asked = {BASE: [], HEAD: []}, []

    @contextmanager
    def one(_server, name, request):
        asked.append((name, request.source, request.spec))
        found = given[request.source].pop(0)
        yield SimpleNamespace(
            document=found | {"implementation": name}, files={"generated.py": found["sentence"].encode()}
        )

    server = SimpleNamespace(wait_ready=lambda: None)
    monkeypatch.setattr(explaining, "ForkServer", lambda *_, **__: nullcontext(server))
    monkeypatch.setattr(explaining.profiles, "one", one)
    return SimpleNamespace(given=given, asked=asked)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


def of(seconds):
    return document(seconds=seconds, sentence=f"{seconds}")


def test_the_middle_of_three_processes_of_each_side_is_compared_and_kept(profiling, store):
    run = a_run(store)
    profiling.given[BASE] = [of(3e-5), of(1e-5), of(2e-5)]
    profiling.given[HEAD] = [of(6e-5), of(4e-5), of(9e-5)]
    assert list(explaining.explain(store, run, [row(), row(clock="host_cold")], BASE, HEAD)) == [row()]
    assert profiling.asked == [("pool", source, "pool.py:pool") for _ in range(3) for source in (BASE, HEAD)]
    base, head = profiles.read(store, run)[CASE.id]
    assert (base["side"], base["seconds"], base.get("explanation")) == ("base", 2e-5, None)
    assert (head["side"], head["seconds"]) == ("head", 6e-5)
    assert head["explanation"]["seconds"] == pytest.approx(4e-5)
    assert "2.00" in head["explanation"]["sentence"]  # the ratio of the comparison
    assert "+6e-05" in head["explanation"]["source_diff"]["generated.py"]
    assert Path(store.path(run, "profiles", CASE.id, "pool.base.generated.py")).read_bytes() == b"2e-05"


def test_a_process_that_failed_explains_nothing_and_the_next_row_is_explained(profiling, store):
    run = a_run(store)
    failed = document(status="failed", reason="its process was killed", sentence="")
    profiling.given[BASE] = [of(1e-5) for _ in range(6)]
    profiling.given[HEAD] = [of(2e-5), failed, of(2e-5), *(of(2e-5) for _ in range(3))]
    assert len(list(explaining.explain(store, run, [row(), row("other")], BASE, HEAD))) == 2
    found = {(one["implementation"], one["side"]): one for one in profiles.read(store, run)[CASE.id]}
    assert found["pool", "head"]["explanation"]["sentence"] == "head could not be profiled: its process was killed"
    assert found["other", "head"]["explanation"]["seconds"] == pytest.approx(1e-5)
