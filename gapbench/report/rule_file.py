"""Write a rule as a Python file that needs neither gapbench nor PyTorch."""

import gapbench
from gapbench.analysis.rule import CONDITION, Rule
from gapbench.report import plain_text
from gapbench.store.records import REFERENCE
from gapbench.store.run import Run

BEGIN = '"""Which implementation of global average pooling'


def source(rule: Rule, run: Run) -> str:
    """Return the code: a function of shape, dtype and layout, and what is known about its regret."""
    return plain_text.render(
        "rule.py.j2", rule=rule, run=run, version=gapbench.__version__, percent=percent, reference=REFERENCE,
        machine=run.machine.description(str(rule.condition["device"])) or "an unknown machine",
        condition=", ".join(f"{name} {rule.condition[name]}" for name in CONDITION[2:]),
    )  # fmt: skip


def percent(share: float) -> str:
    """Return a regret in words: ``2.1 %``."""
    return f"{share * 100:.1f} %"
