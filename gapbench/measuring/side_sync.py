"""Who computes next where the sides of one round sit in several processes, and how they agree on batch lengths.

All of them know the whole order beforehand, and hand a token (a byte in a pipe) to the owner of the next step, so that
exactly one computes at a time and nobody has to be asked in between.
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.protocol import Agreement, Calibration, Channel

LEFT_ALONE = 71
"""Exit status of a process whose fellows have gone: why is theirs to tell."""


class SideSync:
    """The processes that share a round, as number ``process`` of ``processes`` sees them; here that one has it all."""

    process, processes = 0, 1

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        """Yield the indices in ``owners`` (a process for each step) that are this one's, each when it is its turn."""
        return iter(range(len(owners)))

    def agree(self, calibration: Calibration) -> Calibration:
        """Return the calibration of all contenders, given that of this process's own."""
        return calibration


SINGLE_PROCESS = SideSync()


class TokenSync(SideSync):
    """One process of several: ``inbox`` is the descriptor that it reads tokens from, ``outboxes`` those of the others.

    Agreement goes through the parent, on ``channel``. From then on all compute on the processor ``core``, where one is
    given: with a side on each of two cores, whatever else runs on one of them slows one side only. Measured with other
    work on a 2-core machine, that made 0.8 % scatter of a round's ratio out of 9 %.

    While it waits, no contender is ``current``: where a round takes too long, it is not this process that does.
    """

    def __init__(
        self,
        channel: Channel,
        process: int,
        inbox: int,
        outboxes: Mapping[int, int],
        current: CurrentContender,
        core: int | None = None,
    ) -> None:
        self.process, self.processes = process, len(outboxes) + 1
        self._channel, self._inbox, self._outboxes, self._core = channel, inbox, outboxes, core
        self._current = current

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        """Yield this process's indices in ``owners``. The token lies with process 0 before and after."""
        steps = (0, *owners, 0)
        for step, owner in enumerate(steps):
            if owner != self.process:
                continue
            if step and steps[step - 1] != owner:
                self._current.clear()
                if not os.read(self._inbox, 1):
                    raise SystemExit(LEFT_ALONE)
            if 0 < step <= len(owners):
                yield step - 1
            if step <= len(owners) and steps[step + 1] != owner:
                self._pass_on(steps[step + 1])

    def _pass_on(self, owner: int) -> None:
        try:
            os.write(self._outboxes[owner], b"t")
        except BrokenPipeError:
            raise SystemExit(LEFT_ALONE) from None

    def agree(self, calibration: Calibration) -> Calibration:
        """Send the parent what this process found, and return what it makes of all: see `merged`."""
        self._current.clear()
        self._channel.send(Agreement(calibration))
        reply = self._channel.wait()
        assert isinstance(reply, Agreement)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})
        return reply.calibration


def merged(calibrations: Sequence[Calibration], implementations: int) -> Calibration:
    """Return the batches that all sides take: for each implementation the largest number of calls of any side.

    Contender i of a round is implementation ``i % implementations`` of side ``i // implementations``. Seconds grow as
    the calls do.
    """
    everyone = {index: one for calibration in calibrations for index, one in calibration.items()}
    calls: dict[int, int] = {}
    for index, (count, _) in everyone.items():
        calls[index % implementations] = max(count, calls.get(index % implementations, 1))
    return {
        index: (calls[index % implementations], seconds * calls[index % implementations] / count)
        for index, (count, seconds) in everyone.items()
    }
