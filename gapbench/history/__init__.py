"""How times went over stored runs, where they stepped, and what got slower since a run. No torch.

Runs are not interleaved with each other: each has a weather of its own, and none are pairs. Whether one commit is
slower than another is decided by measuring both together; a step over runs says where to look.
"""
