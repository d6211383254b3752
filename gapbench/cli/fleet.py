"""``--on ray``: the same run on the machines of a cluster, one for each kind of device."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click

from gapbench.cli import common
from gapbench.cli import run as run_command
from gapbench.cli.progress import Progress
from gapbench.cli.selection import Selection
from gapbench.errors import ExitCode, GapbenchError, RefusedError
from gapbench.fleet import cluster, dispatch
from gapbench.fleet.cluster import DeviceWorker
from gapbench.measuring import recording
from gapbench.measuring.budget import fit_to_budget, sweep_id
from gapbench.measuring.events import Event, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.recording import Recording
from gapbench.store.run import FleetDevice, differences
from gapbench.store.store import RunWriter, Store


def run(on: str, url: str, effort: Effort, selected: Mapping[str, Any], tag: str | None, as_json: bool) -> int:
    """Measure the selection on each kind of device of the cluster, and store a run for each, all of one sweep."""
    store, recorded, sweep = Store(url), list[Recording](), None
    with cluster.connected(on):
        for group in cluster.equal(_acquired(selected["device"])):
            plans = Selection.of("quick", selected).plans(on=group[0].described)
            sweep = sweep or sweep_id([plans], effort)
            trimmed = fit_to_budget(plans, replace(effort, budget=effort.budget * len(group)))
            devices = tuple(FleetDevice(worker.number, worker.slot.address, worker.described.name) for worker in group)
            fields: dict[str, Any] = {"sweep": sweep, "fleet": devices}
            here = group[0].described.environment
            writer = recording.begin(store, trimmed.kept, effort, sys.argv[1:], tag, trimmed.warnings, here, **fields)
            recorded.append(_measured(writer, trimmed.kept, effort, group))
            if recorded[-1].interrupted:
                break
    return _concluded(store, recorded, sweep, as_json)


def resume(on: str, url: str, name: str, as_json: bool) -> int:
    """Complete a run on devices of the cluster that are equal to those that it began on."""
    store = Store(url)
    writer = store.reopen(store.resolve(name), validate=True)
    plans, effort = recording.plan_of(writer.run)
    with cluster.connected(on):
        groups = cluster.equal(_acquired(plans[0].case.device))
        unlike = [differences(writer.run.environment, group[0].described.environment) for group in groups]
        equals = [group for group, differing in zip(groups, unlike, strict=True) if not differing]
        if not equals:
            raise RefusedError(
                f"run {writer.id} was begun on other devices than there are now: {'; '.join(map(str, unlike[0]))}"
            )
        recorded = _measured(writer, plans, effort, equals[0])
    return _concluded(store, [recorded], writer.run.sweep, as_json)


def _acquired(device: str) -> list[DeviceWorker]:
    lock = partial(common.take, command=common.typed())  # called on each machine
    workers, absent = cluster.acquire(cluster.slots(device), lock, device)
    for sentence in absent:
        click.echo(f"warning: {sentence}", err=True)
    return workers


def _measured(writer: RunWriter, plans: Sequence[CasePlan], effort: Effort, group: Sequence[DeviceWorker]) -> Recording:
    def on_fleet(plan: Plan, earlier: Sequence[RoundMeasured], with_ceilings: bool) -> Iterator[Event]:
        return dispatch.measure(group, plan.plans, plan.effort, earlier, with_ceilings)

    with Progress(plans, effort) as progress:
        return recording.record(writer, Plan(tuple(plans), effort), progress.observe, on_fleet)


def _concluded(store: Store, recorded: Sequence[Recording], sweep: object, as_json: bool) -> int:
    several = len(recorded) > 1
    codes = [run_command.conclude(store, each, as_json, open_=False, quiet=several) for each in recorded]
    if as_json and several:
        runs = [run_command.document(each, store.url) for each in recorded]
        click.echo(json.dumps({"schema": 1, "sweep": sweep, "runs": runs}))
    return max(codes, default=ExitCode.DONE)


def check(on: str, **options: object) -> None:
    """Raise `GapbenchError` if ``on`` is malformed, or if an option is given that a cluster does not support."""
    if on != "ray" and not on.startswith("ray://"):
        raise GapbenchError(f"malformed --on {on!r}: write ray for the cluster of this machine, or ray://HOST:PORT")
    for name, given in options.items():
        if given:
            raise GapbenchError(f"--{name.replace('_', '-')} works on one machine only; leave it out, or --on {on}")
