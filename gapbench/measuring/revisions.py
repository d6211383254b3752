"""The sides of a comparison, as checkouts under interpreters, and their description in run.json."""

import contextlib
import importlib.metadata
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import structs

from gapbench.errors import GapbenchError
from gapbench.machine import environment
from gapbench.measuring import worker_env
from gapbench.measuring.plan import Side, Source
from gapbench.repository import git
from gapbench.repository.checkouts import Checkout, harness
from gapbench.store import run
from gapbench.store.records import NULL

_ASK_VERSIONS = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for package in sys.argv[1:]:
    try:
        versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        versions[package] = None
print(json.dumps(versions))
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A checkout under an interpreter."""

    checkout: Checkout
    python: str = sys.executable

    def describe(self, name: str) -> run.Side:
        """Describe it as the side ``name``, without local paths. Raises `GapbenchError` if the interpreter fails."""
        commit = git.describe(self.checkout.folder, fresh=self.checkout.commit is not None)
        if commit is not None and self.checkout.commit is not None:
            branch = None if self.checkout.commit.startswith(self.checkout.ref) else self.checkout.ref
            commit = structs.replace(commit, branch=branch)
        code = git.tracked(self.checkout.folder) if self.checkout.commit is None else self.checkout.commit
        return run.Side(name, self.checkout.ref, commit, self._versions(), code)

    def _versions(self) -> dict[str, str | None]:
        if self.python == sys.executable:
            return environment.versions()
        try:
            # -P: the current folder may be a checkout of the code under test
            command = [self.python, "-P", "-c", _ASK_VERSIONS, *environment.PACKAGES]
            done = subprocess.run(command, env=worker_env.environment(), capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise GapbenchError(f"{self.python} does not run as a Python interpreter ({lines[-1]})") from error
        # This gapbench measures both sides.
        return {**json.loads(done.stdout), "gapbench": importlib.metadata.version("gapbench")}


def sides(revisions: Mapping[str, Revision], stack: contextlib.ExitStack) -> tuple[Side, ...]:
    """Return revisions by name as sides of a plan; ``stack`` removes the folders where others find this gapbench."""

    def side(name: str, revision: Revision) -> Side:
        source = Source.of(revision.checkout.folder)
        if revision.python == sys.executable:
            return Side(name, source)
        return Side(name, source, revision.python, stack.enter_context(harness()))

    return tuple(itertools.starmap(side, revisions.items()))


def describe(revisions: Mapping[str, Revision]) -> tuple[run.Side, ...]:
    """Return revisions by name as sides of a `Run`, without the hidden copy of base."""
    return tuple(revision.describe(name) for name, revision in revisions.items() if name != NULL)
