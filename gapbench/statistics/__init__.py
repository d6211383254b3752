"""Arrays in, numbers out: locations with intervals, tests, and verdicts in two stages. Knows nothing of runs."""
