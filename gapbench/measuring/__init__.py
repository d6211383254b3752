"""Measure a plan: fork servers fork workers, workers judge and measure, the engine decides what is next.

engine (in the parent) -> case_processes (the processes of one case) -> forkserver (forks them) -> worker (judges,
measures rounds) -> schedule (orders batches) -> clocks (time batches). The input is a `plan`, the output are `events`;
`policies` decide what to measure next and when to stop.
"""
