"""On a real cluster of three nodes, one of which is lost while it measures."""

import json
import os
import time

from gapbench.machine import device_lock
from gapbench.machine.devices import Cpu
from gapbench.store.store import Store
from gapbench.store.verify import verify


def test_a_device_that_is_being_measured_on_takes_no_part(start, locks, tmp_path):
    words = ["--impl", "mean", "--shape", "1x8x4x4", "--dtype", "float32", "--layout", "contiguous"]
    with device_lock.take(Cpu(), "somebody", locks[0]):
        gapbench = start("run", *words, "--on", "ray", "--budget", "1s", "--rounds", "1", "--json")
        out, err = gapbench.communicate(timeout=300)
    assert gapbench.returncode == 0, err
    held = f"takes no part: cpu is in use by process {os.getpid()} (somebody) since 20"
    assert [f"warning: 127.0.0.1 cpu {held}" in line for line in err.splitlines()].count(True) == 1, err
    document = Store(str(tmp_path / "results")).describe(json.loads(out)["run"])
    assert [device.device for device in document.fleet] == ["cpu"] * 2
    for folder in locks:
        with device_lock.take(Cpu(), "after", folder, waiting=lambda _: None):  # Ray ends workers in its own time
            pass


def test_a_node_that_is_lost_has_its_rounds_done_elsewhere(start, cluster, tmp_path):
    shapes = [word for shape in ("8x512x28x28", "8x512x28x29", "8x512x28x30") for word in ("--shape", shape)]
    options = ["--impl", "sum_scale", *shapes, "--dtype", "float32", "--layout", "contiguous"]
    gapbench = start(
        "run", "ci", *options, "--on", "ray", "--budget", "24s", "--rounds", "3", "--target", "0.0001%", "--json"
    )
    store = Store(str(tmp_path / "results"))
    while gapbench.poll() is None and not (store.ids() and store.samples()["case"].nunique() == 3):
        time.sleep(0.1)
    assert gapbench.poll() is None, gapbench.communicate()
    kept = store.samples()
    cluster.remove_node(sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0])
    out, err = gapbench.communicate(timeout=120)
    assert gapbench.returncode == 0, err
    run = json.loads(out)["run"]
    assert [finding for finding in verify(store) if finding.kind == "damage"] == []
    document = store.describe(run)
    assert [device.device for device in document.fleet] == ["cpu"] * 3
    assert len(document.sweep) == 12
    assert document.load_before is None
    assert sum("of the fleet is lost" in warning.evidence for warning in document.warnings) == 1
    samples = store.samples()
    key = ["case", "implementation", "round", "turn"]
    assert len(samples.merge(kept, on=[*key, "seconds_per_call"])) == len(kept)
    assert not samples.duplicated(key).any()
    assert samples.groupby("process")[["case", "round"]].nunique().eq(1).all(axis=None)
    assert samples.groupby("case")["round"].nunique().min() >= 3
    assert set(store.results()["status"]) == {"ok"}
    assert store.results()["ratio"].notna().all()
