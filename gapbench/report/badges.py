"""Make badges of what the newest run found against its baseline: SVG, and JSON for shields.io."""

import json
import re
from collections.abc import Sequence

from gapbench.report import html

_GOOD, _BAD, _NEUTRAL = "#0b6f66", "#b3261e", "#56616d"  # white text is legible on each


def files(runs: Sequence[html.Card], diffs: Sequence[html.Card]) -> dict[str, str]:
    """Return the badges of the newest run and of each suite by file name, from cards of pages, newest first."""
    newest = {"badge": ("gapbench", runs[0])} if runs else {}
    for card in runs:
        if name := re.sub(r"[^\w.+-]+", "-", card["suites"], flags=re.ASCII).strip("-"):
            newest.setdefault(f"badge-{name[:80]}", (f"gapbench {card['suites'][:60]}", card))
    texts: dict[str, str] = {}
    for name, (words, card) in newest.items():
        label, said, color = ("".join(filter(str.isprintable, text)) for text in (words, *message(card, diffs)))
        badge = {"schemaVersion": 1, "label": label, "message": said, "color": color}
        texts |= {f"{name}.json": json.dumps(badge), f"{name}.svg": html.render("badge.svg.j2", False, badge)}
    return texts


def message(run: html.Card, diffs: Sequence[html.Card]) -> tuple[str, str]:
    """Return what a run's badge says, and its colour: the verdicts of the run's diff, and the date."""
    of_run = (card for card in diffs if card["name"].endswith(f"..{run['name']}"))
    verdicts, red = next(((diff["said"], diff["red"]) for diff in of_run), ("not compared", 0))
    said, color = [part for part in verdicts.split(", ") if not part.endswith(" equivalent")], _BAD if red else _NEUTRAL
    if not red and re.search(r"\d (equivalent|improved)", verdicts):  # else nothing was decided
        said, color = ["no regression", *said], _GOOD
    if run["trust"] == "untrusted":
        said, color = ["untrusted", *said], _NEUTRAL
    return ", ".join([*said, *re.findall(r"^\d{4}-\d\d-\d\d", run["started"])]).replace("_", " "), color
