"""``gapbench profile --static``: what the compiler makes of our Triton kernels, on machines without a GPU as well."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gapbench.errors import ExitCode, GapbenchError, unknown

_SHOWN = {"kernel": "kernel", "dtype": "dtype", "arch": "arch", "registers": "registers", "spills": "spills",
          "shared_bytes": "shared", "load_bytes": "load", "store_bytes": "store", "occupancy": "occupancy"}  # fmt: skip


def inspect(archs: Sequence[str], baseline: Path | None, as_json: bool) -> int:
    """Inspect every kernel for ``archs`` (all by default), print, and compare with an earlier ``--json``."""
    try:
        from gapbench.profiling import static
        from gapbench.profiling.architectures import ARCHITECTURES
        from gapbench.profiling.baseline import changes
    except ImportError as error:
        raise GapbenchError(f"--static needs Triton ({error}); pip install 'gapbench[triton]'") from error
    from gapbench.report import text

    known = [one.name for one in ARCHITECTURES]
    for name in archs:
        if name not in known:
            raise unknown("architecture", name, known)
    chosen = list(dict.fromkeys(archs)) or known
    before = None if baseline is None else _read(baseline, chosen)
    found = [asdict(one) for one in static.inspect_all(chosen)]
    if as_json:
        click.echo(json.dumps(found))
    else:
        text.print_rows([_row(one) for one in found])
    if before is None:
        return ExitCode.DONE
    differing = changes(found, before)
    for change in differing:
        click.echo(f"{'worse' if change.worse else 'changed'}: {change.sentence}", err=True)
    if not differing:
        click.echo(f"no kernel differs from {baseline}", err=True)
    return ExitCode.POLICY if any(change.worse for change in differing) else ExitCode.DONE


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {title: f"{one[name]:.0%}" if name == "occupancy" else one[name] for name, title in _SHOWN.items()}


def _read(path: Path, archs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a baseline for ``archs``."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GapbenchError(f"cannot read the baseline {path}: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(one, dict) and "kernel" in one for one in rows):
        raise GapbenchError(f"{path} is no baseline; write one with: gapbench profile --static --json > {path}")
    return [one for one in rows if one.get("arch") in archs]
