"""gapbench's own implementations, taken from another checkout of it into this process.

Only the code under test comes from there: the modules of ``implementations`` and ``operations`` that hold ways to
compute something. What judges and describes them stays this gapbench's, on both sides of a comparison.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from gapbench.implementations.base import Implementation
from gapbench.operations.base import Operation

_HARNESS = {
    "gapbench.implementations.base",
    "gapbench.implementations.inductor",
    "gapbench.implementations.user",
    "gapbench.operations",
    "gapbench.operations.adoption",
    "gapbench.operations.base",
}
"""Modules of the two packages that serve every implementation, and have none."""


def implementations(package: Path, operation: str) -> dict[str, Implementation]:
    """Import the ways to compute ``operation`` from the ``gapbench`` package in a folder, and return them by name.

    There is no way back: what is imported late (a kernel, say) comes from there as well, so only workers do this.
    Raises whatever the checkout raises when it is imported.
    """
    for name in [name for name in sys.modules if name.startswith(("gapbench.implementations", "gapbench.operations"))]:
        if name not in _HARNESS:
            del sys.modules[name]
    found = {one.name: one for one in _package("gapbench.implementations", package / "implementations").IMPLEMENTATIONS}
    sys.modules["gapbench.operations"].__path__ = [str(package / "operations")]
    if (package / "operations" / f"{operation}.py").is_file():
        for own in vars(importlib.import_module(f"gapbench.operations.{operation}")).values():
            if isinstance(own, Operation):
                found |= {one.name: one for one in own.implementations}
    return found


def _package(name: str, folder: Path) -> ModuleType:
    """Import a package from ``folder`` in place of the one of that name."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    spec.loader.exec_module(module)
    return module
