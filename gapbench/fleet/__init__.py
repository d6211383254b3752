"""Runs of other machines: those of a Ray cluster, shards that are merged, and exports that are imported.

Used by `cli` alone. Only `cluster` and `dispatch` need torch.
"""
