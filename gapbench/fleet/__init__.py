"""Measuring on the machines of a Ray cluster: the engine runs there, its events come here.

cluster (who is there, and acquiring them; the only module that knows Ray) -> worker (what runs on each device) ->
dispatch (which case where, and whose rounds go on elsewhere).
"""
