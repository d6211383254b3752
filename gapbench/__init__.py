"""gapbench: which global-average-pooling implementation should I use, and how sure are we?

Data flows one way: plan -> workers -> samples -> store -> analysis -> report (``docs/architecture.md``).

``from gapbench import grid, suite`` is what a benchmark suite needs; the rest is used through ``gapbench --help``
or module by module. Importing this package loads neither torch nor pandas.
"""

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """Offer ``grid`` and ``suite`` without importing torch for everyone who imports gapbench."""
    if name in ("grid", "suite"):
        from gapbench.workloads import suites

        return getattr(suites, name)
    raise AttributeError(f"module 'gapbench' has no attribute {name!r}")
