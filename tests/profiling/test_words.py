import pytest
from recorded import MEAN_OF_BFLOAT16

from gapbench.profiling.events import GENERATED, nested
from gapbench.profiling.operators import Operator, table
from gapbench.profiling.split import PARTS, Split
from gapbench.profiling.words import label, sentence

ROWS = table(nested(MEAN_OF_BFLOAT16), MEAN_OF_BFLOAT16, 1)


def divided(faults=0.0, seconds=1e-3, **parts):
    return Split(seconds, {part: seconds * parts.get(part, 0.0) for part in PARTS}, seconds * faults)


def row(name, dtypes=("float32",), own=1e-6, **changes):
    return Operator(name, dtypes, 1.0, own, own, changes.pop("bytes", None), **changes)


def test_a_kernel_is_named_with_its_share_and_its_rate():
    said = sentence("mean", "bfloat16", divided(kernel=0.98, dispatch=0.02), ROWS)
    assert said == "71 % of `mean` in bfloat16 is the copy to float32, at 45.2 GB/s"


def test_many_page_faults_have_a_clause_of_their_own():
    said = sentence("mean", "bfloat16", divided(0.6, allocation=0.6, kernel=0.4), ROWS, 102_760_448)
    assert said.startswith("71 % of `mean` in bfloat16 is the copy to float32")
    assert said.endswith("; 60 % of the time is page faults: the operating system hands out 103 MB anew in every call")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"dispatch": 0.6, "kernel": 0.4}, "60 % of `f` in float32 is dispatch, of 2 operators"),
        ({"python": 0.9}, "90 % of `f` in float32 is Python"),
        ({"allocation": 0.8}, "80 % of `f` in float32 is getting memory"),
    ],
)
def test_each_part_has_its_words(parts, words):
    assert sentence("f", "float32", divided(**parts), [row("aten::mean"), row("aten::sum")]).startswith(words)


def test_what_other_work_took_is_said_last():
    said = sentence("f", "float32", divided(gaps=0.7, kernel=0.3), [row("aten::sum")])
    assert said.startswith("100 % of `f` in float32 is aten::sum; for 70 % the caller's thread was on no core")


def test_another_runtime_and_an_accelerator_are_named():
    said = sentence("numba_mean", "float32", divided(kernel=1.0), [row("aten::view")])
    assert "code of another runtime" in said
    other = Split(1e-3, {part: 1e-3 * (part == "kernel") for part in PARTS}, other_runtime=True)
    assert "code of another runtime" in sentence("numpy_mean", "float32", other, [row("aten::resolve_conj")])
    rows = [
        row("aten::mean", own=5e-6),
        row("reduce_kernel", (), 8e-5, device=True),
        row("memset", (), 2e-5, device=True),
    ]
    said = sentence("mean", "float16", divided(kernel=1.0), rows, on_accelerator=True)
    assert said == "80 % of `mean` in float16 is reduce_kernel"
    said = sentence("mean", "float16", divided(gaps=1.0), rows, on_accelerator=True)
    assert "the accelerator has nothing to do" in said


def test_labels_are_words():
    assert label(row(GENERATED, ())) == "code that Inductor generated"
    assert label(row("aten::copy_", ("float32", "bfloat16"))) == "the copy to float32"
    assert label(row("aten::copy_", ("float32", "float32"))) == "aten::copy_"
