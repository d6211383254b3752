import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gapbench.profiling import gpu_counters

HEADER = '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
ROWS = [
    '"0","1","reduce_kernel","dram__bytes_read.sum","Mbyte","12.50"',
    '"0","1","reduce_kernel","dram__bytes_write.sum","Kbyte","8.00"',
    '"0","1","reduce_kernel","gpu__time_duration.sum","usecond","9.50"',
    '"0","1","reduce_kernel","sm__warps_active.avg.pct_of_peak_sustained_active","%","48.2"',
    '"0","1","reduce_kernel","smsp__inst_executed.sum","inst","1,234"',
    '"1","1","fill","dram__bytes_read.sum","byte","256"',
    '"1","1","fill","gpu__time_duration.sum","nsecond","500"',
    '"1","1","fill","sm__warps_active.avg.pct_of_peak_sustained_active","%","99.0"',
    '"1","1","fill","something__else","%","n/a"',
]
SAID = "\n".join(["==PROF== Connected to process 1", HEADER, *ROWS, "==PROF== Disconnected"])


def values(found):
    return {one.name: one.value for one in found}


def test_kernels_of_a_call_add_up_and_the_longest_ones_occupancy_counts():
    found = values(gpu_counters.parse_ncu(SAID))
    assert found["dram-bytes-read"] == 12_500_256
    assert found["dram-bytes-written"] == 8000
    assert found["kernel-seconds"] == pytest.approx(10e-6)
    assert found["occupancy"] == 48.2
    assert found["instructions"] == 1234


def test_counters_that_the_driver_keeps_for_administrators_are_null_with_its_words():
    found = gpu_counters.parse_ncu("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission\n")
    assert set(values(found).values()) == {None}
    assert "ERR_NVGPUCTRPERM" in found[0].reason
    assert gpu_counters.parse_ncu("")[0].reason == "ncu saw no kernel"


def test_ncu_is_given_a_process_of_its_own_that_replays_the_call(tmp_path):
    program = tmp_path / "ncu"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        f"Path({str(tmp_path / 'argv')!r}).write_text(repr(sys.argv))\nprint({SAID!r})\n"
    )
    program.chmod(0o755)
    found = gpu_counters.ncu("1x8x4x4-float32-contiguous-cuda:0-forward-t1", "it's.py:f", str(program))
    assert values(found)["instructions"] == 1234
    argv = ast.literal_eval((tmp_path / "argv").read_text())
    assert argv[-2] == "-c"
    assert compile(argv[-1], "replay", "exec")
    assert '"it\'s.py:f"' in argv[-1]
    assert {*gpu_counters.METRICS} == {*argv[argv.index("--metrics") + 1].split(",")}


def test_a_machine_without_ncu_says_where_it_comes_from(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "CUDA toolkit" in gpu_counters.ncu("case", "mean")[0].reason
    assert "did not answer" in gpu_counters.ncu("case", "mean", "/nonexistent/ncu")[0].reason


class Proton:
    """Writes a tree where Proton would, for each session."""

    def __init__(self, tree, failing=False):
        self.tree, self.failing, self.log = tree, failing, []

    def start(self, name):
        if self.failing:
            raise RuntimeError("no CUPTI")
        self.name = name
        self.log.append("start")

    def finalize(self):
        self.log.append("finalize")
        Path(f"{self.name}.hatchet").write_text(json.dumps(self.tree))


TREE = [
    {
        "frame": {"name": "ROOT", "type": "function"},
        "metrics": {"count": 0, "time (ns)": 0},
        "children": [
            {"frame": {"name": "row_persistent"}, "metrics": {"count": 4, "time (ns)": 40_000.0}, "children": []},
            {
                "frame": {"name": "scope"},
                "metrics": {},
                "children": [{"frame": {"name": "row_persistent"}, "metrics": {"time (ns)": 4_000}, "children": []}],
            },
        ],
    },
    {"CUDA": {"0": {"arch": "90", "num_sms": 132}}},
]


def test_proton_gives_the_seconds_of_each_kernel_per_call():
    standin = Proton(TREE)
    kernels, reason = gpu_counters.proton(lambda: standin.log.append("run"), 4, standin)
    assert standin.log == ["start", "run", "finalize"]
    assert kernels == {"row_persistent": pytest.approx(11e-6)}
    assert reason is None


@pytest.mark.parametrize(
    ("standin", "words"), [(Proton([]), "saw no kernel"), (Proton([], failing=True), "RuntimeError: no CUPTI"),
                           (SimpleNamespace(), "did not answer")]
)  # fmt: skip
def test_a_proton_that_sees_nothing_says_why(standin, words):
    kernels, reason = gpu_counters.proton(lambda: None, 1, standin)
    assert kernels == {}
    assert words in reason
