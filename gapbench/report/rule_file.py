"""Write a rule as a Python file that needs neither gapbench nor PyTorch."""

import json
from pathlib import Path

import jinja2

import gapbench
from gapbench.analysis.rule import CONDITION, NUMBERS, Leaf, Rule, Tree
from gapbench.store.records import REFERENCE
from gapbench.store.run import Run

_BEGIN = b'"""Which implementation of global average pooling'


def source(rule: Rule, run: Run) -> str:
    """Return the code: a function of shape, dtype and layout, and what is known about its regret."""
    machine = run.machine.description(str(rule.condition["device"])) or "an unknown machine"
    condition = ", ".join(f"{name} {rule.condition[name]}" for name in CONDITION[2:])
    bound = (
        "no bound of it is known" if rule.bound is None else f"at most {percent(rule.bound)} with 95 % confidence each"
    )
    if rule.held_out_cases:
        worst = "unknown, as what it chose was not timed" if rule.held_out is None else percent(rule.held_out)
        held_out = (
            f"Worst regret over {rule.held_out_cases} cases of shapes that were left out when it was learnt: {worst}."
        )
    else:
        held_out = "No shape lies between others, so there is nothing known of shapes that were not measured."
    environment = jinja2.Environment(  # noqa: S701 - it writes Python
        loader=jinja2.PackageLoader("gapbench.report"), trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("rule.py.j2").render(
        rule=rule, version=gapbench.__version__, percent=percent, bound=bound, held_out=held_out,
        measured=f"Run {run.id} on {machine}: {condition}.", reference=REFERENCE, body=_body(rule.tree, 1),
        key_of=lambda key: f"({', '.join(map(json.dumps, key))})",
        snippets={name: run.snippets[name] for name in rule.implementations if name in run.snippets},
    )  # fmt: skip


def is_rule(file: Path) -> bool:
    """Tell whether a file is one that `source` made."""
    return file.read_bytes().startswith(_BEGIN)


def percent(share: float) -> str:
    """Return a regret in words: ``2.1 %``."""
    return f"{share * 100:.1f} %"


def _body(tree: Tree, depth: int) -> str:
    indent = "    " * depth
    if isinstance(tree, Leaf):
        return f"{indent}return {json.dumps(tree.implementation)}"
    is_number = tree.feature in NUMBERS
    test = f"{tree.feature} <= {tree.value}" if is_number else f"{tree.feature} == {json.dumps(tree.value)}"
    return f"{indent}if {test}:\n{_body(tree.first, depth + 1)}\n{_body(tree.second, depth)}"
