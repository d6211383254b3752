"""The types of options: click's side of the parsers."""

from collections.abc import Callable
from typing import Any

import click

from gapbench.cases import parse_shape
from gapbench.quantities import parse_duration, parse_shard, parse_share


class Parsed(click.ParamType[Any]):
    """What a function makes of the text; its errors are gapbench's own, one line with the remedy."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Parse text; leave defaults, which have their type already, alone."""
        return self._parse(value) if isinstance(value, str) else value


DURATION = Parsed("duration", parse_duration)
SHARE = Parsed("share", parse_share)
SHARD = Parsed("shard", parse_shard)
SHAPE = Parsed("shape", parse_shape)
