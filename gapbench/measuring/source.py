"""Where a worker's implementations come from: gapbench and the environment as they are, or another checkout."""

import sys
from dataclasses import dataclass
from pathlib import Path

from gapbench import operations


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that holds a checkout of the repository under test, or None for what is installed.

    ``built_in`` says that it is a checkout of gapbench itself, whose own implementations are then the checkout's; the
    harness that measures them stays the caller's.
    """

    folder: Path | None = None
    built_in: bool = False

    @classmethod
    def of(cls, folder: Path) -> "Source":
        """Return the source in ``folder``, having looked whether it is gapbench."""
        return cls(folder, (folder / "gapbench" / "implementations" / "__init__.py").is_file())

    def spec(self, spec: str) -> str:
        """Return a ``FILE.py:FUNCTION`` relative to the repository as one of this checkout; names stay as they are."""
        return str(self.folder / spec) if self.folder and operations.is_user_spec(spec) else spec

    def enter(self, operation: str) -> None:
        """Import the ways to compute ``operation`` from here, in this process, from now on: a worker's first step.

        The checkout and its ``src`` folder come first, so that a package of the repository is found there even where
        it is installed from elsewhere. Raises whatever the checkout raises when it is imported.
        """
        if self.folder is None:
            return
        sys.path[:0] = [str(folder) for folder in (self.folder, self.folder / "src") if folder.is_dir()]
        if self.built_in:
            operations.adopt(self.folder / "gapbench", operation)


HERE = Source()
