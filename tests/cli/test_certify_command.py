"""``gapbench doctor --certify``: what it prints and keeps, and what later comparisons quote."""

import json

import msgspec
import pytest
from stored import MACHINE, keep, side, two_sides

from gapbench.errors import GapbenchError
from gapbench.measuring import certify
from gapbench.report import certified
from gapbench.store import certificates
from gapbench.store.certificates import TrialRow
from gapbench.store.run import decode
from gapbench.store.store import Store

ROWS = [TrialRow(0, "small", 0.05, "regressed", 1.05, 1.04, 1.06, 16, 13), TrialRow(0, "large", 0.0, "equivalent", 1.0)]


@pytest.fixture
def planted(monkeypatch):
    """Stand in for the comparisons: three, and then what ``then`` raises."""

    def plant(then=None):
        def comparisons(device, seconds, observe):
            for number in range(3):
                observe(number + 1, 3)
                yield [msgspec.structs.replace(row, trial=number) for row in ROWS]
            if then:
                raise then

        monkeypatch.setattr(certify, "comparisons", comparisons)

    return plant


def test_the_command_prints_and_keeps_the_certificate(gapbench, planted):
    planted()
    code, out, err = gapbench("doctor", "--certify", "20m", "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document["false_red"]) == {"runs", "red", "upper"}
    assert [(power["change"], power["trials"]) for power in document["power"]] == [
        (0.01, 0),
        (0.02, 0),
        (0.03, 0),
        (0.05, 3),
    ]
    assert "kept in" in err
    code, out, _ = gapbench("doctor", "--certify", "20m")
    assert "identical code was red in 0 of 3 comparisons" in out
    assert "+5%" in out


@pytest.mark.parametrize(("then", "code"), [(KeyboardInterrupt(), 130), (GapbenchError("no space left"), 2)])
def test_what_was_measured_before_an_end_is_kept(gapbench, planted, then, code, tmp_path):
    planted(then)
    assert gapbench("doctor", "--certify", "20m", "--store", str(tmp_path / "kept"))[0] == code
    (kept,) = (tmp_path / "kept").glob("certificate-*.json")
    assert len(json.loads(kept.read_text())["rows"]) == 6


def test_certify_and_selftest_are_two(gapbench):
    assert gapbench("doctor", "--certify", "1m", "--selftest")[0] == 2


def certificate_of(run, started="2026-11-30T00:00:00Z"):
    return certificates.Certificate(
        started=started, device="cpu", environment=run.environment.compared(), seconds=15.0, margin=0.01,
        cases=("small", "large"), false_red=certificates.FalseRed(40, 0, 0.072), by_case=(),
        power=(certificates.Power(0.02, 16, 14, 0.62, 0.98),), rows=tuple(ROWS),
    )  # fmt: skip


def kept(store, certificate):
    store.keep(certificates.KIND, msgspec.to_builtins(certificate))


def test_later_comparisons_of_the_machine_quote_it(gapbench, tmp_path):
    store = Store(str(tmp_path / "results"))
    _, head = (keep(store, each) for each in two_sides(base={"tag": "old"}))
    kept(store, certificate_of(store.describe(head)))
    (tmp_path / "results" / "certificate-20300101T000000Z-0000.json").write_text("{")  # a damaged one
    code, out, _ = gapbench("diff", "old", "--store", str(tmp_path / "results"))
    assert code == 0
    assert (
        "certified on 2026-11-30: of slowdowns planted on this machine ab found +2% 14 of 16 (15 s for 2 cases)" in out
    )
    assert "identical code was red in 0 of 40 comparisons (at most 7.2%, with 95 % confidence)" in out
    assert "certified" not in gapbench("diff", "old", "--format", "json", "--store", str(tmp_path / "results"))[1]


def test_another_machine_has_no_certificate(tmp_path):
    store = Store(str(tmp_path))
    run = store.describe(keep(store, side()))
    other = decode({"schema": 2, "run": run.id, "machine": {**MACHINE, "cpu": "another"}})
    kept(store, certificate_of(other))
    assert certificates.newest(store, run) is None
    kept(store, certificate_of(run))
    assert certified.sentence(certificates.newest(store, run)).startswith("certified on 2026-11-30")
