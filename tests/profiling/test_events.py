from types import SimpleNamespace

import pytest
import recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import MEAN_OF_BFLOAT16, TEMPORARY_BYTES, US, host, kernel

from gapbench.profiling.events import GENERATED, MEMORY, Event, allocates, busy_seconds, computes, nested, read, table

spans = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200)), max_size=12)


@st.composite
def forests(draw, start=0, end=1 << 12, depth=3):
    """Draw events of one thread that lie within each other or side by side, as calls do."""
    result, at = [], start
    while at < end - 8 and draw(st.booleans()):
        began = at + draw(st.integers(0, 3))
        ended = draw(st.integers(began + 1, end))
        result.append(host("aten::x", began, ended))
        if depth:
            result += draw(forests(began + 1, ended, depth - 1))
        at = ended
    return result


@settings(max_examples=60)
@given(forests())
def test_own_times_add_up_to_those_of_the_roots(events):
    roots = nested(events)
    nodes = [node for root in roots for node in root.walk()]
    assert len(nodes) == len(events)
    total = sum(root.event.seconds for root in roots)
    assert sum(node.own_seconds for node in nodes) == pytest.approx(total, abs=1e-12)


def test_events_lie_beneath_the_one_that_called_them():
    (mean,) = nested(MEAN_OF_BFLOAT16)
    assert [child.event.name for child in mean.children] == ["aten::sum", "aten::div_", "aten::copy_"]
    (to, fill) = mean.children[0].children
    assert (to.event.name, fill.event.name) == ("aten::to", "aten::fill_")
    assert [item.event.name for item in to.walk()][-1] == "aten::copy_"


def test_threads_have_trees_of_their_own():
    roots = nested([host("a", 0, 10), host("b", 2, 5, thread=2)])
    assert [len(root.children) for root in roots] == [0, 0]


@given(spans)
def test_an_accelerator_is_busy_at_most_as_long_as_its_kernels_together(result):
    kernels = [kernel("k", start, start + length) for start, length in result]
    covered = {tick for start, length in result for tick in range(start, start + length)}
    assert busy_seconds([*kernels, host("aten::x", 0, 5000)]) == pytest.approx(len(covered) * US)


def test_what_kineto_says_is_read_without_its_vocabulary():
    def item(name, start, end, device="DeviceType.CPU", shapes=(), dtypes=(), nbytes=0, annotation=False):
        values = {
            "name": name, "start_ns": start, "duration_ns": end - start, "start_thread_id": 1, "shapes": list(shapes),
            "dtypes": list(dtypes), "nbytes": nbytes, "device_type": device, "is_user_annotation": annotation,
        }  # fmt: skip
        return SimpleNamespace(**{key: (lambda value=value: value) for key, value in values.items()})

    results = SimpleNamespace(
        trace_start_ns=lambda: 1000,
        events=lambda: [
            item("aten::copy_", 3000, 4000, shapes=[[2, 3], [], []], dtypes=["c10::BFloat16", "float", "Scalar"]),
            item("## Call CompiledFxGraph fabc ##", 2000, 5000),
            item(MEMORY, 3500, 3500, nbytes=-64),
            item("a range", 2000, 5000, device="DeviceType.CUDA", annotation=True),
            item("reduce_kernel", 4000, 6000, device="DeviceType.CUDA"),
        ],
    )
    graph, copy, memory, reduce = read(results)
    assert graph.name == GENERATED
    assert copy.tensors == (((2, 3), "bfloat16"), ((), "float32"))
    assert memory == Event(MEMORY, 2500, thread=1, nbytes=-64)
    assert reduce.device
    assert reduce.seconds == pytest.approx(2e-6)


def of(events, calls=1):
    return table(nested(events), events, calls)


def test_the_table_of_a_mean_begins_with_the_copy_and_has_its_bytes_once():
    first = of(MEAN_OF_BFLOAT16)[0]
    assert (first.name, first.dtypes, first.calls) == ("aten::copy_", ("float32", "bfloat16"), 1)
    assert first.bytes == TEMPORARY_BYTES * 1.5
    assert first.self_seconds == pytest.approx(853 * US)
    assert first.gbps == pytest.approx(TEMPORARY_BYTES * 1.5 / (853 * US) / 1e9)


def test_who_leaves_the_work_to_others_has_no_bytes():
    rows = {row.name: row for row in of(MEAN_OF_BFLOAT16)}
    assert rows["aten::sum"].bytes is None
    assert rows["aten::to"].bytes is None
    assert rows["aten::empty_strided"].bytes is None
    assert rows["aten::sum"].total_seconds == pytest.approx(1130 * US)
    assert rows["aten::sum"].self_seconds == pytest.approx((1130 - 870 - 2) * US)


def test_what_an_operator_was_given_for_its_result_counts():
    events = [
        host("aten::sum", 0, 10, ((4, 8), "float32")),
        recorded.given(16, 2),
        recorded.given(-16, 8),
        recorded.given(1000, 20),
    ]
    assert of(events)[0].bytes == 4 * 8 * 4 + 16


def test_figures_are_per_call_and_kernels_of_an_accelerator_are_rows():
    events = [
        host("aten::mean", 0, 10),
        host("aten::mean", 20, 32),
        kernel("reduce", 5, 105),
        kernel("reduce", 110, 310),
    ]
    reduce, mean = of(events, calls=2)
    assert (reduce.name, reduce.device, reduce.calls) == ("reduce", True, 1)
    assert reduce.self_seconds == pytest.approx(150 * US)
    assert mean.total_seconds == pytest.approx(11 * US)
    assert reduce.gbps is None


def test_own_times_add_up_to_the_call():
    assert sum(row.self_seconds for row in of(MEAN_OF_BFLOAT16)) == pytest.approx(1200 * US)


@pytest.mark.parametrize(
    ("name", "getting", "computing"),
    [
        ("aten::empty_like", True, False),
        ("aten::view", False, False),
        ("aten::copy_", False, True),
        ("my::op", False, True),
    ],
)
def test_operators_are_told_apart_by_name(name, getting, computing):
    assert (allocates(name), computes(name)) == (getting, computing)
