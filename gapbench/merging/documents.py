"""What the ``run.json`` of a merged run says, from those of its parts."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Documents = Sequence[Mapping[str, Any]]


def ceilings(documents: Documents) -> list[dict[str, Any]]:
    """Return each ceiling once, as high as the best of equal machines reached."""
    best: dict[tuple[object, ...], dict[str, Any]] = {}
    for one in (one for document in documents for one in document.get("ceilings") or []):
        key = tuple(one.get(name) for name in ("device", "kind", "level", "threads", "bytes"))
        if key not in best or _height(one) > _height(best[key]):
            best[key] = one
    return list(best.values())


def _height(ceiling: Mapping[str, Any]) -> float:
    """Return how far a limit allows to go: bandwidth, or the reciprocal of a time; nothing where it is not known."""
    gbps, seconds = ceiling.get("gbps"), ceiling.get("seconds")
    return gbps or (1 / seconds if seconds else 0.0)


def energy(documents: Documents) -> list[dict[str, Any]]:
    """Return for each device what counts its energy, as the first says that knows."""
    found: dict[object, dict[str, Any]] = {}
    for one in (one for document in documents for one in document.get("energy") or []):
        kept = found.setdefault(one.get("device"), one)
        if kept.get("source") is None:
            found[one.get("device")] = one
    return list(found.values())


def clocks(documents: Documents) -> dict[str, dict[str, float | None]]:
    """Return what each clock found out about itself: the median over the parts."""
    found: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for document in documents:
        for clock, values in (document.get("clocks") or {}).items():
            for name, value in values.items():
                found[clock][name].append(value)
    return {clock: {name: _median(all_) for name, all_ in values.items()} for clock, values in found.items()}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def worst(documents: Documents, name: str) -> list[float] | None:
    """Return the highest of the load averages over 1, 5 and 15 minutes."""
    return [max(column) for column in zip(*(one[name] for one in documents if one.get(name)), strict=False)] or None


def warnings(documents: Documents) -> Iterator[str]:
    """Yield each sentence once, with the shards that say it, unless all do."""
    said: dict[str, list[str]] = defaultdict(list)
    for document in documents:
        for sentence in document.get("warnings") or []:
            said[sentence].append(document["shard"])
    for sentence, shards in said.items():
        yield sentence if len(shards) == len(documents) else f"shard {', '.join(shards)}: {sentence}"
    if len({(one.get("git") or {}).get("diff_hash") for one in documents}) > 1:
        yield (
            "what was not committed differs between the shards' folders: files of the same commit may have had other "
            "contents; commit all, and put results/ into .gitignore"
        )


def git(documents: Documents) -> dict[str, Any] | None:
    """Return the commit of all parts, which is dirty if one of their folders was."""
    first = documents[0].get("git")
    return first and {**first, "dirty": any((one.get("git") or {}).get("dirty") for one in documents)}
