"""``gapbench profile``: show where the time of an implementation goes."""

import contextlib
import difflib
import json
import sys
from collections.abc import Sequence
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


_options = common.joined(
    click.argument("case_id", metavar="[CASE]", required=False),
    click.option("--impl", "specs", metavar="NAME|FILE.py:FUNCTION", multiple=True,
                 help="Implementations to profile. Repeatable."),
    click.option("--run", metavar="RUN", help="Run that has the case.  [default: the latest, if any]"),
    common.store,
    click.option("-o", "--output", metavar="FOLDER",
                 help=f"Folder for the profiles.  [default: the run's, else {FOLDER}]"),
    click.option("--shot", is_flag=True,
                 help="Only call --impl twice, last in an NVTX range: for nsys, ncu and the like."),
    click.option("--static", "is_static", is_flag=True, help="Inspect our Triton kernels, not a CASE; needs no GPU."),
    click.option("--arch", "archs", multiple=True,
                 help="With --static: architecture, as in sm_90 or gfx1100. Repeatable.  "
                 "[default: sm_80, sm_90, sm_100, gfx942]"),
    click.option("--bandwidth", type=click.FloatRange(min=0, min_open=True), metavar="GB/S",
                 help="With --static: memory bandwidth, for a kernel's least time.  [default: the data sheet's]"),
    click.option("--baseline", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                 help="With --static: earlier --json to compare with; exits with 1 if a kernel got worse."),
    common.no_wait, common.as_json(),
)  # fmt: skip


@click.command("profile")
@_options
def command(
    case_id: str | None, specs: tuple[str, ...], run: str | None, url: str, output: str | None, shot: bool,
    is_static: bool, archs: tuple[str, ...], bandwidth: float | None, baseline: Path | None, no_wait: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Show where the time of each implementation of CASE goes, and store a trace of it.

    CASE is an id of gapbench list cases or of a run, such as 8x2048x7x7-float32-contiguous-cpu-forward-t1. Shares are
    of the time without the profiler; docs/profiling.md explains them. The trace opens in
    https://ui.perfetto.dev; gapbench report shows a run's profiles. Other files of a run are not changed.

    Exits with 3 if an implementation failed, 5 if none can be profiled, 1 if a kernel is worse than in --baseline.
    """
    if is_static and case_id is None:
        return static.inspect(archs, bandwidth, baseline, as_json)
    if is_static or archs or bandwidth or baseline:
        raise GapbenchError(
            "--static inspects all kernels and takes no CASE; --arch, --bandwidth and --baseline need --static"
        )
    if case_id is None:
        raise GapbenchError("name a CASE, as in gapbench list cases, or inspect our Triton kernels with --static")
    from rich.console import Console
    from rich.progress import track

    from gapbench.machine.devices import device
    from gapbench.profiling import counters, profiles
    from gapbench.report import text
    from gapbench.store import profiles as kept
    from gapbench.store.store import Store

    store = Store(url)
    case = _case(case_id, store, run)
    device(case.device)
    id_, of_run = _run_of(store, case, run)
    chosen = _specs(case, specs, of_run)
    if shot:
        if len(chosen) != 1:
            raise GapbenchError(f"--shot calls one implementation; choose one with --impl: {', '.join(chosen)}")
        with common.locked(case.device, no_wait):
            counters.replay(case.id, *chosen.values())
        return ExitCode.DONE
    target, id_ = (store, id_) if id_ and output is None else (Store(output or FOLDER), None)
    documents: list[dict[str, Any]] = []
    with common.locked(case.device, no_wait):
        kept.prepare(target, id_, case.id)
        console, each = Console(stderr=True, quiet=not sys.stderr.isatty()), profiles.profile(case, chosen)
        # without a thread that would draw while calls are timed
        for profile in track(each, "profiling", len(chosen), auto_refresh=False, console=console, transient=True):
            documents.append(profile.document)
            if profile.document["status"] == "ok":
                kept.keep(target, id_, profile.document, profile.files)
    path = kept.folder(target, id_, case.id)
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


def _case(text: str, store: "Store", run: str | None) -> Case:
    """Return the case of this id. Raises `GapbenchError` that names the closest ids."""
    from gapbench import operations
    from gapbench.workloads import suites

    try:
        case = Case.from_id(text)
        operations.operation(case.operation)
    except GapbenchError as error:
        built_in = {case.id for suite in suites.built_in() for case in suite.cases}
        stored = {*store.results([store.resolve(run)], validate=True)["case"]} if run else set()
        close = difflib.get_close_matches(text, built_in | stored, n=_CLOSE, cutoff=0.5)
        if not close:
            raise
        raise GapbenchError(f"there is no case {text!r} ({error}); the closest are: {', '.join(close)}") from error
    return case


def _run_of(store: "Store", case: Case, named: str | None) -> tuple[str | None, dict[str, str] | None]:
    """Return the named run or the latest with the case, and its specs. Raises `GapbenchError` if the named lacks it."""
    if named is not None:
        run = store.resolve(named)
        if store.describe(run).is_comparison:
            raise GapbenchError(f"run {run} compared its sides; profile each from its own checkout, with -o FOLDER")
        if (of_run := _specs_of_run(store, run, case)) is not None:
            return run, of_run
        cases = store.results([run], validate=True)["case"].unique().tolist()
        close = difflib.get_close_matches(case.id, cases, n=_CLOSE, cutoff=0.0)
        raise GapbenchError(f"run {run} has no case {case.id!r}; the closest are: {', '.join(close) or 'none'}")
    for run in reversed(store.ids()):
        with contextlib.suppress(GapbenchError):  # damaged runs are skipped
            if not store.describe(run).is_comparison and (of_run := _specs_of_run(store, run, case)) is not None:
                return run, of_run
    return None, None


def _specs_of_run(store: "Store", run: str, case: Case) -> dict[str, str] | None:
    from gapbench.operations import taken

    results = store.results([run], validate=True, case=case.id)
    if results.empty:
        return None
    planned = store.describe(run).specs(case.id)
    ran = results[results["status"] != "unsupported"]["implementation"].unique().tolist()
    return {name: planned.get(name, name) for name in ran if name in planned or taken(name)}


def _specs(case: Case, given: Sequence[str], of_run: dict[str, str] | None) -> dict[str, str]:
    """Return the specs to profile, by name: those ``given``, the run's, or all built-in ones that support the case."""
    from gapbench import operations

    if not given:
        names = {name: name for name in operations.contenders(case.operation)} if of_run is None else of_run
        able = {name: spec for name, spec in names.items() if operations.unsupported_reason(spec, case) is None}
        if not able:
            raise NothingMatchedError(f"no implementation supports {case.id}; name some with --impl to see why")
        return able
    own = selection.own_specs(given)
    named = [spec for spec in given if not operations.is_user_spec(spec)]
    measured = {name: of_run[name] for name in named if of_run and name in of_run}
    built_in = [name for name in named if name not in measured]
    if foreign := set(built_in) - set(operations.contenders(case.operation, built_in) if built_in else ()):
        raise GapbenchError(f"{min(foreign)} does not compute {case.operation}; see: gapbench list implementations")
    return {**measured, **{name: name for name in built_in}, **own}
