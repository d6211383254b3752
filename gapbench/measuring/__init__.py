"""Measure a plan: the engine, in the parent, decides what is next; workers that fork servers fork judge and measure.

engine -> case_processes (of one case) -> forkserver -> worker -> schedule (orders batches) -> clocks (time batches).
"""
