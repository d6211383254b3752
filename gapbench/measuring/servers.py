"""Run the fork servers: two for each interpreter and memory condition.

The placement of code makes a process and its forks 0.3 to 0.5 % faster or slower, so rounds come from several.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gapbench.measuring import memory, worker_env
from gapbench.measuring.forkserver import ForkServer

if TYPE_CHECKING:
    from gapbench.measuring.plan import CasePlan, Side
# This module is imported before torch, so that the first servers load torch at the same time as this process.

SERVERS = 2
_PRELOAD = "gapbench.measuring.worker"
_PRELOAD_COMPILER = "gapbench.measuring.preload_compiler"


class Servers(contextlib.AbstractContextManager["Servers"]):
    """A context manager of all fork servers; those for ``conditions`` start at once, others in `load`."""

    def __init__(self, conditions: Sequence[str] = ()) -> None:
        self._started: dict[tuple[str, str, int], ForkServer] = {}
        self._loaded: list[ForkServer] = []
        self._stack = contextlib.ExitStack()
        for condition in conditions:
            for number in range(SERVERS):
                self._start(condition, sys.executable, number)

    def load(self, plans: "Sequence[CasePlan]", sides: "Sequence[Side]") -> None:
        """Load the modules for ``plans``, once a server, and wait. Raises `GapbenchError` if a server cannot start."""
        numbers = range(SERVERS if any(case_plan.case.device == "cpu" for case_plan in plans) else 1)
        needed = {
            (case_plan.memory, side.python, number): side.harness
            for case_plan in plans
            for side in sides
            for number in numbers
        }
        for key, harness in needed.items():
            if key not in self._started:
                self._start(*key, harness)
        self._servers = {key: self._started[key] for key in needed}  # others stay idle
        modules = preload(plans)
        loading = [server for server in self._servers.values() if server not in self._loaded]
        for server in loading:
            server.load(modules[1:])
        for server in loading:
            server.wait_ready()
        self._loaded += loading

    def _start(self, condition: str, python: str, number: int, harness: Path | None = None) -> None:
        variables = memory.variables(condition, worker_env.environment().get("GLIBC_TUNABLES"))
        folder = {} if harness is None else {"harness": harness}
        server = ForkServer([_PRELOAD], python, variables=variables, wait_for_load=True, **folder)
        self._started[condition, python, number] = self._stack.enter_context(server)

    def of(self, condition: str, python: str, number: int) -> ForkServer:
        """Return a server for a memory condition and interpreter, cycling by ``number``."""
        server = self._servers.get((condition, python, number % SERVERS))
        return server or self._servers[condition, python, 0]

    @property
    def any(self) -> ForkServer:
        """A server for jobs that belong to no case."""
        return next(iter(self._servers.values()))

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def preload(plans: "Sequence[CasePlan]") -> list[str]:
    """Return the modules that the servers import for the workers of ``plans``."""
    from gapbench import operations

    modules = [_PRELOAD]
    if any(case_plan.case.pass_ != "forward" for case_plan in plans):
        modules.append("torch.fx.experimental.symbolic_shapes")  # imports sympy for 0.5 s at the first gradient
    on_cpu = [case_plan for case_plan in plans if case_plan.case.device == "cpu"]
    if any(operations.compiles(spec) for case_plan in on_cpu for spec in case_plan.specs.values()):
        modules.append(_PRELOAD_COMPILER)
    elsewhere = (spec for case_plan in plans if case_plan.case.device != "cpu" for spec in case_plan.specs.values())
    if any(map(operations.compiles, elsewhere)):
        # Importing starts neither a thread nor the device; compiling here would.
        modules += ["torch._dynamo", "torch._inductor.compile_fx"]
    slow_imports = [
        module
        for case_plan in plans
        for spec in case_plan.specs.values()
        if operations.unsupported_reason(spec, case_plan.case) is None
        for module in operations.loads(spec)
    ]
    return [*modules, *dict.fromkeys(slow_imports)]
