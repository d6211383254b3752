"""Weighted lists of cases: what is written is read again, and what is wrong with a file is one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import shapes

from gapbench.errors import GapbenchError
from gapbench.workloads.case_lists import ListedCase, Site, dumps, is_list, read
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case
from gapbench.workloads.suites import find

HEAD = {"shape": "8x2048x7x7", "dtype": "bfloat16", "layout": "channels_last", "pass": "training", "count": 3}
SITES = [{"module": "layer1.se", "source": "nets.py:7", "spelling": "mean"}, {"module": "head"}]

# Surrogates are no text of a file
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
sites = st.builds(Site, words, st.none() | words, words, st.integers(1, 9))
listed = st.builds(
    ListedCase,
    shapes.map(lambda shape: "x".join(map(str, shape))),
    st.sampled_from([*DTYPES]),
    st.sampled_from([*LAYOUTS]),
    st.sampled_from(["forward", "backward", "training"]),
    st.integers(1, 2**31 - 1),
    st.none() | st.floats(0, 1),
    st.lists(sites, max_size=3).map(tuple),
)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a list and returns its path."""

    def write(content, suffix=".json"):
        path = tmp_path / f"pooling{suffix}"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@given(cases=st.lists(listed, min_size=1, max_size=4, unique_by=lambda each: each.case()))
def test_a_list_that_was_written_is_read_again(suffix, cases, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / f"pooling{suffix}"
    path.write_bytes(dumps(cases, {"target": "nets.py:make"}, suffix).encode())
    again = read(path)
    assert again == tuple(each.case() for each in cases)
    assert [case.weight for case in again] == [each.count for each in cases]
    assert [case.label for case in again] == [each.case().label for each in cases]


def test_a_list_is_a_suite_of_its_files_name_labelled_by_sites(file):
    (suite,) = find(file({"schema": 1, "cases": [{**HEAD, "sites": SITES}, {"shape": "1x2x3"}]}))
    head, plain = suite.cases
    assert (suite.name, len(suite.cases)) == ("pooling.json", 2)
    assert head == Case((8, 2048, 7, 7), "bfloat16", "channels_last", pass_="training")
    assert (head.weight, head.label) == (3, "layer1.se and 1 other")
    assert (plain, plain.weight, plain.label) == (Case((1, 2, 3)), 1, "")
    assert suite.implementations


def test_the_same_list_as_csv(file):
    columns = ",".join([*HEAD, "sites"])
    quoted = json.dumps(SITES).replace('"', '""')
    path = file(f'\ufeff{columns}\r\n{",".join(map(str, HEAD.values()))},"{quoted}"\r\n', ".csv")
    assert read(path) == read(file({"schema": 1, "cases": [{**HEAD, "sites": SITES}]}))
    assert read(path)[0].label == "layer1.se and 1 other"
    assert read(file("shape\n1x2x3\n", ".csv")) == (Case((1, 2, 3)),)


def test_only_the_suffix_tells_a_list():
    assert is_list("a/pooling.json")
    assert is_list("pooling.csv")
    assert not any(map(is_list, ["quick", "bench_mine.py", "json", ""]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "truncated"),
        ("[" * 100_000, "Expected `object`, got `array`"),
        ("\x00", "malformed"),
        ({"schema": 2, "cases": []}, "Invalid enum value 2 - at `$.schema`"),
        ({"cases": []}, "missing required field `schema`"),
        ({"schema": 1}, "missing required field `cases`"),
        ({"schema": 1, "cases": []}, "lists no cases; record those of a network"),
        ({"schema": 1, "cases": [{}]}, r"missing required field `shape` - at `$.cases[0]`"),
        ({"schema": 1, "cases": [{"shape": "2x3"}]}, "malformed shape '2x3': write N x C x spatial sizes"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "dtype": "int8"}]}, "unknown dtype 'int8'; there are: float32"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "layout": "nhwc"}]}, "unknown layout 'nhwc'"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "pass": "back"}]}, "unknown pass 'back'; there are: backward"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "count": 0}]}, "Expected `int` >= 1 - at `$.cases[0].count`"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "count": 2**31}]}, "at `$.cases[0].count`"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "count": 1.5}]}, "at `$.cases[0].count`"),
        ({"schema": 1, "cases": [{"shape": "1x2x3", "cuont": 2}]}, "unknown field `cuont`"),
        ({"schema": 1, "cases": [{"shape": "1x2x3"}, {"shape": "1x2x3", "count": 2}]}, "lists 1x2x3-float32"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_line(file, content, reason):
    with pytest.raises(GapbenchError) as raised:
        find(file(content))
    assert reason in str(raised.value)
    assert "pooling.json" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "lists no cases"),
        ("shape,count\n", "lists no cases"),
        ("shape,count\n1x2x3,many\n", "at `$.cases[0].count`"),
        ("shape,count\n1x2x3,0\n", "Expected `int` >= 1"),
        ("shape,cuont\n1x2x3,2\n", "unknown field `cuont`"),
        ("shape,count\n1x2x3,2,3\n", "unknown field `None`"),
        ("count\n2\n", "missing required field `shape`"),
        ("shape,sites\n1x2x3,[{\n", "truncated"),
        ('shape,sites\n1x2x3,"[]\n', "unexpected end of data"),
        ("shape,count\n1x2x3,1\n1x2x3,1\n", "twice; add up the counts"),
    ],
)
def test_what_is_wrong_with_a_csv_is_one_line(file, content, reason):
    with pytest.raises(GapbenchError) as raised:
        find(file(content, ".csv"))
    assert reason in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_missing_list_says_how_to_write_one(tmp_path):
    with pytest.raises(GapbenchError, match="No such file or directory; write one with: gapbench model record"):
        find(str(tmp_path / "missing.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(GapbenchError, match="Is a directory"):
        find(str(tmp_path / "folder.json"))
    (tmp_path / "latin.csv").write_bytes(b"shape\n\xff\n")
    with pytest.raises(GapbenchError, match="is not a list of cases of schema 1: 'utf-8' codec"):
        find(str(tmp_path / "latin.csv"))
