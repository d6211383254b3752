"""Why rows are red: from the store into every format."""

import json
import re

import pytest
from factories import CASE, a_run
from profiled import document

from gapbench.cli.diff import render
from gapbench.report import html
from gapbench.report.diff import github
from gapbench.report.diff.lines import explained, sentences
from gapbench.statistics.verdicts import Verdict
from gapbench.store import profiles
from gapbench.store.run import Run
from gapbench.store.store import Store

WHY = {
    "sentence": "`fast` takes twice as long",
    "seconds": 2e-5,
    "findings": [
        {"kind": "operator", "sentence": "aten::copy_ is new", "seconds": 1.5e-5},
        {"kind": "memory", "sentence": "the peak is 2 MiB", "seconds": None},
    ],
    "source_diff": {"generated.py": "--- base/generated.py\n+x"},
}


@pytest.fixture
def red(make, make_row):
    def build(why=WHY, **changes):
        return make(make_row(explanation=why, case=CASE.id, **changes), make_row(Verdict.EQUIVALENT, "other"))

    return build


def test_they_are_read_from_heads_profile_and_put_to_red_rows_alone(tmp_path, make, make_row):
    store = Store(str(tmp_path / "results"))
    run = a_run(store)
    profiles.keep(store, run, document("fast", side="base"), {})
    profiles.keep(store, run, document("fast", side="head", explanation=WHY), {})
    rows = (
        make_row(case=CASE.id),
        make_row(case=CASE.id, clock="host_cold"),
        make_row(Verdict.EQUIVALENT, case=CASE.id),
        make_row(implementation="other", case=CASE.id),
    )
    of_ab = make(*rows, base=Run(id=run), head=Run(id=run))
    assert [row.explanation for row in explained(store, of_ab).rows] == [WHY, WHY, None, None]
    stored = make(*rows)
    assert explained(store, stored) is stored


@pytest.mark.parametrize("name", ["table", "markdown", "github"])
def test_every_format_has_the_sentences_in_order(red, name):
    text = re.sub(r"\\(.)", r"\1", render(red(), name))
    places = [text.find(sentence) for sentence in sentences(red().rows[0])]
    assert places == sorted(places)
    assert places[0] > 0


def test_the_contract_has_the_whole_and_null_where_there_is_none(red):
    first, second = json.loads(render(red(), "json"))["cases"]
    assert (first["explanation"], second["explanation"]) == (WHY, None)


def test_without_explanations_no_format_speaks_of_them(red):
    for name in ("table", "markdown", "github"):
        assert "copy" not in render(red(None), name)
    assert 'id="why"' not in html.diff_page(red(None), pages=(), redact=False, single_file=False)


def test_hostile_sentences_stay_text(red, hostile):
    finding = {"kind": "operator", "sentence": hostile, "seconds": 1.0}
    why = WHY | {"sentence": hostile, "findings": [finding], "source_diff": {hostile: hostile}}
    page = html.diff_page(red(why), pages=(), redact=False, single_file=True)
    assert "<script>alert" not in page
    assert "<script>" not in render(red(why), "markdown")
    assert all(line.startswith(("::", "1 ")) for line in github.render(red(why)).splitlines())
    assert len(github.render(red(why)).splitlines()) == 2


def test_the_page_masks_paths_and_links_the_profiles(red):
    why = WHY | {"sentence": "head could not be profiled: no /home/alice/lab/mine.py", "findings": []}
    diff = red(why)
    page = html.diff_page(diff, pages=(), redact=False, single_file=False, profiled={CASE.id: [document("fast")]})
    assert "alice" not in page
    assert f'href="{diff.head.id}.{CASE.id}.html"' in page
    assert "+x" in page
