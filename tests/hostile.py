"""Implementations that attack the parent through the sockets of their worker; some only once rounds are measured."""

import gc
import json
import os
import pickle
import stat


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
    attack(json.dumps({"Qualification": {"status": "splendid"}}).encode())


def judges_with_text(x):
    attack(b'"ok"')


def forges_a_round(x):
    """A result with a contender that does not exist."""
    if in_a_round():
        batches = {"contender": [99], "turn": [0], "position": [0], "calls": [1], "seconds_per_call": [1e-9]}
        batches = {"Batches": batches}
        attack(json.dumps({"RoundResult": {"batches": {"dict": [["host", batches]]}}}).encode())
    return mean(x)


def forges_a_fault(x):
    """Somebody's who does not exist."""
    if in_a_round():
        attack(b'{"Fault":{"contender":99,"status":"failed","reason":"mine"}}')
    return mean(x)
