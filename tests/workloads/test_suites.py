import json
import math
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import shapes

from gapbench.errors import GapbenchError
from gapbench.operations import competing, operation, unsupported_reason
from gapbench.workloads import shapes as named_shapes
from gapbench.workloads import suites
from gapbench.workloads.cases import DTYPES, LAYOUTS, PASSES, Case
from gapbench.workloads.suites import Suite, find, folder, grid, names, suite

MINE = '''
"""Which one for my shape?

More of it.
"""

from gapbench import suite
from gapbench.workloads.suites import grid


@suite(grid({"mine": (1, 2, 3, 3)}))
def test_mine(measured):
    measured()
'''


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a suite's file and returns its path."""

    def write(source, name="mine.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return str(path)

    return write


def subsets(choices):
    return st.lists(st.sampled_from(list(choices)), unique=True, min_size=1)


def test_what_a_suite_prints_is_no_data(file, capsys):
    find(file("print('hello')\n" + MINE))
    assert capsys.readouterr() == ("", "hello\n")


# Grids


@given(
    st.dictionaries(st.text(), shapes, min_size=1, max_size=4),
    subsets(DTYPES),
    subsets(LAYOUTS),
    subsets(PASSES),
    st.lists(st.integers(1, 64), unique=True, min_size=1, max_size=3),
)
def test_a_grid_has_every_combination_once(labelled, dtypes, layouts, passes, threads):
    cases = grid(labelled, dtypes, layouts, passes, threads)
    assert len(cases) == math.prod(map(len, (labelled, dtypes, layouts, passes, threads)))
    keys = {(case.label, case.shape, case.dtype, case.layout, case.pass_, case.threads) for case in cases}
    assert len(keys) == len(cases)
    for axis, values in [("dtype", dtypes), ("layout", layouts), ("pass_", passes), ("threads", threads)]:
        assert {getattr(case, axis) for case in cases} == set(values)
    assert {case.label: case.shape for case in cases} == labelled


def test_a_grid_is_of_plain_cases_by_default():
    assert grid({"head": (8, 2048, 7, 7)}) == (Case((8, 2048, 7, 7)),)
    assert grid({"head": (8, 2048, 7, 7)})[0].label == "head"


def test_an_unknown_dtype_in_a_grid_is_refused():
    with pytest.raises(GapbenchError, match="unknown dtype 'f'"):
        grid({"head": (8, 2048, 7, 7)}, dtypes="float32")


# Declaring


def test_a_function_declares_a_suite_and_stays_a_function():
    @suite(grid({"a": (1, 2, 3)}), grid({"b": (1, 2, 4)}))
    def test_heads(measured):
        """Which one for heads?

        And more.
        """
        return measured

    (declared,) = suites.declared_in({"test_heads": test_heads, "other": 1, "gapbench_suite": suite})
    assert declared == Suite("heads", "Which one for heads?", (Case((1, 2, 3)), Case((1, 2, 4))))
    assert test_heads("what it returns") == "what it returns"


def test_a_case_that_occurs_twice_is_measured_once():
    @suite(grid({"a": (1, 2, 3), "b": (1, 2, 3)}), grid({"c": (1, 2, 3)}))
    def test_twice(measured):
        pass

    (declared,) = suites.declared_in({"x": test_twice})
    assert [case.label for case in declared.cases] == ["a"]


def test_a_suite_is_put_on_a_device_as_a_whole():
    (quick,) = find("quick")
    moved = quick.on("cuda:1")
    assert {case.device for case in moved.cases} == {"cuda:1"}
    assert {case.device for case in quick.cases} == {"cpu"}
    assert moved.on("cpu") == quick
    assert [case.label for case in moved.cases] == [case.label for case in quick.cases]


# Finding


def test_a_suite_of_ones_own_is_found_by_path(file):
    (suite,) = find(file(MINE))
    assert suite == Suite("mine", "Which one for my shape?", (Case((1, 2, 3, 3)),))
    assert suite.cases[0].label == "mine"


def test_a_path_may_be_relative(file, monkeypatch, tmp_path):
    file(MINE, "bench_of_my_own.py")
    monkeypatch.chdir(tmp_path)
    assert find("bench_of_my_own.py")[0].name == "mine"


def test_a_file_may_declare_several_suites(file):
    source = MINE + MINE.split("\n\n\n")[1].replace("test_mine", "test_other").replace("(1, 2, 3, 3)", "(4, 2, 3)")
    assert [suite.name for suite in find(file(source))] == ["mine", "other"]


def test_a_file_is_read_anew_every_time(file):
    assert find(file(MINE))[0].cases[0].n == 1
    assert find(file(MINE.replace("(1, 2", "(100, 2")))[0].cases[0].n == 100


@pytest.mark.parametrize("name", ["json.py", "suites.py", "test_suites.py"])
def test_a_file_named_as_a_module_does_not_take_its_place(file, name):
    before = dict(sys.modules)
    assert find(file(MINE, name))[0].name == "mine"
    assert sys.modules["json"] is json
    changed = {name for name, module in before.items() if sys.modules.get(name) is not module}
    assert changed <= {f"gapbench_suite_{name.removesuffix('.py')}"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (MINE.replace('{"mine": (1, 2, 3, 3)}', '{"mine": (1, 2)}'), "GapbenchError: malformed shape '1x2'"),
    ],
)
def test_a_broken_file_is_one_clear_error(file, source, reason):
    path = file(source)
    with pytest.raises(GapbenchError, match="suite '.*mine.py' does not import: ") as raised:
        find(path)
    assert reason in str(raised.value)


@pytest.mark.parametrize("source", ["", '"""Nothing here."""', "def test_mine(measured):\n    measured()"])
def test_a_file_that_declares_none_says_how_to(file, source):
    with pytest.raises(GapbenchError, match=r"mine.py' declares no suite; decorate a function with @gapbench.suite"):
        find(file(source))


def test_a_missing_file_is_told_from_an_unknown_name(tmp_path):
    with pytest.raises(GapbenchError, match=r"there is no suite file 'missing.py'; name one, or one of: .*quick"):
        find("missing.py")
    with pytest.raises(GapbenchError, match="there is no suite file"):
        find(str(tmp_path / "folder.py"))
    for name in ("qiuck", "bench_quick", "Quick"):
        with pytest.raises(GapbenchError, match=f"unknown suite '{name}'; there are: .*quick"):
            find(name)


# The suites that come with gapbench


def test_the_quick_suite_is_there():
    assert "quick" in names()
    assert names() == sorted(names())


@pytest.mark.parametrize("name", names())
def test_a_shipped_suite_is_a_short_declaration_with_a_summary(name):
    text = (folder() / f"bench_{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    (suite,) = find(name)
    assert suite.name == name
    assert len(suite.summary) > 20
    assert suite.cases
    assert all(case.label for case in suite.cases)
    assert {case.device for case in suite.cases} == {"cpu"}


@pytest.mark.parametrize("name", names())
def test_every_case_of_a_shipped_suite_has_several_implementations(name):
    (cpu,) = find(name)
    for case, on_gpu in zip(cpu.cases, cpu.on("cuda:0").cases, strict=True):
        names = competing(case.operation, cpu.implementations)
        supporting = [name for name in names if unsupported_reason(name, case) is None]
        assert operation(case.operation).reference in supporting
        assert max(len(supporting), sum(unsupported_reason(name, on_gpu) is None for name in names)) > 2


def test_named_shapes_are_shapes_and_each_is_named_once():
    public = {name: value for name, value in vars(named_shapes).items() if name.isupper() and not name.startswith("_")}
    named = {name: value for name, value in public.items() if name != "SQUEEZE_COUNTS"}
    assert named
    for labelled in named.values():
        assert [case.shape for case in grid(labelled)] == list(labelled.values())
        assert len(set(labelled.values())) == len(labelled)  # the second name of a shape would never be seen


def test_counts_are_of_shapes_that_there_are():
    assert set(named_shapes.SQUEEZE_COUNTS) <= set(named_shapes.SQUEEZES)
    weights = {case.label: case.weight for case in find("squeeze")[0].cases}
    assert weights["SE-ResNet-50 stage 3"] == 6
    assert weights["MobileNetV3-L 72x28x28"] == 1


def test_se_resnet_50_squeezes_read_eleven_megabytes_an_image_in_half_precision():
    """What timm's definition adds up to, over 16 blocks."""
    nets = find("squeeze")[0].cases
    stages = [case for case in nets if case.label.startswith("SE-ResNet-50") and case.dtype == "bfloat16"]
    once = [case for case in stages if case.layout == "contiguous"]
    assert sum(case.weight * case.elements * 2 for case in once) / 8 == pytest.approx(11.0e6, rel=0.01)


def test_batches_replace_the_first_size_and_say_so():
    assert named_shapes.batches({"head": (1, 512, 7, 7)}, [8, 32]) == {
        "head, batch 8": (8, 512, 7, 7),
        "head, batch 32": (32, 512, 7, 7),
    }


def test_a_plane_spans_its_rows_and_sides():
    for label, (n, c, height, width) in named_shapes.plane([1, 256, 4096], [1, 7]).items():
        assert label == f"N·C {n * c}, {height}x{width}"
