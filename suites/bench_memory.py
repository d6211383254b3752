"""Which implementation is nearest to the memory's bandwidth, on inputs of 1 to 8 GB that no cache holds?"""

from gapbench import grid, suite

GIGABYTES = {f"{n // 256} GB in float32": (n, 1024, 32, 32) for n in (256, 1024, 2048)}


@suite(
    grid(GIGABYTES, dtypes=["float32", "bfloat16"]),
    implementations=["mean", "sum_float32", "adaptive", "compiled_mean", "triton"],
)
def test_memory(measured):
    measured()
