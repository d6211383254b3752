"""gapbench: which global-average-pooling implementation should I use, and how sure are we?

Data flows one way: plan -> workers -> samples -> store -> analysis -> report (``docs/architecture.md``).

``from gapbench import grid, suite`` is what a benchmark suite needs; ``gapbench.run``, ``load`` and ``compare`` are the
commands' counterparts in Python (`gapbench.cli.python`). Importing this package loads neither torch nor pandas.
"""

__version__ = "0.2.0"

_PUBLIC = dict.fromkeys(("grid", "suite"), "workloads.suites") | dict.fromkeys(("run", "load", "compare"), "cli.python")


def __getattr__(name: str) -> object:
    """Offer the public names without importing torch for everyone who imports gapbench."""
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f"gapbench.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'gapbench' has no attribute {name!r}")
