"""``gapbench which`` from the inside."""

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stored
from factories import a_run

from gapbench.store.store import Store


@pytest.fixture
def run(gapbench):
    """The id of a stored run in which ``mean`` was the fastest."""
    side = stored.side()
    stored.keep(Store("results"), side)
    return side.run.id


SHAPE = "x".join(map(str, stored.CASE.shape))


def test_the_fastest_of_the_newest_run_is_named(gapbench, run):
    code, out, _ = gapbench("which", "--shape", SHAPE, "--json")
    winner = json.loads(out)
    assert (code, winner["run"], winner["implementation"], winner["clock"]) == (0, run, "mean", "host")
    assert winner["gbps"] > 0
    assert f"measured in run {run}" in gapbench("which", "--shape", SHAPE)[1]


def test_each_condition_of_memory_has_a_winner(gapbench):
    a_run(Store("results"), case=stored.CASE, memories=("kept", "fresh"))
    code, out, _ = gapbench("which", "--shape", SHAPE)
    assert code == 0
    assert out.count("adaptive") == 2
    assert "kept" in out
    assert "fresh" in out
    winner = json.loads(gapbench("which", "--shape", SHAPE, "--json")[1])
    assert (winner["memory"], winner["next"]) == ("kept", "mean")
    assert winner["next_ratio_low"] < 2 < winner["next_ratio_high"]


@pytest.mark.parametrize("column", ["label", "suite", "ratio", "gbps"])
def test_a_column_without_values_keeps_nobody_from_winning(gapbench, run, column):
    path = Path("results", run, "results.parquet")
    table = pq.read_table(path)
    index = table.column_names.index(column)
    pq.write_table(table.set_column(index, column, pa.nulls(table.num_rows, table.schema.field(column).type)), path)
    code, out, err = gapbench("which", "--shape", SHAPE, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["implementation"] == "mean"
    assert gapbench("which", "--shape", SHAPE)[0] == 0


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_device_is_the_same_with_and_without_its_number(gapbench, device):
    """Runs are stored as of cuda:0; asked for cuda, it found none, and suggested to measure the same again."""
    case = dataclasses.replace(stored.CASE, device="cuda:0")
    a_run(Store("results"), case=case)
    code, out, _ = gapbench("which", "--shape", SHAPE, "--device", device, "--json")
    assert (code, json.loads(out)["case"]) == (0, case.id)
