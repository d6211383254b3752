import numpy as np
import pool as pools
import pytest

from gapbench.statistics import stats


def test_rows_are_rounds_by_turns_and_their_value_is_the_engine_s_of_the_turns_ratios(recorded):
    frame = recorded(turn_noise=0.05, rounds=3, turns=5, cases=2)
    row = pools.from_samples(frame).rows["case01", 5]
    own = frame[(frame["case"] == "case01") & (frame["implementation"] == "pool_5")]
    base, head = (
        own[(own["contender"] == side) & (own["round"] == 2)].sort_values("turn")["seconds_per_call"].to_numpy()
        for side in ("base", "head")
    )
    assert row.rounds == 3
    assert row.base[2].tolist() == base.tolist()
    assert row.log_ratios[2] == stats.round_log_ratio(head, base)


def test_a_round_with_fewer_turns_has_a_value_of_the_turns_that_it_has(recorded):
    frame = recorded(levels=(0,), turn_noise=0.05, rounds=3, turns=5, cases=1)
    whole = pools.from_samples(frame).rows["case00", 0]
    shorter = pools.from_samples(frame[(frame["round"] != 1) | (frame["turn"] < 3)]).rows["case00", 0]
    assert np.isnan(shorter.base[1]).tolist() == [False] * 3 + [True] * 2
    assert shorter.log_ratios[1] == stats.round_log_ratio(whole.head[1, :3], whole.base[1, :3])


def test_a_share_of_a_round_is_of_turns_from_all_over_it(recorded):
    row = pools.from_samples(recorded(levels=(0,), turn_noise=0.05, rounds=2, turns=16, cases=1)).rows["case00", 0]
    for share, kept in [(8, range(16)), (4, range(0, 16, 2)), (2, range(0, 16, 4)), (1, (0, 8))]:
        base, head = row.turns(share)
        assert base.tolist() == row.base[:, list(kept)].tolist()
        assert head.tolist() == row.head[:, list(kept)].tolist()
        assert pools.log_ratios(row, share)[1] == stats.round_log_ratio(head[1], base[1])
    assert len(row.turns(6)[0][0]) == 12


def test_a_row_knows_what_its_rounds_took(recorded):
    facts = {"overheads": {"case00": 0.3}, "slice_seconds": 0.2}
    rows = pools.from_samples(recorded(levels=(0,), cases=2, **facts)).rows
    assert (rows["case00", 0].overhead, rows["case00", 0].slice_seconds) == (0.3, 0.2)
    assert rows["case01", 0].overhead == pools.Row.overhead


def test_the_hidden_copy_is_a_row_of_its_own_where_there_is_one(quiet):
    assert quiet.rows["case03", 0].null.rounds == 60
    assert quiet.rows["case04", 0].null is None
    assert quiet.rows["case00", 5].null.log_ratios == pytest.approx(0, abs=1e-12)


def test_a_diff_has_one_row_a_case_at_the_level_where_it_is_changed(quiet):
    rows = quiet.diff(5, ["case07"])
    assert [row.case for row in rows] == quiet.cases
    assert [row.level for row in rows] == [5 if case == "case07" else 0 for case in quiet.cases]


def test_a_round_costs_what_was_recorded_and_the_batches_of_those_who_join(recorded):
    pool = pools.from_samples(recorded(levels=(0, 5, 10), cases=2, turns=4, seconds_per_round=0.02))
    timed = 2 * 4 * 25 * 1e-5  # both sides' turns of 25 calls of 10 µs
    assert pool.seconds_per_round(1) == pytest.approx(0.02)
    assert pool.seconds_per_round(3) == pytest.approx(0.02 + 2 * timed, rel=0.1)  # levels do a little more
    assert np.isnan(pools.from_samples(recorded(cases=1)).seconds_per_round(1))


def test_what_is_no_pool_is_refused(recorded):
    frame = recorded(cases=2)
    with pytest.raises(ValueError, match="no pool: 3 rows of 2 cases"):
        pools.from_samples(frame[(frame["case"] == "case00") | (frame["implementation"] == "pool_0")])


def test_a_recording_survives_its_file(recorded, tmp_path):
    recorded(cases=1, neighbour="busy", seconds_per_round=0.5).to_parquet(tmp_path / "pool.parquet")
    assert dict(pools.read(tmp_path / "pool.parquet").attributes) == {"neighbour": "busy", "seconds_per_round": 0.5}
