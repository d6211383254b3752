"""Fixtures that several layers' tests share."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

pytest_plugins = ["pytester"]

DISHONEST = '''
import os, time, torch

def good(x):
    """The mean, like the reference."""
    return x.mean((2, 3), keepdim=True)

def raises(x):
    raise ValueError("no good")

def wrong_shape(x):
    return x.mean((2, 3))

def wrong_dtype(x):
    return x.mean((2, 3), keepdim=True).double()

def mutates(x):
    y = x.mean((2, 3), keepdim=True)
    x.mul_(2)
    return y

def kills(x):
    os.kill(os.getpid(), 9)

def hangs(x):
    time.sleep(1000)

def exits(x):
    os._exit(7)

_calls = 0

def tires(x):
    """Right when examined, wrong once it is called often."""
    global _calls
    _calls += 1
    y = x.mean((2, 3), keepdim=True)
    return y if _calls < 60 else torch.zeros_like(y)

def dies_later(x):
    global _calls
    _calls += 1
    if _calls > 60:
        os.kill(os.getpid(), 9)
    return x.mean((2, 3), keepdim=True)

def raises_later(x):
    global _calls
    _calls += 1
    if _calls > 60:
        raise RuntimeError("worn out")
    return x.mean((2, 3), keepdim=True)

def prints(x):
    print("hello from a worker")
    return x.mean((2, 3), keepdim=True)
'''


@pytest.fixture
def user_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a file of user implementations and returns ``FILE.py:FUNCTION``."""

    def write(function: str, source: str = DISHONEST) -> str:
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(source))
        return f"{path}:{function}"

    return write
