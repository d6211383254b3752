"""What every operation and its implementations must do: one that joins `OPERATIONS` is tested here unasked."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import small_cases

from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.operations import OPERATIONS
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case

torch.set_num_threads(1)  # on busy cores a barrier between two takes longer than all the work here

SHAPES = {"gap": (2, 3, 5, 4), "pooling": (2, 9, 6, 5), "classifier_head": (2, 3, 9, 7)}
OTHERS = [own for own in OPERATIONS if own.name != "gap"]
EVERY = [(own.name, implementation) for own in OPERATIONS for implementation in own.implementations]
OF_OTHERS = [(own.name, implementation) for own in OTHERS for implementation in own.implementations]


def of(pairs):
    return pytest.mark.parametrize(
        ("operation", "implementation"), pairs, ids=[implementation.name for _, implementation in pairs]
    )


def right(case, implementation):
    judgement = oracle.examine(case, implementation.prepare(case), 0, implementation.truth)
    assert judgement.reason is None, f"{implementation.name} on {case.id}: {judgement.reason}"


def test_names_are_unique_across_operations_and_safe():
    names = [implementation.name for _, implementation in EVERY]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    assert len({own.name for own in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("own", [own for own in OPERATIONS if own.implementations], ids=lambda own: own.name)
def test_the_reference_competes_by_default_and_supports_the_plainest_case(own):
    assert own.reference in operations.contenders(own.name)
    assert operations.unsupported_reason(own.reference, Case(SHAPES[own.name], operation=own.name)) is None


@of(EVERY)
def test_describes_itself(operation, implementation):
    assert operations.load(implementation.name) is implementation
    assert implementation.summary
    assert not implementation.summary.endswith(".")
    compile(implementation.snippet, "snippet", "eval")
    if implementation.variant_of:
        assert operations.builtin(implementation.variant_of).variant_of is None


@of(OF_OTHERS)
@pytest.mark.parametrize("pass_", ["forward", "backward", "training", "update"])
def test_is_right_in_every_pass_dtype_and_layout(operation, implementation, pass_):
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        for layout in ("contiguous", "channels_last", "sliced", "permuted"):
            case = Case(SHAPES[operation], dtype, layout, pass_=pass_, operation=operation)
            if reason := implementation.unsupported_reason(case):
                assert re.search(r"(;|,) (use|install|choose|run) ", reason), f"no remedy: {reason}"
            else:
                right(case, implementation)


@of([pair for pair in OF_OTHERS if pair[0] == "pooling"])
@settings(max_examples=30)
@given(case=small_cases(largest=2**10), seed=st.integers(0, 2**32))
def test_is_right_on_every_shape(operation, implementation, case, seed):
    case = Case(case.shape, case.dtype, case.layout, pass_=case.pass_, operation=operation)
    if implementation.unsupported_reason(case) is None:
        judgement = oracle.examine(case, implementation.prepare(case), seed, implementation.truth)
        assert judgement.reason is None, f"{case.id}: {judgement.reason}"


@of(OF_OTHERS)
def test_the_oracle_tells_it_from_its_rivals_lies(operation, implementation):
    case = Case(SHAPES[operation], operation=operation)
    if implementation.unsupported_reason(case):
        return
    function = implementation.prepare(case)
    lies = {
        "zeros": lambda x: torch.zeros_like(function(x)),
        "ones": lambda x: torch.ones_like(function(x)),
        "a little too much": lambda x: function(x) * 1.0005,
        "samples in the opposite order": lambda x: function(x).flip(0),
        "channels in the opposite order": lambda x: function(x).flip(1),
        "no copy of the shape": lambda x: function(x).flatten(),
    }
    for name, lie in lies.items():
        assert oracle.examine(case, lie, 0, implementation.truth).reason is not None, name


def test_unranked_operations_are_those_whose_implementations_have_several_truths():
    several = {
        own.name for own in OPERATIONS if len({id(implementation.truth) for implementation in own.implementations}) > 1
    }
    assert several == {own.name for own in OPERATIONS if not own.ranked}


def test_an_unknown_operation_lists_those_there_are():
    with pytest.raises(GapbenchError, match="unknown operation 'pool'; there are: pooling, "):
        operations.operation("pool")


def test_variants_compete_only_when_they_are_chosen():
    usual = operations.contenders("gap")
    every = operations.contenders("gap", {implementation.name for _, implementation in EVERY})
    variants = {implementation.name for _, implementation in EVERY if implementation.variant_of}
    assert set(every) - set(usual) <= variants
    assert not set(usual) & variants
    assert operations.contenders("pooling", ["mean", "global_max"]) == ["global_max"]


def test_a_suite_that_chooses_whom_nobody_knows_is_refused():
    with pytest.raises(GapbenchError, match="unknown implementation 'maen'; there are: mean, "):
        operations.contenders("gap", ["mean", "maen"])


def test_what_has_no_weights_has_nothing_to_update():
    case = Case((2, 3, 4, 4), pass_="update")
    assert operations.unsupported_reason("mean", case) == "there are no weights to update; choose --pass forward"


def test_samples_of_every_operation_fit_its_implementations():
    for name, shape in SHAPES.items():
        assert inputs.sample(Case(shape, operation=name), 0).shape == shape
