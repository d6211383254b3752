"""From the shards of a sweep to one run. No torch: nothing is measured, and nothing is chosen between."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from gapbench import __version__, ceilings, store
from gapbench.errors import GapbenchError
from gapbench.merging import documents
from gapbench.merging.shards import Part, check, find

__all__ = ["Part", "find", "merge"]

_ALIKE = ("sweep", "argv", "seed", "settings", "machine", "versions")


def merge(target: store.Store, parts: Sequence[Part], tag: str | None = None) -> dict[str, Any]:
    """Store the shards of one sweep as a new run of ``target``, and return its ``run.json``.

    All rows and samples of the parts are its own, and its ``parts`` are what each said of itself. Of a ceiling that
    several measured, the highest holds for all of them. Raises `GapbenchError` unless every shard is there once,
    whole, and measured on an equal machine, or if they were merged before.
    """
    parts = check(parts)
    _refuse_twice(target, parts)
    said = [part.document for part in parts]
    places = {case: place for part in parts for case, place in part.places.items()}
    known = documents.ceilings(said)
    begun = min(str(one["started"]) for one in said)
    git = documents.git(said)
    tags = {one.get("tag") for one in said}
    writer = target.create(
        {
            **{name: said[0].get(name) for name in _ALIKE},
            "run": store.new_run_id((git or {}).get("commit"), datetime.fromisoformat(begun).astimezone(UTC)),
            "started": begun,
            "tag": tag or (tags.pop() if len(tags) == 1 else None),
            "suites": sorted({suite for one in said for suite in one["suites"]}),
            "git": git,
            "plan": sorted((case for one in said for case in one["plan"]), key=lambda one: places[one["case"]]),
            "snippets": {name: text for one in said for name, text in (one.get("snippets") or {}).items()},
            "load_before": documents.worst(said, "load_before"),
            "load_after": documents.worst(said, "load_after"),
            "ceilings": known,
            "energy": documents.energy(said),
            "clocks": documents.clocks(said),
            "wall_seconds": sum(one.get("wall_seconds") or 0.0 for one in said),
            "timed_seconds": sum(one.get("timed_seconds") or 0.0 for one in said),
            "imported": {"runs": [part.run for part in parts], "by": __version__},
            "parts": said,
            "warnings": list(documents.warnings(said)),
        }
    )
    for samples in _samples(parts):
        writer.append(samples)
    # pandas warns of columns without values when it joins frames
    frames = [part.store.results([part.run], whole=True).dropna(axis="columns", how="all") for part in parts]
    results = pd.concat(frames, ignore_index=True)
    results = results.sort_values("case", key=lambda cases: cases.map(places), kind="stable", ignore_index=True)
    writer.finish(results.assign(ceiling_fraction=_fractions(results, known)))
    return writer.run


def _refuse_twice(target: store.Store, parts: Sequence[Part]) -> None:
    ours = [part.run for part in parts]
    for run, one in target.listing().runs.items():
        if (one["imported"] or {}).get("runs") == ours:
            raise GapbenchError(f"these {len(ours)} shards were merged before, as run {run}")


def _samples(parts: Sequence[Part]) -> Iterator[pd.DataFrame]:
    """Yield each part's samples; the serial numbers of processes go on from one part to the next."""
    used = 0
    for part in parts:
        samples = part.store.samples([part.run], whole=True)
        if not samples.empty:
            yield samples.assign(process=samples["process"] + used)
            used += 1 + int(samples["process"].fillna(0).max())


def _fractions(results: pd.DataFrame, known: ceilings.Known) -> "pd.Series[float]":
    """Return which share of its ceiling each row reaches: the parts' own shares are of the ceilings they knew."""
    found = []
    for row in results.reindex(columns=["device", "threads", "pass", "clock", "bytes_moved", "gbps"]).to_dict(
        "records"
    ):
        limit = ceilings.limit_of(known, {str(name): value for name, value in row.items()})
        found.append(math.nan if limit is None else row["gbps"] / limit["gbps"])
    return pd.Series(found, dtype=float)
