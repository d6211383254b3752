"""What is lost when things break: each fault is injected again and again, at random moments; a table of what was lost.

``python benchmarks/faults.py`` breaks the store's writer (200 times each, seconds), then ``gapbench run`` itself
(``--whole 10`` times each, about 12 s a time). After each the run is resumed, and four things must hold: every
finished round is there, to the last bit; the run completes; ``gapbench store verify`` finds no damage but in the
file that was cut on purpose; the other run of the store is readable.

A round is finished when `RunWriter.append` has returned, or, from outside, when its file has its name.
"""

import contextlib
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import click
import pandas as pd
import psutil
from power import Disk, PowerCut

from gapbench.errors import GapbenchError
from gapbench.store import durable_io, records
from gapbench.store.run import decode
from gapbench.store.store import Store
from gapbench.store.verify import verify
from gapbench.workloads.cases import Case

RUN, OTHER = "20260102T000000Z-nogit-0002", "20260101T000000Z-nogit-0001"
CASE = Case((2, 3, 4, 4))
ROUNDS = 6


def a_round(number: int) -> dict[str, object]:
    whole = {"case": CASE.id, "implementation": "mean", "contender": "this", "clock": "host", "process": number}
    return {**whole, "round": number, "turn": [0, 1, 2], "seconds_per_call": [1e-5 + number, 2e-5, 3e-5]}


def results(rounds: int) -> pd.DataFrame:
    row = {**records.case_columns(CASE), "implementation": "mean", "contender": "this", "clock": "host", "status": "ok"}
    return pd.DataFrame([{**row, "rounds": rounds, "samples": 3 * rounds, "seconds": 1e-5}])


def drive(
    store: Store, run: str, finished: Callable[[int], object] = lambda _number: None, rounds: int = ROUNDS
) -> None:
    """Begin a run or go on with it, and complete it; tell ``finished`` each round that is."""
    if store.has(run):
        writer = store.reopen(run)
    else:
        writer = store.create(decode({"run": run, "suites": ["quick"], "plan": [{"case": CASE.id}]}))
    try:
        measured = set(writer.samples()["round"])
        for number in range(rounds):
            if number not in measured:
                writer.append(a_round(number))
                finished(number)
        writer.finish(results(rounds))
    finally:
        writer.release()


def fresh(folder: Path) -> Store:
    """Return a store that has another run, whole."""
    store = Store(str(folder / "results"))
    drive(store, OTHER, rounds=2)
    return store


def check(store: Store, finished: set[int], cut: str | None = None) -> int:
    """Return how many finished rounds are lost; look at the rest of what must hold, and complete the run."""
    damaged = {one.sentence.split(" cannot")[0] for one in verify(store) if one.kind == "damage"}
    expected_output = {cut} if cut else set()
    assert damaged <= expected_output, damaged
    assert len(store.samples([OTHER])) == 6
    if store.has(RUN) and store.describe(RUN).ended is not None:
        there = set(store.samples([RUN])["round"])
    else:
        there = set(store.reopen(RUN).samples()["round"]) if store.has(RUN) else set()
        drive(store, RUN)
    assert [one for one in verify(store) if one.kind == "damage"] == []
    samples = store.samples([RUN])
    assert samples["round"].tolist() == [number for number in range(ROUNDS) for _ in range(3)]
    assert samples["seconds_per_call"].iloc[::3].tolist() == [1e-5 + number for number in range(ROUNDS)]
    return len(finished - there)


def power_cut(store: Store, rng: random.Random) -> int:
    with Disk(float("inf"), rng).plugged_in() as counting:
        drive(Store(store.url + "-counted"), RUN)
    finished: set[int] = set()
    with Disk(rng.randrange(counting.steps), rng).plugged_in() as off:
        try:
            drive(store, RUN, finished.add)
        except PowerCut:
            off.lose(Path(store.url))
    return check(store, finished)


def last_file_cut(store: Store, rng: random.Random) -> int:
    """Cut the last round's file, as a disk does that lied about what it holds: that round is lost, and named."""
    writer = store.create(decode({"run": RUN, "suites": ["quick"], "plan": [{"case": CASE.id}]}))
    count = rng.randrange(1, ROUNDS)
    for number in range(count):
        writer.append(a_round(number))
    writer.release()
    last = Path(store.path(RUN, "shards", f"{count - 1:06}.parquet"))
    os.truncate(last, rng.randrange(last.stat().st_size))
    named = [one.sentence for one in verify(store) if one.kind == "damage"]
    assert [sentence.split(" cannot")[0] for sentence in named] == [last.name]
    writer = store.reopen(RUN)
    assert set(writer.samples()["round"]) == set(range(count - 1)), "all others are there"
    assert last.name in writer.run.notes[0].evidence
    writer.release()
    return check(store, set(range(count - 1)), cut=last.name)


def killed(store: Store, rng: random.Random) -> int:
    """Kill the process that writes, a fork of this one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drive(store, RUN, lambda number: os.write(writing, bytes([number])))
        finally:
            os._exit(0)
    os.close(writing)
    time.sleep(rng.uniform(0, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    finished = set(iter(lambda: os.read(reading, 1), b""))
    os.close(reading)
    return check(store, {number[0] for number in finished})


def refused(store: Store, rng: random.Random, code: int) -> int:
    """Let the operating system fail at a random step, and ever after until it is mended."""
    with Disk(float("inf"), rng).plugged_in() as counting:
        drive(Store(store.url + "-counted"), RUN)
    left, finished = rng.randrange(counting.steps), set()

    def fail(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(code, os.strerror(code))

    with mock.patch.object(durable_io.os, "fsync", fail):
        try:
            drive(store, RUN, finished.add)
        except GapbenchError as error:
            assert os.strerror(code) in str(error)
            assert "\n" not in str(error)
    assert not list(Path(store.url).rglob(f"*{durable_io.PART}"))
    return check(store, finished)


def no_descriptors(store: Store, rng: random.Random) -> int:
    """Take every file descriptor from a random round on: the limit itself, not a stand-in."""
    finished: set[int] = set()
    when, before, held = rng.randrange(ROUNDS), resource.getrlimit(resource.RLIMIT_NOFILE), []

    def finish(number: int) -> None:
        finished.add(number)
        if number == when:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass

    try:
        drive(store, RUN, finish)
        raise AssertionError("there were descriptors left")
    except GapbenchError as error:
        assert os.strerror(errno.EMFILE) in str(error), error
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return check(store, finished)


def two_resume(store: Store, rng: random.Random) -> int:
    """Let two that have both opened one run take turns at random, as on an object store, which knows no claims."""
    drive_to = store.create(decode({"run": RUN, "suites": ["quick"], "plan": [{"case": CASE.id}]}))
    drive_to.append(a_round(0))
    drive_to.release()
    finished, going = {0}, [store.reopen(RUN), store.reopen(RUN)]
    numbers = {id(one): 1 for one in going}
    while going and len(finished) < ROUNDS:
        one = rng.choice(going)
        try:
            one.append(a_round(numbers[id(one)]))
            finished.add(numbers[id(one)])
            numbers[id(one)] += 1
        except GapbenchError as error:
            assert "another process resumed" in str(error)
            going.remove(one)
    return check(store, finished)


def clock_jump(store: Store, rng: random.Random) -> int:
    """Let the wall clock jump by up to ten years, either way, while a run lasts."""
    finished: set[int] = set()
    now = time.time
    with mock.patch.object(time, "time", lambda: now() + rng.uniform(-3e8, 3e8)):
        drive(store, RUN, finished.add)
    return check(store, finished)


FAULTS: dict[str, Callable[[Store, random.Random], int]] = {
    "power cut: data that was not flushed to the disk is lost": power_cut,
    "the disk loses flushed data: the last round's file is cut": last_file_cut,
    "kill -9 of the process that writes": killed,
    "disk full (ENOSPC)": lambda store, rng: refused(store, rng, errno.ENOSPC),
    "store becomes read-only (EROFS)": lambda store, rng: refused(store, rng, errno.EROFS),
    "disk fails (EIO)": lambda store, rng: refused(store, rng, errno.EIO),
    "out of file descriptors (the real limit)": no_descriptors,
    "two resume one run": two_resume,
    "clock jumps by years": clock_jump,
}


def inject(name: str, times: int, seed: int = 0) -> int:
    """Return how many finished rounds ``times`` injections of a fault have lost."""
    lost = 0
    for number in range(times):
        with tempfile.TemporaryDirectory() as folder:
            lost += FAULTS[name](fresh(Path(folder)), random.Random(f"{seed}/{name}/{number}"))
    return lost


def victims(parent: psutil.Process, kind: str) -> list[psutil.Process]:
    if kind == "parent":
        return [parent]
    servers = [one for one in parent.children() if "forkserver_process" in " ".join(one.cmdline())]
    return servers if kind == "server" else [worker for one in servers for worker in one.children(recursive=True)]


def kill(process: psutil.Process, kind: str) -> bool:
    """Kill one of a run's processes; tell whether there was one."""
    for victim in victims(process, kind)[:1]:
        victim.kill()
        return True
    return False


def refuse_memory(process: psutil.Process) -> bool:
    """Refuse a process every further page, as a limit of its address space does."""
    process.rlimit(psutil.RLIMIT_AS, (2**20, 2**20))
    return True


WHOLE: dict[str, Callable[[psutil.Process], bool]] = {
    "kill -9 of the parent of `gapbench run`": lambda process: kill(process, "parent"),
    "kill -9 of the worker of `gapbench run`": lambda process: kill(process, "worker"),
    "kill -9 of the fork server of `gapbench run`": lambda process: kill(process, "server"),
    "no more memory for the parent of `gapbench run`": refuse_memory,
}


def whole(name: str, rng: random.Random) -> tuple[int, int]:
    """Break a real ``gapbench run``; return how many rounds were finished, and lost or measured again."""
    command = [sys.executable, "-m", "gapbench", "run", "--json"]
    plan = ["--shape", "1x8x4x4", "--dtype", "float32", "--impl", "sum_scale", "--rounds", "10", "--budget", "3s"]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder, "results")))
        drive(store, OTHER, rounds=2)
        process = subprocess.Popen([*command, *plan], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        run = None
        while process.poll() is None and not (run and store.shard_names(run)):
            run = next((one for one in store.ids() if one != OTHER), None)
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1.5))
        broken = False
        while not broken and process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                broken = WHOLE[name](psutil.Process(process.pid))
        before = store.samples([run])
        said = process.communicate()[1].decode()
        assert "Traceback" not in said, said
        assert not [one for one in verify(store) if one.kind == "damage"]
        if store.describe(run).ended is None:
            subprocess.run([*command, "--resume", run], cwd=folder, check=True, capture_output=True)
        assert store.describe(run).ended is not None
        assert not [one for one in verify(store) if one.kind == "damage"]
        assert len(store.samples([OTHER])) == 6
        after = store.samples([run])
        key = ["case", "round", "process", "turn", "implementation", "seconds_per_call"]
        kept = before[key].merge(after[key], how="inner")
        rounds = before.groupby(["case", "round"]).ngroups
        again = after.groupby(["case", "round"])["process"].nunique().gt(1).sum()
        return rounds, rounds - kept.groupby(["case", "round"]).ngroups + int(again)


def table(times: int, whole_times: int) -> Iterator[str]:
    yield "| fault | times | finished rounds lost |"
    yield "|---|---|---|"
    for name in FAULTS:
        yield f"| {name} | {times} | {inject(name, times)} |"
    for name in WHOLE:
        found = [whole(name, random.Random(f"{name}/{number}")) for number in range(whole_times)]
        if found:
            lost, rounds = sum(one for _, one in found), sum(one for one, _ in found)
            yield f"| {name} | {whole_times} | {lost} of {rounds} |"


@click.command()
@click.option("--times", default=200, show_default=True, help="Injections of each fault into the store's writer.")
@click.option("--whole", "whole_times", default=10, show_default=True, help="Of each into gapbench run.")
def main(times: int, whole_times: int) -> None:
    for line in table(times, whole_times):
        click.echo(line)


if __name__ == "__main__":
    main()
