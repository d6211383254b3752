"""The job of a fresh worker: one round of a whole network's step with one way to pool after another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from gapbench import inputs, operations
from gapbench.cases import Case
from gapbench.devices import device
from gapbench.implementations import Function
from gapbench.measuring import clocks, worker
from gapbench.measuring.clocks.loop import now
from gapbench.measuring.messages import Line
from gapbench.measuring.schedule import Batches, Contender, play
from gapbench.measuring.template import RunningContender
from gapbench.passes import Call
from gapbench.profiling.networks import CLASSES, NETWORKS, Pool

_STAMPED_STEPS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A step of ``network`` on images of ``case``; ``specs`` pool, ``turns`` of each are timed.

    The case's pass says which step: ``forward`` in evaluation mode, ``training`` with gradients and an optimiser.
    """

    network: str
    case: Case
    specs: Mapping[str, str]
    turns: int
    seed: int


def step(line: Line, running: RunningContender, request: Request) -> None:
    """Send a document: ``sites`` (shapes that are pooled), and by name ``seconds`` of each turn, ``pooling``, ``out``.

    ``pooling`` is the share of a step that goes into pooling forwards; ``out`` the reason why one takes no part.
    """
    try:
        worker.prepare(request.case)
        line.send(_step(running, request))
    except Exception as error:
        line.send({"failed": worker.status_of(error, request.case)[1]})


def _step(running: RunningContender, request: Request) -> dict[str, Any]:
    case, where = request.case, device(request.case.device)
    network = _built(request)
    pools = [one for one in network.modules() if isinstance(one, Pool)]
    x = inputs.sample(case, request.seed)
    sites = _sites(network, pools, x, case)
    call = _training(network, x) if case.pass_ == "training" else _inference(network, x)
    prepared: dict[str, list[Function]] = {}
    out: dict[str, str] = {}
    for name, spec in request.specs.items():
        try:
            prepared[name] = _prepared(spec, sites)
            _use(pools, prepared[name], call)
        except Exception as error:
            prepared.pop(name, None)
            out[name] = worker.status_of(error, case)[1]
    names = list(prepared)
    calls = {place: Contender([partial(_use, pools, prepared[name], call)]) for place, name in enumerate(names)}
    clock = clocks.clock(where.clocks[0], where)
    clock.prepare()
    batches = Batches()
    play(clock, calls, request.turns, Random(request.seed), running.set, batches)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for place, one in zip(batches.contender, batches.seconds_per_call, strict=True):
        seconds[names[place]].append(one)
    shares = {name: _share(pools, prepared[name], call) for name in names} if where.name == "cpu" else {}
    return {
        "clock": clock.name,
        "sites": [one.shape for one in sites],
        "seconds": seconds,
        "pooling": shares,
        "out": out,
    }


def _built(request: Request) -> nn.Module:
    case = request.case
    network: Any = next(one for one in NETWORKS if one.name == request.network).build()
    layout = torch.channels_last if case.layout == "channels_last" else torch.contiguous_format
    laid_out: nn.Module = network.to(case.device, getattr(torch, case.dtype)).to(memory_format=layout)
    return laid_out.train(case.pass_ == "training")


def _sites(network: nn.Module, pools: list[Pool], x: Tensor, case: Case) -> list[Case]:
    """Return what is pooled where, in the order of ``pools``."""
    shapes: dict[Pool, tuple[int, ...]] = {}
    hooks = [
        one.register_forward_pre_hook(lambda pool, args: shapes.update({pool: tuple(args[0].shape)})) for one in pools
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return [replace(case, shape=shapes[one], operation="gap") for one in pools]


def _prepared(spec: str, sites: list[Case]) -> list[Function]:
    implementation = operations.load(spec)
    for site in sites:
        if reason := implementation.why_not(site):
            raise ValueError(reason)
    made = {site: implementation.prepare(site) for site in dict.fromkeys(sites)}
    return [made[site] for site in sites]


def _use(pools: list[Pool], functions: list[Function], call: Call) -> Tensor:
    """Take a step with these functions at its places."""
    for pool, function in zip(pools, functions, strict=True):
        pool.use(function)
    return call()


def _inference(network: nn.Module, x: Tensor) -> Call:
    def inference() -> Tensor:
        with torch.no_grad():
            y: Tensor = network(x)
            return y

    return inference


def _training(network: nn.Module, x: Tensor) -> Call:
    """Return a step of SGD with momentum at a learning rate of 0: the same work, and weights that stay finite."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)
    targets = torch.arange(len(x), device=x.device) % CLASSES

    def training() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), targets)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return training


def _share(pools: list[Pool], functions: list[Function], call: Call) -> float:
    """Return the share of a step that passes inside its poolings, where they stand; in steps of their own."""
    spent = [0.0]

    def stamped(function: Function) -> Callable[[Tensor], Tensor]:
        def pooled(x: Tensor) -> Tensor:
            began = now()
            y = function(x)
            spent[0] += now() - began
            return y

        return pooled

    wrapped, shares = [stamped(one) for one in functions], []
    for _ in range(_STAMPED_STEPS):
        spent[0], began = 0.0, now()
        _use(pools, wrapped, call)
        shares.append(spent[0] / (now() - began))
    return median(shares)
