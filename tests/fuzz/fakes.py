"""What stands in for measuring: results at once, so that an input takes milliseconds."""

import contextlib
import copy
import itertools
import json
import os
import subprocess
from random import Random

import click
import profiled
import pytest
import running

from gapbench.errors import GapbenchError
from gapbench.fleet import cluster, merging
from gapbench.machine import environment
from gapbench.machine.telemetry import nvml
from gapbench.measuring import certify, engine, events, recording
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.profiling import explain, patches, profiles, static
from gapbench.store.certificates import TrialRow
from gapbench.store.records import NULL, Qualification
from gapbench.store.run import FlaggedRow

CASE = "2x3x4x4-float32-contiguous-cpu-forward-t1"
_SELECTED = ("--shape", "2x3x4x4", "--impl", "mean", "--impl", "adaptive", "--impl", "triton")
_MOST, _ROUNDS, _TURNS = 2, 6, 3
_CEILING = {"level": "memory", "kind": "read", "device": "cpu", "threads": 1, "bytes": None, "gbps": 10.0}
_CUT_SHORT = 13
"""The seed of a run that Ctrl-C ends."""


def install(patch):
    """Put the stand-ins in place."""
    known = {}

    def described(device):
        if device not in known:
            known[device] = original(device)
        return copy.deepcopy(known[device])

    original = environment.describe
    patch.setattr(environment, "describe", described)
    patch.setattr(environment, "warnings", lambda *_: [])  # as many everywhere: what is drawn depends on the files
    patch.setattr(engine, "measure", _measure)
    planted = TrialRow(0, CASE, 0.05, "regressed", 1.05, 1.04, 1.06, 16, 13)
    patch.setattr(certify, "comparisons", lambda *_: iter([[planted]]))
    patch.setattr(explain, "explain", lambda *_: iter(()))
    patch.setattr(profiles, "profile", _profile)
    patch.setattr(static, "inspect_all", lambda *_: [])
    patch.setattr(cluster, "connected", _no_cluster)
    patch.setattr(nvml, "every_gpu", lambda _: contextlib.nullcontext([]))  # no command is run, and no clock locked
    patch.setattr(click, "launch", lambda _: 0)
    patch.setattr(patches, "agreement", lambda *_: None)
    for command in ("run", "ab", "model"):  # pages are what report is drawn for
        patch.setattr(f"gapbench.cli.{command}.write_page", lambda *_: None)
    patch.setattr(os, "fsync", lambda _: None)


def project(folder):
    """Make a repository of two commits, with a store of every kind of run, an export, and a file of kernels.

    Runs have the same ids each time: files are drawn in the order of their names.
    """
    with pytest.MonkeyPatch.context() as patch:
        numbers = itertools.count()
        for module in (recording, merging):
            patch.setattr(module, "new_run_id", lambda *_: f"20261122T101112Z-abc1234-{next(numbers):04}")
        _make(folder)


def _make(folder):
    counted = running.COUNTS.copy()
    folder.mkdir()
    (folder / "mine.py").write_text(
        "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n\n\n"
        "def net():\n    from torch import nn\n    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))\n"
    )
    (folder / "bench_mine.py").write_text("'''Mine.'''\n")
    (folder / "pooling.json").write_text('{"schema": 1, "cases": [{"shape": "2x3x4x4", "count": 3}]}')
    for words in (
        ["init", "--quiet", "-b", "main"],
        ["add", "."],
        *([*_AUTHOR, "commit", "--quiet", "--allow-empty", "-m", text] for text in ("one", "two")),
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    with contextlib.chdir(folder):
        for words in (
            ("run", *_SELECTED, "--tag", "old", "--json"),
            ("run", *_SELECTED, "--layout", "channels_last", "--layout", "contiguous", "--tag", "new", "--json"),
            ("run", *_SELECTED, "--tag", "open", "--seed", str(_CUT_SHORT), "--json"),
            *(
                ("run", *_SELECTED, "--dtype", "float32", "--dtype", "bfloat16", "--shard", f"{number}/2",
                 "--store", "shards", "--json")
                for number in (1, 2)
            ),
            ("ab", "HEAD~1", "HEAD", "--shape", "2x3x4x4", "--impl", "mine.py:pool", "--tag", "ab", "--format", "json"),
            ("matrix", "--ref", "HEAD~1", "--ref", "HEAD", "--ref", ".", "--shape", "2x3x4x4", "--impl", "mine.py:pool",
             "--tag", "matrix", "--json"),
            ("profile", CASE, "--impl", "mean", "--impl", "adaptive", "--json"),
            ("store", "export", "old", "-o", "export.json"),
            ("store", "import", "shards", "--tag", "merged"),
        ):  # fmt: skip
            code, said = running.run(
                words[:2] if words[0] == "store" else words[:1], words[1 + (words[0] == "store") :]
            )
            assert code in (0, 130), said
    (folder / "kernels.json").write_text(json.dumps([{"kernel": "one", "arch": "sm_90"}]))
    running.COUNTS.clear()
    running.COUNTS.update(counted)


_AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def _measure(plan, policy=None, earlier=(), with_ceilings=False, servers=None):
    """Yield what `engine.measure` would of the first case plans; the last implementation of each cannot run."""
    effort, random = plan.effort, Random(plan.effort.seed)
    yield events.Ready()
    for side in plan.sides:
        for one in plan.plans if side.name != NULL else ():
            for name in one.specs:
                found = Qualification() if name != "triton" else Qualification("unsupported", "no GPU")
                yield events.Qualified(one.case, name, found, contender=side.name, memory=one.memory)
    if with_ceilings:
        yield events.CeilingsMeasured([_CEILING])
    process = 1 + max((one.process for one in earlier), default=-1)
    done = {(one.case, one.memory, one.round) for one in earlier}
    for one in plan.plans[:_MOST]:
        names = tuple(name for name in one.specs if name != "triton")
        for number in range(_ROUNDS):
            if names and (*one.key, number) not in done:
                sides = tuple(side.name for side in plan.sides)
                result = _round(one.clocks, len(names) * len(sides), random)
                yield events.RoundMeasured(one.case, number, process, names, result, sides, one.memory)
                process += 1
            if effort.seed == _CUT_SHORT and number == 2 and not earlier:
                raise KeyboardInterrupt
        if not plan.is_comparison:
            yield events.CaseDone(one.case, "target", one.memory)
    if plan.is_comparison:  # one row seems to have changed
        one = plan.plans[0]
        row = FlaggedRow(one.case.id, next(iter(one.specs)), one.clocks[0], _ROUNDS // 2 + 1, _ROUNDS)
        yield events.Flagged((row,))


def _round(clocks, contenders, random):
    batches = {clock: Batches() for clock in clocks}
    for clock in clocks:
        for turn in range(_TURNS):
            for index in range(contenders):
                batches[clock].add(index, turn, index, 7, 7e-5 * (1 + index) * random.lognormvariate(0, 0.01))
    return RoundResult(batches, telemetry={"steal": 0.0})


def _profile(case, specs, *_):
    for name in specs:
        yield _Profile(profiled.document(name, case))


class _Profile:
    def __init__(self, document):
        self.document = document
        self.files = dict.fromkeys(document["files"], b"{}")


@contextlib.contextmanager
def _no_cluster(on):
    raise GapbenchError(f"no cluster is at {on}")
    yield
