"""What is measured elsewhere: on the machines of a Ray cluster, as shards, or in runs that are imported.

Used by `cli` alone. Only `cluster` and `dispatch` need torch.
"""
