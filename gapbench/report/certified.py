"""Show a certificate of a machine: as a table, and as the sentence below a comparison."""

from typing import Any

from gapbench.report import format as fmt
from gapbench.store.certificates import Certificate


def rows(certificate: Certificate) -> list[dict[str, Any]]:
    """Return a row for each planted change, over all cases and then for each case."""
    return [
        {
            "planted": f"+{power.change:.0%}",
            "case": power.case or "all",
            "found": f"{power.found} of {power.trials}",
            "95 % interval": "" if power.low is None else f"{power.low:.0%} to {power.high:.0%}",
            "measured": "" if power.measured is None else f"{power.measured - 1:+.1%}",
            "predicted": ""
            if power.predicted is None
            else f"{power.predicted:.0%}, then {power.held_out_found} of {power.held_out}",
        }
        for power in (*certificate.power, *certificate.by_case)
    ]


def false_red(certificate: Certificate) -> str:
    """Return how often identical code was red, as a sentence."""
    counted = certificate.false_red
    upper = "" if counted.upper is None else f" (at most {counted.upper:.1%}, with 95 % confidence)"
    return f"identical code was red in {counted.red} of {fmt.counted(counted.runs, 'comparison')}{upper}"


def sentence(certificate: Certificate) -> str:
    """Return what a certificate says of comparisons on its machine."""
    shares = ", ".join(f"+{power.change:.0%} {power.found} of {power.trials}" for power in certificate.power)
    conditions = f"{certificate.seconds:.0f} s for {fmt.counted(len(certificate.cases), 'case')}"
    return (
        f"certified on {certificate.started[:10]}: of slowdowns planted on this machine ab found {shares} "
        f"({conditions}); {false_red(certificate)}"
    )
