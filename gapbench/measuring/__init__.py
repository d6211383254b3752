"""From a plan to samples: templates fork workers, workers qualify and measure, the engine leads.

engine (the parent's side) -> template (forks fresh processes) -> worker (qualify, measure a round)
-> schedule (which batch next) -> clocks (how a batch is timed). `plan` is what goes in, `stopping` when to end.
"""
