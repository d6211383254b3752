"""Show a certificate of a machine: as a table, and as the sentence below a comparison."""

from typing import Any

from gapbench.report import format as fmt
from gapbench.store.certificates import Certificate, Power


def rows(certificate: Certificate) -> list[dict[str, Any]]:
    """Return a row for each planted change, over all cases and then for each case."""
    return [_row(power) for power in (*certificate.power, *certificate.by_case)]


def _row(power: Power) -> dict[str, Any]:
    return {
        "planted": f"+{power.change:.0%}",
        "case": power.case or "all",
        "found": f"{power.found} of {power.trials}",
        "95 % interval": _percent(power.low, power.high),
        "measured": "" if power.measured is None else f"{power.measured - 1:+.1%}",
        "predicted": "" if power.predicted is None else _held_out(power),
    }


def _held_out(power: Power) -> str:
    return f"{power.predicted:.0%}, then {power.held_out_found} of {power.held_out}"


def _percent(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.0%} to {high:.0%}"


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
