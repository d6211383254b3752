"""Weighted lists of cases: files, ``.json`` or ``.csv``, that say how often a network calls each (docs/networks.md)."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gapbench.errors import GapbenchError, counted
from gapbench.workloads.cases import Case, parse_shape


class Site(Struct, frozen=True):
    """A place that pools: the path of its module, its line as ``FILE:LINE``, and how it spells the average."""

    module: str
    source: str | None = None
    spelling: str = ""
    count: int = 1


class ListedCase(Struct, frozen=True, forbid_unknown_fields=True, rename={"pass_": "pass"}):
    """A case of a list: ``count`` times in a pass of the network, where that takes ``share`` of the time, 0 to 1."""

    shape: str
    dtype: str = "float32"
    layout: str = "contiguous"
    pass_: str = "forward"
    count: Annotated[int, Meta(ge=1, lt=2**31)] = 1
    share: float | None = None
    sites: tuple[Site, ...] = ()

    def case(self) -> Case:
        """Return the case, weighted by its count and labelled with its first site. Raises `GapbenchError`."""
        label = self.sites[0].module if self.sites else ""
        label += f" and {counted(len(self.sites) - 1, 'other')}" if len(self.sites) > 1 else ""
        return Case(parse_shape(self.shape), self.dtype, self.layout, pass_=self.pass_, label=label, weight=self.count)


class _CaseList(Struct, frozen=True):
    schema: Literal[1]
    cases: tuple[ListedCase, ...]


def is_list(suite: str) -> bool:
    """Tell whether a suite's name or path is that of a list: one network, which is totalled as a whole."""
    return Path(suite).suffix in (".json", ".csv")


def read(path: str | Path) -> tuple[Case, ...]:
    """Return the cases of a list. Raises `GapbenchError` that names the file and what is wrong with it."""
    try:
        content = Path(path).read_bytes()
        listed = _from_csv(content) if Path(path).suffix == ".csv" else msgspec.json.decode(content, type=_CaseList)
        cases = tuple(each.case() for each in listed.cases)
    except OSError as error:
        remedy = "write one with: gapbench model record"
        raise GapbenchError(f"cannot read the list of cases {str(path)!r}: {error.strerror}; {remedy}") from error
    except (msgspec.MsgspecError, csv.Error, ValueError, RecursionError, GapbenchError) as error:
        raise GapbenchError(f"{str(path)!r} is not a list of cases of schema 1: {error}") from error
    if not cases:
        raise GapbenchError(f"{str(path)!r} lists no cases; record those of a network with: gapbench model record")
    if len(set(cases)) < len(cases):
        twice = next(case for number, case in enumerate(cases) if case in cases[:number])
        raise GapbenchError(f"{str(path)!r} lists {twice.id} twice; add up the counts in one entry")
    return cases


def _from_csv(content: bytes) -> _CaseList:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    cases = [{str(name): value for name, value in row.items() if value} for row in rows]
    for case in cases:
        case["sites"] = msgspec.json.decode(case.get("sites") or "[]")
    return msgspec.convert({"schema": 1, "cases": cases}, _CaseList, strict=False)


def dumps(cases: Sequence[ListedCase], document: Mapping[str, Any], suffix: str = ".json") -> str:
    """Return a list as the text of a file: CSV for the suffix ``.csv``, else JSON with the fields of ``document``."""
    rows = msgspec.to_builtins(cases)
    if suffix != ".csv":
        return msgspec.json.format(msgspec.json.encode({"schema": 1, **document, "cases": rows}), indent=1).decode()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "sites": msgspec.json.encode(row["sites"]).decode()} for row in rows)
    return text.getvalue()
