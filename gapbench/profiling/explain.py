"""Explain what made a side of ``gapbench ab`` slower: profile both sides, compare, and keep the result in the run.

Findings add up to the difference of the times without the profiler. These are known for the parts of a call (see
`split`); its operators divide what is neither Python, allocation nor waiting, each without the profiler's cost.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gapbench.analysis.compare import Row
from gapbench.measuring import memory, servers
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import CasePlan, Source
from gapbench.profiling import job
from gapbench.profiling.events import allocates
from gapbench.profiling.profiles import Profile, profile_one
from gapbench.report import format as fmt
from gapbench.store import profiles as kept
from gapbench.store.records import BASE, HEAD
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

Document = Mapping[str, Any]  # of a `Profile`
_SMALL = 0.05  # of the largest change: smaller changes are only counted
_AGREES = 2.0  # the largest factor between the changes in profiles and comparison that still agree
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """A change from base to head and its ``seconds`` of the difference: below 0 if it saves time, None without any."""

    kind: str
    sentence: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Findings that add up to ``seconds``, the difference of both profiles; ``source_diff`` is of generated code."""

    sentence: str
    seconds: float | None
    findings: tuple[Finding, ...]
    source_diff: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Work:
    """One operator (or kernel) in one profile; all zero if it does not occur."""

    seconds: float = 0.0
    calls: float = 0.0
    bytes: float | None = None


_Key = tuple[str, tuple[str, ...], bool]
_OUTSIDE: _Key = ("", (), False)
_NONE = _Work()


def compare(
    base: Document,
    head: Document,
    ratio: float | None = None,
    sources: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Explanation:
    """Explain by two profiles why ``head`` is slower; ``ratio`` is without profiles, ``sources`` are by file."""
    failed = [(name, side["reason"]) for name, side in (("base", base), ("head", head)) if side["status"] != "ok"]
    if failed:
        return Explanation("; ".join(f"{name} could not be profiled: {why}" for name, why in failed), None, (), {})
    difference = head["seconds"] - base["seconds"]
    changed = [*_operators(base, head, difference), *_parts(base, head, difference)]
    least = _SMALL * max([abs(difference), *(abs(change.seconds or 0.0) for change in changed)])
    large = [change for change in changed if abs(change.seconds or 0.0) >= least]
    diffs: dict[str, list[str]] = {}
    for name in dict.fromkeys([*sources[0], *sources[1]]):
        old, new = (side.get(name, "").splitlines() for side in sources)
        if lines := list(difflib.unified_diff(old, new, f"base/{name}", f"head/{name}", lineterm="")):
            diffs[name] = lines
    findings = [
        *sorted((change for change in large if change.seconds), key=lambda change: -(change.seconds or 0.0)),
        *_smaller([change for change in changed if change not in large], difference),
        *_unexplained(base, head, difference),
        *_facts(base, head, diffs),
    ]
    kept_diffs = {
        name: "\n".join(lines[:_MOST_LINES] + [f"… {len(lines) - _MOST_LINES} more"] * (len(lines) > _MOST_LINES))
        for name, lines in diffs.items()
    }
    return Explanation(_headline(base, head, ratio), difference, tuple(findings), kept_diffs)


def _headline(base: Document, head: Document, ratio: float | None) -> str:
    profiled = head["seconds"] / base["seconds"]
    times = f"{fmt.seconds(base['seconds'])} in base, {fmt.seconds(head['seconds'])} in head"
    sentence = f"`{head['implementation']}` takes {fmt.ratio(profiled)} as long when profiled ({times})"
    if ratio is None:
        return sentence
    wanted, got = math.log(ratio), math.log(profiled)
    if wanted / _AGREES <= got <= wanted * _AGREES:
        return f"{sentence}, {fmt.ratio(ratio)} when compared"
    return f"{sentence}, but {fmt.ratio(ratio)} when compared: the profiles may not show the cause"


def _of(seconds: float, difference: float) -> str:
    if seconds < 0:
        return f"{fmt.seconds(-seconds)} less"
    return f"{fmt.seconds(seconds)} {f'of the {fmt.seconds(difference)}' if difference > 0 else 'more'}"


def _part(profile: Document, *names: str) -> float:
    return float(sum(profile["shares"].get(name, 0.0) for name in names) * profile["seconds"] / 100)


def _work(profile: Document) -> dict[_Key, _Work]:
    rows = [row for row in profile["operators"] if not allocates(row["name"])]
    kernels, hosts = ([row for row in rows if row["device"] is on_device] for on_device in (True, False))
    if kernels:
        return _divided(kernels, _part(profile, "kernel")) | _divided(hosts, _part(profile, "dispatch"))
    return _divided(hosts, _part(profile, "kernel", "dispatch"))


def _divided(rows: Sequence[Mapping[str, Any]], seconds: float) -> dict[_Key, _Work]:
    """Divide ``seconds`` among operators; the rest was spent outside of them."""
    calls = sum(row["calls"] for row in rows)
    added = max(0.0, sum(row["self_seconds"] for row in rows) - seconds) / calls if calls else 0.0
    paid = [max(0.0, row["self_seconds"] - added * row["calls"]) for row in rows]
    scale = min(1.0, seconds / sum(paid)) if sum(paid) else 0.0
    work = {
        (row["name"], tuple(row["dtypes"]), row["device"]): _Work(own * scale, row["calls"], row["bytes"])
        for row, own in zip(rows, paid, strict=True)
    }
    return work | {_OUTSIDE: _Work(seconds - scale * sum(paid))}


def _operators(base: Document, head: Document, difference: float) -> list[Finding]:
    before, after = _work(base), _work(head)
    return [
        Finding(
            "operator" if key != _OUTSIDE else "other_runtime",
            f"{_change(key, before.get(key, _NONE), after.get(key, _NONE))}: {_of(seconds, difference)}",
            seconds,
        )
        for key in {**after, **before}
        if (seconds := after.get(key, _NONE).seconds - before.get(key, _NONE).seconds)
    ]


def _change(key: _Key, before: _Work, after: _Work) -> str:
    name, dtypes, _ = key
    if name in ("aten::copy_", "aten::_to_copy") and len(set(dtypes)) == 2:
        name += f" ({dtypes[1]} to {dtypes[0]})"  # from its source to its result
    elif dtypes:
        name += f" ({', '.join(dict.fromkeys(dtypes))})"
    times = f"({fmt.seconds(before.seconds)} → {fmt.seconds(after.seconds)})"
    if key == _OUTSIDE:
        return f"code outside of PyTorch's operators {times}"
    if not before.calls:
        return f"{name} is new" + (f", and moves {fmt.size(after.bytes)}" if after.bytes else "")
    if not after.calls:
        return f"{name} is gone"
    if abs(after.calls - before.calls) >= 0.5:
        return f"{name} is called {fmt.number(after.calls)} times, was {fmt.number(before.calls)} {times}"
    if not before.seconds:
        return f"{name} now takes time {times}"
    return f"{name} takes {fmt.ratio(after.seconds / before.seconds)} as long {times}"


def _parts(base: Document, head: Document, difference: float) -> list[Finding]:
    before, after = (profile["page_fault_share"] * profile["seconds"] / 100 for profile in (base, head))
    more = f"{fmt.number(base['page_faults'])} → {fmt.number(head['page_faults'])} a call"
    changes = [
        ("page_faults", f"page faults ({more})", after - before),
        ("allocation", "getting memory", _part(head, "allocation") - after - _part(base, "allocation") + before),
        ("python", "Python outside of operators", _part(head, "python") - _part(base, "python")),
        ("gaps", "waiting: off the core, or idle", _part(head, "gaps") - _part(base, "gaps")),
    ]
    return [Finding(kind, f"{what}: {_of(seconds, difference)}", seconds) for kind, what, seconds in changes if seconds]


def _smaller(rest: Sequence[Finding], difference: float) -> list[Finding]:
    if not rest:
        return []
    seconds = sum(change.seconds or 0.0 for change in rest)
    changes = "1 smaller change" if len(rest) == 1 else f"{len(rest)} smaller changes together"
    return [Finding("smaller", f"{changes}: {_of(seconds, difference)}", seconds)]


def _unexplained(base: Document, head: Document, difference: float) -> list[Finding]:
    parts = "python", "dispatch", "allocation", "kernel", "gaps"
    seconds = difference - (_part(head, *parts) - _part(base, *parts))
    if abs(seconds) <= 1e-9 * head["seconds"]:  # less than the precision of the stored shares
        return []
    if seconds < 0:
        return [Finding("unexplained", f"the parts exceed the difference by {fmt.seconds(-seconds)}", seconds)]
    return [Finding("unexplained", f"unexplained: {_of(seconds, difference)}", seconds)]


def _facts(base: Document, head: Document, diffs: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return the changes besides times, including those of the code that Inductor generated."""
    findings = []
    calls = [sum(row["calls"] for row in profile["operators"] if not row["device"]) for profile in (base, head)]
    if abs(calls[1] - calls[0]) >= 0.5:
        dispatch = f"{fmt.seconds(_part(base, 'dispatch'))} → {fmt.seconds(_part(head, 'dispatch'))}"
        sentence = f"a call dispatches {calls[1]:.0f} operators, was {calls[0]:.0f} (in their times above: {dispatch})"
        findings.append(Finding("dispatch", sentence))
    peaks = [profile["peak_extra_bytes"] for profile in (base, head)]
    if peaks[0] != peaks[1]:
        sentence = f"the peak of extra memory is {fmt.size(peaks[1])}, was {fmt.size(peaks[0])}"
        findings.append(Finding("memory", sentence))
    compiled = [profile.get("generated") or {} for profile in (base, head)]
    for what in ("kernels", "fallbacks"):
        old, new = (", ".join(code.get(what) or ()) or "none" for code in compiled)
        if old != new:
            findings.append(Finding("code", f"Inductor's {what} are {new}, were {old}"))
    for what in ("recompilations", "graph_breaks"):
        was, now = (code.get(what) or 0 for code in compiled)
        if was != now:
            findings.append(Finding("code", f"{what.replace('_', ' ')}: {now}, were {was}"))
    for name, lines in diffs.items():
        added, removed = (sum(line.startswith(sign) for line in lines[2:]) for sign in "+-")
        findings.append(Finding("code", f"Inductor's {name} differs: {added} lines more, {removed} less"))
    return findings


_PROCESSES = 3  # fresh processes differ by 5 to 20 %, so the median process of each side is compared


def explain(store: Store, run: str, rows: Iterable[Row], base: Source, head: Source) -> Iterator[Row]:
    """Explain each of ``rows`` of a stored run, and yield it once the explanation is kept with head's profile.

    Rows that differ only by clock share one. Workers have the comparison's memory settings, and so its page faults.
    """
    slower: dict[tuple[str, str], Row] = {}
    for row in rows:
        slower.setdefault((row.case, row.implementation), row)
    plans = [CasePlan("profile", Case.from_id(row.case), {row.implementation: row.spec}) for row in slower.values()]
    with ForkServer(servers.preload(plans), variables=memory.variables("kept")) as server:
        server.wait_ready()
        for row in slower.values():
            before, after = _both(server, row, base, head)
            why = compare(before.document, after.document, row.ratio, (_sources(before), _sources(after)))
            for side, name, more in ((before, BASE, {}), (after, HEAD, {"explanation": asdict(why)})):
                kept.keep(store, run, {**side.document, "side": name, **more}, side.files)
            yield row


def _both(server: ForkServer, row: Row, base: Source, head: Source) -> tuple[Profile, Profile]:
    requests = [job.Request(Case.from_id(row.case), row.spec, source=source, attempts=1) for source in (base, head)]
    pairs = [[profile_one(server, row.implementation, request) for request in requests] for _ in range(_PROCESSES)]
    before, after = map(_middle, zip(*pairs, strict=True))
    return before, after


def _middle(profiles: Sequence[Profile]) -> Profile:
    if failed := [profile for profile in profiles if profile.document["status"] != "ok"]:
        return failed[0]
    return sorted(profiles, key=lambda profile: profile.document["seconds"])[(len(profiles) - 1) // 2]


def _sources(profile: Profile) -> dict[str, str]:
    return {name: code.decode() for name, code in profile.files.items() if name.endswith(".py")}
