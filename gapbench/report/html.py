"""The pages as HTML: of a run, of a diff, and the index of a site.

Everything is escaped by jinja2, and by the scripts' own templates. Should that ever fail, the content security policy
runs nothing but gapbench's own scripts (files beside the page, or inline ones known by their hashes), and lets nothing
be fetched from anywhere.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup

import gapbench
from gapbench.compare import Diff
from gapbench.records import MEMORY
from gapbench.report import assets, facts, private, profiles, rows, trust, views, which
from gapbench.report import format as fmt
from gapbench.report.columns import script_json
from gapbench.report.diff import lines
from gapbench.report.diff import page as diffs
from gapbench.report.history import page as past
from gapbench.report.stored import Stored, counts
from gapbench.store.profiles import stem

Card = dict[str, Any]
"""What the index says of a page; the page carries it."""

Profiled = Mapping[str, profiles.Documents]

FIELDS = {
    "run": {"name", "started", "commit", "tag", "device", "suites", "cases", "trust", "said"},
    "diff": {"name", "started", "said", "red"},
}
"""What the card of each kind of page has."""


def run_page(
    stored: Stored, diff: Diff | None, why_no_diff: str, *, single_file: bool, profiled: Profiled = MappingProxyType({})
) -> str:
    """Return the page of a run as `private.public` gives it; ``why_no_diff`` is a sentence where there is none.

    ``profiled`` are the documents of its profiles by case, as `profiles.public` gives them.
    """
    judged = trust.judge(stored)
    headline = rows.headline(stored.results, stored.winners)
    return _render(
        "run.html.j2",
        single_file,
        run_card(stored, judged, headline),
        data=which.data(stored),
        identity=facts.identity(stored.run, stored.results),
        trust=judged,
        headline=headline,
        memory_effects=rows.memory_effects(stored.results),
        memory_kinds=MEMORY,
        memory_remedy=rows.MEMORY_REMEDY,
        shared=rows.shared(stored.results, rows.CONTEXT),
        section_views=views.sections("run", stored),
        case_views=list(views.of_cases(stored)),
        not_measured=rows.not_measured(stored.results),
        environment=facts.environment(stored.run),
        environment_changes="" if diff is None else private.text("; ".join(diff.environment)),
        diff=diff,
        diff_name=None if diff is None else diffs.name(diff),
        counts=[] if diff is None else counts(diff),
        why_no_diff=why_no_diff,
        profiled=[(profiles.name(stored.run.id, case), case, found) for case, found in profiled.items()],
    )


def profile_page(run: str, documents: profiles.Documents, *, single_file: bool) -> str:
    """Return the page of a case's profiles, as `profiles.public` gives them."""
    case = str(documents[0]["case"])
    return _render(
        "profile.html.j2",
        single_file,
        {"kind": "profile", "name": profiles.name(run, case)},
        data={},
        run=run,
        case=case,
        folder=stem(case),
        documents=documents,
        profiles=profiles,
        section_views=views.sections("profile", documents),
        case_views=[],
    )


def run_card(stored: Stored, judged: trust.Trust, headline: str) -> Card:
    """Return what the index says of a run."""
    run, results = stored.run, stored.results
    return {
        "kind": "run",
        "name": stored.run.id,
        "started": facts.when(run.started),
        "commit": facts.commit(run),
        "tag": run.tag or "",
        "device": facts.devices(run, results),
        "suites": ", ".join(run.suites),
        "cases": len(results.drop_duplicates([*rows.CASE])),
        "trust": judged.badge,
        "said": headline,
    }


def diff_page(
    diff: Diff,
    *,
    pages: Collection[str],
    redact: bool,
    single_file: bool,
    profiled: Profiled = MappingProxyType({}),
) -> str:
    """Return the page of a diff; ``pages`` are the runs that have one to link to, ``profiled`` as of `run_page`."""
    head = diff.head.id
    together = diff.is_interleaved  # and what differs between the sides is what was asked about
    card = {
        "kind": "diff",
        "name": diffs.name(diff),
        "started": facts.when(diff.head.started),
        "said": lines.counts(diff),
        "red": len(lines.red(diff)),
    }
    return _render(
        "diff.html.j2",
        single_file,
        card,
        data=diffs.data(diff, None if single_file or head not in pages else f"{head}.html"),
        sides=diffs.sides(diff, redact),
        margin=diff.margin,
        counts=counts(diff),
        environment=[] if together else [private.text(sentence) for sentence in diff.environment],
        notes=[private.text(note) for note in ((*diff.environment, *diff.notes) if together else diff.notes)],
        section_views=views.sections("diff", diff),
        case_views=[],
        folded=sum(diff.summary.get(verdict, 0) for verdict in lines.FOLDED),
        pages=pages,
        red=[(row, private.text(lines.command(row))) for row in lines.red(diff)],
        explained=[
            (row, private.document(row.explanation), profiles.name(head, row.case) if row.case in profiled else None)
            for row in lines.red(diff)
            if row.explanation is not None
        ],
    )


def history_page(history: past.History) -> str:
    """Return the page of history of a site."""
    stepped, count = sum(bool(one.changes) for one in history.trends), len(history.trends)
    summary = f"{fmt.count(stepped)} of {fmt.count(count)} trends stepped; the largest of the newest steps come first."
    return _render(
        "history.html.j2",
        False,
        {"kind": "history", "name": "History"},
        data=past.data(history.trends),
        section_views=[],
        case_views=list(views.of_trends(history.trends)),
        summary=summary if count else "No run has timed anything.",
        said=history.said,
    )


def index_page(runs: list[Card], diffs: list[Card]) -> str:
    """Return the index of a site from the cards of its pages, newest first."""
    card = {"kind": "index", "name": "Reports"}
    return _render("index.html.j2", False, card, data={}, section_views=[], case_views=[], runs=runs, diffs=diffs)


def _render(template: str, single_file: bool, card: Card, **values: Any) -> str:
    carried = json.dumps(card, ensure_ascii=False)  # in an attribute, where jinja2 escapes it
    return _environment().get_template(template).render(single_file=single_file, card=card, card_json=carried, **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets.TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = script_json
    environment.filters["figure_json"] = figure_json
    environment.globals.update(
        fmt=fmt,
        lines=lines,
        assets=assets,
        levels=trust.Level,
        version=gapbench.__version__,
        css=Markup(assets.style().text),  # noqa: S704 - our own file
    )
    return environment


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that cannot end the script element which it stands in."""
    escaped = str(figure.to_json()).translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})
    return Markup(escaped)  # noqa: S704 - no markup is left in it
