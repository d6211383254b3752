"""The options that select what is measured, shared by the commands that measure."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from gapbench.cli import common
from gapbench.cli.common import SHAPE
from gapbench.errors import GapbenchError, NothingMatchedError, unknown
from gapbench.workloads.case_lists import is_list
from gapbench.workloads.cases import DTYPES, LAYOUTS, PASSES, Case

if TYPE_CHECKING:
    from gapbench.fleet.cluster import Described
    from gapbench.machine.devices import Device
    from gapbench.measuring.plan import CasePlan

options = common.joined(
    click.argument("suites", metavar="[SUITE]...", nargs=-1),
    common.device,
    click.option("--impl", "specs", metavar="NAME|FILE.py:FUNCTION", multiple=True,
                 help="Implementations to measure; a function of your own joins the others. Repeatable."),
    click.option("-k", "expression", metavar="EXPR", help="Filter on names as in pytest: 'bfloat16 and not matmul'."),
    click.option("--shape", "shapes", type=SHAPE, multiple=True, help="Shapes in place of the suite's: 8x2048x7x7."),
    click.option("--dtype", "dtypes", multiple=True, help=f"Dtypes in place of the suite's: {', '.join(DTYPES)}."),
    click.option("--layout", "layouts", multiple=True, help=f"Layouts in place of the suite's: {', '.join(LAYOUTS)}."),
    click.option("--pass", "passes", multiple=True, help=f"Passes in place of the suite's: {', '.join(PASSES)}."),
    click.option("--threads", type=int, multiple=True, help="Thread counts in place of the suite's."),
    click.option("--clock", "clocks", multiple=True, help="Clocks in place of the device's: host_cold, ..."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """The values of `options`; `plans` makes case plans of them."""

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
        """Return the selection among a command's options, with ``suite`` where they name none."""
        fields = {name: selected[name] for name in cls.__dataclass_fields__}
        return cls(**fields | {"suites": selected["suites"] or (suite,)})

    def plans(
        self,
        resolve: Callable[[str], str] | None = None,
        with_reference: bool = True,
        on: "Device | Described | None" = None,
        everyone: bool = False,
    ) -> "list[CasePlan]":
        """Return the selected case plans, each ``with_reference``, which ratios are taken against.

        ``resolve`` returns the spec to store for a user's FILE.py:FUNCTION, which then need not exist here. ``on`` is
        the device, by default this machine's. ``everyone`` adds implementations that a suite leaves out.

        Raises `GapbenchError` for an unknown name, `NothingMatchedError` if nothing is left.
        """
        from gapbench import operations
        from gapbench.machine.devices import device
        from gapbench.measuring.plan import CasePlan
        from gapbench.operations import is_user_spec, name_of
        from gapbench.workloads import suites

        on = on or device(self.device)
        clocks = self._clocks(on)
        named = {name_of(spec) for spec in self.specs if not is_user_spec(spec)}
        own = own_specs(self.specs, resolve)
        plans: dict[Case, CasePlan] = {}
        lists = [Path(name).name for name in dict.fromkeys(self.suites) if is_list(name)]
        if len(set(lists)) < len(lists):
            raise GapbenchError(f"two lists are called {lists[0]}; rename one, or measure each in its own run")
        # a case belongs to one suite: lists come first, since their totals need all of theirs
        for name in sorted(dict.fromkeys(self.suites), key=lambda name: not is_list(name)):
            for suite in suites.find(name):
                for case in itertools.chain.from_iterable(map(self._overlay, suite.on(on.name).cases)):
                    operation = operations.operation(case.operation)
                    competing = (
                        operations.contenders(case.operation, named)
                        if named
                        else operations.competing(case.operation, suite.implementations, everyone)
                    )
                    specs = {name: name for name in competing}
                    specs |= own if operation.joinable else {}
                    texts = {n: f"{suite.name} {case.id} {case.label} {n}" for n in specs}
                    chosen = {n: spec for n, spec in specs.items() if keyword_match(self.expression, texts[n])}
                    if chosen:
                        reference = operation.reference
                        first = {reference: reference} if with_reference else {}
                        case_plan = CasePlan(suite.name, case, first, clocks, reference)
                        plan = plans.setdefault(case, case_plan)
                        plan.specs.update(chosen)
                        if plan is case_plan or not is_list(name):
                            continue
                        if plan.suite != suite.name:
                            raise GapbenchError(f"{plan.suite} and {name} share {case.id}; measure each in its own run")
                        total = plan.case.weight + case.weight  # of cases that an option made the same
                        plans[case] = replace(plan, case=replace(case, weight=total))
        if not plans:
            filters = [f"-k {self.expression!r}"] if self.expression is not None else []
            filters += [f"--impl {spec}" for spec in self.specs]
            raise NothingMatchedError(f"nothing matches {' '.join(filters)}; see: gapbench list cases")
        return list(plans.values())

    def _clocks(self, on: "Device | Described") -> tuple[str, ...]:
        from gapbench.machine.devices import Device
        from gapbench.measuring import clocks

        selectable = clocks.selectable(on) if isinstance(on, Device) else on.selectable_clocks
        for name in self.clocks:
            if name not in selectable:
                raise unknown(f"clock for {on.name}", name, selectable)
        return tuple(dict.fromkeys(self.clocks)) or on.clocks

    def _overlay(self, case: Case) -> list[Case]:
        axes = {
            "shape": self.shapes, "dtype": self.dtypes, "layout": self.layouts, "pass_": self.passes,
            "threads": self.threads,
        }  # fmt: skip
        given = {axis: values for axis, values in axes.items() if values}
        if self.shapes:
            case = replace(case, label="", weight=1)
        return [
            replace(case, **cast("dict[str, Any]", dict(zip(given, values, strict=True))))
            for values in itertools.product(*given.values())
        ]


def own_specs(specs: Sequence[str], resolve: Callable[[str], str] | None = None) -> dict[str, str]:
    """Return those of ``specs`` that are FILE.py:FUNCTION, by name; with ``resolve`` the file need not exist here.

    Raises `GapbenchError` for a missing file, and for a name that is taken.
    """
    from gapbench.implementations import user
    from gapbench.operations import is_user_spec, taken

    own: dict[str, str] = {}
    for spec in filter(is_user_spec, specs):
        _, name = user.parse(spec) if resolve is None else user.split(spec)
        if taken(name) or name in own:
            raise GapbenchError(f"--impl {spec!r}: there is an implementation {name!r} already; rename yours")
        own[name] = spec if resolve is None else resolve(spec)
    return own


def keyword_match(expression: str | None, text: str) -> bool:
    """Evaluate a pytest-like ``-k`` expression: words that ``text`` contains, joined by and, or, not, ( ).

    Raises `GapbenchError` for a malformed one.
    """
    if expression is None:
        return True
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
