import json
import string
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report import badges

SVG = "{http://www.w3.org/2000/svg}"


def run_card(name="20261122T101112Z-abc1234-0001", started="2026-11-22 10:11 UTC", suites="quick", trust="trusted"):
    return {"kind": "run", "name": name, "started": started, "suites": suites, "trust": trust}


def diff_card(said, red=0, head="20261122T101112Z-abc1234-0001", base="b"):
    return {"kind": "diff", "name": f"{base}..{head}", "said": said, "red": red, "started": ""}


def color(said, **others):
    return badges.message(run_card(), [diff_card(said, **others)])[1]


@pytest.mark.parametrize(
    ("said", "red", "expected"),
    [
        ("2 regressed, 1 failed_head, 3 equivalent", 3, "2 regressed, 1 failed head"),
        ("1 regressed, 2 improved, 3 inconclusive", 1, "1 regressed, 2 improved, 3 inconclusive"),
        ("12 equivalent", 0, "no regression"),
        ("4 improved, 1 inconclusive, 2 equivalent", 0, "no regression, 4 improved, 1 inconclusive"),
        ("4 inconclusive", 0, "4 inconclusive"),
        ("4 environment_mismatch", 0, "4 environment mismatch"),
        ("nothing to compare", 0, "nothing to compare"),
    ],
)
def test_the_message_is_what_the_diff_found_and_claims_no_more(said, red, expected):
    message, _ = badges.message(run_card(), [diff_card("9 regressed", 9, head="other"), diff_card(said, red)])
    assert message == f"{expected}, 2026-11-22"


def test_without_a_diff_it_says_so_and_without_a_date_there_is_none():
    others = [
        diff_card("1 equivalent", head="other"),
        diff_card("1 equivalent", head="x-20261122T101112Z-abc1234-0001"),
    ]
    assert badges.message(run_card(started=""), others)[0] == "not compared"


def test_colours_are_of_regressions_of_their_absence_and_of_neither():
    colors = {color("1 regressed", red=1), color("1 equivalent"), color("1 inconclusive")}
    assert len(colors) == 3
    assert color("1 failed_head", red=1) == color("1 regressed, 8 improved", red=1)


def test_an_untrusted_run_is_not_green():
    message, shown = badges.message(run_card(trust="untrusted"), [diff_card("1 equivalent")])
    assert message.startswith("untrusted, no regression")
    assert shown == color("1 inconclusive")


def test_each_suite_has_the_badge_of_its_newest_run():
    cards = [run_card(f"r{number}", f"2026-11-{30 - number} 10:11 UTC", suites) for number, suites in
             enumerate(["ci", "quick", "ci", "ci, quick", "", "…/mine.py"])]  # fmt: skip
    files = badges.files(cards, [])
    names = {"badge", "badge-ci", "badge-quick", "badge-ci-quick", "badge-mine.py"}
    assert files.keys() == {f"{name}.{kind}" for name in names for kind in ("svg", "json")}
    assert "2026-11-30" in files["badge.json"]
    assert "2026-11-30" in files["badge-ci.json"]
    assert "2026-11-29" in files["badge-quick.json"]


def test_no_run_is_no_badge():
    assert badges.files([], [diff_card("1 equivalent")]) == {}


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("<>&\"'\0\x1b/.")), max_size=100)


@given(suites=TEXTS, said=TEXTS, started=TEXTS)
def test_whatever_the_pages_say_badges_are_xml_and_json_in_the_folder(suites, said, started):
    files = badges.files([run_card(started=started, suites=suites)], [diff_card(said)])
    for name, text in files.items():
        assert set(name) <= {*string.ascii_letters, *string.digits, *"+-._"}
        assert name.startswith("badge")
        assert len(name) < 100
        if name.endswith(".json"):
            badge = json.loads(text)
            assert badge.keys() == {"schemaVersion", "label", "message", "color"}
            root = ElementTree.fromstring(files[name.replace(".json", ".svg")])  # noqa: S314 - our own
            assert [shown.text for shown in root.iter(f"{SVG}text")] == [badge["label"], badge["message"] or None]
            assert root.get("aria-label") == f"{badge['label']}: {badge['message']}"


def test_a_longer_text_has_a_wider_badge_that_holds_it():
    widths = []
    for said in ("1 regressed", "1 regressed, 2 improved, 33 inconclusive"):
        root = ElementTree.fromstring(badges.files([run_card()], [diff_card(said, 1)])["badge.svg"])  # noqa: S314 - our own
        *_, text = root.iter(f"{SVG}text")
        assert float(text.get("x")) + float(text.get("textLength")) + 5 == float(root.get("width"))
        widths.append(float(root.get("width")))
    assert widths[0] < widths[1]
