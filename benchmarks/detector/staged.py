"""gapbench's own decision, on rounds drawn from a pool: `gapbench ab`'s policy and verdicts, in virtual time.

The policy is `measuring.policies.TwoStages` itself, the verdicts are those of `statistics.verdicts`; only the
rounds are drawn instead of measured. A round takes what it took when recorded, and no more of its turns than the policy
gives it time for. A draw is honest in that rounds stay in the order in which they were measured (a contiguous window
from a random start, the last round followed by the first), and that no round is drawn twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from unittest import mock

import numpy as np
from pool import CLOCK, PREFIX, SHARES, Row, log_ratios

from gapbench.measuring import policies
from gapbench.measuring.plan import Effort
from gapbench.statistics import verdicts
from gapbench.statistics.stats import Floats, Interval
from gapbench.statistics.verdicts import Evidence, Judgement, Verdict

NULL = 2
"""The number of the side that is base's hidden copy."""


@dataclass(frozen=True)
class Found:
    """What a decision says of one row; ``change`` (of log head / base) only where it gives an interval."""

    verdict: Verdict
    change: Interval | None = None


@dataclass(frozen=True)
class Draw:
    """Contiguous rounds of a row from number ``start`` on, and which share of its turns (in eighths) each has."""

    start: int
    shares: tuple[int, ...]

    @classmethod
    def whole(cls, start: int, count: int) -> "Draw":
        """Return ``count`` rounds with all their turns."""
        return cls(start, (SHARES,) * count)

    def of(self, row: Row, values: Callable[[Row, int], Floats]) -> Floats:
        """Return these rounds' values, given those of all rounds of a row at a share."""
        by_share = {share: values(row, share) for share in set(self.shares)}
        rounds = ((self.start + number) % row.rounds for number in range(len(self.shares)))
        return np.array([by_share[share][number] for number, share in zip(rounds, self.shares, strict=True)])


Procedure = Callable[[Sequence[Row], np.random.Generator], list[Found]]
"""How a whole diff is decided: one row a case in, one finding a row out; draws its rounds itself."""

Weigh = Callable[[Row, Draw, float], Evidence]
"""What drawn rounds of a row say against a margin."""


@dataclass(frozen=True)
class Plan:
    """What is frozen on the tuning set; the policy's other constants are its own.

    ``rounds`` is how many rounds of every case the budget pays for, if all get the same; the screening takes
    ``first_share`` of the time and flags rows whose p-value is ``flagged`` at most, which get ``most`` confirming
    rounds at most.
    """

    rounds: int
    first_share: float = policies._SCREEN_SHARE
    flagged: float = verdicts.SCREEN_LEVEL
    margin: float = 0.01
    level: float = verdicts.LEVEL
    most: int = policies._MOST_CONFIRMING

    @property
    def first(self) -> int:
        """Rounds of each row in the screening, if none rests."""
        return max(policies.FEWEST_ROUNDS, round(self.rounds * self.first_share))

    def needs_confirmation(self, evidence: Evidence) -> bool:
        """Tell whether a row is flagged."""
        return min(evidence.p_slower, evidence.p_faster) <= self.flagged


def window(rounds: Floats, start: int, count: int) -> Floats:
    """Return ``count`` rounds from ``start`` on, as (rounds,) or (rounds, turns)."""
    return np.take(rounds, np.arange(start, start + count), axis=0, mode="wrap")


@cache
def paired(row: Row, draw: Draw, margin: float) -> Evidence:
    """Weigh rounds by their paired ratios."""
    return verdicts.paired(draw.of(row, log_ratios), margin)


@dataclass(eq=False)
class State:
    """A row while its diff is replayed: acts `gapbench.measuring.policies.CaseState` for the policy.

    ``shares`` are those of the rounds that were drawn so far, ``nulls`` the numbers of those that the copy of base took
    part in. The screening may draw half of the recording: the rest is for the confirming rounds.
    """

    row: Row
    start: int
    screening: bool = True
    shares: list[int] = field(default_factory=list)
    nulls: list[int] = field(default_factory=list)

    @property
    def case(self) -> str:
        """What identifies it in its diff."""
        return self.row.case

    @property
    def overhead(self) -> float:
        """Seconds that a round takes beside its turns."""
        return self.row.overhead

    @property
    def rounds(self) -> int:
        """How many rounds were drawn."""
        return len(self.shares)

    next_round = rounds

    def key(self, row: policies.Row) -> policies.RowKey:
        """Return what identifies a row among those of all cases."""
        return self.case, *row

    def rows(self) -> list[tuple[str, str]]:
        """Return the one row that it has."""
        return [(PREFIX, CLOCK)]

    def draw(self, first: int = 0, end: int | None = None) -> Draw:
        """Return the rounds from number ``first`` on, before ``end``."""
        return Draw((self.start + first) % self.row.rounds, tuple(self.shares[first:end]))

    def take(self, request: policies.Request) -> float:
        """Draw the next round, if there is another one, and return the seconds that it takes."""
        seconds = min(request.seconds, self.row.slice_seconds)
        if self.rounds < self.row.rounds // (2 if self.screening else 1):
            if NULL in request.sides:
                self.nulls.append(self.rounds)
            self.shares.append(max(1, int(SHARES * seconds / self.row.slice_seconds + 1e-9)))
        return self.overhead + seconds


class _Policy(policies.TwoStages):
    """The policy, but for where its evidence is from."""

    def __init__(self, plan: Plan, weigh: Weigh, seed: int) -> None:
        super().__init__(Effort(seed=seed), plan.margin)
        self._weigh = weigh

    def evidence(self, state: State, _row: object) -> Evidence:  # type: ignore[override]
        """Weigh the rounds that were drawn."""
        return self._weigh(state.row, state.draw(), self._margin)


class _Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def replay(
    rows: Sequence[Row], plan: Plan, weigh: Weigh, rng: np.random.Generator
) -> tuple[list[State], dict[str, int]]:
    """Let the policy draw rounds until the time of ``plan`` is spent.

    Return the rows' states, and of those that were flagged (by case) the number of the first confirming round.
    """
    clock, flagged = _Clock(), dict[str, int]()
    states = [State(row, int(rng.integers(row.rounds))) for row in rows]
    policy = _Policy(plan, weigh, int(rng.integers(2**32)))
    seconds = plan.rounds * sum(row.overhead + row.slice_seconds for row in rows)
    chosen = {
        "time": clock,
        "_SCREEN_SHARE": plan.first_share,
        "_MOST_CONFIRMING": plan.most,
        "needs_confirmation": plan.needs_confirmation,
    }
    with mock.patch.multiple(policies, **chosen):
        for item in policy.schedule(states, seconds):  # type: ignore[arg-type]
            if isinstance(item, list):
                for request in item:
                    clock.now += request.state.take(request)  # type: ignore[attr-defined]
            else:
                flagged = {row.case: row.round for row in item.rows}  # type: ignore[union-attr]
                for state in states:
                    state.screening = False
    return states, flagged


Decision = Callable[[Sequence[Evidence], Sequence[Evidence | None], float], list[Judgement]]
"""What the screening and the confirming rounds of each row (None where it was not flagged) come to, at a level."""


def two_stages(plan: Plan, weigh: Weigh = paired, decision: Decision = verdicts.decide) -> Procedure:
    """Return the decision of ``gapbench ab``, or a variation of it."""

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        states, flagged = replay(rows, plan, weigh, rng)
        first, fresh, copies, copies_fresh = [], [], [], []
        for state in states:
            begin = flagged.get(state.case)
            first.append(weigh(state.row, state.draw(0, begin), plan.margin))
            fresh.append(None if begin is None else weigh(state.row, state.draw(begin), plan.margin))
            null = state.row.null
            if null is not None and state.nulls:
                numbers = state.nulls[: null.rounds]
                draw = Draw(int(rng.integers(null.rounds)), tuple(state.shares[number] for number in numbers))
                before = sum(begin is None or number < begin for number in numbers)
                copies.append(paired(null, replace(draw, shares=draw.shares[:before]), plan.margin))
                after = Draw((draw.start + before) % null.rounds, draw.shares[before:])
                copies_fresh.append(None if begin is None else paired(null, after, plan.margin))
        judgements = decision(first, fresh, plan.level)
        deciding = [again or one for one, again in zip(first, fresh, strict=True)]
        found = [Found(judgement.verdict, one.change) for judgement, one in zip(judgements, deciding, strict=True)]
        return _distrusted(found, verdicts.decide(copies, copies_fresh, plan.level))

    return decide


def guarded(decide: Procedure, plan: Plan) -> Procedure:
    """Return a decision in one stage with the in-run null: if base differs from its own copy, nothing is red."""

    def with_nulls(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        found = decide(rows, rng)
        nulls = [row.null for row in rows if row.null is not None]
        chosen = rng.permutation(len(nulls))[: ceil(policies.NULL_SHARE * len(nulls))]
        drawn = [(nulls[i], min(plan.first, nulls[i].rounds)) for i in chosen]
        weighed = [
            paired(null, Draw.whole(int(rng.integers(null.rounds)), count), plan.margin) for null, count in drawn
        ]
        return _distrusted(found, verdicts.judge(weighed, plan.level))

    return with_nulls


def _distrusted(found: list[Found], copies: Sequence[Judgement]) -> list[Found]:
    """Return what was found, without any red where a copy of base seems to have changed."""
    if any(one.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) for one in copies):
        return [
            replace(one, verdict=Verdict.INCONCLUSIVE) if one.verdict == Verdict.REGRESSED else one for one in found
        ]
    return found
