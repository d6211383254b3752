"""Did the compiler get worse? Two inspections of the same kernels, compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_KEY = ("kernel", "dtype", "arch")
_LESS_IS_BETTER = {"registers": True, "spills": True, "shared_bytes": True, "load_bytes": False, "store_bytes": False,
                   "occupancy": False}  # fmt: skip
_COSTS = frozenset({"spills", "load_bytes", "store_bytes", "occupancy"})
"""What makes a kernel worse by itself; more registers or shared memory do so where fewer warps fit, or they spill."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sentence, and whether it makes a kernel worse."""

    sentence: str
    worse: bool


def changes(now: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Return what differs between two lists of `static.Inspection` as JSON objects; a kernel that is gone is worse."""
    old = {_key(one): one for one in before}
    new = {_key(one): one for one in now}
    found = [Change(f"{' '.join(key)} is gone", True) for key in old if key not in new]
    found += [Change(f"{' '.join(key)} is new", False) for key in new if key not in old]
    for key in new.keys() & old.keys():
        for name, less_is_better in _LESS_IS_BETTER.items():
            was, is_ = old[key].get(name), new[key].get(name)
            if was is not None and is_ is not None and was != is_:
                worse = name in _COSTS and (is_ > was) == less_is_better
                words = f"{' '.join(key)}: {name.replace('_', ' ')} {was:g}, now {is_:g}"
                found.append(Change(words, worse))
    return sorted(found, key=lambda one: (not one.worse, one.sentence))


def _key(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one.get(name)) for name in _KEY)
