"""One plan that several runs measure: what each says in ``run.json`` so that they find each other."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gapbench.measuring.budget import partition
from gapbench.measuring.plan import Contest, Effort
from gapbench.repository import git

_CHARACTERS = 12


def shard(contests: Sequence[Contest], effort: Effort, number: int, count: int) -> tuple[list[Contest], dict[str, Any]]:
    """Return the contests of shard ``number`` (from 1) of ``count``, and the fields of its run.

    ``sweep`` is the same in all shards and in no other plan, effort or commit; ``places`` says for each case where it
    stands in the whole plan. Raises `GapbenchError` if there are more shards than contests.
    """
    hands = partition(contests, effort, count)
    mine = hands[number - 1]
    fields: dict[str, Any] = {
        "sweep": sweep_id([[contests[index] for index in hand] for hand in hands], effort),
        "shard": f"{number}/{count}",
        "places": {contests[index].case.id: index for index in mine},
    }
    return [contests[index] for index in mine], fields


def sweep_id(dealt: Sequence[Sequence[Contest]], effort: Effort) -> str:
    """Return what identifies a plan, how it is dealt out, its effort and the current commit.

    What is not committed is no part of it: the first shard's own results would change that for the second.
    """
    plan = [[(one.suite, one.case.id, one.specs, one.clocks, one.reference) for one in hand] for hand in dealt]
    commit = git.describe()
    return hashlib.sha256(json.dumps([plan, asdict(effort), commit and commit.commit]).encode()).hexdigest()[
        :_CHARACTERS
    ]
