"""The type of an operation."""

from dataclasses import dataclass

from gapbench.implementations import Implementation


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation and the implementations that compete at it.

    ``reference`` names the implementation that ratios are taken against. ``joinable`` means that users' own
    implementations can take part: there is one expected output, which depends on the input only. An operation whose
    implementations compute different outputs is not ``ranked``: their costs are shown, and none wins.
    """

    name: str
    summary: str
    reference: str
    implementations: tuple[Implementation, ...]
    joinable: bool = False
    ranked: bool = True
