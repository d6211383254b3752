"""What ``gapbench store import`` takes: shards."""

import damage
import hypothesis
import pytest
import running
from hypothesis import strategies as st


@pytest.mark.parametrize("within", ["", "run.json", ".parquet"])
@running.drawn(10, 300)
@hypothesis.given(data=st.data())
def test_damaged_shards_are_merged_or_named(within, project, data):
    with running.copy(project) as here:
        data.draw(damage.store(here / "shards", within=within))
        code, _ = running.run(("store", "import"), ["shards", "--store", "whole"])
        if code == 0:
            assert running.run(("store", "verify"), ["--store", "whole"])[0] == 0
