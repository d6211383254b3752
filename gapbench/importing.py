"""From an export of a run back to a stored run. No torch: nothing is measured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import structs

from gapbench import __version__, records, store, summary
from gapbench.errors import GapbenchError
from gapbench.records import Qualification
from gapbench.run import Imported, Run
from gapbench.store.pytest_benchmark import reading
from gapbench.store.pytest_benchmark.reading import Entry


def import_file(target: store.Store, path: Path, tag: str | None = None) -> Run:
    """Store a file of ``gapbench store export`` as a new run of ``target``, and return it.

    The run's id and start are those of the exported run, but for the id's random end. Raises `GapbenchError` for a file
    that is not an export of gapbench, is damaged, or whose run is in ``target`` already.
    """
    export = reading.load(path)
    entries = list(reading.entries(export))
    _refuse_duplicates(target, export, entries)
    samples = pd.DataFrame.from_records(list(_rows(entries)), columns=list(records.SAMPLES))
    results = _results(entries, samples)
    run = reading.description(
        export.document,
        tag=tag,
        suites=tuple(sorted(results["suite"].dropna().unique())),
        imported=Imported(file=path.name, sha256=export.sha256, run=export.run, by=__version__),
    )
    id_ = store.new_run_id(run.commit, reading.measured_at(export.document))
    writer = target.create(structs.replace(run, id=id_))
    writer.append({name: samples[name].tolist() for name in samples.columns if name != "run"})
    writer.finish(results)
    return writer.run


def _refuse_duplicates(target: store.Store, export: reading.Export, entries: Sequence[Entry]) -> None:
    counts = Counter(
        (entry.case.id, entry.implementation, entry.contender, entry.clock, entry.memory) for entry in entries
    )
    (case, implementation, _, clock, _), count = counts.most_common(1)[0]
    if count > 1:
        raise GapbenchError(
            f"{export.path} is damaged: it has {implementation} on {case} by {clock} {count} times; export it again"
        )
    listing = target.listing()
    if export.run in listing.ids:
        raise GapbenchError(f"{export.path} is of run {export.run}, which is in {target.url} already")
    for run, row in listing.runs.items():
        if row.imported and row.imported.sha256 == export.sha256:
            raise GapbenchError(f"{export.path} was imported before, as run {run}")


def _rows(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for index, seconds in enumerate(entry.seconds):
            yield {
                "case": entry.case.id,
                "implementation": entry.implementation,
                "contender": entry.contender,
                "clock": entry.clock,
                "memory": entry.memory,
                "seconds_per_call": seconds,
                **{name: values[index] for name, values in entry.batch.items()},
            }


def _results(entries: Sequence[Entry], samples: pd.DataFrame) -> pd.DataFrame:
    return summary.results(samples, map(_outcome, entries))


def _outcome(entry: Entry) -> summary.Outcome:
    kept = dict(entry.kept)
    case = replace(entry.case, label=kept.pop("label", ""), weight=kept.pop("weight", 1))
    suite, reference, stopped_by = (kept.pop(name, None) for name in ("suite", "reference", "stopped_by"))
    return summary.Outcome(
        suite,
        case,
        entry.implementation,
        entry.clock,
        Qualification(**kept),
        stopped_by,
        reference,
        entry.contender,
        entry.memory,
    )
