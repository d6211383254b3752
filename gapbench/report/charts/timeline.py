"""Samples of one case as its distribution is drawn from them: in order, with the machine's state, and thinned."""

import numpy as np
import pandas as pd

from gapbench.records import SAMPLES

STATE = {"sm_clock_mhz": "SM clock, MHz", "temperature_c": "temperature, °C", "power_w": "power, W",
         "steal": "stolen CPU time, %"}  # fmt: skip
"""What is known of the machine during a round, each in its own panel where it was read."""


def ordered(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples in the order they were taken: rounds, turns and the places within; ``time`` counts turns."""
    kinds = {name: "float64" for name, kind in SAMPLES.items() if kind != "string"}
    frame = samples.reindex(columns=list(SAMPLES)).astype(kinds)
    frame = frame[frame["seconds_per_call"].gt(0) & np.isfinite(frame["seconds_per_call"])]
    frame = frame.sort_values(["round", "process", "turn", "position"], kind="stable")
    frame["time"] = frame.groupby(["round", "turn"], dropna=False, sort=True).ngroup()
    frame["round_place"] = frame["round"].rank(method="dense").fillna(0)
    in_order: pd.DataFrame = frame.assign(steal=100 * frame["steal"])
    return in_order


def names(ordered: pd.DataFrame) -> list[str]:
    """Return the implementations, that of the least median time first."""
    return [str(name) for name in ordered.groupby("implementation")["seconds_per_call"].median().sort_values().index]


def state(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `STATE` that were read."""
    return [name for name in STATE if frame[name].notna().any()]


def throttled(frame: pd.DataFrame) -> int:
    """Return in how many rounds something kept clocks down."""
    reasons = frame["throttle"]
    return int(frame.loc[reasons.notna() & (reasons != "none"), "round_place"].nunique())


def thinned(own: pd.DataFrame, room: int) -> pd.DataFrame:
    """Return all samples, or of each of ``room`` / 3 equal stretches the least, the middle and the largest."""
    if len(own) <= room:
        return own
    stretch = np.arange(len(own)) * (room // 3) // len(own)
    ranked = own["seconds_per_call"].groupby(stretch).rank(method="first").to_numpy()
    size = pd.Series(stretch).groupby(stretch).transform("size").to_numpy()
    kept: pd.DataFrame = own[(ranked == 1) | (ranked == size) | (ranked == (size + 1) // 2)]
    return kept
