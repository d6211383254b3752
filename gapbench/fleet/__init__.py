"""Runs of other machines: those of a Ray cluster, and shards that are merged.

Used by `cli` alone. Only `cluster` and `dispatch` need torch.
"""
