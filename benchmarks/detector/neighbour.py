"""A busy neighbour: one process that alternates spells of copying memory and of computing, as other tenants do."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

NEIGHBOURS = ("none", "busy")

SPELL_SECONDS = (0.01, 1.0)
"""Shortest and longest spell; their logarithm is uniform."""

_COPIED = 32 << 20


@contextlib.contextmanager
def neighbour(kind: str, seed: int = 0) -> Iterator[None]:
    """Have a neighbour of that kind meanwhile. It ends with the caller, also if the caller is killed."""
    if kind == "none":
        yield
        return
    process = subprocess.Popen([sys.executable, __file__, str(os.getpid()), str(seed)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def spells(rng: Random) -> Iterator[tuple[str, float]]:
    """Yield what to do next, copy or compute, and for how many seconds, without end."""
    shortest, longest = SPELL_SECONDS
    while True:
        yield rng.choice(("copy", "compute")), shortest * (longest / shortest) ** rng.random()


def disturb(parent: int, seed: int) -> None:
    """Keep one core busy for as long as ``parent`` lives."""
    source, target = bytearray(_COPIED), memoryview(bytearray(_COPIED))
    for kind, seconds in spells(Random(seed)):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if os.getppid() != parent:
                return
            if kind == "copy":
                target[:] = source
            else:
                sum(range(20_000))


if __name__ == "__main__":
    disturb(int(sys.argv[1]), int(sys.argv[2]))
