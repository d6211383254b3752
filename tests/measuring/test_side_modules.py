"""Two checkouts in one process: whose modules are found where."""

import subprocess
import sys
import textwrap

import pytest

from gapbench.measuring import side_modules
from gapbench.measuring.plan import HERE, Source
from gapbench.measuring.side_modules import SideModules

SIDES = ("base", "head")


def run(code, tmp_path):
    """Run code in a process of its own, which has the sides and their folder; what it asserts is what is tested."""
    prelude = """
        import sys
        from pathlib import Path
        from gapbench.measuring.side_modules import SideModules
        from gapbench.measuring.plan import HERE, Source
        folder = Path(sys.argv[1])
        SIDES = ("base", "head")
        sides = SideModules([Source.of(folder / side) for side in SIDES], "gap")
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkouts(tmp_path):
    """A package of the same name on both sides, with a module that is imported late."""
    for side in SIDES:
        package = tmp_path / side / "src" / "its_package"
        (package / "deep").mkdir(parents=True)
        (package / "__init__.py").write_text(f"SIDE = {side!r}\n")
        (package / "late.py").write_text(f"SIDE = {side!r}\n")
        (package / "deep" / "__init__.py").write_text("")
        (package / "deep" / "later.py").write_text(f"from its_package.late import SIDE\nOWN = {side!r}\n")
        (tmp_path / side / f"only_{side}.py").write_text(f"SIDE = {side!r}\n")
        (tmp_path / side / "mine.py").write_text(
            "import its_package\n"
            "def early():\n    return its_package.SIDE\n"
            "def late():\n    from its_package.deep import later\n    return later.SIDE, later.OWN\n"
        )
    return tmp_path


def test_imports_inside_functions_find_their_own_side_in_whatever_order(checkouts):
    run(
        """
        import importlib
        mine = {}
        for number, side in enumerate(SIDES):
            sides.activate(number)
            mine[side] = importlib.import_module("mine")
        assert mine["base"] is not mine["head"]
        for number in (0, 1, 1, 0, 1, 0):
            sides.activate(number)
            side = SIDES[number]
            assert importlib.import_module("mine") is mine[side]
            assert mine[side].early() == side
            assert mine[side].late() == (side, side)
            import its_package
            assert its_package.SIDE == side and its_package.deep.later.OWN == side
        """,
        checkouts,
    )


def test_each_side_has_its_own_path_and_finds_nothing_of_the_other(checkouts):
    run(
        """
        before = list(sys.path)
        paths = []
        for number in (0, 1, 0, 1):
            sides.activate(number)
            own = [str(folder / SIDES[number]), str(folder / SIDES[number] / "src")]
            assert sys.path[:2] == own and sys.path[2:] == before, sys.path
            __import__(f"only_{SIDES[number]}")
            try:
                __import__(f"only_{SIDES[1 - number]}")
            except ModuleNotFoundError:
                continue
            raise AssertionError("found the other side's module")
        """,
        checkouts,
    )


def test_what_a_side_adds_to_the_path_is_its_own_and_remembered(checkouts):
    for side in SIDES:
        (checkouts / side / "more").mkdir()
        (checkouts / side / "more" / f"extra_{side}.py").write_text("")
    run(
        """
        for number, side in enumerate(SIDES):
            sides.activate(number)
            sys.path.append(str(folder / side / "more"))
        for number, side in enumerate(SIDES):
            sides.activate(number)
            __import__(f"extra_{side}")
            assert str(folder / SIDES[1 - number] / "more") not in sys.path
        """,
        checkouts,
    )


def test_an_environment_inside_a_checkout_is_shared(checkouts):
    """A library is loaded once: it may register what can be registered once."""
    library = checkouts / "base" / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    (library / "its_library.py").write_text("")
    run(
        """
        sys.path.append(str(folder / "base" / ".venv" / "lib" / "site-packages"))
        sides = SideModules([Source.of(folder / side) for side in SIDES], "gap")
        sides.activate(0)
        import its_library
        first = its_library
        sides.activate(1)
        import its_library
        assert its_library is first
        """,
        checkouts,
    )


def test_what_was_loaded_before_either_side_is_put_back(checkouts):
    """The caller's own module of that name stays the caller's: only the sides take turns."""
    run(
        """
        import types
        sys.modules["its_package"] = before = types.ModuleType("its_package")
        sides = SideModules([Source.of(folder / "base"), HERE], "gap")
        sides.activate(0)
        del sys.modules["its_package"]
        import its_package
        assert its_package.SIDE == "base"
        sides.activate(1)
        assert sys.modules["its_package"] is before
        sides.activate(0)
        assert sys.modules["its_package"] is its_package
        sides.activate(1)
        assert sys.modules["its_package"] is before
        """,
        checkouts,
    )


def test_a_checkout_that_does_not_import_raises_for_that_side_only(checkouts):
    package = checkouts / "head" / "gapbench" / "implementations"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('broken')\n")
    run(
        """
        from gapbench import operations
        def refused():
            try:
                sides.activate(1)
            except RuntimeError as error:
                return "broken" in str(error)
        assert refused() and refused()  # the second implementation is not measured in another's place
        for _ in range(2):
            sides.activate(0)
            assert operations.builtin("mean") is not None
            import its_package
            assert its_package.SIDE == "base"
            assert refused() and refused()
        """,
        checkouts,
    )


def test_nothing_happens_where_there_is_one_side():
    modules, path = dict(sys.modules), list(sys.path)
    sides = SideModules([HERE], "gap")
    sides.activate(0)
    sides.activate(0)
    assert (dict(sys.modules), list(sys.path)) == (modules, path)


def test_a_conflict_names_all_that_was_changed():
    before = {"the default dtype": 1, "oneDNN": True, "gradient mode": True}
    assert side_modules.conflict(before, dict(before)) is None
    after = before | {"oneDNN": False, "gradient mode": False}
    assert side_modules.conflict(before, after) == "it changes oneDNN, gradient mode for the whole process"


def test_looking_at_the_process_changes_nothing_and_sees_no_change():
    assert side_modules.conflict(side_modules.global_state(), side_modules.global_state()) is None


def test_a_source_that_is_gapbench_says_so(tmp_path):
    assert Source.of(tmp_path) == Source(tmp_path, built_in=False)
    (tmp_path / "gapbench" / "implementations").mkdir(parents=True)
    (tmp_path / "gapbench" / "implementations" / "__init__.py").write_text("")
    assert Source.of(tmp_path).built_in
