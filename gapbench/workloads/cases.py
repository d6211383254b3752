"""A case: one workload, described without torch; and the parsers of shapes, durations, shares and shards."""

import math
import re
from dataclasses import dataclass, field

from gapbench.errors import GapbenchError, unknown

DTYPES: dict[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
"""Element size in bytes of each dtype."""

LAYOUTS: dict[str, str] = {
    "contiguous": "stored as (N, C, *spatial), the default of PyTorch",
    "channels_last": "stored as (N, *spatial, C), as convolutions on tensor cores prefer; Swin's permuted view",
    "sliced": "channels_last without its first position, as ViT drops the class token: x[:, 1:]",
    "permuted": "stored as (*spatial, N, C), as sequence-first transformers produce",
}
"""Memory orders of an input (N, C, *spatial). All but the first are strided views."""

PASSES: dict[str, str] = {
    "forward": "the output, without recording a graph",
    "backward": "the gradients of the input and of all weights, from a graph that was recorded before",
    "update": "one update of all weights by the optimiser",
    "training": "forward, backward and update in one call, with a graph recorded every time",
}
"""The work of one call."""

MOST_THREADS = 8192  # the most processors that a Linux kernel can be built for
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DEVICE = r"[a-z]+(?::\d+)?"
# operation, shape, dtype, layout, device, pass, threads
_ID = rf"(?:([a-z_]+)-)?(\d+(?:x\d+)+)-([a-z0-9]+)-([a-z_]+)-({_DEVICE})-([a-z]+)-t(\d+)"


def _matched(pattern: str, text: str, what: str, example: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise GapbenchError(f"malformed {what} {text!r}: write {example}")
    return match


def parse_shape(text: str) -> tuple[int, ...]:
    """Parse ``8x2048x7x7`` into ``(8, 2048, 7, 7)``: N, C and one to three spatial sizes. Raises `GapbenchError`."""
    example = "N x C x spatial sizes, as in 8x2048x7x7 (one to three spatial)"
    return tuple(map(int, _matched(r"\d+(x\d+){2,4}", text, "shape", example)[0].split("x")))


def parse_sizes(text: str) -> tuple[int, ...]:
    """Parse the sizes of a tensor of any rank, such as ``8x3x224x224``. Raises `GapbenchError`."""
    match = _matched(r"\d{1,9}(x\d{1,9})*", text, "input", "its sizes, as in 8x3x224x224")
    return tuple(map(int, match[0].split("x")))


@dataclass(frozen=True, slots=True)
class Case:
    """One workload of an operation: its input, device, pass and threads.

    ``shape`` is (N, C, *spatial) with one to three spatial sizes. ``label`` names the network that the shape comes
    from, ``weight`` says how often it occurs there; neither is part of the identity. Raises `GapbenchError` for an
    unknown dtype, layout or pass.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = "contiguous"
    device: str = "cpu"
    pass_: str = "forward"
    threads: int = 1
    operation: str = "gap"
    label: str = field(default="", compare=False)
    weight: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        parse_shape("x".join(map(str, self.shape)))
        choices_of = ("dtype", self.dtype, DTYPES), ("layout", self.layout, LAYOUTS), ("pass", self.pass_, PASSES)
        for kind, value, choices in choices_of:
            if value not in choices:
                raise unknown(kind, value, choices)
        _matched(_DEVICE, self.device, "device", "cpu, cuda or cuda:1")
        if not 1 <= self.threads <= MOST_THREADS:
            raise GapbenchError(f"threads must be 1 to {MOST_THREADS}, not {self.threads}")

    @property
    def id(self) -> str:
        """The case's stable, readable name, which `Case.from_id` parses."""
        operation = "" if self.operation == "gap" else f"{self.operation}-"
        shape = "x".join(map(str, self.shape))
        return f"{operation}{shape}-{self.dtype}-{self.layout}-{self.device}-{self.pass_}-t{self.threads}"

    @classmethod
    def from_id(cls, text: str) -> "Case":
        """Return the case whose `id` is ``text``. Raises `GapbenchError` for a malformed id."""
        match = _matched(_ID, text, "case", "it as in 8x2048x7x7-float32-contiguous-cpu-forward-t1")
        operation, shape, dtype, layout, device, pass_, threads = match.groups()
        return cls(parse_shape(shape), dtype, layout, device, pass_, int(threads), operation or "gap")

    @property
    def n(self) -> int:
        """Batch size."""
        return self.shape[0]

    @property
    def c(self) -> int:
        """Channels."""
        return self.shape[1]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes of the dimensions that are averaged away."""
        return self.shape[2:]

    @property
    def spatial_dims(self) -> tuple[int, ...]:
        """Indices of the dimensions that are averaged away."""
        return tuple(range(2, len(self.shape)))

    @property
    def averaged(self) -> tuple[int, ...]:
        """Shape after averaging: (N, C, 1, ..., 1)."""
        return (self.n, self.c, *(1 for _ in self.spatial))

    @property
    def window(self) -> int:
        """Number of elements that one output averages: H·W in two dimensions."""
        return math.prod(self.spatial)

    @property
    def elements(self) -> int:
        """Number of elements of the input."""
        return math.prod(self.shape)

    @property
    def bytes_moved(self) -> int | None:
        """Least bytes to move for an average, e·N·C·(window + 1): all input and output elements once.

        As many for the backward pass, twice that for both. None for an update of weights, which does not touch the
        input.
        """
        if self.pass_ == "update":
            return None
        once = DTYPES[self.dtype] * self.n * self.c * (self.window + 1)
        return 2 * once if self.pass_ == "training" else once


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``5m`` or ``1h``."""
    match = _matched(r"(\d+(?:\.\d+)?)(s|m|h|)", text, "duration", "it as in 60s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def parse_share(text: str) -> float:
    """Return ``1%`` or ``0.01`` as a fraction of 1."""
    match = _matched(r"(\d+(?:\.\d+)?)(%?)", text, "share", "it as in 1% or 0.01")
    if not match[2] and float(match[1]) >= 1:
        raise GapbenchError(f"a share of {text} is {100 * float(match[1]):g} %; write {text}% or a number below 1")
    return float(match[1]) / (100 if match[2] else 1)


def parse_shard(text: str) -> tuple[int, int]:
    """Return the number, from 1, and the count of ``2/8``."""
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise GapbenchError(f"malformed shard {text!r}: write it as in 2/8, the second of eight")
    return int(match[1]), int(match[2])
