"""Measure a plan: the engine decides what is next, and forked workers judge and measure.

engine -> case_processes (of one case) -> forkserver -> worker -> schedule (orders batches) -> clocks (time batches).
"""
