"""The processes that workers are forked from: for each interpreter and memory condition two, that differ for life.

Where code lies in memory makes a process 0.3 to 0.5 % faster or slower until it ends, and forks share that. So rounds
are forked from several processes.
"""

import contextlib
from collections.abc import Iterator, Sequence

from gapbench import operations
from gapbench.measuring import memory, worker_env
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import Contest, Side

SERVERS = 2
_PRELOAD = "gapbench.measuring.preload"
_PRELOAD_COMPILER = "gapbench.measuring.preload_compiler"


class Servers:
    """Started as they are asked for; a context manager that ends them all."""

    def __init__(self, contests: Sequence[Contest], sides: Sequence[Side]) -> None:
        self._preload = preload(contests)
        self._servers: dict[tuple[str, str, int], ForkServer] = {}
        self._stack = contextlib.ExitStack()
        on_cpu = any(contest.case.device == "cpu" for contest in contests)
        for condition in dict.fromkeys(contest.memory for contest in contests):
            for side in {side.python: side for side in sides}.values():
                for number in range(SERVERS if on_cpu else 1):
                    inherited = worker_env.environment().get("GLIBC_TUNABLES")
                    variables = memory.variables(condition, inherited) if on_cpu else {}
                    server = ForkServer(self._preload, side.python, side.harness, variables)
                    self._servers[condition, side.python, number] = self._stack.enter_context(server)

    def wait_ready(self) -> None:
        """Block until all are loaded. Raises `GapbenchError` if one could not start."""
        for server in self._servers.values():
            server.wait_ready()

    def of(self, condition: str, python: str, number: int) -> ForkServer:
        """Return the server for a memory condition and interpreter, in turn by ``number``."""
        found = self._servers.get((condition, python, number % SERVERS))
        return found or self._servers[condition, python, 0]

    @property
    def any(self) -> ForkServer:
        """One of them, for what belongs to no case."""
        return next(iter(self._servers.values()))

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def preload(contests: Sequence[Contest]) -> list[str]:
    """Return the modules that workers for ``contests`` should not have to import each."""
    modules = [_PRELOAD]
    if any(contest.case.pass_ != "forward" for contest in contests):
        modules.append("torch.fx.experimental.symbolic_shapes")  # half a second of sympy at a process's first gradient
    if any(_compiles_on_cpu(contest) for contest in contests):
        modules.append(_PRELOAD_COMPILER)
    return [*modules, *dict.fromkeys(_slow_imports(contests))]


def _compiles_on_cpu(contest: Contest) -> bool:
    return contest.case.device == "cpu" and any(map(operations.compiles, contest.specs.values()))


def _slow_imports(contests: Sequence[Contest]) -> Iterator[str]:
    for contest in contests:
        for spec in contest.specs.values():
            if operations.why_not(spec, contest.case) is None:
                yield from operations.loads(spec)
