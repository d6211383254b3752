"""Every command that reads a store, on stores whose files are damaged."""

import damage
import hypothesis
import pytest
import running
from fakes import CASE
from hypothesis import strategies as st

READING = {
    "list": [["runs"], ["runs", "--json"]],
    "diff": [["old", "new"], ["ab"], ["old", "new", "--format", "markdown", "--allow-environment", "cpu"],
             ["old", "new", "--format", "json"], ["ab", "--format", "json"], ["ab", "--format", "github"],
             ["matrix"], ["matrix", "--format", "json"]],
    "history": [[], [CASE], ["--json"], ["--json"], ["2x3", "--json"]],
    "which": [["--shape", "2x3x4x4"], ["--shape", "2x3x4x4", "--json"]],
    "store verify": [[], ["--json"], ["old", "open"]],
    "store export": [["old"], ["new", "-o", "out.json"], ["ab"], ["merged"], ["open"]],
    "store import": [["shards", "--store", "again"]],
    "store prune": [["old", "--dry-run"]],
    "run": [["--resume", "open", "--json"], ["--resume", "open"]],
    "profile": [[CASE, "--json"], [CASE, "--run", "old"], ["2x3x4x4", "--run", "new"]],
    "report": [["old"], ["new", "--baseline", "old"], ["new", "old", "--single-file"], ["ab", "--redact"], ["merged"],
               ["open"]],
}  # fmt: skip
"""What reads a store, and ways to ask for it."""

FILES = ["", "run.json", "samples.parquet", "results.parquet", "index.parquet", "shards/", "profiles/"]


@pytest.mark.parametrize("within", FILES)
@pytest.mark.parametrize("command", [name for name in READING if name != "report"])
@running.drawn(2, 90)
@hypothesis.given(data=st.data())
def test_a_damaged_store_is_read_or_named(command, within, project, ids, data):
    _read(command, within, project, ids, data)


@pytest.mark.parametrize("within", FILES)
@running.drawn(1, 25)  # pages take a second
@hypothesis.given(data=st.data())
def test_a_damaged_store_is_reported_or_named(within, project, ids, data):
    _read("report", within, project, ids, data)


def _read(command, within, project, ids, data):
    arguments = data.draw(st.sampled_from(READING[command]))
    if data.draw(st.booleans()):  # by their ids, which are found without what the files say
        arguments = [ids.get(one, one) for one in arguments]
    with running.copy(project) as here:
        data.draw(damage.store(here / ("shards" if command == "store import" else "results"), within=within))
        running.run(tuple(command.split()), arguments)
