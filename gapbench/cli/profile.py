"""``gapbench profile``: why does an implementation take what it takes?"""

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import common, selection, static
from gapbench.errors import ExitCode, GapbenchError, NothingMatchedError
from gapbench.workloads.cases import Case

if TYPE_CHECKING:
    from gapbench.store.store import Store

FOLDER = "profiles"
_CLOSE = 3


@click.command("profile")
@click.argument("case_id", metavar="[CASE]", required=False)
@click.option(
    "--impl", "specs", metavar="NAME|FILE.py:FUNCTION", multiple=True, help="Only these implementations. Repeatable."
)
@click.option("--run", metavar="RUN", help="The run whose case it is.  [default: the latest that has it, if any]")
@common.store
@click.option(
    "-o", "--output", metavar="FOLDER", help=f"In place of the run's profiles.  [default without a run: {FOLDER}]"
)
@click.option(
    "--static", "is_static", is_flag=True, help="In place of CASE: inspect our Triton kernels, no GPU needed."
)
@click.option(
    "--arch",
    "archs",
    multiple=True,
    help="With --static: this architecture, as in sm_90 or gfx1100.  [default: sm_80, sm_90, sm_100, gfx942]",
)
@click.option(
    "--bandwidth",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB/S",
    help="With --static: of memory, for the time that a kernel takes at least.  [default: the data sheet's]",
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --static: an earlier --json; exits with 1 if a kernel got worse.",
)
@common.no_wait
@common.as_json()
def command(
    case_id: str | None,
    specs: tuple[str, ...],
    run: str | None,
    url: str,
    output: str | None,
    is_static: bool,
    archs: tuple[str, ...],
    bandwidth: float | None,
    baseline: Path | None,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Say where the time of each implementation of CASE goes, and keep a trace of it.

    CASE is an id as in gapbench list cases, or of a run: 8x2048x7x7-float32-contiguous-cpu-forward-t1. Shares are of
    the time without the profiler; what they rest on is in gapbench/profiling/split.py. The trace opens in
    https://ui.perfetto.dev; gapbench report shows a run's profiles. Nothing else of a run is changed.

    Exits with 3 if an implementation failed, 5 if none can be profiled, 1 if a kernel is worse than in --baseline.
    """
    if is_static and case_id is None:
        return static.inspect(archs, bandwidth, baseline, as_json)
    if is_static or archs or bandwidth or baseline:
        raise GapbenchError(
            "--static inspects all kernels, and takes no CASE; --arch, --bandwidth and --baseline belong to it"
        )
    if case_id is None:
        raise GapbenchError("name a CASE, as in gapbench list cases, or inspect our Triton kernels with --static")
    from gapbench.machine.devices import device
    from gapbench.profiling import profiles
    from gapbench.report import text
    from gapbench.store import profiles as kept
    from gapbench.store.store import Store

    store = Store(url)
    case = _case(case_id, store, run)
    device(case.device)
    found = _run_of(store, case, run)
    chosen = _specs(case, specs, found)
    place, id_ = (store, found.id) if found and output is None else (Store(output or FOLDER), None)
    documents: list[dict[str, Any]] = []
    with common.locked(case.device, no_wait):
        kept.prepare(place, id_, case.id)
        for profile in _announced(profiles.profile(case, chosen), list(chosen)):
            documents.append(profile.document)
            if profile.document["status"] == "ok":
                kept.keep(place, id_, profile.document, profile.files)
    path = kept.folder(place, id_, case.id)
    if as_json:
        click.echo(json.dumps({"schema": 1, "case": case.id, "run": id_, "path": path, "profiles": documents}))
    else:
        text.print_profiles(documents)
    statuses = {document["status"] for document in documents}
    if not as_json and "ok" in statuses:
        click.echo(f"profiles in {path}" + (f"; see them with: gapbench report {id_}" if id_ else ""))
    if statuses - {"ok", "unsupported"}:
        return ExitCode.FAILED
    return ExitCode.DONE if "ok" in statuses else ExitCode.NOTHING


@dataclass(frozen=True, slots=True)
class _Run:
    """A stored run that has the case: its id, and the specs of the implementations that ran."""

    id: str
    specs: dict[str, str]


def _case(text: str, store: "Store", run: str | None) -> Case:
    """Return the case of this id. Raises `GapbenchError` with the closest that there are."""
    from gapbench import operations

    try:
        case = Case.from_id(text)
        operations.operation(case.operation)
    except GapbenchError as error:
        close = difflib.get_close_matches(text, _known(store, run), n=_CLOSE, cutoff=0.5)
        if not close:
            raise
        raise GapbenchError(f"there is no case {text!r} ({error}); the closest are: {', '.join(close)}") from error
    return case


def _known(store: "Store", run: str | None) -> list[str]:
    from gapbench.workloads import suites

    built_in = [case.id for name in suites.names() for suite in suites.find(name) for case in suite.cases]
    stored = store.results([store.resolve(run)], validate=True)["case"].tolist() if run else []
    return list(dict.fromkeys([*stored, *built_in]))


def _run_of(store: "Store", case: Case, named: str | None) -> _Run | None:
    """Return the run that was named, which must have the case, or the latest that has it, if any does."""
    if named is not None:
        run = store.resolve(named)
        if store.describe(run).is_comparison:
            raise GapbenchError(f"run {run} compared two sides; profile each from its own checkout, with -o FOLDER")
        found = _with_case(store, run, case)
        if found is None:
            there = list(dict.fromkeys(store.results([run], validate=True)["case"]))
            close = difflib.get_close_matches(case.id, there, n=_CLOSE, cutoff=0.0)
            raise GapbenchError(f"run {run} has no case {case.id!r}; the closest are: {', '.join(close) or 'none'}")
        return found
    for run in reversed(store.ids()):
        try:
            if not store.describe(run).is_comparison and (found := _with_case(store, run, case)):
                return found
        except GapbenchError:  # a damaged run has nothing to offer
            continue
    return None


def _with_case(store: "Store", run: str, case: Case) -> _Run | None:
    from gapbench.operations import taken

    results = store.results([run], validate=True, case=case.id)
    if results.empty:
        return None
    planned = store.describe(run).specs(case.id)
    ran = results[results["status"] != "unsupported"]["implementation"].drop_duplicates()
    specs = {str(name): str(planned.get(name, name)) for name in ran}
    return _Run(run, {name: spec for name, spec in specs.items() if name in planned or taken(name)})


def _specs(case: Case, given: Sequence[str], run: _Run | None) -> dict[str, str]:
    """Return what to profile: the given ones, those of the run, or all that are built in and support the case."""
    from gapbench import operations

    if not given:
        names = run.specs if run else {name: name for name in operations.contenders(case.operation)}
        able = {name: spec for name, spec in names.items() if operations.unsupported_reason(spec, case) is None}
        if not able:
            raise NothingMatchedError(f"no implementation supports {case.id}; name some with --impl to see why")
        return able
    own = selection.own_specs(given)
    named = [spec for spec in given if not operations.is_user_spec(spec)]
    of_run = {name: run.specs[name] for name in named if run and name in run.specs}
    built_in = [name for name in named if name not in of_run]
    if strange := set(built_in) - set(operations.contenders(case.operation, built_in) if built_in else ()):
        raise GapbenchError(
            f"{sorted(strange)[0]} does not compute {case.operation}; see: gapbench list implementations"
        )
    return {**of_run, **{name: name for name in built_in}, **own}


def _announced(found: Iterator[Any], names: Sequence[str]) -> Iterator[Any]:
    """Say on a terminal's stderr which implementation is being profiled."""
    for place in range(len(names)):
        if sys.stderr.isatty():
            click.echo(f"profiling {names[place]} ({place + 1} of {len(names)}) …", err=True, nl=False)
        one = next(found)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)
        yield one
