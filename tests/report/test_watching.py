"""A run that is measured while its page is open, in a real browser; `watch` fails a test on any error there."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from growing import CASES, RUN, begun, grow, results
from playwright.sync_api import expect

HOSTILE = "<img src=x onerror=window.pwned=1></script><b>`${1}"


@pytest.fixture
def watch(browser, server):
    """Return a function that opens an address of the server; errors and foreign requests fail the test."""
    contexts, untoward = [], []

    def asked(request):
        if not request.url.startswith((server.url, "data:", "blob:")):
            untoward.append(request.url)

    def watch(address="", clock=False, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: untoward.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: untoward.append(f"error: {error}"))
        page.on(
            "request", lambda asked: asked.url.startswith((server.url, "data:", "blob:")) or untoward.append(asked.url)
        )
        page.goto(server.url + address)
        page.wait_for_selector("html[data-ready]")
        return page

    yield watch
    for context in contexts:
        context.close()
    assert untoward == []


def row(page, place):
    return page.locator("#rows tr").nth(place)


def test_a_run_is_followed_from_its_first_round_to_its_page(store, watch):
    writer = begun(store)
    page = watch(f"live?run={RUN}")
    expect(page.locator("#said")).to_have_text("No round yet: results are checked first.")
    expect(row(page, 0)).to_contain_text("waiting")
    grow(writer, CASES[0], 0)
    expect(page.locator("#counts")).to_contain_text("1 in progress")
    expect(row(page, 0)).to_contain_text("★fast")
    expect(row(page, 0)).to_contain_text("tied so far with mean, slow")
    for number in range(1, 6):
        grow(writer, CASES[0], number)
    expect(row(page, 0).locator(".level")).to_have_text("✓ done")
    expect(row(page, 0).locator("td[data-label=Rounds]")).to_have_text("6")
    expect(row(page, 0)).to_contain_text(re.compile(r"10\.\d µs \[.*0\.50× \["))  # noqa: RUF001
    expect(row(page, 1)).to_contain_text("waiting")
    expect(page.locator("#said")).to_have_text("1 of 3 cases are done.")
    writer.finish(results(writer))
    page.wait_for_url(f"**/{RUN}.html")
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#winners")).to_contain_text("fast")
    page.go_back()  # to where the reader came from, not into a circle
    assert not page.url.startswith("http")


def test_an_interrupted_run_says_how_to_go_on_and_is_followed_again(store, watch):
    writer = begun(store)
    grow(writer, CASES[0], 0)
    writer.interrupt(results(writer))
    page = watch(f"live?run={RUN}")
    expect(page.locator("#state")).to_have_text("! interrupted")
    expect(page.locator("#command")).to_have_text(f"gapbench run --resume {RUN}")
    grow(store.reopen(RUN), CASES[1], 0)
    expect(page.locator("#state")).to_have_text("● running")
    expect(page.locator("#command")).to_be_hidden()
    expect(row(page, 1)).to_contain_text("in progress")


def test_the_index_shows_what_begins_and_what_ends(store, watch):
    page = watch()
    expect(page.locator("#none")).to_be_visible()
    writer = begun(store)
    grow(writer, CASES[0], 0)
    entry = page.locator("#open tr")
    expect(entry).to_contain_text("● running")
    expect(page.locator("#none")).to_be_hidden()
    writer.finish(results(writer))
    expect(entry).to_contain_text("✓ complete")
    entry.get_by_role("link").click()
    page.wait_for_url(f"**/{RUN}.html")
    page.get_by_role("link", name="All reports").click()
    page.wait_for_selector("[data-list=runs]")
    expect(page.locator("#runs")).to_contain_text(RUN)


def test_a_server_that_has_ended_and_one_that_is_back(store, watch, server, browser):
    begun(store)
    page = browser.new_page()
    page.goto(f"{server.url}live?run={RUN}")
    page.route("**/live.json*", lambda route: route.abort())
    expect(page.locator("#problem")).to_contain_text("gapbench report --serve, which has ended")
    page.unroute("**/live.json*")
    expect(page.locator("#problem")).to_be_hidden()
    page.close()


def test_nobody_who_does_not_look_is_served(store, watch):
    begun(store)
    page = watch(f"live?run={RUN}", clock=True)
    with page.expect_response("**/live.json*"):
        page.clock.run_for(1000)
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10_000)
    assert asked == []
    page.evaluate("delete document.hidden")
    with page.expect_request("**/live.json*"):
        page.clock.run_for(1000)


def test_hostile_names_stay_names(store, watch):
    names = ("mean", HOSTILE)
    writer = begun(store, names=names, git={"commit": "abc1234", "subject": HOSTILE}, suites=[HOSTILE])
    grow(writer, CASES[0], 0, seconds={"mean": 2e-5, HOSTILE: 1e-5})
    for address in (f"live?run={RUN}", ""):
        page = watch(address)
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
        assert page.evaluate("window.pwned") is None
        assert page.locator("img, b b").count() == 0


def test_served_pages_work_as_they_do_from_the_disk(store, watch, server):
    writer = begun(store)
    for number in range(6):
        grow(writer, CASES[0], number)
    writer.finish(results(writer))
    page = watch(f"{RUN}.html")
    page.locator("[data-table=winners] tbody button").first.click()
    page.wait_for_selector("#case .chart .main-svg")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious_and_a_phone_never_scrolls_sideways(store, watch, scheme, width):
    writer = begun(store)
    for number in range(6):
        grow(writer, CASES[0], number)
    grow(writer, CASES[1], 0)
    other = begun(store, run=f"{RUN[:-1]}a")
    other.interrupt(results(other))
    for address in (f"live?run={RUN}", f"live?run={other.id}", ""):
        page = watch(address, color_scheme=scheme, viewport={"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
