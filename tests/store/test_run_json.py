"""A run.json as types: what is written comes back, what others wrote is kept, and what makes no sense is one line."""

import json
import sys
from pathlib import Path

import pytest
from factories import a_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.repository.git import Git
from gapbench.store.ceilings import Ceiling
from gapbench.store.run import (
    Comparison,
    Environment,
    FlaggedRow,
    FleetDevice,
    Gpu,
    Imported,
    Machine,
    PlannedCase,
    Run,
    Settings,
    Side,
    Warning,
    decode,
    differences,
    dump,
    parse,
)
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import damage

OLD = sorted((Path(__file__).parent / "schema-1").glob("*/run.json"))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(-(2.0**62), 2.0**62)
wholes = st.integers(-(2**63), 2**63 - 1)


MAPPINGS = ("versions", "unreadable", "snippets", "specs", "clocks", "host", "places")
"""Objects whose keys are not names of fields."""


def of(kind, **fields):
    """Draw a struct: with any of these fields, or without."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda drawn: kind(**drawn))


def many(values):
    return st.lists(values, max_size=3).map(tuple)


gits = of(Git, commit=texts, branch=texts, subject=texts, dirty=st.booleans(), diff_hash=texts)
machines = of(
    Machine, cpu=st.sampled_from(["EPYC", "Xeon"]), usable_cores=st.integers(1, 3), smt=st.booleans(),
    device=st.sampled_from(["cpu", "cuda:0", "cuda:9"]), gpus=many(of(Gpu, name=texts, driver=texts)),
    unreadable=st.dictionaries(texts, texts, max_size=2),
)  # fmt: skip
versions = st.dictionaries(st.sampled_from(["torch", "numpy", "python"]), texts)
environments = st.builds(Environment, machines, versions)
warnings = many(st.builds(Warning, texts, texts, texts))
flagged_rows = st.builds(FlaggedRow, texts, texts, texts, wholes, wholes)
sides = {name: st.builds(Side, st.just(name), texts, gits, versions) for name in ("base", "head", "v1")}
compared = {
    "sides": st.tuples(sides["base"], sides["head"]),
    "comparison": st.builds(Comparison, numbers, many(texts), many(flagged_rows)),
}
matrices = {
    "sides": st.permutations(list(sides.values())).flatmap(lambda drawn: st.tuples(*drawn)),
    "comparison": st.builds(Comparison, numbers, many(texts), st.none(), st.just("matrix")),
}
fields = {
    "started": texts, "ended": texts, "argv": many(texts), "tag": texts, "suites": many(texts),
    "seed": wholes, "git": gits, "machine": machines, "versions": versions, "notes": warnings, "warnings": warnings,
    "settings": of(Settings, budget=numbers, rounds=wholes, race=st.booleans()),
    "plan": many(st.builds(PlannedCase, case=texts, specs=st.dictionaries(texts, texts), clocks=many(texts))),
    "snippets": st.dictionaries(texts, texts), "load_before": many(numbers),
    "ceilings": many(of(Ceiling, level=texts, threads=wholes, bytes=wholes, gbps=numbers)),
    "clocks": st.dictionaries(texts, st.dictionaries(texts, numbers, max_size=2), max_size=2),
    "wall_seconds": numbers, "places": st.dictionaries(texts, wholes), "shard": texts,
    "fleet": many(of(FleetDevice, number=wholes, node=texts)), "imported": of(Imported, runs=many(texts), by=texts),
    "parts": many(st.dictionaries(texts, st.lists(texts))),
}  # fmt: skip
runs = st.one_of(
    st.fixed_dictionaries({"id": texts, **kind}, optional=fields).map(lambda drawn: Run(**drawn))
    for kind in ({}, compared, matrices)
)


@given(runs)
def test_every_run_comes_back_as_it_was_written(run):
    assert parse("r", dump(run)) == run


@settings(max_examples=40)
@given(st.sampled_from([*OLD, None]), st.data())
def test_what_only_others_know_is_kept_wherever_it_stands(path, data):
    """A field of a newer gapbench, or a person's own, in any object of the file."""
    run = Run(id="r", plan=(PlannedCase(case="c"), PlannedCase(case="d")), warnings=(Warning("a", "b", "c"),))
    document = json.loads(dump(run) if path is None else path.read_bytes())
    places = damage._places(document)
    objects = [(holder, key) for holder, key in places if isinstance(holder[key], dict) and key not in MAPPINGS]
    for holder, key in data.draw(st.lists(st.sampled_from(objects), min_size=1, max_size=3)):
        holder[key]["from the future"] = {"a": [1, None, "é"]}
    document["and here"] = 7
    text = json.dumps(document).encode()
    written = json.loads(dump(parse("r", text), text))
    assert written.pop("and here") == document.pop("and here") == 7
    assert _count(written) == _count(document) > 0
    assert parse("r", json.dumps(written).encode()) == parse("r", text)


def _count(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and "from the future" in value) + sum(map(_count, inner))


class Drawn:
    """Where `damage` finds the file to damage."""

    def __init__(self, content):
        self.content = content

    def read_text(self):
        return self.content.decode()

    def read_bytes(self):
        return self.content

    def write_text(self, text):
        self.content = text.encode()

    def write_bytes(self, content):
        self.content = content


@settings(max_examples=300)
@given(st.one_of(st.sampled_from(OLD).map(lambda path: path.read_bytes()), runs.map(dump)), st.data())
def test_whatever_happens_to_a_file_it_is_read_or_named_in_one_line(content, data):
    file = Drawn(content)
    damage.document(data.draw, file)
    read = outcome(file.content)
    if isinstance(read, Run):
        assert parse("r", dump(read, file.content)) == read
    else:
        assert "\n" not in read
        assert read.startswith(("run r: run.json is damaged (", "run r has schema "))
        assert read.endswith(("; remove or restore it", "; use the gapbench that wrote it"))


def outcome(text):
    """The run, or what is said of a file that cannot be read."""
    try:
        return parse("r", text)
    except GapbenchError as error:
        return str(error)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"schema": 2}', "missing required field `run`"),
        ('{"schema": 2, "run": "r", "wall_seconds": NaN}', "malformed"),
        ('{"schema": 2, "run": "r", "wall_seconds": 1e400}', "out of range"),
        ('{"schema": 2, "run": "r", "wall_seconds": 1e300}', "wall_seconds: Expected `float` <"),
        ('{"schema": 2, "run": "r", "machine": {"cores": 9223372036854775808}}', "machine.cores: Expected `int` <="),
        ('{"schema": 2, "run": "r", "machine": {"cores": 1.5}}', "machine.cores: Expected `int | null`, got `float`"),
        ('{"schema": 2, "run": "r", "machine": {"cores": true}}', "machine.cores: Expected `int | null`, got `bool`"),
        ('{"schema": 2, "run": "r", "tag": "\\ud800"}', "truncated"),
        ('{"schema": 2, "run": "r", "suites": [null]}', "suites[0]: Expected `str`"),
        ('{"schema": 2, "run": "r", "plan": [{"case": "c"}, {}]}', "plan[1]: Object missing required field `case`"),
        ('{"schema": 2, "run": "r", "sides": [{"name": "a"}, {"name": "b"}]}', "no comparison of them"),
        (
            '{"schema": 2, "run": "r", "sides": [{"name": "a"}, {"name": "a"}], '
            '"comparison": {"margin": 0, "command": [], "kind": "matrix"}}',
            "its sides do not have the names of its comparison",
        ),
        (
            '{"schema": 2, "run": "r", "sides": [{"name": "a"}, {"name": "b"}], '
            '"comparison": {"margin": 0, "command": []}}',
            "its sides do not have the names of its comparison",
        ),
        ('{"schema": 1, "run": "r", "ab": {"base": {}, "head": {}}}', "comparison: Object missing required field"),
        ('{"schema": 1, "run": "r", "ab": 7}', "sides: Expected `array`"),
        ('{"schema": 1, "run": "r", "warnings": [["x"]]}', "warnings[0]: Expected `object`"),
        ('{"schema": 2, "run": "r", "x": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_the_field_that_makes_no_sense_is_named(text, named):
    assert named in outcome(text.encode())


@pytest.mark.parametrize("schema", [0, 3, 99, None, "2", 1.0, True, [1], {}])
def test_a_schema_that_is_not_known_is_refused(schema):
    with pytest.raises(
        GapbenchError, match=r"^run r has schema .*, this gapbench reads 1 and 2; use the gapbench that"
    ):
        parse("r", json.dumps({"schema": schema, "run": "r"}).encode())


def test_null_is_as_good_as_missing():
    everything = json.loads(dump(Run(id="r")))
    assert decode(dict.fromkeys(everything) | {"run": "r"}) == decode({"run": "r"}) == Run(id="r")


def test_a_comparison_of_schema_1_has_sides():
    git = {"commit": "abc1234", "dirty": False}
    ab = {"base": {"ref": "main", "git": git, "versions": {"torch": "2"}}, "head": {"ref": ".", "git": None}}
    flagged = {"case": "c", "implementation": "f", "clock": "host", "round": 3}
    run = decode({"run": "r", "ab": {**ab, "margin": 0.02, "command": ["a", "b"], "flagged": [flagged], "own": 1}})
    assert run.sides == (Side("base", "main", Git(commit="abc1234", dirty=False), {"torch": "2"}), Side("head", "."))
    assert run.comparison == Comparison(0.02, ("a", "b"), (FlaggedRow("c", "f", "host", 3),))
    assert run.is_comparison
    assert not decode({"run": "r", "ab": None}).is_comparison
    assert "ab" not in json.loads(dump(run, json.dumps({"schema": 1, "run": "r", "ab": ab}).encode()))


def test_warnings_of_schema_1_are_split_once_where_they_are_read(tmp_path):
    store = Store(str(tmp_path))
    run = a_run(store, rounds=1)
    path = Path(store.path(run, "run.json"))
    old = {**json.loads(path.read_text()), "schema": 1, "warnings": ["the load was 3; ratios suffer; run again", "odd"]}
    path.write_text(json.dumps(old))
    first, second = store.describe(run).warnings
    assert first == Warning("", "the load was 3; ratios suffer", "run again")
    assert second == Warning("", "odd", "")
    assert [str(warning) for warning in (first, second)] == ["the load was 3; ratios suffer. Run again.", "odd."]


@given(environments, environments, st.booleans())
def test_environments_differ_alike_in_both_directions(before, after, packages):
    there, back = differences(before, after, packages), differences(after, before, packages)
    assert {(difference.name, difference.before, difference.after) for difference in there} == {
        (difference.name, difference.after, difference.before) for difference in back
    }
    assert differences(before, before, packages) == ()
    names = [difference.name for difference in there]
    assert len(names) == len(set(names))
    assert {"cpu", "threads", "torch"}.isdisjoint(names) or before != after
    if packages and before.versions != after.versions:
        assert set(names) >= {name for name in before.versions if before.versions[name] != after.versions.get(name)}


def test_a_planned_case_is_a_case():
    case = Case((8, 64, 7, 7), label="head", weight=2)
    run = Run(id="r", plan=(PlannedCase(case=case.id, label=case.label, weight=case.weight, specs={"f": "x.py:f"}),))
    assert run.specs(case.id) == {"f": "x.py:f"}
    assert run.specs("another") == {}
