"""Command lines, drawn from what click knows of every command: valid, nearly valid and wild."""

import os
import re
import string
import sys

import click
from fakes import CASE
from hypothesis import strategies as st

from gapbench import cli

HONEST = {
    "shape": ["8x64x7x7", "2x3x4x4", "1x8x5", "2x2x2x2x2", "0x64x7x7", "1x1x1"],
    "dtype": ["float32", "bfloat16", "float64", "int8"],
    "layout": ["contiguous", "channels_last", "sliced", "permuted"],
    "pass": ["forward", "backward", "training", "update"],
    "device": ["cpu", "auto", "cuda", "cuda:1", "mps"],
    "threads": ["1", "2", "0", "-1", "100000"],
    "clock": ["host", "host_cold", "event_cold"],
    "impl": ["mean", "adaptive", "mine.py:pool", "mine.py:none", "nothing.py:f", "triton", "max"],
    "k": ["mean", "mean or adaptive", "not mean", "(mean", "and", "float32 and (mean or not 7x7)"],
    "suites": ["tutorial", "pooling.json", "ci", "quick", "bench_mine.py", "kernels.json", "nothing", "nothing.csv"],
    "budget": ["1", "60s", "5m", "1h", "0", "-1s", "nan"],
    "certify": ["20m", "1", "0", "-1s", "nan"],
    "target": ["1%", "0.01", "100%", "0", "1e-3"],
    "margin": ["1%", "0.05", "0", "100%", "1000%"],
    "max-regret": ["3%", "100%", "0", "-1", "x"],
    "shard": ["1/2", "2/2", "3/2", "0/1", "99999/99999"],
    "on": ["ray", "ray://localhost:10001", "slurm"],
    "store": ["results", "shards", "nothing", "mine.py", "memory://fuzz", "nothing://fuzz", "file://", "results/", "."],
    "resume": ["open", "open", "old", "latest", "nothing"],
    "tag": ["a", "old", "latest", ""],
    "seed": ["0", "1", "-1", "99999999999999999999"],
    "gpu": ["0", "GPU-1", "nothing", ""],
    "sm-clock": ["1500", "1", "0", "-1", "x"],
    "soak": ["1s", "10", "0", "-1s", "nan"],
    "command_line": ["true", "nothing", "--", "-h"],
    "rounds": ["6", "1", "0", "-3", "1000000"],
    "runs": ["new", "old", "open", "latest", "merged", "main", "2026"],
    "case": [CASE, "2x3x4x4", "nothing", "8x2048x7x7-float32-contiguous-cpu-forward-t1", ""],
    "since": ["old", "new", "HEAD", "main"],
    "output": ["out", "out/deep/er", "out.json", "out.csv", "nothing/out.json", "mine.py", "results", "mine.py/out"],
    "publish": ["site", "site/deep/er", "mine.py", "results", "mine.py/site"],
    "fail-on": ["regressed", "none", "failed,added", ",", "everything"],
    "allow-environment": ["cpu", "torch", "weather"],
    "arch": ["sm_90", "gfx942", "sm_1"],
    "bandwidth": ["1", "0", "-1", "nan", "inf", "1e400"],
    "baseline": ["old", "latest", "kernels.json", "export.json", "mine.py", "nothing"],
    "python": [sys.executable, "nothing", "./mine.py"],
    "ref": ["HEAD", ".", "HEAD~1", "main", "base", "nothing"],
    "refs": [".", "HEAD", "HEAD~1", "main", "--", "-h", "nothing"],
    "good": ["HEAD~1", "main~1", ".", "HEAD", "--", "-h", "nothing"],
    "bad": ["HEAD", "main", ".", "HEAD~1", "--", "-h", "nothing"],
    "network": ["mine.py:net", "mine.py:net", "mine.py:pool", "mine.py:none", "nothing.py:f", "mine.py", "json:loads"],
    "input": ["2x3x4x4", "1x3x8x8", "0x3x4x4", "1", "x", "-1"],
    "sources": ["export.json", "shards", "kernels.json", "results", "mine.py", "nothing", "memory://fuzz"],
}
"""Values by what an option is called; the first two are right, as far as that can be said."""

SAME = {"run": "runs", "base": "refs", "head": "refs", "base-python": "python", "head-python": "python", "what": "runs"}

# Surrogates are what the shell's bytes become that are no UTF-8. No argument can hold NUL.
BYTES = st.binary(max_size=8).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-(10**30), 10**30)).map(str)
WILD = st.one_of(
    st.text(st.characters(exclude_characters="\0"), max_size=12), st.text(string.printable, max_size=12), BYTES, NUMBERS
)


def leaves(command=cli.gapbench, words=()):
    """Return every command that is no group, with the words that call it."""
    if isinstance(command, click.Group):
        return [leaf for name, one in command.commands.items() for leaf in leaves(one, (*words, name))]
    return [(words, command)]


def every():
    """Return every option and argument of every command, with the command's words."""
    return [(words, command, one) for words, command in leaves() for one in command.params]


def option(parameter):
    """Return the option's longest name, None for an argument."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else None


def right(parameter):
    """Draw a value that a parameter takes."""
    return st.sampled_from(_honest(parameter)[:2])


def values(parameter):
    """Draw a value of a parameter as text: honest, nearly so, or wild."""
    honest = st.sampled_from(_honest(parameter))
    return st.one_of(honest, honest, honest.flatmap(damaged), WILD).map(_inside)


def _honest(parameter):
    known = parameter.name if option(parameter) is None else option(parameter).lstrip("-")
    known = {"case_id": "case"}.get(known, SAME.get(known, known))
    return list(parameter.type.choices) if isinstance(parameter.type, click.Choice) else HONEST[known]


@st.composite
def damaged(draw, text):
    """Draw a text that differs from ``text`` in a place."""
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.one_of(WILD, st.just(""))) + text[at + draw(st.integers(0, 3)) :]


def _inside(text):
    """Return a text that, taken for a path, leads to no place outside of the current folder."""
    return re.sub(r"^(file:/+|[/~])", "", text.replace("..", ".")).replace("\0", "")


@st.composite
def arguments(draw, command, given=None):
    """Draw the arguments of a command: ``given`` surely, of the others some, often only such as are right."""
    words, behind = [], []
    careful = draw(st.booleans())
    for one in command.params:
        wanted = one is given or draw(st.integers(0, 9)) < (9 if one.required else 1)
        many = wanted and (one.nargs == -1 if option(one) is None else one.multiple)
        for _ in range(draw(st.integers(1, 2)) if many else wanted):
            if option(one) is not None and one.is_flag:
                words.append(option(one))
                continue
            value = draw(right(one) if careful and one is not given else values(one))
            if option(one) is None:
                behind.append(value)
            else:
                words += [f"{option(one)}={value}"] if draw(st.booleans()) else [option(one), value]
    return [*words, *behind]
