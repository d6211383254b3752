"""Profile implementations: traces, shares of time, counters, static inspection, explanations."""
