"""From a plan to samples: fork servers fork workers, workers judge and measure, the engine leads.

engine (the parent's side) -> case_processes (those of one case) -> forkserver (forks fresh processes) -> worker (judge,
measure a round) -> schedule (which batch next) -> clocks (how a batch is timed). `plan` is what goes in, `policies` say
what to measure next and when to end, `events` are what comes out.
"""
