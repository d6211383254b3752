"""Render the pages as HTML: of runs, diffs, profiles and history, and the index of a site.

jinja2 and the scripts' own templates escape everything. As a second line of defence, the content security policy allows
only gapbench's own scripts (files beside the page, or inline scripts by their hashes) and no network access.
"""

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from msgspec import to_builtins

import gapbench
from gapbench.analysis.compare import Diff
from gapbench.report import assets, page_data, patched_network, profiles, quality, redaction, rows, views
from gapbench.report import format as fmt
from gapbench.report import history as past
from gapbench.report.diff import lines
from gapbench.report.loaded_run import Stored, counts
from gapbench.store.metrics import METRICS
from gapbench.store.profiles import stem
from gapbench.store.records import MEMORY, case_columns
from gapbench.store.run import Run
from gapbench.workloads.cases import Case

Facts = list[tuple[str, str]]  # terms and texts; unknown facts are left out
Card = dict[str, Any]  # the entry of a page in the index; the page carries it

Profiled = Mapping[str, profiles.Documents]

FIELDS: dict[str, dict[str, type]] = {
    "run": dict.fromkeys(("started", "commit", "tag", "device", "suites", "trust", "said"), str) | {"cases": int},
    "diff": {"started": str, "said": str, "red": int},
}
"""The fields of the card of each kind of page, and their types."""


def run_page(
    stored: Stored, diff: Diff | None, why_no_diff: str, *, single_file: bool, profiled: Profiled = MappingProxyType({})
) -> str:
    """Render a run's page from `redaction.public`, a diff or why there is none, and `profiles.public` by case."""
    judged = quality.judge(stored)
    return render(
        "run.html.j2", single_file, run_card(stored, judged), data=page_data.data(stored), trust=judged,
        section_views=views.sections(stored), case_views=list(views.of_cases(stored)), results=stored.results,
        run=stored.run, diff=diff, why_no_diff=why_no_diff, network=stored.run.network,
        effects=[*patched_network.effects(stored.results, stored.samples)] if stored.run.network else [],
        profiled=[(profiles.name(stored.run.id, case), case, documents) for case, documents in profiled.items()],
    )  # fmt: skip


def profile_page(run: str, documents: profiles.Documents, *, single_file: bool) -> str:
    """Render the page of a case's profiles, given by `profiles.public`."""
    case = str(documents[0]["case"])
    return render(
        "profile.html.j2", single_file, {"kind": "profile", "name": profiles.name(run, case)}, run=run, case=case,
        folder=stem(case), documents=documents,
    )  # fmt: skip


def run_card(stored: Stored, judged: quality.Trust) -> Card:
    """Return the card of a run."""
    run, results = stored.run, stored.results
    return {
        "kind": "run", "name": stored.run.id, "started": when(run.started), "commit": commit(run),
        "tag": run.tag or "", "device": devices(run, results), "suites": ", ".join(run.suites),
        "cases": len(results.drop_duplicates([*rows.CASE])), "trust": judged.badge,
        "said": rows.headline(results, stored.winners),
    }  # fmt: skip


def diff_page(
    diff: Diff, *, pages: Collection[str], redact: bool, single_file: bool, profiled: Profiled = MappingProxyType({})
) -> str:
    """Render the page of a diff; ``pages`` are the runs with a page to link to, ``profiled`` is as for `run_page`."""
    head = diff.head.id
    card = {
        "kind": "diff", "name": diff_name(diff), "started": when(diff.head.started), "said": lines.counts(diff),
        "red": len(lines.red(diff)),
    }  # fmt: skip
    red = [(row, profiles.name(head, row.case) if row.case in profiled else None) for row in lines.red(diff)]
    return render(
        "diff.html.j2", single_file, card, diff=diff, pages=pages,
        data=diff_data(diff, None if single_file or head not in pages else f"{head}.html"),
        sides=[(name, *_side(run, redact)) for name, run in (("base", diff.base), ("head", diff.head))],
        explained=[(row, redaction.document(row.explanation), page) for row, page in red if row.explanation],
    )  # fmt: skip


def diff_name(diff: Diff) -> str:
    """Return the name of a diff: ``BASE..HEAD``, or the run that measured both."""
    return diff.head.id if diff.is_interleaved else f"{diff.base.id}..{diff.head.id}"


def diff_data(diff: Diff, head_page: str | None = None) -> dict[str, Any]:
    """Return the rows by columns for the page's table, the verdicts that it folds, their links' page, the margin."""
    shown = []
    for row in lines.by_relevance(diff):
        case = case_columns(Case.from_id(row.case))
        command = redaction.text(lines.command(row)) if row.verdict in lines.RED else None
        shown.append(
            {"verdict": row.verdict.value}
            | {name: getattr(row, name) for name in _ROW}
            | {name: case[name] for name in ("dtype", "layout", "device", "pass")}
            | {"reason": redaction.text(row.reason) or None, "command": command}
        )
    rows = page_data.sized(pd.DataFrame(shown))
    return {"rows": rows, "folded": list(lines.FOLDED), "page": head_page, "margin": diff.margin}


def _side(run: Run, redact: bool) -> tuple[str, Facts]:
    ref = run.sides[0].ref
    shown = redaction.run(run, redact)
    facts = [("Commit", commit(shown)), ("Date", when(shown.started)), ("Tag", shown.tag)]
    return run.id if ref is None else "" if redact else ref, [(term, value) for term, value in facts if value]


_ROW = ("suite", "case", "implementation", "clock", "ratio", "ratio_low", "ratio_high", "p_value", "rounds")


def commit(run: Run) -> str:
    """Describe the commit of a run: hash, branch, uncommitted changes, subject."""
    git = run.git
    if git is None or git.commit is None:
        return ""
    tree = ", ".join(filter(None, [git.branch, "uncommitted changes" if git.dirty else None]))
    return " ".join(filter(None, [git.commit[:7], f"({tree})" if tree else None, git.subject]))


def when(value: Any) -> str:
    """Format an ISO time as ``2026-11-22 10:11 UTC``; anything else stays as it is."""
    if not value:
        return ""
    try:
        time = pd.Timestamp(str(value))
        time = time.tz_convert("UTC") if time.tzinfo else time
        return time.strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return str(value)


def devices(run: Run, results: pd.DataFrame) -> str:
    """Describe the measured devices, with their hardware if it is known."""
    names = {str(device): run.machine.description(str(device)) for device in results["device"].dropna().unique()}
    return ", ".join(f"{device}: {name}" if name else device for device, name in names.items())


def history_page(history: past.History) -> str:
    """Render the page of history of a site."""
    stepped, count = sum(bool(trend.changes) for trend in history.trends), len(history.trends)
    summary = f"{fmt.count(stepped)} of {fmt.count(count)} trends stepped; the largest of the newest steps come first."
    return render(
        "history.html.j2", False, {"kind": "history", "name": "History"}, data=past.data(history.trends),
        case_views=list(views.of_trends(history.trends)), summary=summary if count else "No run has any times.",
        scope=history.scope,
    )  # fmt: skip


def runs_page(runs: Sequence[Stored], *, single_file: bool) -> str:
    """Render the page that compares several runs, each from `redaction.public`."""
    cards = [run_card(stored, quality.judge(stored)) for stored in runs]
    card = {"kind": "runs", "name": f"{len(runs)} runs"}
    return render("runs.html.j2", single_file, card, data=page_data.of_runs(runs), runs=cards)


def index_page(runs: list[Card], diffs: list[Card], compared: bool) -> str:
    """Render the index of a site from the cards of its pages, newest first; ``compared`` if it has `runs_page`."""
    card = {"kind": "index", "name": "Reports"}
    return render("index.html.j2", False, card, runs=runs, diffs=diffs, compared=compared)


def render(template: str, single_file: bool, card: Card, **values: Any) -> str:
    """Render a template that describes itself by a card."""
    given = {"data": {}, "section_views": [], "case_views": [], "single_file": single_file, "card": card, **values}
    return _environment().get_template(template).render(card_json=json.dumps(card, ensure_ascii=False), **given)


@cache
def _environment() -> jinja2.Environment:
    loader, strict = jinja2.FileSystemLoader(assets.TEMPLATES), jinja2.StrictUndefined
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"script_json": page_data.script_json, "redacted": redaction.text}
    css = Markup(assets.style().text)  # noqa: S704 - our own file
    functions = {"when": when, "shell": shlex.join, "builtins": to_builtins, "tally": counts, "name_of": diff_name}
    constants = {"levels": quality.Level, "version": gapbench.__version__, "metrics": METRICS, "memory_kinds": MEMORY}
    environment.globals.update(
        **functions, **constants, fmt=fmt, lines=lines, assets=assets, profiles=profiles, rows=rows
    )
    environment.globals.update(patched=patched_network, css=css)
    return environment
