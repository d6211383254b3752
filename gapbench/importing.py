"""From a file of pytest-benchmark to a stored run. No torch: nothing is measured, and nothing is made up."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import structs

from gapbench import __version__, records, store, summary
from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.records import Qualification
from gapbench.run import Imported, Run, Warning
from gapbench.store.pytest_benchmark import reading
from gapbench.store.pytest_benchmark.reading import Entry

_NAMED = 3


def import_file(target: store.Store, path: Path, tag: str | None = None) -> Run:
    """Store the cases of a file as a new run of ``target``, and return it.

    The run's id and start are the time that the file gives; its ``warnings`` say what it cannot support. Samples
    without rounds are one round of unknown process: times have no interval, and ratios need turns in common, which
    benchmarks that ran one after the other have not. Raises `GapbenchError` for a file that cannot be believed or was
    imported before, `NothingMatchedError` for one without a case.
    """
    document, digest = reading.load(path)
    found = list(reading.entries(document))
    entries = [one for one in found if isinstance(one, Entry)]
    strangers = [one for one in found if isinstance(one, str)]
    if not entries:
        raise NothingMatchedError(
            f"none of the {len(found)} benchmarks of {path} is a case: extra_info must give case and implementation"
        )
    origin = _origin(document)
    _refuse_twice(target, path, digest, origin, entries)
    samples = pd.DataFrame.from_records(list(_rows(entries)), columns=list(records.SAMPLES))
    results = _results(entries, samples)
    run = reading.description(
        document,
        tag=tag,
        suites=tuple(sorted(results["suite"].dropna().unique())),
        imported=Imported(
            file=path.name,
            sha256=digest,
            run=origin,
            pytest_benchmark=reading.name(document.get("version")),
            by=__version__,
        ),
    )
    warnings = (*run.warnings, *_warnings(path, entries), *_left_out(strangers, len(found)))
    id_ = store.new_run_id(run.commit, reading.measured_at(document))
    writer = target.create(structs.replace(run, id=id_, warnings=warnings))
    if not samples.empty:
        writer.append({name: samples[name].tolist() for name in samples.columns if name != "run"})
    writer.finish(results)
    return writer.run


def _origin(document: dict[str, Any]) -> str | None:
    """Return the run of gapbench that all of the file's benchmarks come from, if there is one."""
    runs = {reading.name(_info(one).get("run")) for one in document["benchmarks"]}
    return runs.pop() if len(runs) == 1 else None


def _info(benchmark: object) -> dict[str, Any]:
    info = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
    return info if isinstance(info, dict) else {}


def _refuse_twice(target: store.Store, path: Path, digest: str, origin: str | None, entries: Sequence[Entry]) -> None:
    counts = Counter((one.case.id, one.implementation, one.contender, one.clock) for one in entries)
    (case, implementation, _, clock), count = counts.most_common(1)[0]
    if count > 1:
        raise GapbenchError(f"{path} has {implementation} on {case} by {clock} {count} times; a run has it once")
    found = target.listing()
    if origin in found.ids:
        raise GapbenchError(f"{path} is of run {origin}, which is in {target.url} already")
    for run, one in found.runs.items():
        if one.imported and one.imported.sha256 == digest:
            raise GapbenchError(f"{path} was imported before, as run {run}")


def _rows(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Yield the samples. Those without rounds get turns that no other shares: theirs were at other times."""
    turn = 0
    for one in entries:
        for index, seconds in enumerate(one.seconds):
            yield {
                "case": one.case.id,
                "implementation": one.implementation,
                "contender": one.contender,
                "clock": one.clock,
                "round": 0,
                "turn": turn,
                "calls": one.calls,
                "seconds_per_call": seconds,
                **{name: values[index] for name, values in one.batch.items()},
            }
            turn += 1


def _results(entries: Sequence[Entry], samples: pd.DataFrame) -> pd.DataFrame:
    """Return what the samples say; of an entry without samples, its median."""
    frames = []
    for contender in dict.fromkeys(one.contender for one in entries):
        mine = [one for one in entries if one.contender == contender]
        frame = summary.results(samples[samples["contender"] == contender], map(_outcome, filter(_sampled, mine)))
        frames += [frame.assign(contender=contender)] if len(frame) else []
    rows = [
        {
            "suite": one.kept.get("suite"),
            **records.case_columns(_outcome(one).case),
            "implementation": one.implementation,
            "contender": one.contender,
            "clock": one.clock,
            "status": "ok",
            "seconds": one.median,
        }
        for one in entries
        if not _sampled(one)
    ]
    frames += [pd.DataFrame(rows)] if rows else []
    return pd.concat(frames, ignore_index=True)


def _sampled(entry: Entry) -> bool:
    return bool(entry.seconds)


def _outcome(entry: Entry) -> summary.Outcome:
    kept = dict(entry.kept)
    case = replace(entry.case, label=kept.pop("label", ""), weight=kept.pop("weight", 1))
    suite, reference, stopped_by = (kept.pop(name, None) for name in ("suite", "reference", "stopped_by"))
    return summary.Outcome(suite, case, entry.implementation, entry.clock, Qualification(**kept), stopped_by, reference)


def _warnings(path: Path, entries: Sequence[Entry]) -> Iterator[Warning]:
    roundless = sum(_sampled(one) and not one.batch for one in entries)
    if roundless:
        evidence = (
            f"{path.name} does not say in which rounds and processes {roundless} of its benchmarks were sampled: each "
            "counts as one round: its time has no interval and no ratio to others, and a diff cannot tell noise from "
            "change"
        )
        yield Warning("rounds", evidence, "measure with: gapbench run")
    medians = sum(not _sampled(one) for one in entries)
    if medians:
        evidence = f"{medians} benchmarks of {path.name} have a median and no samples"
        yield Warning("samples", evidence, "write the file by --benchmark-json or with --benchmark-save-data")


def _left_out(strangers: Sequence[str], count: int) -> list[Warning]:
    if not strangers:
        return []
    named = ", ".join(strangers[:_NAMED]) + (", ..." if len(strangers) > _NAMED else "")
    evidence = f"{len(strangers)} of {count} benchmarks were left out: {named}"
    return [Warning("cases", evidence, "give them case and implementation in extra_info")]
