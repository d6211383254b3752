"""Numbers from samples: results and their intervals, comparisons, trends, cost models.

Frames in, frames out: nothing here measures, draws or imports torch. Used by `report`, by `measuring`, which ends a run
with its results, and by `cli`.
"""
