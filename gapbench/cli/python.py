"""gapbench from Python: measure, load and compare runs, as the commands ``run``, ``report`` and ``diff`` do."""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from gapbench.analysis import compare as comparison
from gapbench.cli import common
from gapbench.cli.run import BUDGET
from gapbench.cli.selection import Selection
from gapbench.errors import GapbenchError
from gapbench.report import loaded_run, rows, site
from gapbench.store.store import Store
from gapbench.workloads.cases import parse_duration

Contender = str | Callable[..., Any]


@dataclass(frozen=True)
class Run:
    """A stored run; notebooks show its winners."""

    id: str
    store: str = common.STORE

    @cached_property
    def _loaded(self) -> loaded_run.Stored:
        return loaded_run.load(Store(self.store), self.id)

    @property
    def results(self) -> pd.DataFrame:
        """One row for each case, implementation and clock (docs/measuring.md); times in seconds."""
        return self._loaded.results

    @property
    def samples(self) -> pd.DataFrame:
        """One row for each timed batch, with its seconds per call."""
        return self._loaded.samples

    @property
    def winners(self) -> pd.DataFrame:
        """One row for each case and clock: the fastest implementation, its ties and ratios."""
        return self._loaded.winners

    def report(self, folder: str | Path = "reports") -> Path:
        """Write the run's page into ``folder`` and return its path."""
        (page,) = site.write(Store(self.store), [self.id], Path(folder))
        return page

    def _repr_html_(self) -> str:
        shown = self.winners[["case", "implementation", "seconds", "ratio", "ratio_low", "ratio_high"]]
        headline = rows.headline(self.results, self.winners)
        return f"<p>{headline} Run {self.id}.</p>{shown.to_html(index=False, float_format='{:.4g}'.format)}"


def run(
    suite: str | Iterable[str] = "quick",
    implementations: Iterable[Contender] = (),
    *,
    budget: str | float = BUDGET,
    device: str = "auto",
    store: str = common.STORE,
    tag: str | None = None,
    seed: int = 0,
    **selected: Any,
) -> Run:
    """Measure ``implementations`` on the cases of suites, beside the reference, and store the run.

    ``implementations`` are names, ``FILE.py:FUNCTION``, functions x (N, C, *spatial) -> y (N, C, 1, ..., 1) and
    modules; the latter join those of the suite unless names choose among these. ``budget`` is in seconds, or as in
    ``"5m"``. ``selected`` are further fields of `Selection`: ``shapes``, ``dtypes``, ``layouts``, ``passes``,
    ``threads``, ``clocks``, ``expression``.

    Raises `GapbenchError`, and `KeyboardInterrupt` after Ctrl-C, which keeps what was measured.
    """
    from gapbench.measuring import recording
    from gapbench.measuring.budget import fit_to_budget
    from gapbench.measuring.plan import Effort

    fields = dict.fromkeys(("shapes", "dtypes", "layouts", "passes", "threads", "clocks"), ()) | {"expression": None}
    if unknown := selected.keys() - fields.keys():
        raise GapbenchError(f"gapbench.run has no {', '.join(sorted(unknown))}; it has {', '.join(fields)}")
    suites = (suite,) if isinstance(suite, str) else tuple(suite)
    specs = tuple(each if isinstance(each, str) else _spec(each) for each in implementations)
    plans = Selection(suites, device, specs, **{**fields, **selected}).plans()
    effort = Effort(parse_duration(budget) if isinstance(budget, str) else budget, seed=seed)
    trimmed = fit_to_budget(plans, effort)
    with common.locked(trimmed.kept[0].case.device, no_wait=False):
        words = ["python", *sys.argv[:1]]
        recorded = recording.measure(Store(store), trimmed.kept, effort, words, tag=tag, notes=trimmed.warnings)
    if recorded.interrupted:
        raise KeyboardInterrupt
    return Run(recorded.run.id, store)


def load(run: str = "latest", store: str = common.STORE) -> Run:
    """Return a stored run: by its id, a unique prefix, a commit, branch or tag, or ``latest``. Raises `GapbenchError`.

    A store is a folder or an fsspec URL.
    """
    return Run(Store(store).resolve(run), store)


def compare(base: Run, head: Run, margin: float = 0.01) -> pd.DataFrame:
    """Return what changed between two runs, a row for each case, implementation and clock, with its ``verdict``.

    Changes smaller than ``margin`` are ignored. Raises `GapbenchError` for runs that have nothing in common.
    """
    store = Store(head.store)
    before, after = (loaded_run.side(Store(each.store), each.id) for each in (base, head))
    diff = comparison.compare(before, after, margin, earlier=loaded_run.earlier(store, before, after))
    names = [name for name in comparison.Row.__dataclass_fields__ if name != "explanation"]
    return pd.DataFrame([{name: getattr(row, name) for name in names} for row in diff.rows], columns=names)


def _spec(function: Callable[..., Any]) -> str:
    import cloudpickle

    name = getattr(function, "__name__", type(function).__name__)
    if not callable(function) or isinstance(function, type):
        raise GapbenchError(f"{name} is not a function or module; name an instance")
    if not name.isidentifier():
        raise GapbenchError(f"an implementation called {name} cannot be stored; define it with a name")
    folder = Path(tempfile.mkdtemp(prefix="gapbench_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / f"{name}.pickle").write_bytes(cloudpickle.dumps(function))
    source = (
        f"import pickle, sys\nsys.path += [folder for folder in {sys.path!r} if folder not in sys.path]\n"
        f"with open({str(folder / name)!r} + '.pickle', 'rb') as file:\n    {name} = pickle.load(file)\n"
    )
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return f"{folder / name}.py:{name}"
