"""The options that choose what is measured, shared by the commands that measure."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import click

from gapbench.cli import common
from gapbench.cli.common import SHAPE
from gapbench.errors import GapbenchError, NothingMatchedError, unknown
from gapbench.workloads.cases import DTYPES, LAYOUTS, PASSES, Case

if TYPE_CHECKING:
    from gapbench.fleet.cluster import Described
    from gapbench.machine.devices import Device
    from gapbench.measuring.plan import CasePlan

options = common.joined(
    click.argument("suites", metavar="[SUITE]...", nargs=-1),
    common.device,
    click.option("--impl", "specs", metavar="NAME|FILE.py:FUNCTION", multiple=True,
                 help="Only these implementations; a function of your own joins the others. Repeatable."),
    click.option("-k", "expression", metavar="EXPR", help="As in pytest: 'bfloat16 and not matmul'."),
    click.option("--shape", "shapes", type=SHAPE, multiple=True, help="In place of the suite's shapes: 8x2048x7x7."),
    click.option("--dtype", "dtypes", multiple=True, help=f"In place of the suite's: {', '.join(DTYPES)}."),
    click.option("--layout", "layouts", multiple=True, help=f"In place of the suite's: {', '.join(LAYOUTS)}."),
    click.option("--pass", "passes", multiple=True, help=f"In place of the suite's: {', '.join(PASSES)}."),
    click.option("--threads", type=int, multiple=True, help="In place of the suite's thread counts."),
    click.option("--clock", "clocks", multiple=True, help="In place of the device's: host_cold, graph_cold, ..."),
)  # fmt: skip
"""What to measure; a command passes them on to `Selection`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the options say. `plans` turns it into what is measured."""

    suites: Sequence[str]
    device: str
    specs: Sequence[str]
    expression: str | None
    shapes: Sequence[tuple[int, ...]]
    dtypes: Sequence[str]
    layouts: Sequence[str]
    passes: Sequence[str]
    threads: Sequence[int]
    clocks: Sequence[str]

    @classmethod
    def of(cls, suite: str, selected: Mapping[str, Any]) -> "Selection":
        """Return what a command's ``selected`` options say, ``suite`` where they name none."""
        return cls(**{**selected, "suites": selected["suites"] or (suite,)})

    def plans(
        self,
        place: Callable[[str], str] | None = None,
        alone: bool = False,
        where: "Device | Described | None" = None,
        everyone: bool = False,
    ) -> "list[CasePlan]":
        """Return the case plans selected; every one includes the reference, that ratios are taken against.

        Not so where each stands ``alone``. ``place`` returns the spec to keep for a user's FILE.py:FUNCTION, where that
        is not to be looked for here. ``where`` is the device, unless it is to be found here. ``everyone`` adds those
        that a suite leaves out.

        Raises `GapbenchError` for what does not exist, `NothingMatchedError` if nothing is left.
        """
        from gapbench import operations
        from gapbench.machine.devices import device
        from gapbench.measuring.plan import CasePlan
        from gapbench.operations import is_user_spec, name_of
        from gapbench.workloads import suites

        where = where or device(self.device)
        clocks = self._clocks(where)
        named = {name_of(spec) for spec in self.specs if not is_user_spec(spec)}
        own = own_specs(self.specs, place)
        plans: dict[Case, CasePlan] = {}
        for name in self.suites:
            for suite in suites.find(name):
                for case in itertools.chain.from_iterable(map(self._overlay, suite.on(where.name).cases)):
                    operation = operations.operation(case.operation)
                    competing = (
                        operations.contenders(case.operation, named)
                        if named
                        else operations.competing(case.operation, suite.implementations, everyone)
                    )
                    specs = {name: name for name in competing}
                    specs |= own if operation.joinable else {}
                    chosen = {n: spec for n, spec in specs.items() if self._matches(suite.name, case, n)}
                    if chosen:
                        first = {} if alone else {operation.reference: operation.reference}
                        case_plan = CasePlan(suite.name, case, first, clocks, operation.reference)
                        plans.setdefault(case, case_plan).specs.update(chosen)
        if not plans:
            raise NothingMatchedError(f"nothing matches {self._filters()}; see: gapbench list cases")
        return list(plans.values())

    def _filters(self) -> str:
        given = [f"-k {self.expression!r}"] if self.expression is not None else []
        return " ".join([*given, *(f"--impl {spec}" for spec in self.specs)])

    def _clocks(self, where: "Device | Described") -> tuple[str, ...]:
        from gapbench.machine.devices import Device
        from gapbench.measuring import clocks

        selectable = clocks.selectable(where) if isinstance(where, Device) else where.selectable_clocks
        for name in self.clocks:
            if name not in selectable:
                raise unknown(f"clock for {where.name}", name, selectable)
        return tuple(dict.fromkeys(self.clocks)) or where.clocks  # named twice, one is timed once

    def _overlay(self, case: Case) -> list[Case]:
        """Return the case with each axis that was given in place of its own."""
        axes = {
            "shape": self.shapes,
            "dtype": self.dtypes,
            "layout": self.layouts,
            "pass_": self.passes,
            "threads": self.threads,
        }
        given = {axis: values for axis, values in axes.items() if values}
        if self.shapes:
            case = replace(case, label="", weight=1)
        return [
            replace(case, **cast("dict[str, Any]", dict(zip(given, values, strict=True))))
            for values in itertools.product(*given.values())
        ]

    def _matches(self, suite: str, case: Case, implementation: str) -> bool:
        return self.expression is None or keyword_match(
            self.expression, f"{suite} {case.id} {case.label} {implementation}"
        )


def own_specs(specs: Sequence[str], place: Callable[[str], str] | None = None) -> dict[str, str]:
    """Return those of ``specs`` that are FILE.py:FUNCTION, by name; with ``place`` they need not be here.

    Raises `GapbenchError` for a file that is not there, and for a name that is taken.
    """
    from gapbench.implementations import user
    from gapbench.operations import is_user_spec, taken

    own: dict[str, str] = {}
    for spec in filter(is_user_spec, specs):
        _, name = user.parse(spec) if place is None else user.split(spec)
        if taken(name) or name in own:
            raise GapbenchError(f"--impl {spec!r}: there is an implementation {name!r} already; rename yours")
        own[name] = spec if place is None else place(spec)
    return own


def keyword_match(expression: str, text: str) -> bool:
    """Evaluate a pytest-like ``-k`` expression: words are looked for in ``text``, joined by and, or, not and ( )."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)
    logic = [
        token if token in ("and", "or", "not", "(", ")") else str(token.lower() in text.lower()) for token in tokens
    ]
    try:
        value = eval(" ".join(logic), {"__builtins__": {}})  # noqa: S307 - True, False and logic only
    except SyntaxError:
        value = None
    if not isinstance(value, bool):
        raise GapbenchError(f"malformed expression -k {expression!r}: join words by and, or, not and parentheses")
    return value
