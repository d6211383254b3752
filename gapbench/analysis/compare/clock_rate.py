"""Tell a change of the device's clock rate from a change of the code: times changed, and cycles did not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from gapbench.analysis.compare.rows import ROW, Key, Row
from gapbench.statistics.stats import UNDISTURBED
from gapbench.statistics.verdicts import Verdict
from gapbench.store.records import with_memory


def caused_by_clock(
    rows: Mapping[Key, Row], base: pd.DataFrame, head: pd.DataFrame, margin: float, paired: bool = False
) -> Iterator[tuple[Key, Row]]:
    """Yield changed rows whose cycles (seconds times rate) differ by less than ``margin`` as inconclusive.

    ``base`` and ``head`` are samples, ``paired`` if their rounds are the same. Without rates, nothing is yielded.
    """
    changed = {key: row for key, row in rows.items() if row.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)}
    if not changed:
        return
    before, after = _levels(base), _levels(head)
    if paired:
        shifts = (after - before).groupby(level=ROW).median()
    else:
        shifts = after.groupby(level=ROW).median() - before.groupby(level=ROW).median()
    for key, row in changed.items():
        time, rate = shifts["time"].get((*key[:3], key[3] or "")), shifts["rate"].get((*key[:3], key[3] or ""))
        if time is None or rate is None or not abs(time + rate) <= math.log1p(margin) < abs(rate):
            continue
        reason = (
            f"{'slower' if rate < 0 else 'faster'} by clock, not by code: head's SM clock was {math.expm1(rate):+.1%} "
            f"against base's, its cycles {math.expm1(time + rate):+.1%}; lock the clock with gapbench tune, and "
            "measure again"
        )
        yield key, replace(row, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _levels(samples: pd.DataFrame) -> pd.DataFrame:
    samples = with_memory(samples.reindex(columns=[*samples.columns.union(["sm_clock_mhz"])]))
    samples = samples[samples["sm_clock_mhz"] > 0]
    logs = samples.assign(time=np.log(samples["seconds_per_call"]), rate=np.log(samples["sm_clock_mhz"]))
    rounds = logs.groupby([*ROW, "round"])
    return pd.DataFrame({"time": rounds["time"].quantile(UNDISTURBED), "rate": rounds["rate"].median()})
