"""Measuring on the machines of a Ray cluster: the engine runs there, its events come here.

`cluster` says who is there and has a worker on each device; `dispatch`, which case where, and whose rounds go on
elsewhere.
"""
