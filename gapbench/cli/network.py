"""``gapbench profile --network``: what share of a whole network is pooling, and what does another way to pool save?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import click

from gapbench.cases import Case
from gapbench.cli import exclusive, selection
from gapbench.records import REFERENCE

USUAL = ("mean", "adaptive", "sum_scale", "avg_pool", "compiled_mean")
"""The ways that are compared unless ``--impl`` names others: the reference, the tutorials' choice, and one of each kind
that wins somewhere."""

STEPS = ("forward", "training")


def measure(
    name: str, specs: Sequence[str], dtype: str, layout: str, batch: int, budget: float, no_wait: bool, as_json: bool
) -> int:
    """Time the steps of the network ``name`` with each way to pool, ``budget`` seconds for each step, and print."""
    from gapbench import operations
    from gapbench.devices import device
    from gapbench.profiling import network
    from gapbench.report import steps as text

    found = network.network(name)
    own = selection.own_specs(specs)
    chosen = [spec for spec in specs if not operations.is_user_spec(spec)] or ([] if own else USUAL)
    ways = {one: one for one in (REFERENCE, *(operations.contenders("gap", chosen) if chosen else ()))}
    images = (batch, 3, found.image, found.image)
    case = Case(images, dtype, layout, device("auto").name, operation=name)
    documents: list[dict[str, Any]] = []
    with exclusive.held(case.device, no_wait):
        for step in STEPS:
            on_step = replace(case, pass_=step)
            measured = network.measure(name, on_step, {**ways, **own}, REFERENCE, budget, _observe(name, step))
            documents.append({**asdict(measured), "case": on_step.id, "step": step})
    if as_json:
        click.echo(json.dumps({"schema": 1, "network": name, "summary": found.summary, "steps": documents}))
    else:
        text.print_steps(found.summary, documents)
    return 0


def _observe(name: str, step: str) -> Any:
    def observe(rounds: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{name}, {step}: round {rounds} …", err=True, nl=False)

    return observe
