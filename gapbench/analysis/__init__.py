"""Compute numbers from samples: results with intervals, comparisons, trends, regret.

Frames in, frames out, without torch. Used by `report`, by `cli`, and by `measuring`, which ends a run with its results.
"""
