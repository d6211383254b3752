"""What is measured elsewhere: on a Ray cluster, as shards, or imported. Only `cluster` and `dispatch` need torch."""
