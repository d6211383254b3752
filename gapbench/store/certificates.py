"""Certificates: how often ``gapbench ab`` was wrong on a machine, and which planted changes it found there."""

import msgspec
from msgspec import Struct

from gapbench.store.files import Files
from gapbench.store.run import Run

KIND = "certificate"


class FalseRed(Struct, frozen=True):
    """Comparisons in which identical code was called regressed: ``red`` of ``runs``.

    ``upper`` ends the one-sided 95 % interval (Clopper and Pearson, Biometrika 26 (1934) 404), None without runs.
    """

    runs: int
    red: int
    upper: float | None


class Power(Struct, frozen=True):
    """How many of the planted slowdowns of ``change`` (0.02 for 2 %) were called regressed: ``found`` of ``trials``.

    ``low`` and ``high`` bound the share by an exact 95 % interval. ``predicted`` is what the scatter of the first half
    lets expect of the ``held_out`` trials of the second. ``measured`` is the median of the trials' ratios.
    """

    change: float
    trials: int
    found: int
    low: float | None
    high: float | None
    measured: float | None = None
    case: str | None = None
    predicted: float | None = None
    held_out: int = 0
    held_out_found: int = 0


class TrialRow(Struct, frozen=True):
    """One case of one comparison: the planted change, 0 for identical code, and what the comparison said."""

    trial: int
    case: str
    change: float
    verdict: str
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    rounds: int | None = None
    screening: int | None = None


class Certificate(Struct, frozen=True, kw_only=True):
    """What planted changes showed of ``gapbench ab`` on a machine, whose facts are ``environment``.

    Each comparison took ``seconds`` for all ``cases`` (ids), one of which was changed, or none. ``by_case`` is the
    power for each size of call; ``rows`` are what all of it is computed from.
    """

    schema: int = 1
    started: str
    device: str
    environment: dict[str, object]
    seconds: float
    margin: float
    cases: tuple[str, ...]
    false_red: FalseRed
    power: tuple[Power, ...]
    by_case: tuple[Power, ...]
    rows: tuple[TrialRow, ...]


def newest(store: Files, run: Run) -> Certificate | None:
    """Return the newest readable certificate of a run's machine and device, None without any."""
    names = [name for name in store.names(store.root) if name.startswith(f"{KIND}-")]
    for name in sorted(names, reverse=True):
        try:
            certificate = msgspec.json.decode(store.read(name) or b"", type=Certificate)
        except msgspec.MsgspecError:
            continue
        if (certificate.environment, certificate.device) == (run.environment.compared(), run.machine.device or "cpu"):
            return certificate
    return None
