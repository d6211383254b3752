"""What ``gapbench store import`` takes: exports and shards."""

import damage
import hypothesis
import pytest
import running
from hypothesis import strategies as st


@running.drawn(20, 1200)
@hypothesis.given(data=st.data())
def test_a_damaged_export_is_imported_or_named(project, data):
    with running.copy(project) as here:
        damage.file(data.draw, here / "export.json")
        code, _ = running.run(("store", "import"), ["export.json", "--store", "theirs"])
        if code == 0:  # what was taken can be read
            command = data.draw(
                st.sampled_from([("history",), ("list", "runs"), ("store", "verify"), ("report", "latest")])
            )
            running.run(
                command[:2] if command[0] == "store" else command[:1],
                [*command[2 if command[0] == "store" else 1 :], "--store", "theirs"],
            )


@pytest.mark.parametrize("within", ["", "run.json", ".parquet"])
@running.drawn(10, 300)
@hypothesis.given(data=st.data())
def test_damaged_shards_are_merged_or_named(within, project, data):
    with running.copy(project) as here:
        data.draw(damage.store(here / "shards", within=within))
        code, _ = running.run(("store", "import"), ["shards", "--store", "whole"])
        if code == 0:
            assert running.run(("store", "verify"), ["--store", "whole"])[0] == 0
