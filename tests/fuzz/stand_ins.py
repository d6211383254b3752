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

from gapbench import environment, store
from gapbench.errors import GapbenchError
from gapbench.fleet import cluster
from gapbench.measuring import ab, duel, engine, limits
from gapbench.measuring.meeting import Row
from gapbench.measuring.rounds import RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.profiling import explaining, profiles, static
from gapbench.records import BASE, HEAD, NULL, Qualification

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
    patch.setattr(ab, "measure", _measure_sides)
    patch.setattr(explaining, "explain", lambda *_: iter(()))
    patch.setattr(profiles, "profile", _profile)
    patch.setattr(static, "inspect_all", lambda *_: [])
    patch.setattr(cluster, "connected", _no_cluster)
    patch.setattr(click, "launch", lambda _: 0)
    for command in ("run", "ab"):  # pages are what report is drawn for
        patch.setattr(f"gapbench.cli.{command}.write_page", lambda *_: None)
    patch.setattr(os, "fsync", lambda _: None)


def project(folder):
    """Make a repository of two commits, with a store of every kind of run, an export, and a file of kernels.

    Runs have the same ids each time: files are drawn in the order of their names.
    """
    with pytest.MonkeyPatch.context() as patch:
        numbers = itertools.count()
        patch.setattr(store, "new_run_id", lambda *_: f"20261122T101112Z-abc1234-{next(numbers):04}")
        _make(folder)


def _make(folder):
    counted = running.COUNTS.copy()
    folder.mkdir()
    (folder / "mine.py").write_text("def pool(x):\n    return x.mean((2, 3), keepdim=True)\n")
    (folder / "bench_mine.py").write_text("'''Mine.'''\n")
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


def _measure(contests, effort, earlier=(), with_ceilings=False, with_energy=False):
    """Yield what `engine.measure` would of the first contests; the last implementation of each cannot run."""
    random = Random(effort.seed)
    yield engine.Ready()
    if with_ceilings:
        yield limits.CeilingsMeasured([_CEILING])
    judged = {one.case: [*one.specs] for one in contests}
    for case, names in judged.items():
        for name in names:
            able = name != "triton"
            yield engine.Qualified(case, name, Qualification() if able else Qualification("unsupported", "no GPU"))
    process = 1 + max((one.process for one in earlier), default=-1)
    done = {(one.case, one.round) for one in earlier}
    for one in contests[:_MOST]:
        names = tuple(name for name in one.specs if name != "triton")
        for number in range(_ROUNDS):
            if names and (one.case, number) not in done:
                yield engine.RoundMeasured(one.case, number, process, names, _round(one.clocks, names, random))
                process += 1
            if effort.seed == _CUT_SHORT and number == 2 and not earlier:
                raise KeyboardInterrupt
        yield engine.CaseDone(one.case, "target")


def _round(clocks, names, random):
    batches = {clock: Batches() for clock in clocks}
    for clock in clocks:
        for turn in range(_TURNS):
            for index in range(len(names)):
                batches[clock].add(index, turn, index, 7, 7e-5 * (1 + index) * random.lognormvariate(0, 0.01))
    return RoundResult(batches, telemetry={"steal": 0.0})


def _measure_sides(contests, base, head, effort, margin):
    """Yield what `ab.measure` would: rounds of base, head and base's copy, and one row that seems to have changed."""
    random = Random(effort.seed)
    yield engine.Ready()
    for side in (BASE, HEAD):
        for one in contests:
            for name in one.specs:
                yield engine.Qualified(one.case, name, Qualification(), contender=side)
    for number in range(_ROUNDS):
        yield ab.Sweep(
            tuple(
                duel.Bout(one.case, number, (*one.specs,), {
                    side: _round(one.clocks, (*one.specs,), random) for side in (BASE, HEAD, NULL)
                })
                for one in contests[:_MOST]
            )
        )  # fmt: skip
        if number == _ROUNDS // 2:
            one = contests[0]
            yield ab.Flagged({Row(one.case, next(iter(one.specs)), one.clocks[0]): number + 1})


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
