"""Synchronise the processes of one round: which one computes next, and what batch lengths all of them use.

All know the whole order, and pass a token (a byte in a pipe) to the owner of the next step, so that one computes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.protocol import Agreement, Calibration, Channel

LEFT_ALONE = 71  # exit status of a process whose peers have ended; they report why


class SideSync:
    """The synchronisation of process number ``process`` of ``processes``; here, of a single process."""

    process, processes = 0, 1

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        """Yield the indices in ``owners`` (a process for each step) of this process's steps, each when it may run."""
        return iter(range(len(owners)))

    def agree(self, calibration: Calibration) -> Calibration:
        """Return the calibration of all contenders, given that of this process's contenders."""
        return calibration


SINGLE_PROCESS = SideSync()


class TokenSync(SideSync):
    """One process of several: it reads tokens from the descriptor ``inbox``, and writes them to ``outboxes``.

    Agreement goes through the parent, on ``channel``. From then on all compute on one processor, ``core`` if given:
    other work slows both sides then, and a round's ratio scattered by 0.8 % instead of 9 %. A waiting process has no
    contender that is ``current``, so that no timeout is put down to it.
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
        """Yield this process's indices in ``owners``. Process 0 has the token before and after."""
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
                try:
                    os.write(self._outboxes[steps[step + 1]], b"t")
                except BrokenPipeError:
                    raise SystemExit(LEFT_ALONE) from None

    def agree(self, calibration: Calibration) -> Calibration:
        """Send the parent this process's calibration, and return that of all processes (see `merged`)."""
        self._current.clear()
        self._channel.send(Agreement(calibration))
        reply = self._channel.wait()
        assert isinstance(reply, Agreement)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})
        return reply.calibration


def merged(calibrations: Sequence[Calibration], implementations: int) -> Calibration:
    """Return all sides' batch lengths: for each implementation the most calls of any side; seconds grow with calls."""
    joined = {index: length for calibration in calibrations for index, length in calibration.items()}
    calls: dict[int, int] = {}
    for index, (count, _) in joined.items():
        calls[index % implementations] = max(count, calls.get(index % implementations, 1))
    return {
        index: (calls[index % implementations], seconds * calls[index % implementations] / count)
        for index, (count, seconds) in joined.items()
    }
