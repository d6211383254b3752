from hypothesis import given
from hypothesis import strategies as st

from gapbench.errors import ExitCode, GapbenchError, NothingMatchedError, is_out_of_memory, unknown

NAMES = ["mean", "mean_flat", "sum_scale", "adaptive"]


def listed(error):
    return str(error).partition("; there are: ")[2].split(", ")


def test_an_unknown_name_gets_the_closest_match_first():
    error = unknown("implementation", "sum_scal", NAMES)
    assert str(error).startswith("unknown implementation 'sum_scal'; there are: sum_scale, ")


def test_without_a_close_match_names_keep_their_order():
    assert listed(unknown("implementation", "zzz", NAMES)) == NAMES


@given(st.text(), st.lists(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), min_size=1, unique=True))
def test_every_choice_is_listed_once(name, choices):
    assert sorted(listed(unknown("thing", name, iter(choices)))) == sorted(choices)


@given(st.lists(st.from_regex(r"[a-z_]{4,12}", fullmatch=True), min_size=1, unique=True), st.data())
def test_a_misspelt_choice_is_listed_before_what_resembles_it_less(choices, data):
    wanted = data.draw(st.sampled_from(choices))
    assert listed(unknown("thing", f"{wanted}~", choices))[0] == wanted


def test_nothing_to_choose_from_is_said():
    assert str(unknown("run", "x", [])) == "unknown run 'x'; there are: none"


def test_errors_carry_the_exit_codes_that_ci_branches_on():
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "POLICY": 1,
        "USAGE": 2,
        "FAILED": 3,
        "REFUSED": 4,
        "NOTHING": 5,
        "INTERNAL": 70,
        "INTERRUPTED": 130,
    }
    assert GapbenchError("x").exit_code == 2
    assert NothingMatchedError("x").exit_code == 5
    assert unknown("dtype", "x", NAMES).exit_code == 2


def test_memory_that_runs_out_is_told_from_other_errors():
    said = ["CUDA out of memory. Tried to allocate 2 GiB", "std::bad_alloc", "x.so: failed to map segment"]
    assert all(is_out_of_memory(RuntimeError(text)) for text in said)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
