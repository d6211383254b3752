"""pytest-benchmark's JSON (as its versions 3 to 5 write it): our runs as others read them, and read back.

Every entry's ``stats.data`` are seconds per call. What the format has no place for (round, turn, process, calls of a
batch, suite, what the oracle and the probes found) travels in ``extra_info``, so that our own exports come back whole.
"""

from gapbench import records

KEY = ("case", "implementation", "contender", "clock", "memory")
"""The columns that name a row of results, and which samples are its own."""

BATCH = tuple(name for name in records.SAMPLES if name not in {"run", *KEY, "seconds_per_call"})
"""The columns of samples in ``extra_info.batch``, each a list as long as ``stats.data``."""

KEPT = ("suite", "label", "weight", "reference", "stopped_by", *records.Qualification.__dataclass_fields__)
"""The columns of results in ``extra_info.kept``: those that follow neither from the samples nor from the case's id."""
