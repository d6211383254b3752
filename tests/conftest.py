"""Fixtures that several layers' tests share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How many examples are drawn: few by `make quick`, many at night. None has a deadline: machines are busy.
for name, examples in {"quick": 10, "ci": 40, "nightly": 500}.items():
    settings.register_profile(name, deadline=None, max_examples=examples)
settings.load_profile("ci")

pytest_plugins = ["pytester"]


@pytest.fixture
def repetitions() -> int:
    """Return how many hundred simulated diffs tell a rate: one in CI, three at night."""
    return 3 if settings.default.max_examples >= 500 else 1


DISHONEST = Path(__file__).with_name("misbehaving.py")


@pytest.fixture(scope="session", autouse=True)
def _locks_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test wait for whoever measures on this machine, and keep nobody waiting."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GAPBENCH_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(autouse=True)
def _a_path_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test import what another loaded: the folder of a user's file stays importable in its process."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def user_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that names an implementation of `misbehaving`, or writes one, as ``FILE.py:FUNCTION``."""

    def write(function: str, source: str | None = None) -> str:
        if source is None:
            return f"{DISHONEST}:{function}"
        path = tmp_path / "mine.py"
        path.write_text(source)
        return f"{path}:{function}"

    return write


@pytest.fixture(scope="session", autouse=True)
def _children_are_no_xdist_workers():
    """pytest-benchmark switches itself off where these say that it runs in a worker of pytest-xdist."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            patch.delenv(name)
        yield
