"""What implementations on other runtimes share: they are extras, and autograd does not see through them.

`unsupported` is asked for every case, in a process that imports none of these libraries: it only looks whether one
could be imported.
"""

import importlib.util

from gapbench.cases import Case


def missing(library: str, extra: str) -> str | None:
    """Return that ``library`` is not installed, and how it is, or None."""
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed; run pip install 'gapbench[{extra}]'"
    return None


def not_on_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` needs a GPU, where the case has none, or None."""
    if case.device == "cpu":
        return f"{runtime} is measured on GPUs only, this case is on the CPU; choose a GPU such as --device cuda"
    return None


def not_off_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` computes on the CPU, where the case does not, or None."""
    if case.device != "cpu":
        return f"{runtime} computes on the CPU; choose --device cpu or another implementation"
    return None
