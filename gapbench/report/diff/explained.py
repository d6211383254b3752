"""Why rows are red, where ``gapbench ab --explain`` found out: read from the run's profiles, and put into lines."""

from dataclasses import replace

from gapbench.compare import Diff, Row
from gapbench.store import Store, profiles
from gapbench.verdicts import Verdict


def explained(store: Store, diff: Diff) -> Diff:
    """Return a diff of a run's two sides with the explanations that are kept beside the run."""
    if not diff.is_interleaved:
        return diff
    documents = [one for of_case in profiles.read(store, diff.head.id).values() for one in of_case]
    found = {(one["case"], one["implementation"]): one["explanation"] for one in documents if one.get("explanation")}

    def with_why(row: Row) -> Row:
        known = row.verdict is Verdict.REGRESSED
        return replace(row, explanation=found.get((row.case, row.implementation)) if known else None)

    return replace(diff, rows=tuple(map(with_why, diff.rows)))


def sentences(row: Row) -> list[str]:
    """Return what is known of why a row is slower: the whole in a sentence, then what makes it, the largest first."""
    if row.explanation is None:
        return []
    return [row.explanation["sentence"], *(one["sentence"] for one in row.explanation["findings"])]
