"""What must be the same on both sides for times to be comparable, as ``run.json`` tells it."""

from collections.abc import Callable, Mapping
from typing import Any


def _machine(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return run.get("machine") or {}


def _on_cpu(run: Mapping[str, Any]) -> bool:
    return str(_machine(run).get("device") or "cpu").startswith("cpu")


def _gpu(run: Mapping[str, Any]) -> object:
    return None if _on_cpu(run) else _machine(run).get("device_description")


def _driver(run: Mapping[str, Any]) -> object:
    gpus = [] if _on_cpu(run) else _machine(run).get("gpus") or []
    found = {str(gpu.get("driver")) for gpu in gpus if isinstance(gpu, dict)}
    return ", ".join(sorted(found)) or None


ENVIRONMENT: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "cpu": lambda run: _machine(run).get("cpu"),
    "gpu": _gpu,
    "driver": _driver,
    "torch": lambda run: (run.get("versions") or {}).get("torch"),
    "threads": lambda run: _machine(run).get("usable_cores"),  # what threads run on; how many there are, cases say
}
"""Each field and where it is read; the names are those of ``--allow-environment``. GPUs matter to runs on one only."""


def differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each field of `ENVIRONMENT` that differs; what only one side knows differs too."""
    found = {}
    for name, read in ENVIRONMENT.items():
        before, after = read(base), read(head)
        if before != after:
            found[name] = f"{name} is {after or 'unknown'}, was {before or 'unknown'}"
    return found
