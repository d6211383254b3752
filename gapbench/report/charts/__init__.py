"""Charts: one module each, a data frame in and a plotly figure out.

A chart draws one case under one clock: rows of the results, with the column ``marks`` that `rows.mark` adds.
A new chart is a module with ``figure`` and ``summary``, and one line in `CHARTS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from gapbench.report.charts import times


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as the page shows it: ``summary`` says in one line what ``figure`` draws."""

    name: str
    title: str
    figure: Callable[[pd.DataFrame], go.Figure]
    summary: Callable[[pd.DataFrame], str]


CHARTS: tuple[Chart, ...] = (Chart("times", "Time per call", times.figure, times.summary),)
"""The charts of every case, in the page's order."""
