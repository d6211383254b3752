"""Inspect what the compiler makes of our Triton kernels, with or without a GPU: ``profile --static``."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from gapbench.errors import ExitCode, GapbenchError

_SHOWN = {"kernel": "kernel", "dtype": "dtype", "arch": "arch", "registers": "registers", "spills": "spills",
          "shared_bytes": "shared", "load_widths": "loads", "store_widths": "stores",
          "elements_per_thread": "elements/thread", "occupancy": "occupancy",
          "waves": "waves", "bytes_per_element": "bytes/element", "seconds": "at least",
          "instructions": "instructions"}  # fmt: skip

_KEY = ("kernel", "dtype", "arch")
_LESS_IS_BETTER = {"registers": True, "spills": True, "shared_bytes": True, "load_bytes": False, "store_bytes": False,
                   "occupancy": False}  # fmt: skip
_COSTS = frozenset({"spills", "load_bytes", "store_bytes", "occupancy"})
"""Changes that make a kernel worse; more registers or shared memory do so only through occupancy or spills."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sentence, and whether it makes a kernel worse."""

    sentence: str
    worse: bool


def inspect(archs: Sequence[str], bandwidth: float | None, baseline: Path | None, as_json: bool) -> int:
    """Inspect kernels for ``archs`` (or a usual set), print, compare; ``bandwidth`` is in 10^9 bytes a second."""
    from gapbench.report import text

    before = None if baseline is None else _read(baseline)  # raises before anything is compiled
    rows = _inspect(archs or list(dict.fromkeys(str(row["arch"]) for row in before or ())), bandwidth)
    if as_json:  # a row a line, for line-by-line diffs
        click.echo("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]")
    else:
        text.print_rows([_shown(row) for row in rows])
        for reason in dict.fromkeys(row["reason"] for row in rows if row["reason"]):
            click.echo(f"no occupancy and no waves: {reason}", err=True)
    if baseline is None or before is None:
        return ExitCode.DONE
    inspected = {row["arch"] for row in rows}
    differing = changes(rows, [row for row in before if row["arch"] in inspected])
    for change in differing:
        click.echo(f"{'worse' if change.worse else 'changed'}: {change.sentence}", err=True)
    if not differing:
        click.echo(f"no kernel differs from {baseline}", err=True)
    return ExitCode.POLICY if any(change.worse for change in differing) else ExitCode.DONE


def _inspect(archs: Sequence[str], bandwidth: float | None) -> list[dict[str, Any]]:
    from gapbench.profiling import static

    usual = [each.name for each in static.ARCHITECTURES]
    for name in set(archs) - set(usual):
        try:
            reason = static.unsupported_reason(static.architecture(name).name)
        except KeyError:
            reason = "the name is malformed"
        if reason:
            raise GapbenchError(
                f"Triton cannot compile for {name!r} ({reason}); there are: {', '.join(usual)}, and every other "
                "sm_NN or gfxNNN that the installed Triton knows"
            )
    try:
        return [asdict(row) for row in static.inspect_all(list(dict.fromkeys(archs)) or usual, bandwidth)]
    except ImportError as error:
        raise GapbenchError(f"--static needs Triton ({error}); pip install 'gapbench[triton]'") from error


def changes(now: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Return what differs between two lists of `static.Inspection` as JSON objects; a kernel that is gone is worse."""
    old, new = ({" ".join(str(row.get(name)) for name in _KEY): row for row in rows} for rows in (before, now))
    differing = [Change(f"{key} is gone", True) for key in old if key not in new]
    differing += [Change(f"{key} is new", False) for key in new if key not in old]
    for key in new.keys() & old.keys():
        for name, less_is_better in _LESS_IS_BETTER.items():
            was, is_ = old[key].get(name), new[key].get(name)
            if was is not None and is_ is not None and was != is_:
                worse = name in _COSTS and (is_ > was) == less_is_better
                differing.append(Change(f"{key}: {name.replace('_', ' ')} {was:g}, now {is_:g}", worse))
    return sorted(differing, key=lambda change: (not change.worse, change.sentence))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    from gapbench.report import format as fmt

    formats: dict[str, Callable[[Any], object]] = {
        "occupancy": "{:.0%}".format,
        "load_widths": lambda widths: ", ".join(map(str, widths)),
        "store_widths": lambda widths: ", ".join(map(str, widths)),
        "seconds": fmt.seconds,
        "waves": fmt.number,
        "bytes_per_element": fmt.number,
        "instructions": lambda counts: sum(counts.values()),
    }
    shown = {
        name: formats[name](value) if name in formats and value is not None else value for name, value in row.items()
    }
    return {title: fmt.MISSING if shown[name] is None else shown[name] for name, title in _SHOWN.items()}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GapbenchError(f"cannot read the baseline {path}: {error}") from error
    is_baseline = isinstance(rows, list) and all(isinstance(row, dict) and {"kernel", "arch"} <= {*row} for row in rows)
    if not is_baseline:
        raise GapbenchError(f"{path} is not a baseline; write one with: gapbench profile --static --json > {path}")
    return list(rows)
