"""Rounds of whole networks: what is made of them, and a small one that is really run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.profiling import network, network_job, networks
from gapbench.profiling.networks import Network, Pool


def document(factor=1.0, pooling=0.1, out=None, scale=1.0):
    seconds = {"mean": [scale * one for one in (0.1, 0.2, 0.4)]}
    if not out:
        seconds["fast"] = [one * factor for one in seconds["mean"]]
    return {
        "clock": "host",
        "sites": [(1, 8, 4, 4)],
        "seconds": seconds,
        "pooling": dict.fromkeys(seconds, pooling),
        "out": {"fast": out} if out else {},
    }


@given(st.floats(0.1, 10), st.lists(st.floats(0.01, 100), min_size=6, max_size=12))
def test_a_ratio_is_that_of_neighbours_whatever_the_machine_does(factor, scales):
    way = network.way("fast", "mean", [document(factor, scale=scale) for scale in scales])
    assert (way.ratio.low, way.ratio.estimate, way.ratio.high) == pytest.approx((factor, factor, factor))
    assert way.rounds == len(scales)
    assert way.seconds.low <= way.seconds.estimate <= way.seconds.high


def test_too_few_rounds_have_no_interval_and_devices_that_nobody_waits_for_no_share():
    way = network.way("fast", "mean", [document() | {"pooling": {}}] * 3)
    assert (way.ratio.low, way.pooling) == (None, None)
    assert way.seconds.estimate == pytest.approx(0.2)


def test_who_is_out_in_any_round_is_out_with_the_reason():
    way = network.way("fast", "mean", [document(), document(out="needs a GPU")])
    assert (way.out, way.seconds, way.ratio) == ("needs a GPU", None, None)


def test_a_network_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(GapbenchError, match="resnet50-like"):
        network.network("resnet50")


@pytest.fixture
def small(monkeypatch):
    """A network of one convolution, which pools twice."""

    def build():
        return nn.Sequential(nn.Conv2d(3, 8, 3), Pool(), nn.Conv2d(8, 8, 1), Pool(), nn.Flatten(), nn.Linear(8, 1000))

    only = (Network("small", "small", 8, build),)
    monkeypatch.setattr(networks, "NETWORKS", only)
    monkeypatch.setattr(network_job, "NETWORKS", only)


@pytest.mark.parametrize("pass_", ["forward", "training"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_way_takes_its_turns_and_who_cannot_says_why(small, pass_, layout):
    class Line:
        sent = None

        def send(self, document):
            self.sent = document

    class Byte:
        def set(self, index):
            pass

    case = Case((2, 3, 8, 8), layout=layout, pass_=pass_, operation="small")
    specs = {name: name for name in ("mean", "avg_pool", "numpy_mean", "nobody")}
    line = Line()
    network_job.step(line, Byte(), network_job.Request("small", case, specs, turns=2, seed=3))
    found = line.sent
    assert found["sites"] == [(2, 8, 6, 6), (2, 8, 1, 1)]
    usable = {"mean", "avg_pool"} | ({"numpy_mean"} if pass_ == "forward" else set())
    assert {name: len(seconds) for name, seconds in found["seconds"].items()} == dict.fromkeys(usable, 2)
    assert found["out"].keys() == specs.keys() - usable
    assert all(0 < share < 1 for share in found["pooling"].values())


def test_a_step_that_cannot_be_taken_is_one_line():
    sent = []

    class Line:
        send = staticmethod(sent.append)

    case = Case((2, 5, 8, 8), operation="resnet50-like")
    network_job.step(Line(), None, network_job.Request("resnet50-like", case, {"mean": "mean"}, turns=1, seed=0))
    assert "expected input" in sent[0]["failed"]
