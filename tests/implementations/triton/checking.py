"""What the tests run of the self-test's checks in a process where Triton interprets kernels."""

from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import torch

from gapbench.implementations.triton import op
from gapbench.machine.devices import Cpu
from gapbench.measuring import selftest

torch.set_num_threads(1)


def _short(launches):
    """Return launches of which the first lacks its last program, so that what it would write stays as it was."""

    def shortened(*arguments):
        first, *others = launches(*arguments)
        return [replace(first, programs=first.programs - 1), *others]

    return shortened


def _nudged(gap):
    """Return the operator with outputs of one of the splits that are one bit off."""
    return lambda x, plan, back: gap(x, plan, back) * (1 + 2.0**-23 * plan.startswith("split_single_pass"))


BREAKS = {
    "nothing": {},
    "single pass": {"_single_pass": _short},
    "two pass": {"_two_pass": _short},
    "backward": {"backward_launches": _short},
    "one bit": {"gap": _nudged},
}


def check(broken: str) -> tuple[selftest.Result, selftest.Result]:
    """Return the results of the checks of plans and of the single pass, with a part of the operator broken."""
    with ExitStack() as stack:
        for name, wrapped in BREAKS[broken].items():
            stack.enter_context(mock.patch.object(op, name, wrapped(getattr(op, name))))
        try:
            plans = selftest._plans([(2, 5, 37, 31)], ["float32"], 1, Cpu())
            return plans, selftest._single_pass((2, 9, 37, 31), 4, Cpu())
        finally:
            torch.use_deterministic_algorithms(False)
