"""What an operation is."""

from dataclasses import dataclass

from gapbench.implementations import Implementation


@dataclass(frozen=True, slots=True)
class Operation:
    """What is computed, and the ways that compete at it.

    ``reference`` names the implementation that ratios are taken against. ``joinable`` says that users' own
    implementations can take part: it has one answer, which needs no knowledge of how inputs were made. Where the
    implementations compute different things it is not ``ranked``: each one's cost is shown, and none wins.
    """

    name: str
    summary: str
    reference: str
    implementations: tuple[Implementation, ...]
    joinable: bool = False
    ranked: bool = True
