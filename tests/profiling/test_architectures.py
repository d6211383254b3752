"""Test occupancy against worked examples."""

import pytest

from gapbench.profiling.static import ARCHITECTURES, architecture


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "warps", "expected"),
    [
        ("sm_90", 32, 0, 4, 1.0),  # 32 registers for 2048 threads are exactly the 65,536 there are
        ("sm_90", 33, 0, 4, 0.75),  # granted 40: 51 warps, 48 in whole blocks
        ("sm_90", 32, 0, 1, 0.5),  # 32 blocks of one warp
        ("sm_90", 255, 0, 8, 0.125),  # one block of 8 warps
        ("sm_90", 32, 56 * 1024, 8, 0.5),  # 57 KiB with the reserve: 4 blocks in 228 KiB
        ("sm_80", 32, 56 * 1024, 8, 0.25),  # 2 blocks in 164 KiB
        ("sm_90", 255, 0, 32, 0.0),  # does not fit at all
        ("gfx942", 64, 0, 4, 1.0),  # 512 registers a SIMD make 8 waves
        ("gfx942", 65, 0, 4, 0.875),  # granted 72: 7 waves a SIMD
        ("gfx942", 32, 0, 1, 1.0),  # blocks of one wave need no barrier
        ("gfx942", 32, 0, 2, 1.0),  # 16 blocks of two
        ("gfx942", 32, 16 * 1024, 4, 0.5),  # 4 blocks in 64 KiB
    ],
)
def test_occupancy(arch, registers, shared, warps, expected):
    assert architecture(arch).occupancy(registers, shared, warps) == expected


@pytest.mark.parametrize(
    ("name", "backend", "target", "lanes"),
    [("sm_75", "cuda", 75, 32), ("sm_120", "cuda", 120, 32), ("gfx90a", "hip", "gfx90a", 64),
     ("gfx1100", "hip", "gfx1100", 32), ("gfx950", "hip", "gfx950", 64)],
)  # fmt: skip
def test_others_have_no_limits_of_their_own(name, backend, target, lanes):
    other = architecture(name)
    assert (other.backend, other.target, other.lanes) == (backend, target, lanes)
    assert (other.limits, other.gbps) == (False, None)


@pytest.mark.parametrize("name", ["", "h100", "sm_9", "sm_90a", "gfx", "gfx94g", "sm_90 "])
def test_what_names_no_architecture_is_refused(name):
    with pytest.raises(KeyError):
        architecture(name)


@pytest.mark.parametrize("location", ARCHITECTURES, ids=lambda location: location.name)
def test_more_registers_never_raise_occupancy(location):
    result = [location.occupancy(registers, 1024, 4) for registers in range(1, 256)]
    assert result == sorted(result, reverse=True)
    assert result[0] == 1
