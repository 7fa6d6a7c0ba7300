"""The planner: its draws, its tests against those of `survey.stats`, and the numbers it finds."""

import math
from itertools import pairwise as neighbours

import numpy as np
import pytest
import scipy

from survey.planner import Plan, _signed_rank_p, _Studies, draw, plan
from survey.stats import Friedman, Withheld, _signed_ranks, friedman, pairwise
from tests.rankings import crowd

STRENGTHS = {"a": 5.0, "b": 2.0, "c": 1.0}


def test_draws_are_plackett_luces() -> None:
    worth = np.array([4.0, 2.0, 1.0])
    ranks = draw(np.tile(np.log(worth), (40_000, 1)), np.random.default_rng(0))
    assert (np.sort(ranks, axis=1) == [1, 2, 3]).all()
    assert (ranks == 1).mean(axis=0) == pytest.approx(worth / 7, abs=0.01)
    # a > c > b: 4/7, then 1 of the 3 left.
    assert (ranks == [1, 3, 2]).all(axis=1).mean() == pytest.approx(4 / 7 / 3, abs=0.01)
    assert (ranks[:, 1] < ranks[:, 2]).mean() == pytest.approx(2 / 3, abs=0.01)


def powers(studies: int, participants: int, trials: int, logs: list[float]) -> tuple[float, float]:
    """The power of telling the first two apart, and of Friedman's F, by the tests themselves."""
    rng = np.random.default_rng(99)
    told = differ = 0
    for _ in range(studies):
        rankings = crowd(rng, participants, logs, trials=trials)
        pairs, overall = pairwise(rankings, resamples=1), friedman(rankings, permutations=1)
        assert not isinstance(pairs, Withheld)
        assert isinstance(overall, Friedman)
        told += pairs[0].p_holm <= 0.05 and pairs[0].difference.value > 0
        differ += overall.p_f <= 0.05
    return told / studies, differ / studies


@pytest.mark.parametrize(
    ("strengths", "participants", "trials"),
    [
        ({"a": 4.0, "b": 1.0}, 15, 1),
        ({"a": 5.0, "b": 1.0, "c": 0.5}, 20, 1),
        ({"a": 5.0, "b": 2.0, "c": 1.0, "d": 1.0}, 18, 2),
    ],
)
def test_its_power_is_that_of_the_tests(strengths: dict[str, float], participants: int, trials: int) -> None:
    found = plan(strengths, ("a", "b"), rankings_each=trials, most=participants, studies=2000).curve[-1]
    assert found.participants == participants
    told, differ = powers(150, participants, trials, np.log(list(strengths.values())).tolist())
    # Three standard errors of 150 studies, and what the quicker p may be off.
    assert found.pair == pytest.approx(told, abs=0.05 + 3 * math.sqrt(told * (1 - told) / 150))
    assert found.friedman == pytest.approx(differ, abs=0.01 + 3 * math.sqrt(max(differ * (1 - differ), 0.01) / 150))


@pytest.mark.parametrize(("sizes", "participants"), [(1, 12), (2, 14), (4, 15), (4, 30), (7, 25)])
def test_its_quicker_p_is_close_to_the_exact_one(sizes: int, participants: int) -> None:
    """In the logarithm, where it decides: from 0.1 down to a thousandth."""
    rng = np.random.default_rng(sizes)
    errors = []
    for _ in range(300):
        d = rng.integers(1, sizes + 1, size=participants) * rng.choice([1, -1], size=participants, p=[0.8, 0.2])
        exact = _signed_ranks(d)[0]
        size = np.bincount(np.abs(d), minlength=sizes + 1)[1:]
        rank = size.cumsum() - size / 2 + 0.5
        quick = _signed_rank_p(np.array((scipy.stats.rankdata(np.abs(d)) * np.sign(d)).sum()), rank, size)
        if 0.001 <= exact <= 0.1:
            errors.append(math.log(float(quick) / exact))
    assert len(errors) > 50
    assert abs(float(np.mean(errors))) < 0.15
    assert float(np.std(errors)) < 0.35


def test_a_significant_difference_the_wrong_way_round_is_not_told_apart() -> None:
    same = plan({"a": 1.0, "b": 1.0}, ("a", "b"), most=40, studies=4000).curve[-1].pair
    hardly = plan({"a": 1.0 + 1e-9, "b": 1.0}, ("a", "b"), most=40, studies=4000).curve[-1].pair
    assert 0.3 * same < hardly < 0.7 * same
    # Whichever of the two stands first.
    assert plan({"b": 1.0, "a": 9.0}, ("a", "b"), most=20, studies=100).curve[-1].pair > 0.9


def test_two_systems_by_the_binomial() -> None:
    """One ranking of two systems each: the signed-rank test is then the sign test."""
    n, chance = 30, 4 / 5
    wins = np.arange(n + 1)
    significant = [won > n / 2 and scipy.stats.binomtest(int(won), n).pvalue <= 0.05 for won in wins]
    expected = scipy.stats.binom.pmf(wins, n, chance)[significant].sum()
    found = plan({"a": 4.0, "b": 1.0}, ("a", "b"), most=n, studies=4000).curve[-1]
    assert found.pair == pytest.approx(expected, abs=0.02)


def test_the_smallest_number_is_where_the_power_is_reached_for_good() -> None:
    found = plan(STRENGTHS, ("b", "a"), power=0.8, most=120)
    assert found.pair == ("a", "b")
    assert [point.participants for point in found.curve] == list(range(10, 121))
    by_size = {point.participants: point for point in found.curve}
    assert found.for_pair is not None
    assert found.for_friedman is not None
    assert by_size[found.for_pair - 1].pair < 0.8
    assert all(point.pair >= 0.8 for point in found.curve if point.participants >= found.for_pair)
    assert found.for_friedman < found.for_pair
    assert all(point.friedman >= 0.8 for point in found.curve if point.participants >= found.for_friedman)


def test_more_power_weaker_differences_and_tastes_need_more() -> None:
    def needed(strengths: dict[str, float], **options: float) -> int:
        found = plan(strengths, ("a", "b"), studies=400, most=150, **options).for_pair  # type: ignore[arg-type]
        assert found is not None
        return found

    usual = needed(STRENGTHS)
    assert needed(STRENGTHS, power=0.95) > usual
    assert needed(STRENGTHS, alpha=0.01) > usual
    assert needed(STRENGTHS | {"b": 2.5}) > usual
    assert needed(STRENGTHS, rankings_each=2) < usual
    assert needed(STRENGTHS, rankings_each=2, taste=1.0) > needed(STRENGTHS, rankings_each=2)


def test_out_of_reach_and_at_once() -> None:
    out_of_reach = plan({"a": 1.05, "b": 1.0}, ("a", "b"), most=20, studies=200)
    assert (out_of_reach.for_pair, out_of_reach.for_friedman) == (None, None)
    at_once = plan({"a": 1000.0, "b": 1.0}, ("a", "b"), most=12, studies=200)
    assert (at_once.for_pair, at_once.for_friedman) == (10, 10)


def test_equal_strengths_give_the_rate_of_false_alarms() -> None:
    found = plan(dict.fromkeys("abcd", 1.0), ("c", "b"), most=60, studies=3000, rankings_each=2, taste=1.0)
    assert found.pair == ("c", "b")
    assert found.curve[-1].friedman == pytest.approx(0.05, abs=0.02)
    assert found.curve[-1].pair <= 0.03  # one of six pairs under Holm's correction
    alone = plan({"a": 1.0, "b": 1.0}, ("a", "b"), most=60, studies=3000)
    assert 0.02 <= alone.curve[-1].pair <= 0.06


def test_the_same_seed_gives_the_same_plan_and_only_ratios_count() -> None:
    def made(factor: float = 1.0, seed: int = 0) -> Plan:
        scaled = {name: factor * strength for name, strength in STRENGTHS.items()}
        return plan(scaled, ("a", "b"), most=30, studies=100, seed=seed)

    assert made() == made() == made(factor=8.0)
    assert made(seed=1).curve != made().curve


def test_eight_systems_are_planned_for_in_no_long_time() -> None:
    strengths = dict(zip("abcdefgh", (4.0, 2, 1, 1, 1, 1, 1, 1), strict=True))
    found = plan(strengths, ("a", "b"), most=60, studies=200)
    assert len(found.curve) == 51
    assert all(0 <= point.pair <= point.friedman <= 1 for point in found.curve)
    rise = [later.pair - sooner.pair for sooner, later in neighbours(found.curve)]
    assert sum(rise) > 0.3


def test_a_study_grows_by_one_participant_at_a_time() -> None:
    studies = _Studies(np.array([3.0, 1.0, 1.0]), 2, 0.5, 7, 0)
    for n in range(1, 6):
        studies.add()
        assert (studies.differences.sum(axis=-1) == n).all()
        assert studies.sums.sum(axis=1) == pytest.approx(n * 6)
    assert studies.differences.shape == (7, 3, 2 * 4 + 1)


@pytest.mark.parametrize(
    ("strengths", "pair", "options", "message"),
    [
        ({"a": 1.0}, ("a", "a"), {}, "strengths of 1 systems; expected 2 to 8"),
        (dict.fromkeys("abcdefghi", 1.0), ("a", "b"), {}, "strengths of 9 systems"),
        ({"a": 1.0, "b": 0.0}, ("a", "b"), {}, "the strength of b is 0; expected a number above 0"),
        ({"a": 1.0, "b": math.inf}, ("a", "b"), {}, "the strength of b is inf"),
        ({"a": 1.0, "b": math.nan}, ("a", "b"), {}, "the strength of b is nan"),
        (STRENGTHS, ("a", "a"), {}, "the pair a and a is not two of the systems a, b, c"),
        (STRENGTHS, ("a", "z"), {}, "the pair a and z is not two"),
        (STRENGTHS, ("a", "b"), {"power": 1.0}, "power 1 and alpha 0.05 must lie between"),
        (STRENGTHS, ("a", "b"), {"alpha": 0.0}, "must lie between 0 and 1"),
        (STRENGTHS, ("a", "b"), {"rankings_each": 0}, "must be 1 or more"),
        (STRENGTHS, ("a", "b"), {"taste": math.nan}, "taste 0 or more"),
        (STRENGTHS, ("a", "b"), {"most": 9}, "most is 9; tests begin at 10 participants"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    strengths: dict[str, float], pair: tuple[str, str], options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan(strengths, pair, **options)  # type: ignore[arg-type]
