"""gapbench: which global-average-pooling implementation should I use, and how sure are we?

The architecture is one direction of flow, and one module or folder per step:

    cases -> implementations -> oracle -> measuring -> store -> summary -> report

``from gapbench import suite`` is what a benchmark suite needs; the rest is used through ``gapbench --help``
or module by module. Importing this package loads neither torch nor pandas.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Offer ``gapbench.suite`` without importing torch for everyone who imports gapbench."""
    if name == "suite":
        from gapbench.workloads.suites import suite

        return suite
    raise AttributeError(f"module 'gapbench' has no attribute {name!r}")
