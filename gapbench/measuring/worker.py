"""The jobs of a fresh worker process: qualify one implementation, or measure one round of one case.

Whatever goes wrong becomes a status and a reason; what kills the process is the parent's to tell.
"""

import os

import psutil
import torch

from gapbench.cases import DTYPES, Case
from gapbench.devices import Accelerator, device
from gapbench.errors import is_out_of_memory
from gapbench.implementations.user import BrokenImplementationError
from gapbench.measuring import ceilings, energy, qualification, rounds
from gapbench.measuring.messages import Line
from gapbench.measuring.relay import Relay
from gapbench.measuring.rounds import Assignment, Fault
from gapbench.measuring.source import HERE, Source
from gapbench.measuring.template import RunningContender
from gapbench.records import Qualification
from gapbench.telemetry import energy as energy_counter
from gapbench.telemetry.unreadable import UnreadableError


def qualify(
    line: Line,
    running: RunningContender,  # noqa: ARG001
    case: Case,
    spec: str,
    seed: int,
    source: Source = HERE,
) -> None:
    """Judge one implementation on one case and send its `Qualification`."""
    try:
        source.enter(case.operation)
        prepare(case)
        line.send(qualification.qualify(case, spec, seed))
    except Exception as error:
        line.send(Qualification(*status_of(error, case)))


def measure_round(line: Line, running: RunningContender, assignment: Assignment) -> None:
    """Measure one round of one case and send its `RoundResult`, or the `Fault` that prevented it."""
    try:
        prepare(assignment.case)
        line.send(rounds.measure(running, assignment))
    except Exception as error:
        line.send(Fault(running.get(), *status_of(error, assignment.case)))


def measure_side(
    line: Line,
    _: RunningContender,
    assignment: Assignment,
    source: Source,
    side: int,
    core: int | None,
    descriptors: tuple[int, ...],
) -> None:
    """Measure one side of a round, and send what `measure_round` does: one message more for each clock (see `relay`).

    ``descriptors`` are those of the byte that says what runs, of the own inbox, and of every side's outbox.
    """
    byte, inbox, *outboxes = descriptors
    running = RunningContender(byte)
    others = {number: outbox for number, outbox in enumerate(outboxes) if number != side}
    os.close(outboxes[side])  # else a baton that never comes would not end in an end of file
    try:
        source.enter(assignment.case.operation)
        prepare(assignment.case)
        line.send(rounds.measure(running, assignment, Relay(line, side, inbox, others, core)))
    except Exception as error:
        line.send(Fault(running.get(), *status_of(error, assignment.case)))


def measure_ceilings(
    line: Line,
    running: RunningContender,  # noqa: ARG001
    device_name: str,
    threads: tuple[int, ...],
) -> None:
    """Measure a device's limits and send them as run.json has them."""
    try:
        line.send(ceilings.measure(device_name, threads))
    except Exception as error:
        line.send(ceilings.unmeasured(device_name, f"measuring ceilings raised {type(error).__name__}: {error}"))


def energy_source(line: Line, running: RunningContender, device_name: str) -> None:  # noqa: ARG001
    """Send the name of what counts a device's energy, and None; or None, and why nothing does."""
    try:
        with energy_counter.opened(device_name, device(device_name).uuid) as counter:
            line.send((counter.source, None))
    except UnreadableError as error:
        line.send((None, str(error)))


def measure_energy(
    line: Line,
    running: RunningContender,  # noqa: ARG001
    case: Case,
    spec: str,
    seed: int,
) -> None:
    """Send the joules of one call, or the sentence that says why they are not known."""
    try:
        prepare(case)
        where = device(case.device)
        call = qualification.bound(case, spec, seed)

        def run(count: int) -> None:
            for _ in range(count):
                call()
            where.synchronize()

        with energy_counter.opened(case.device, where.uuid) as counter:
            line.send(energy.joules_per_call(run, counter))
    except Exception as error:
        line.send(f"{type(error).__name__}: {error}")


def prepare(case: Case) -> None:
    """Get this process ready for ``case``. Raises `MemoryError` where it would not fit the CPU's memory."""
    torch.set_num_threads(case.threads)
    where = device(case.device)
    if isinstance(where, Accelerator):
        where.make_current()
        return
    needed, there = _bytes_needed(case), psutil.virtual_memory().available
    if needed > there:
        # Asked beforehand: an operating system that promises more than it has kills whoever uses it.
        raise MemoryError(f"the harness needs about {needed:,} bytes, {there:,} are available")


def _bytes_needed(case: Case) -> int:
    """Return the memory of two inputs with copies, and of the float32 noise that they are made from."""
    return case.elements * (4 * DTYPES[case.dtype] + 2 * 4)


def status_of(error: Exception, case: Case) -> tuple[str, str]:
    """Return the status and the reason that an exception amounts to."""
    if isinstance(error, BrokenImplementationError):
        return "failed", str(error)
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
        return (
            "oom",
            f"out of memory, the case moves {case.bytes_moved:,} bytes at least; choose a smaller one ({text})",
        )
    return "failed", f"raised {text}"
