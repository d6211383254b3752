"""Compute numbers from samples, without torch: results with intervals, comparisons, trends, regret."""
