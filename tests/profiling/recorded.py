"""Build events as a profiler records them."""

from gapbench.profiling.events import MEMORY, Event

US = 1e-6
NS = 1000  # in a microsecond
INPUT = ((8, 256, 56, 56), "bfloat16")
OUTPUT32 = ((8, 256, 1, 1), "float32")
TEMPORARY = ((8, 256, 56, 56), "float32")
TEMPORARY_BYTES = 8 * 256 * 56 * 56 * 4


def host(name, start, end, *tensors, thread=1):
    return Event(name, start * NS, (end - start) * NS, thread, tensors=tensors)


def given(nbytes, at, thread=1):
    return Event(MEMORY, at * NS, thread=thread, nbytes=nbytes)


def kernel(name, start, end):
    return Event(name, start * NS, (end - start) * NS, thread=7, device=True)


MEAN_OF_BFLOAT16 = [
    host("aten::mean", 0, 1200, INPUT),
    given(4096, 1),
    host("aten::sum", 20, 1150, INPUT, OUTPUT32),
    host("aten::to", 30, 900, INPUT),
    host("aten::_to_copy", 31, 899, INPUT),
    host("aten::empty_strided", 32, 40),
    given(TEMPORARY_BYTES, 39),
    host("aten::copy_", 45, 898, TEMPORARY, INPUT),
    host("aten::fill_", 905, 907, OUTPUT32),
    given(-TEMPORARY_BYTES, 1149),
    host("aten::div_", 1155, 1190, OUTPUT32, ((), "int64")),
    host("aten::copy_", 1192, 1196, ((8, 256, 1, 1), "bfloat16"), OUTPUT32),
]
"""One call of mean on the CPU, PyTorch 2.13, shortened by what takes no time."""
