"""Statistics on arrays: locations with intervals, tests, and verdicts in two stages, independent of runs."""
