"""The tables of docs/profiling.md: ``python benchmarks/profiling.py RUN`` and ``… FOLDER``, from what is stored.

Of a run (``gapbench run`` has measured the ceilings) the ceilings by level; of a folder of profiles, as ``gapbench
profile CASE`` leaves it, where the time of each implementation goes.
"""

import json
import sys
from pathlib import Path
from typing import Any

from gapbench.report import format as fmt
from gapbench.report.text import dominant
from gapbench.store.ceilings import Ceiling
from gapbench.store.store import Store

PARTS = ("python", "dispatch", "allocation", "kernel", "gaps", "unexplained")


def lines(rows: list[list[str]]) -> str:
    """Return rows as a Markdown table, the first as its head."""
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *rest])


def profiles(folder: Path) -> str:
    """Return where the time goes in per cent of it, the fastest first; the parts but the last are to make 98 to 102."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    rows = [["implementation", "time", *PARTS[:-1], "together", "GB/s", "what dominates"]]
    for one in sorted((one for one in found if one["status"] == "ok"), key=lambda one: one["seconds"]):
        shares = [one["shares"][part] for part in PARTS[:-1]]
        cells = [f"`{one['implementation']}`", fmt.seconds(one["seconds"]), *(f"{share:.1f}" for share in shares)]
        rows.append([*cells, f"{sum(shares):.1f}", fmt.number(one["gbps"]), dominant(one)])
    return lines(rows)


def ceilings(run: str) -> str:
    """Return the ceilings of a run by level, and its dispatch floor."""
    known = (store := Store("results")).describe(store.resolve(run)).ceilings or ()
    rows = [["threads", "level", "bytes", "read", "copy", "write"]]
    levels = {(one.threads, one.level): one for one in known if one.kind == "read"}
    for (threads, level), read in levels.items():
        own = {one.kind: one for one in known if (one.threads, one.level) == (threads, level)}
        rates = [_rate(own.get(kind)) for kind in ("read", "copy", "write")]
        rows.append([str(threads), level, fmt.size(read.bytes), *rates])
    floors = [fmt.seconds(one.seconds) for one in known if one.kind == "dispatch"]
    return f"{lines(rows)}\n\ndispatch floor: {', '.join(floors) or fmt.MISSING}"


def _rate(one: Ceiling | None) -> str:
    return fmt.MISSING if one is None or one.gbps is None else f"{fmt.number(one.gbps)} GB/s"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(profiles(Path(argument)) if Path(argument).is_dir() else ceilings(argument), end="\n\n")
