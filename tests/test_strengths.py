"""Plackett-Luce strengths: by hand, against choix, back from simulated rankings, at the edges."""

import math

import choix
import numpy as np
import pytest

from survey.bootstrap import interval, resample
from survey.scoring import as_frame
from survey.stats import Rankings, select
from survey.strengths import PRIOR, strengths
from tests.rankings import crowd, listeners, published, shuffled


def content(rankings: list[list[int]] | np.ndarray, systems: str) -> Rankings:
    return select(as_frame(rankings, systems, criterion="content", direction="cv"), criterion="content")


def test_two_systems_by_hand() -> None:
    # 7 and 3 first places, and half a choice each: 7.5 and 3.5 of 11.
    x, y = strengths(content([[1, 2]] * 7 + [[2, 1]] * 3, "xy"))
    assert (x.system, y.system) == ("x", "y")
    assert x.first.value == pytest.approx(7.5 / 11)
    assert x.log_strength.value - y.log_strength.value == pytest.approx(math.log(7.5 / 3.5))
    assert x.log_strength.value == pytest.approx(-y.log_strength.value)
    assert x.log_strength.low < x.log_strength.value < x.log_strength.high


@pytest.mark.parametrize("k", range(2, 9))
def test_agrees_with_choix(k: int) -> None:
    frame = listeners(np.random.default_rng(k), 25, np.linspace(1.5, -1.5, k).tolist(), trials=2)
    rankings = select(frame, criterion="content")
    ordered = np.argsort(rankings.ranks, axis=1).tolist()
    expected = choix.ilsr_rankings(k, ordered, alpha=PRIOR / k)
    found = [one.log_strength.value for one in strengths(rankings, resamples=2)]
    assert found == pytest.approx(expected - expected.mean(), abs=1e-6)
    share = [one.first.value for one in strengths(rankings, resamples=2)]
    assert share == pytest.approx(choix.probabilities(list(range(k)), expected))


def test_a_resample_is_fitted_as_it_would_be_alone() -> None:
    """The ends of an interval, by fitting each resample with choix."""
    rankings = select(listeners(np.random.default_rng(1), 10, [0.5, 0.0, -0.5]), criterion="content")
    values = []
    for counts in resample(10, resamples=60, seed=0).astype(int):
        ordered = np.argsort(np.repeat(rankings.ranks, counts, axis=0), axis=1).tolist()
        values.append(choix.ilsr_rankings(3, ordered, alpha=PRIOR / 3)[0])
    got = strengths(rankings, resamples=60)[0].log_strength
    expected = interval(got.value, np.array(values), 10)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_strengths_that_rankings_were_drawn_from_come_back() -> None:
    logs = np.array([1.2, 0.4, 0.0, -0.6, -1.0])
    found = strengths(
        select(listeners(np.random.default_rng(0), 4000, logs.tolist()), criterion="content"), resamples=50
    )
    assert [one.log_strength.value for one in found] == pytest.approx(logs.tolist(), abs=0.1)
    assert sum(one.first.value for one in found) == pytest.approx(1)


@pytest.mark.parametrize("participants", [1, 30, 400])
def test_all_of_one_mind_is_strong_but_finite(participants: int) -> None:
    found = strengths(content(np.tile(np.arange(1, 9), (participants, 1)), "abcdefgh"))
    logs = [one.log_strength.value for one in found]
    assert logs == sorted(logs, reverse=True)
    assert np.isfinite(logs).all()
    # The best is chosen n + 1/2 times of n + 8/2.
    assert found[0].first.value == pytest.approx((participants + 0.5) / (participants + 4))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_fitted_is_at_the_top(seed: int) -> None:
    """Very uneven systems, where full steps of Newton's method go astray."""
    logs = [3.5, 5.6, 0.7, -4.9, 1.2, 1.4, -9.2, 2.0]
    rankings = crowd(np.random.default_rng(seed), 100, logs)
    worth = np.exp([one.log_strength.value for one in strengths(rankings, resamples=2)])
    # There, each system is chosen as often as the model expects, out of what was left at every choice.
    chosen = (rankings.ranks < 8).sum(axis=0) + PRIOR
    expected = 8 * PRIOR * worth / worth.sum()
    for ranks in rankings.ranks:
        for place in range(1, 8):
            left = worth * (ranks >= place)
            expected += left / left.sum()
    assert expected == pytest.approx(chosen, abs=1e-6)


def test_nobody_has_ranked() -> None:
    found = strengths(select(published().iloc[:0], criterion="content", systems=("x", "y")))
    assert [one.first.value for one in found] == pytest.approx([0.5, 0.5])
    assert math.isnan(found[0].log_strength.low)
    assert strengths(select(published().iloc[:0], criterion="content")) == ()


def test_neither_the_order_of_rows_nor_of_systems_matters() -> None:
    frame = published()
    found = strengths(select(frame, criterion="content"))
    assert strengths(select(shuffled(frame), criterion="content")) == found
    turned = strengths(select(frame, criterion="content", systems=[one.system for one in found][::-1]))
    assert [one.log_strength.low for one in turned[::-1]] == pytest.approx([one.log_strength.low for one in found])
