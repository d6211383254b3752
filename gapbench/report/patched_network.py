"""Say what other pooling saves a network: the patched against the original, in each pass, eager and compiled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from gapbench.analysis import summary
from gapbench.errors import counted
from gapbench.report import format as fmt
from gapbench.report.rows import Row, brief
from gapbench.store import records
from gapbench.store.records import plain_rows
from gapbench.store.run import PatchedNetwork, PooledSite
from gapbench.workloads.cases import Case

SAME = 0.01
"""A network takes the same time if the 95 % interval of the ratio lies within this share of 1."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a patch on one pass of a network; times in seconds, errors relative to a sample's largest output.

    ``verdict`` is faster, slower, same, inconclusive, or not measured, with the ``reason``; ``own_error`` is unpatched.
    """

    pass_: str
    compiled: bool
    verdict: str
    reason: str = ""
    before: float | None = None
    after: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    own_error: float | None = None


def effects(results: pd.DataFrame, samples: pd.DataFrame) -> Iterator[Effect]:
    """Yield the effects of the patch that a run of the operation ``network`` measured."""
    for case, rows in results[results["operation"] == "network"].groupby("case", sort=False):
        by_name = {row["implementation"]: row for row in plain_rows(rows)}
        for prefix in ("", "compiled_"):
            before, after = by_name.get(f"{prefix}original"), by_name.get(f"{prefix}patched")
            if before is None or after is None:
                continue
            bad = next((row for row in (before, after) if row["status"] != "ok"), None)
            if bad is not None:
                reason = f"{bad['implementation']} is {bad['status']}: {bad['reason']}"
                yield Effect(after["pass"], bool(prefix), "not measured", reason)
                continue
            ratio = summary.ratio(samples[samples["case"] == case], after["implementation"], before["implementation"])
            yield Effect(
                after["pass"], bool(prefix), _verdict(ratio.low, ratio.high), "", before["seconds"], after["seconds"],
                ratio.estimate, ratio.low, ratio.high, after["max_error"], before["max_error"],
            )  # fmt: skip


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "inconclusive"
    if high < 1 or low > 1:
        return "faster" if high < 1 else "slower"
    return "same" if low > 1 - SAME and high < 1 + SAME else "inconclusive"


_PASSES = {"forward": "forward", "training": "training step"}


def effect(measured: Effect) -> tuple[str, str]:
    """Return the pass as a term, and what the patch does to it."""
    term = _PASSES[measured.pass_] + (", compiled" if measured.compiled else "")
    if measured.verdict == "not measured":
        return term, measured.reason
    change = "" if measured.ratio is None else f"{_percent(measured.ratio)} %"
    if measured.low is not None and measured.high is not None:
        change += f" [{_percent(measured.low)}, {_percent(measured.high)}]"
        within = f"{100 * max(1 - measured.low, measured.high - 1):.1f} %"
        if measured.verdict == "same":
            return term, f"no difference (within {within})"
    times = f"{fmt.seconds(measured.before)} → {fmt.seconds(measured.after)}  {change}"
    return term, times + ("; no difference shown" if measured.verdict == "inconclusive" else "")


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"


def facts(effects: Sequence[Effect], top1: Sequence[int] | None = None) -> list[tuple[str, str]]:
    """Return each pass with its effect, and how far outputs and gradients are off float64; ``top1`` agreed of all."""
    terms = [effect(each) for each in effects]
    for pass_, what in (("forward", "outputs"), ("training", "gradients")):
        errors = [(each.error, each.own_error) for each in effects if each.pass_ == pass_ and each.error is not None]
        if errors:
            error, own = max(errors)
            same = f", same top-1 in {top1[0]} of {top1[1]}" if top1 and pass_ == "forward" else ""
            terms.append((what, f"largest error {error:.1e} of the largest, {own or 0.0:.1e} without the patch{same}"))
    return terms


def conclusion(network: PatchedNetwork, effects: Sequence[Effect]) -> str:
    """Return whether the patch is worth it, as a sentence without its end."""
    changed = [site for site in network.sites if site.implementation]
    sites = f"{len(changed)} of {counted(len(network.sites), 'site')}"
    faster, slower = (
        ", ".join(effect(each)[0] for each in effects if each.verdict == verdict) for verdict in ("faster", "slower")
    )
    if not changed:
        return f"nothing to change: none of {counted(len(network.sites), 'site')} has a faster implementation"
    if not faster:
        return f"not worth it: with {sites} changed, the network is not shown to be faster"
    return f"{sites} worth changing: faster {faster}" + (f"; but slower {slower}" if slower else "")


def sites(network: PatchedNetwork) -> list[Row]:
    """Return the sites as rows of a table, those of one case and spelling together, the largest share first."""
    groups: dict[tuple[str, str, str | None], list[PooledSite]] = {}
    for site in sorted(network.sites, key=lambda site: -(site.share or 0.0)):
        groups.setdefault((site.case, site.own or site.spelling, site.implementation), []).append(site)
    return [
        {
            "sites": (group[0].module or "the network's own code")
            + (f" and {len(group) - 1} more" if len(group) > 1 else ""),
            "calls": sum(site.count for site in group),
            "% of its pass": fmt.number(100 * (group[0].share or 0.0), 2),
            "case": brief(records.case_columns(Case.from_id(case))),
            "now": now,
            "then": f"{then} {fmt.ratio(group[0].ratio)}" if then else "as it is",
        }
        for (case, now, then), group in groups.items()
    ]
