"""What is at which address: pages, data, and nothing else of the disk."""

import json
import os

import pytest
from fabricated import a_run
from growing import CASES, RUN, begun, grow, results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import AB, keep, two_sides

from gapbench.report import assets, site
from gapbench.report.served import Served
from gapbench.store import Store

OK, FOUND, MISSING = 200, 302, 404


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def served(store, tmp_path):
    return Served(store, tmp_path / "reports")


def live(served):
    return json.loads(served.answer("/live.json").body)["runs"]


def test_without_runs_there_is_an_index_that_says_how_to_begin_one_and_it_is_found(served, store):
    page = served.answer("/")
    assert (page.status, page.kind) == (OK, "text/html")
    assert "gapbench run" in page.body
    begun(store)
    assert [one["run"] for one in live(served)] == [RUN]
    assert RUN in served.answer("/index.html").body


def test_the_history_is_that_of_the_runs_complete_by_now(served, store):
    assert "No run has timed anything." in served.answer("/history.html").body
    keep(store, two_sides()[0])
    assert "0 of 4 trends stepped" in served.answer("/history.html").body


def test_a_run_has_its_live_page_while_it_is_measured_and_its_own_page_then(served, store, tmp_path):
    writer = begun(store)
    grow(writer, CASES[0], 0)
    there = served.answer(f"/{RUN}.html")
    assert (there.status, there.place) == (FOUND, f"live?run={RUN}")
    assert served.answer(f"/{there.place}").status == OK
    assert json.loads(served.answer(f"/live.json?run={RUN}").body)["rounds"] == 1
    assert not (tmp_path / "reports").exists()
    writer.finish(results(writer))
    state = json.loads(served.answer(f"/live.json?run={RUN}").body)
    assert (state["state"], state["page"]) == ("complete", f"{RUN}.html")
    assert "Which implementation?" in served.answer(f"/{RUN}.html").body


def test_what_is_completed_gets_its_page_and_stands_in_the_index(served, store, tmp_path):
    writer = begun(store)
    grow(writer, CASES[0], 0)
    assert live(served)[0]["state"] == "running"
    writer.finish(results(writer))
    assert (live(served)[0]["state"], live(served)[0]["page"]) == ("complete", f"{RUN}.html")
    assert (tmp_path / "reports" / f"{RUN}.html").is_file()
    assert f'href="{RUN}.html"' in served.answer("/").body


def test_runs_that_were_complete_before_are_not_news_and_have_pages_all_the_same(store, tmp_path):
    run = a_run(store)
    served = Served(store, tmp_path / "reports")
    assert live(served) == []
    assert served.answer(f"/{run}.html").status == OK


def test_a_page_is_written_anew_only_where_the_store_knows_more(served, store, tmp_path):
    run = a_run(store)
    page = tmp_path / "reports" / f"{run}.html"
    served.write(run)
    written = page.stat().st_mtime_ns
    served.write(run)
    assert page.stat().st_mtime_ns == written
    os.utime(page, (0, 0))
    served.write(run)
    assert page.stat().st_mtime_ns > 0


def test_an_interrupted_run_shows_its_results_so_far(served, store):
    writer = begun(store)
    grow(writer, CASES[0], 0)
    writer.interrupt(results(writer).assign(status="ok"))
    (one,) = live(served)
    assert (one["state"], one["page"]) == ("interrupted", f"{RUN}.html")
    assert f"gapbench run --resume {RUN}" in served.answer(f"/{one['page']}").body


@pytest.mark.parametrize("left", [{"ab": AB}, {}])
def test_an_interrupted_run_without_anything_to_show_leads_to_how_to_go_on(served, store, left):
    writer = begun(store, **left)
    if left:
        grow(writer, CASES[0], 0, contender="base")
    writer.interrupt(results(writer))
    (one,) = live(served)
    assert (one["state"], one["page"]) == ("interrupted", None)
    assert served.answer(f"/{RUN}.html").place == one["live"]
    assert one["command"] in served.answer(f"/{one['live']}").body


def test_a_run_whose_page_cannot_be_written_says_so_and_the_others_are_shown(store, tmp_path):
    (tmp_path / "reports").write_text("in the way")
    served = Served(store, tmp_path / "reports")
    for run in (RUN, f"{RUN[:-1]}a"):
        writer = begun(store, run=run)
        grow(writer, CASES[0], 0)
    writer.finish(results(writer))
    running, complete = live(served)
    assert (running["state"], running["run"]) == ("running", RUN)
    assert "choose another folder" in complete["said"]
    assert complete["page"] is None


def test_a_damaged_run_does_not_take_the_others_down(served, store, tmp_path):
    begun(store)
    (tmp_path / "results" / "bad").mkdir()
    (tmp_path / "results" / "bad" / "run.json").write_text("{")
    assert [one["run"] for one in live(served)] == [RUN]
    answer = served.answer("/live?run=bad")
    assert answer.status == MISSING
    assert "run.json is damaged" in answer.body


def test_a_baseline_and_redaction_hold_for_every_page(store, tmp_path):
    base, head = [keep(store, one) for one in two_sides(tag="secret-tag")]
    served = Served(store, tmp_path / "reports", baseline=base, redact=True)
    page = served.answer(f"/{head}.html").body
    assert f"{base}..{head}" in page
    assert "secret-tag" not in page
    assert served.answer(f"/{base}..{head}.html").status == OK
    begun(store, argv=["secret-argv"], tag="secret-tag")
    assert "secret" not in served.answer(f"/live?run={RUN}").body


def test_hostile_texts_stay_texts(served, store):
    hostile = "<script>pwned</script>\"'><img src=x>"
    begun(store, names=("mean", hostile), suites=[hostile], git={"commit": "abc1234", "subject": hostile})
    for address in ("/", f"/live?run={RUN}"):
        assert "<script>pwned" not in served.answer(address).body
        assert "<img" not in served.answer(address).body


def test_pages_share_what_their_server_has_and_what_older_ones_left(served, tmp_path):
    for asset in (*assets.all_of_them(), assets.live_script()):
        assert served.answer(f"/{asset.name}").body == asset.text
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "report-0123abcd.css").write_text("older")
    assert served.answer("/report-0123abcd.css").body == "older"


@pytest.fixture
def secrets(store, tmp_path):
    """Files that nobody may get, beside a page that is served."""
    site.write(store, [a_run(store)], folder := tmp_path / "reports")
    (folder / "inner").mkdir()
    for place in ("secret.html", "inner/secret.html", "secret.js", "secret.txt", "../secret.html", "../secret.css"):
        (folder / place).write_text("secret")
    (folder / ".hidden.html").write_text("secret")
    outside = folder / "../page.html"
    outside.write_bytes(next(folder.glob("2*.html")).read_bytes() + b"secret")
    (folder / "linked.html").symlink_to(outside)
    (folder / "report-linked.js").symlink_to(folder / "../secret.css")
    return folder


STEPS = ("..", ".", "", "%2e%2e", "..%2f", "%2e%2e%2f", "%5c..", "..\\", "inner", "reports", "results", "%00", "a..b")
NAMES = ("secret.html", "secret.css", "secret.js", "secret.txt", ".hidden.html", "page.html", "linked.html",
         "report-linked.js", "etc/passwd", "run.json")  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(STEPS), max_size=4), st.sampled_from(NAMES), st.sampled_from(["/", "//", "", "http://x/"])
)
def test_nothing_but_pages_of_ours_is_ever_served(secrets, served, steps, name, begin):
    answer = served.answer(begin + "/".join([*steps, name]))
    assert answer.status == MISSING
    assert "secret" not in answer.body


@pytest.mark.parametrize("page", ["live", "live.json", ".html"])
def test_runs_of_other_stores_are_out_of_reach(served, store, tmp_path, page):
    begun(store)
    writer = begun(Store(str(tmp_path / "other")))
    grow(writer, CASES[0], 0)
    for way in ("../other/", "..%2Fother%2F", "../results/../other/", f"{tmp_path}/other/", f"{RUN}/../../other/"):
        answer = served.answer(f"/{way}{RUN}{page}" if page == ".html" else f"/{page}?run={way}{RUN}")
        assert answer.status == MISSING


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_no_address_is_an_error(served, target):
    assert served.answer("/" + target).status in (OK, 204, MISSING)
