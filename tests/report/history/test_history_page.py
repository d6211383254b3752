import json

import pytest
from stored import AB, CASE, OTHER, keep, side

from gapbench.report import history as page
from gapbench.report import html, site
from gapbench.store.run import decode
from gapbench.store.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # in no repository: by start
    return Store(str(tmp_path / "results"))


def named(number):
    return f"202611{10 + number:02}T101112Z-abc1234-{number:04}"


def runs(store, count, slower_from=10**9, **changes):
    """Store runs in which `fast` becomes 1.3 times slower."""
    for number in range(count):
        speeds = {"fast": 1.3 if number >= slower_from else 1.0}
        git = {"commit": f"{number:07x}" * 5, "branch": "main", "subject": "Pool", "dirty": False}
        keep(store, side(named(number), speeds, seed=number, spread=0.001, git=git, **changes))


def test_what_stepped_comes_first_with_where_and_how_much(store):
    runs(store, 8, slower_from=4)
    history = page.read(store)
    assert history.trends[0].implementation == "fast"
    assert history.scope.startswith("8 runs, by start time")
    assert "1 of 4 trends stepped" in html.history_page(history)
    row = page.data(history.trends)["trends"]["columns"]
    assert row["at"] == {"names": ["0000004"], "codes": [0, -1, -1, -1]}
    assert row["ratio"]["values"][0] / row["ratio"].get("per", 1) == pytest.approx(1.3, rel=0.1)


def test_every_point_is_there_once(store):
    runs(store, 3, cases=(CASE, OTHER))
    history = page.read(store)
    data = page.data(history.trends)
    assert data["trends"]["count"] == len(history.trends) == 8
    assert data["points"]["count"] == sum(len(item.points) for item in history.trends) == 24
    json.dumps(data, allow_nan=False)


def test_the_newest_runs_are_read_as_far_as_the_page_reaches(store, monkeypatch):
    runs(store, 5)
    monkeypatch.setattr(page, "MOST_ROWS", 12)
    history = page.read(store)
    assert {point.run for item in history.trends for point in item.points} == {named(2), named(3), named(4)}
    assert "The store has more" in history.scope
    monkeypatch.setattr(page, "MOST_ROWS", 3)
    assert page.read(store) == page.History(
        [], "No complete run is small enough to show here; see: gapbench history CASE"
    )


def test_what_is_no_plain_complete_run_is_left_out(store, tmp_path):
    runs(store, 1)
    store.create(decode({"run": named(2), "started": None}))
    keep(store, side(named(3), ab=AB))
    (tmp_path / "results" / named(4)).mkdir()
    (tmp_path / "results" / named(4) / "run.json").write_text("{")
    assert {point.run for item in page.read(store).trends for point in item.points} == {named(0)}


def test_a_run_of_damaged_results_hides_no_other(store, tmp_path):
    runs(store, 4)
    damaged = tmp_path / "results" / named(2) / "results.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    history = page.read(store)
    assert {point.run for item in history.trends for point in item.points} == {named(0), named(1), named(3)}
    assert "The store has more" in history.scope


def test_an_empty_store_has_an_empty_history(store):
    history = page.read(store)
    assert history == page.History([], "")
    assert "No run has any times." in html.history_page(history)


def test_a_site_links_index_history_and_cases(store, tmp_path):
    runs(store, 1)
    (written,) = site.write(store, [named(0)], tmp_path / "reports")
    assert 'href="history.html"' in (tmp_path / "reports" / "index.html").read_text()
    assert 'data-history="history.html"' in written.read_text()
    (alone,) = site.write(store, [named(0)], tmp_path / "single", single_file=True)
    assert "data-history=" not in alone.read_text()
