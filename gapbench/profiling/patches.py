"""Choose other pooling for a network, and write it as a Python file without gapbench that puts it in."""

import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from msgspec import structs
from torch.fx import GraphModule

import gapbench
from gapbench import operations
from gapbench.analysis import summary
from gapbench.errors import GapbenchError
from gapbench.machine.devices import device
from gapbench.measuring.plan import CasePlan
from gapbench.operations.network import NETWORK, Network, Variant, WithInput, blamed
from gapbench.profiling import networks
from gapbench.report import plain_text
from gapbench.statistics.stats import Interval
from gapbench.store.records import SLOWER
from gapbench.store.run import PatchedNetwork, PooledSite
from gapbench.workloads import inputs
from gapbench.workloads.case_lists import ListedCase, Site
from gapbench.workloads.cases import Case

REPLACEMENTS = (
    "mean", "sum_scale", "sum_float32", "adaptive", "avg_pool", "compiled_mean", "compiled_sum_scale",
    "compiled_avg_pool",
)  # fmt: skip
"""Implementations whose snippet is all that is timed, and needs no more than PyTorch."""

WORTH = 0.98
"""A call is replaced if its time is shown to fall below this share; smaller gains are lost in a whole network."""

BEGIN = '"""Pooling of '  # of the files
_SECONDS, _SAMPLES = 5.0, 4096  # the longest time, and the most samples, of comparing the networks' top-1


@dataclass(frozen=True)
class Choice:
    """A replacement for the calls of a case at the ``sites`` that are spelt as ``own``; ``ratio`` is its to own's."""

    case: Case
    own: str
    sites: tuple[Site, ...]
    implementation: str
    ratio: Interval

    @property
    def is_compiled(self) -> bool:
        """Whether torch.compile makes it."""
        return self.implementation.startswith("compiled_")

    @property
    def evidence(self) -> str:
        """What was measured."""
        low, high = self.ratio.low, self.ratio.high
        interval = (
            f" [{low:.2f}, {high:.2f}]" if low is not None else f" (at most {high:.2f})" if high is not None else ""
        )
        return f"{self.implementation}: {self.ratio.estimate:.2f}{interval} of the time of {self.own}"

    @property
    def function(self) -> str:
        """The name of its function in the file."""
        name = f"{self.implementation}_{self.case.dtype}_{self.case.layout}_{'x'.join(map(str, self.case.shape))}"
        return f"{name}_{self.case.pass_}"

    @property
    def code(self) -> str:
        """The expression that averages x; snippets are for two spatial dimensions."""
        own = operations.builtin(self.implementation.removeprefix("compiled_"))
        assert own is not None
        rank, dims = len(self.case.spatial), self.case.spatial_dims
        window = " * ".join(f"x.shape[{dim}]" for dim in dims)
        return re.sub(r"pool2d\b", f"pool{rank}d", own.snippet.replace("(2, 3)", f"{dims}")).replace(
            "x.shape[2] * x.shape[3]", window
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the input, 0 where a size is 1."""
        own = inputs.empty(Case(self.case.shape, layout=self.case.layout, device="meta")).stride()
        return tuple(0 if size == 1 else stride for size, stride in zip(self.case.shape, own, strict=True))


def own(site: Site) -> str | None:
    """Return the implementation that a site is, None if it is spelt in several calls, which are not replaced."""
    for name in ("adaptive", "avg_pool", "mean"):
        if re.fullmatch(rf"{name}(_avg_pool)?([123]d)?", site.spelling):
            return name
    return None


def candidates(listed: ListedCase) -> list[str]:
    """Return the implementations that could replace a case's calls; a sum in float16 may overflow."""
    return [name for name in REPLACEMENTS if listed.dtype != "float16" or "sum_scale" not in name]


def variant(
    network: Network, shapes: Sequence[tuple[int, ...]] = (), dtype: str | None = None, layout: str | None = None
) -> Variant:
    """Return a network that was loaded with these arguments as it is measured. Raises `GapbenchError`."""
    whole = WithInput(network)
    if isinstance(network.module, GraphModule):
        raise GapbenchError(f"{network.name} is an exported program, which cannot be changed; name the module before")
    with blamed(f"the forward pass of {network.name} fails"), torch.no_grad():
        output = whole(whole.x)
    shape, own = tuple(whole.x.shape), str(whole.x.dtype).removeprefix("torch.")
    order = networks.layout(shape, whole.x.stride())[0]
    case = Case(shape, own, order, str(whole.x.device), threads=torch.get_num_threads(), operation="network")
    return Variant(network.name, case.id, tuple(shapes), dtype, layout, tuple(output.shape))


def pooling_plans(original: Variant, listed: Sequence[ListedCase]) -> list[CasePlan]:
    """Return the plans that time `REPLACEMENTS` for the calls of a network."""
    plans = []
    for each in listed:
        case = replace(each.case(), device=original.case.device, threads=original.case.threads)
        specs = {name: name for name in candidates(each)}
        plans.append(CasePlan(f"{original.short}.json", case, specs, device(case.device).clocks))
    return plans


def network_plans(original: Variant, patched: Variant, passes: Collection[str], eager: bool = False) -> list[CasePlan]:
    """Return the plans that time a network with and without a patch in the ``passes``; ``eager``: not compiled."""
    modes = (False,) if eager else (False, True)
    variants = [structs.replace(each, compiled=compiled) for compiled in modes for each in (original, patched)]
    specs = {each.name: each.spec for each in variants}
    kinds = {"forward_pass": "forward", "training_step": "training"}
    return [
        CasePlan(
            original.short, replace(original.case, pass_=kinds[name]), specs, device(original.case.device).clocks,
            NETWORK.reference,
        )
        for name in passes
    ]  # fmt: skip


def choose(
    original: Variant, listed: Sequence[ListedCase], results: pd.DataFrame, samples: pd.DataFrame
) -> Iterator[Choice]:
    """Yield for each case and spelling the fastest replacement that is `WORTH` it, by the nearest number of threads."""
    ok = results[(results["status"] == "ok") & (results["operation"] == "gap")]
    ok = ok[ok["device"] == original.case.device]
    for each in listed:
        alike = ok[(ok["shape"] == each.shape) & (ok["dtype"] == each.dtype)]
        alike = alike[(alike["layout"] == each.layout) & (alike["pass"] == each.pass_)]
        if alike.empty:
            continue
        nearest = (alike["threads"] - original.case.threads).abs().argmin()
        case = Case.from_id(str(alike["case"].iloc[nearest]))
        alike = alike[alike["case"] == case.id]
        measured = samples[samples["case"] == case.id]
        stopped = dict(zip(alike["implementation"], alike["stopped_by"] == SLOWER, strict=True))
        for spelling in dict.fromkeys(filter(None, map(own, each.sites))):
            raced = stopped.get(spelling, False)
            others = [name for name in candidates(each) if name != spelling]
            ratios = {name: summary.ratio(measured, name, spelling, raced) for name in others}
            shown = {name: ratio for name, ratio in ratios.items() if ratio.high is not None and ratio.high < WORTH}
            if shown:
                best = min(shown, key=lambda name: shown[name].estimate)
                sites = tuple(site for site in each.sites if own(site) == spelling)
                yield Choice(case, spelling, sites, best, shown[best])


def describe(
    original: Variant, run: str, listed: Sequence[ListedCase], choices: Sequence[Choice], results: pd.DataFrame
) -> PatchedNetwork:
    """Return the sites of a network with their replacements, and what each implementation costs in all of a pass."""
    chosen = {(choice.case.shape, choice.case.pass_, site): choice for choice in choices for site in choice.sites}
    sites = []
    for each in listed:
        case = each.case()
        for site in each.sites:
            choice = chosen.get((case.shape, case.pass_, site))
            ratio = choice.ratio if choice else Interval(float("nan"))
            sites.append(
                PooledSite(
                    case=case.id, module=site.module, source=site.source, spelling=site.spelling, count=site.count,
                    share=each.share, own=own(site), implementation=choice.implementation if choice else None,
                    ratio=ratio.estimate if choice else None, ratio_low=ratio.low, ratio_high=ratio.high,
                )
            )  # fmt: skip
    totals = summary.totals(results[results["suite"] == f"{original.short}.json"])
    seconds = dict(zip(totals["implementation"], totals["seconds"], strict=True))
    return PatchedNetwork(target=original.target, run=run, sites=tuple(sites), totals=seconds)


def source(choices: Sequence[Choice], target: str, machine: str) -> str:
    """Return the text of the file whose ``apply(model)`` puts the choices into a network; ``machine`` measured them."""
    modules = sorted({site.module for choice in choices for site in choice.sites})
    by_function = {choice.function: choice for choice in choices}
    return plain_text.render(
        "patch.py.j2", choices=[*by_function.values()], modules=modules, target=target, machine=machine,
        version=gapbench.__version__,
    )  # fmt: skip


def write(folder: Path, choices: Sequence[Choice], target: str, machine: str) -> Path:
    """Write a patch's `source` into a folder, from which workers import it."""
    file = folder / "patch.py"
    file.write_text(source(choices, target, machine), encoding="utf-8")
    return file


def agreement(original: Variant, patched: Variant) -> tuple[int, int] | None:
    """Return for how many random samples both networks have the same top-1, and of how many; None without classes."""
    before, after = (WithInput(variant.load()).eval().requires_grad_(False) for variant in (original, patched))
    same = count = 0
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(1)
    while not count or (count < _SAMPLES and time.perf_counter() < start + _SECONDS):
        x = torch.empty_like(before.x).copy_(torch.randn(before.x.shape, generator=generator))
        first, other = before(x), after(x)
        if first.dim() != 2 or not first.numel():
            return None
        same, count = same + int((first.argmax(1) == other.argmax(1)).sum()), count + len(x)
    return same, count
