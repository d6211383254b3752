"""What is known of a run, as terms and texts for people. What is not known is left out."""

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd
from msgspec import to_builtins

from gapbench.report import format as fmt
from gapbench.store.run import Run

Facts = list[tuple[str, str]]


def identity(run: Run, results: pd.DataFrame) -> Facts:
    """Return what belongs beside the title: commit, date, device."""
    facts = [("Commit", commit(run)), ("Date", when(run.started)), ("Device", devices(run, results))]
    return [(term, value) for term, value in facts if value]


def commit(run: Run) -> str:
    """Return the commit in short: hash, branch, whether the tree was dirty, subject."""
    git = run.git
    if git is None or git.commit is None:
        return ""
    tree = ", ".join(filter(None, [git.branch, "uncommitted changes" if git.dirty else None]))
    return " ".join(filter(None, [git.commit[:7], f"({tree})" if tree else None, git.subject]))


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


def devices(run: Run, results: pd.DataFrame) -> str:
    """Return the devices that were measured, with the hardware behind them where it is known."""
    machine, texts = run.machine, []
    for device in results["device"].dropna().unique() if "device" in results else []:
        kind, _, index = str(device).partition(":")
        position = int(index) if index.isdecimal() else 0
        name = None
        if device == machine.device and machine.device_description:
            name = machine.device_description
        elif kind == "cpu" and machine.cpu:
            name = machine.cpu + (f" ({fmt.counted(machine.cores, 'core')})" if machine.cores else "")
        elif kind != "cpu" and position < len(machine.gpus):
            name = machine.gpus[position].name
        texts.append(f"{device}: {name}" if name else str(device))
    return ", ".join(texts)


def environment(run: Run) -> list[tuple[str, Facts]]:
    """Return all that is known of the run and its surroundings, in sections."""
    git = to_builtins(run.git) or {}
    git["working tree"] = {True: "uncommitted changes", False: "clean"}.get(git.pop("dirty", None))
    energy = [(str(each.device), ", ".join(filter(None, [each.source, each.reason]))) for each in run.energy or ()]
    sections: list[tuple[str, Facts]] = [
        ("Run", _run(run)),
        ("Machine", _flat(to_builtins(run.machine))),
        ("Versions", _flat(run.versions)),
        ("Git", _flat(git)),
        ("Settings", _flat(to_builtins(run.settings))),
        ("Clocks", [(clock, fmt.overheads(costs) or "no overhead of its own") for clock, costs in run.clocks.items()]),
        ("Ceilings", _ceilings(run)),
        ("Energy", energy),
    ]
    return [(title, facts) for title, facts in sections if facts]


def _run(run: Run) -> Facts:
    timed, wall = run.timed_seconds, run.wall_seconds
    share = f"{fmt.duration(timed)} ({100 * timed / wall:.0f} %)" if timed and wall else None
    command = shlex.join(run.argv) if run.argv else None
    facts = {"run": run.id, "command": command, "tag": run.tag, "suites": run.suites, "seed": run.seed}
    facts |= {"started": when(run.started), "ended": when(run.ended)}
    facts |= {"wall time": fmt.duration(wall) if wall else None, "inside timed batches": share}
    return _flat(facts | {"load before": run.load_before, "load after": run.load_after, "schema": run.schema})


def _ceilings(run: Run) -> Facts:
    """Say of each level what it gives, and why nothing is known where nothing is."""
    facts = []
    for limit in run.ceilings or ():
        threads = None if limit.threads is None else fmt.counted(limit.threads, "thread")
        text = fmt.text(limit.reason)
        if limit.gbps is not None:
            text = f"{fmt.number(limit.gbps)} GB/s" + ("" if limit.bytes is None else f" up to {fmt.size(limit.bytes)}")
        elif limit.seconds is not None:
            text = fmt.seconds(limit.seconds)
        facts.append((" ".join(filter(None, [limit.device, limit.level, limit.kind, threads])), text))
    return facts


def _flat(values: Mapping[str, Any]) -> Facts:
    """Return a mapping as terms and texts, leaving out what is null or empty."""
    return [
        (key.removesuffix("_bytes").replace("_", " "), _text(key, value))
        for key, value in values.items()
        if not (fmt.missing(value) or value in ("", [], (), {}))
    ]


def _text(key: str, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{term} {text}" for term, text in _flat(value))
        case list() | tuple():
            separator = "; " if any(isinstance(item, Mapping) for item in value) else ", "
            return separator.join(_text(key, item) for item in value)
        case int() | float() if key.endswith("_bytes"):
            return fmt.size(value)
        case float():
            return f"{value:g}"
        case _:
            return fmt.text(value)
