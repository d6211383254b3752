"""Measuring on the machines of a Ray cluster: the engine runs there, its events come here.

cluster (who is there, and hiring them; the only module that knows Ray) -> worker (what runs on each device) -> dealing
(which case where, and whose rounds go on elsewhere).
"""
