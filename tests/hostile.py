"""Implementations that attack the parent through the sockets of their worker; some only once rounds are measured."""

import gc
import os
import pickle
import stat

import msgspec


class Payload:
    """Whoever unpickles it makes the file ``gapbench-executed`` in its current folder."""

    def __reduce__(self):
        return os.mkdir, ("gapbench-executed",)


PICKLE = pickle.dumps(Payload())


def attack(text, then=lambda: os._exit(0)):
    for descriptor in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, len(text).to_bytes(4, "little") + text)
        except OSError:
            continue
    then()


def packed(type_, **fields):
    return msgspec.msgpack.encode({"type": type_, **fields})


def mean(x):
    return x.mean((2, 3), keepdim=True)


def in_a_round():
    return not gc.isenabled()


def pickles(x):
    attack(PICKLE)


def pickles_later(x):
    if in_a_round():
        attack(PICKLE)
    return mean(x)


def forges_a_judgement(x):
    attack(packed("Judged", contender=0, qualification={"status": "splendid"}))


def judges_with_text(x):
    attack(msgspec.msgpack.encode("ok"))


def forges_a_round(x):
    """A result with a contender that does not exist."""
    if in_a_round():
        columns = {"contender": [99], "turn": [0], "position": [0], "calls": [1], "seconds_per_call": [1e-9]}
        attack(
            packed(
                "RoundResult",
                batches={"host": {"type": "Batches", **columns, "page_faults": [None], "sm_clock_mhz": [None]}},
            )
        )
    return mean(x)


def forges_a_failure(x):
    """Somebody's who does not exist."""
    if in_a_round():
        attack(packed("RoundFailure", contender=99, status="failed", reason="mine"))
    return mean(x)


def prepares_the_others(x):
    """Say that all are loaded, before they are."""
    attack(packed("Prepared", first_call={0: 1e-9}, rejected={}, forkable=True))


def agrees_with_itself(x):
    """An agreement that nobody asked for."""
    if in_a_round():
        attack(packed("Agreement", calibration={0: (1, 1e-9)}))
    return mean(x)
