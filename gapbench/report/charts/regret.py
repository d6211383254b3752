"""List the cost of always choosing one implementation over a suite: geometric mean and worst case.

Only implementations that are ok in every case compete; the others are listed with the number of cases they lack.
"""

import pandas as pd

from gapbench.analysis.regret import BY, regrets
from gapbench.report import plain_text, rows
from gapbench.report.charts import style


def summary(results: pd.DataFrame) -> str:
    """Summarize for each suite the single choice that costs least, its cost, and how many do not compete."""
    every = _of_suites(results)
    groups = [rows.records(group) for _, group in every.groupby("facet", sort=False)]
    unanswered = int(every.drop_duplicates("facet")["unanswered"].sum())
    return plain_text.sentences("regret.txt.j2", groups=groups, unanswered=unanswered)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows; those that do not compete have nulls."""
    titles = {
        "facet": "suite", "lacks": "cases lacking", "geometric_mean": "geometric mean ratio", "worst": "worst ratio",
        "seconds": "weighted seconds", "best_of_each": "weighted seconds, best of each",
    }  # fmt: skip
    names = "facet implementation cases lacks geometric_mean worst worst_case seconds best_of_each"
    return style.table(_of_suites(results), names, **titles)


def _of_suites(results: pd.DataFrame) -> pd.DataFrame:
    every = regrets(rows.numeric(results))
    varying = [name for name in BY if every[name].nunique(dropna=False) > 1 or name == "suite"]
    facets = [", ".join(rows.fact(name, row[name]) for name in varying) for row in rows.records(every)]
    return every.assign(facet=facets)
