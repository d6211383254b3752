"""What run.json says of a run, as terms and texts for people.

Old runs lack fields and new ones bring more: known fields get words, unknown ones are shown as they are, and
what is null is left out. Nothing here is guessed.
"""

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from gapbench.report import format as fmt

Facts = list[tuple[str, str]]


def identity(run: Mapping[str, Any], results: pd.DataFrame) -> Facts:
    """Return what belongs beside the title: commit, date, device."""
    facts = [("Commit", commit(run)), ("Date", when(run.get("started"))), ("Device", devices(run, results))]
    return [(term, value) for term, value in facts if value]


def commit(run: Mapping[str, Any]) -> str:
    """Return the commit in short: hash, branch, whether the tree was dirty, subject."""
    git = _mapping(run.get("git"))
    if not git.get("commit"):
        return ""
    place = ", ".join(
        part for part in (str(git.get("branch") or ""), "uncommitted changes" if git.get("dirty") else "") if part
    )
    return " ".join(
        part for part in (str(git["commit"])[:7], f"({place})" if place else "", str(git.get("subject") or "")) if part
    )


def when(value: Any) -> str:
    """Return an ISO time in UTC as ``2026-11-22 10:11 UTC``, anything else as it is."""
    if not value:
        return ""
    try:
        time = pd.Timestamp(str(value))
        time = time.tz_convert("UTC") if time.tzinfo else time
        return time.strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return str(value)


def devices(run: Mapping[str, Any], results: pd.DataFrame) -> str:
    """Return the devices that were measured, with the hardware behind them where it is known."""
    machine = _mapping(run.get("machine"))
    gpus = machine.get("gpus") or []
    found = []
    for device in results["device"].dropna().unique() if "device" in results else []:
        kind, _, index = str(device).partition(":")
        position = int(index) if index.isdigit() else 0
        if device == machine.get("device") and machine.get("device_description"):
            found.append(f"{device}: {machine['device_description']}")
        elif kind == "cpu" and machine.get("cpu"):
            cores = machine.get("cores")
            count = "" if not cores else f" ({cores} {'core' if cores == 1 else 'cores'})"
            found.append(f"{device}: {machine['cpu']}{count}")
        elif kind != "cpu" and position < len(gpus):
            gpu = gpus[position]
            found.append(f"{device}: {gpu.get('name', '') if isinstance(gpu, Mapping) else gpu}")
        else:
            found.append(str(device))
    return ", ".join(found)


def environment(run: Mapping[str, Any]) -> list[tuple[str, Facts]]:
    """Return all that is known of the run and its surroundings, in sections."""
    git = dict(_mapping(run.get("git")))
    if git.get("commit"):
        git["working tree"] = {True: "uncommitted changes", False: "clean"}.get(git.pop("dirty", None))
    sections = [
        ("Run", _run(run)),
        ("Machine", _flat(run.get("machine"))),
        ("Versions", _flat(run.get("versions"))),
        ("Git", _flat(git)),
        ("Settings", _flat(run.get("settings"))),
        ("Clocks", _clocks(run.get("clocks"))),
        ("Ceilings", _ceilings(run.get("ceilings"))),
        ("Energy", _energy(run.get("energy"))),
    ]
    return [(title, facts) for title, facts in sections if facts]


def _run(run: Mapping[str, Any]) -> Facts:
    argv, timed, wall = run.get("argv"), run.get("timed_seconds"), run.get("wall_seconds")
    facts = {
        "run": run.get("run"),
        "command": shlex.join(map(str, argv)) if argv else None,
        "tag": run.get("tag"),
        "suites": run.get("suites"),
        "seed": run.get("seed"),
        "started": when(run.get("started")),
        "ended": when(run.get("ended")),
        "wall time": fmt.duration(wall) if wall else None,
        "inside timed batches": f"{fmt.duration(timed)} ({100 * timed / wall:.0f} %)" if timed and wall else None,
        "load before": run.get("load_before"),
        "load after": run.get("load_after"),
        "schema": run.get("schema"),
    }
    return _flat(facts)


def _clocks(clocks: Any) -> Facts:
    """Say of each clock what it found out about itself: its floor, the smallest launch, what proves it cold."""
    found = []
    for clock, seconds in _mapping(clocks).items():
        known = {name: value for name, value in _mapping(seconds).items() if not fmt.missing(value)}
        texts = [f"{name.removesuffix('_seconds').replace('_', ' ')} {fmt.seconds(v)}" for name, v in known.items()]
        found.append((str(clock), ", ".join(texts) or "no overhead of its own"))
    return found


def _ceilings(known: Any) -> Facts:
    """Say of each level what it gives, and why nothing is known where nothing is."""
    found = []
    for one in known if isinstance(known, list) else []:
        if not isinstance(one, Mapping):
            continue
        threads = one.get("threads")
        of = [str(one.get(name) or "") for name in ("device", "level", "kind")]
        of += [] if fmt.missing(threads) else [f"{threads} {'thread' if threads == 1 else 'threads'}"]
        said = fmt.text(one.get("reason"))
        if not fmt.missing(one.get("gbps")):
            said = f"{fmt.number(one['gbps'])} GB/s"
            said += "" if fmt.missing(one.get("bytes")) else f" up to {fmt.size(one['bytes'])}"
        elif not fmt.missing(one.get("seconds")):
            said = fmt.seconds(one["seconds"])
        found.append((" ".join(filter(None, of)), said))
    return found


def _energy(sources: Any) -> Facts:
    """Say of each device what counts the energy of a call, or why nothing does."""
    known = [one for one in sources if isinstance(one, Mapping)] if isinstance(sources, list) else []
    said = [", ".join(fmt.text(one[name]) for name in ("source", "reason") if one.get(name)) for one in known]
    return [(str(one.get("device")), text) for one, text in zip(known, said, strict=True)]


def _flat(value: Any) -> Facts:
    """Return a mapping as terms and texts, leaving out what is null or empty."""
    return [
        (key.removesuffix("_bytes").replace("_", " "), _said(key, value))
        for key, value in ((str(key), value) for key, value in _mapping(value).items())
        if not (fmt.missing(value) or value in ("", [], {}))
    ]


def _said(key: str, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{term} {text}" for term, text in _flat(value))
        case list() | tuple():
            return ("; " if any(isinstance(item, Mapping) for item in value) else ", ").join(
                _said(key, item) for item in value
            )
        case int() | float() if key.endswith("_bytes"):
            return fmt.size(value)
        case float():
            return f"{value:g}"
        case _:
            return fmt.text(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
