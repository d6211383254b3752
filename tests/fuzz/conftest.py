"""How much is drawn: a little by default, ten thousand inputs with ``--hypothesis-profile=fuzz``; all are counted."""

import json
from collections import Counter

import fakes
import pytest
import running
from hypothesis import HealthCheck, settings

settings.register_profile("fuzz", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)  # no longer than that: other tests measure
def _measuring_is_made_up():
    """Parse, plan, store and report for real; measure nothing."""
    with pytest.MonkeyPatch.context() as patch:
        fakes.install(patch)
        yield


@pytest.fixture(scope="module")
def project(_measuring_is_made_up, tmp_path_factory):
    """A folder in which every command that writes a store has run once."""
    folder = tmp_path_factory.mktemp("fuzz") / "project"
    fakes.project(folder)
    return folder


@pytest.fixture(scope="module")
def ids(project):
    """The ids of the store's runs, by their tags."""
    found = [json.loads(path.read_text()) for path in project.glob("results/*/run.json")]
    return {one["tag"]: one["run"] for one in found}


def pytest_terminal_summary(terminalreporter):
    """Say how many inputs were run, by command and exit code."""
    if not running.COUNTS:
        return
    terminalreporter.section("fuzz")
    codes = sorted({code for _, code in running.COUNTS})
    totals = Counter()
    terminalreporter.write_line(f"{'command':<20}" + "".join(f"{f'exit {code}':>10}" for code in codes))
    for command in sorted({command for command, _ in running.COUNTS}):
        found = {code: running.COUNTS[command, code] for code in codes}
        totals.update(found)
        terminalreporter.write_line(f"{command:<20}" + "".join(f"{found[code] or '':>10}" for code in codes))
    terminalreporter.write_line(f"{'all':<20}" + "".join(f"{totals[code]:>10}" for code in codes))
    terminalreporter.write_line(f"{sum(totals.values())} inputs")
