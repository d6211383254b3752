import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.workloads.cases import parse_duration, parse_shard, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5s", 1.5), ("5m", 300), ("0.5m", 30), ("1h", 3600), ("0", 0)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**6), st.sampled_from(["", "s", "m", "h"]))
def test_a_unit_multiplies_what_is_before_it(count, unit):
    assert parse_duration(f"{count}{unit}") == count * parse_duration(f"1{unit}")


@pytest.mark.parametrize("text", ["", "s", "-5s", "5d", "5 m", "5M", "1h30m", "1e3", "5ms", "nan", "inf", "60s\n"])
def test_a_malformed_duration_is_refused_with_an_example(text):
    with pytest.raises(GapbenchError, match="malformed duration .* as in 60s, 5m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.01", 0.01), ("2.5%", 0.025), ("100%", 1), ("0", 0)])
def test_shares(text, share):
    assert parse_share(text) == pytest.approx(share, rel=1e-15)


@given(st.decimals(0, 1, places=3).filter(lambda share: share < 1))
def test_a_percentage_is_a_hundredth(percent):
    assert parse_share(f"{percent}%") == pytest.approx(parse_share(f"{percent}") / 100)


@pytest.mark.parametrize("text", ["5", "1", "1.5"])
def test_a_share_above_all_is_a_percentage_without_its_sign(text):
    with pytest.raises(GapbenchError, match=f"a share of {text} is .* %; write {text}% or a number below 1"):
        parse_share(text)


@pytest.mark.parametrize("text", ["", "%", "-1%", "1 %", "1%%", "one", "1e-2", "nan%", "5pc"])
def test_a_malformed_share_is_refused_with_an_example(text):
    with pytest.raises(GapbenchError, match="malformed share .* as in 1% or 0.01"):
        parse_share(text)


@given(st.integers(1, 99999), st.integers(1, 99999))
def test_a_shard_is_one_of_those_there_are(number, count):
    if number <= count:
        assert parse_shard(f"{number}/{count}") == (number, count)
    else:
        with pytest.raises(GapbenchError, match="malformed shard"):
            parse_shard(f"{number}/{count}")


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "/2", "0/2", "-1/2", "1/2/3", "1 / 2", "1/1e3", "a/b", "1/2\n"])
def test_a_malformed_shard_is_refused_with_an_example(text):
    with pytest.raises(GapbenchError, match="malformed shard .* as in 2/8"):
        parse_shard(text)
