"""The parent's side of what is measured of the machine itself, beside the cases: its ceilings."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gapbench.cases import Case
from gapbench.measuring import qualifying, worker
from gapbench.measuring.ceilings import PATIENCE, unmeasured
from gapbench.measuring.template import Template


@dataclass(frozen=True, slots=True)
class CeilingsMeasured:
    """The limits of all devices that the cases use, as run.json has them (see `gapbench.ceilings`)."""

    ceilings: list[dict[str, Any]]


def ceilings(cases: Iterable[Case], template: Template) -> CeilingsMeasured:
    """Measure each device in a process of its own, with all the numbers of threads that ``cases`` use."""
    threads: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        threads[case.device].add(case.threads)
    found: list[dict[str, Any]] = []
    for device, counts in threads.items():
        said = qualifying.answer(template.start(worker.measure_ceilings, device, tuple(sorted(counts))), PATIENCE)
        if not isinstance(said, list):
            said = unmeasured(device, qualifying.how_it_ended(said, PATIENCE)[1])
        found += said
    return CeilingsMeasured(found)
