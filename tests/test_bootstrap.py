"""Intervals over participants: their definition, and that they hold what they promise."""

import math

import numpy as np
import pytest
import scipy

from survey.bootstrap import Interval, interval, resample
from survey.stats import mean_ranks
from survey.strengths import strengths
from tests.rankings import crowd


def test_a_resample_draws_as_many_participants_as_there_are() -> None:
    drawn = resample(12, resamples=500, seed=3)
    assert drawn.shape == (500, 12)
    assert (drawn.sum(axis=1) == 12).all()
    assert drawn.mean() == pytest.approx(1)
    assert np.array_equal(drawn, resample(12, resamples=500, seed=3))
    assert not np.array_equal(drawn, resample(12, resamples=500, seed=4))
    assert resample(0, resamples=5).shape == (5, 0)


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(size=15)
    got = interval(values.mean(), resample(15, resamples=200_000) @ values / 15, 15)
    low, high = scipy.stats.t.interval(0.95, 14, values.mean(), scipy.stats.sem(values))
    # The bootstrap's own skewness remains.
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.06 * (high - low))
    plain = np.quantile(resample(15, resamples=200_000) @ values / 15, [0.025, 0.975])
    assert got.low < plain[0] < plain[1] < got.high


def test_the_interval_reaches_further_out_for_fewer() -> None:
    # Student's t on 9 and 99 degrees of freedom is 2.262 and 1.984; times the square roots of 10/9 and 100/99 they
    # leave 0.86 % and 2.31 % on either side.
    evenly = np.linspace(0, 1, 10_001)
    ten, hundred = interval(0.5, evenly, 10), interval(0.5, evenly, 100)
    assert (ten.low, ten.high) == pytest.approx((0.0086, 0.9914), abs=1e-4)
    assert (hundred.low, hundred.high) == pytest.approx((0.0231, 0.9769), abs=1e-4)
    assert interval(0.5, evenly, 10**6, level=0.9).low == pytest.approx(0.05, abs=1e-4)


def test_one_participant_has_no_interval() -> None:
    got = interval(2.0, np.array([2.0, 2.0]), 1)
    assert got.value == 2.0
    assert math.isnan(got.low)
    assert math.isnan(got.high)
    assert interval(2.0, np.full(9, 2.0), 5) == Interval(2.0, 2.0, 2.0, 0.95)


@pytest.mark.parametrize("participants", [10, 30])
def test_intervals_hold_the_truth_as_often_as_they_say(participants: int) -> None:
    """Four systems ranked twice by listeners with strong tastes; 95 % is nominal."""
    rng = np.random.default_rng(participants)
    logs = [0.8, 0.3, -0.3, -0.8]
    everyone = crowd(rng, 40_000, logs, taste=1.5)
    truth_ranks = [one.value for one in mean_ranks(everyone, resamples=1)]
    truth_logs = [one.log_strength.value for one in strengths(everyone, resamples=1)]
    studies, held = 150, np.zeros((3, 4))
    for _ in range(studies):
        found = crowd(rng, participants, logs, trials=2, taste=1.5)
        ranks = mean_ranks(found, resamples=400)
        model = [one.log_strength for one in strengths(found, resamples=400)]
        # As if each ranking were a participant of its own.
        flat = resample(2 * participants, resamples=400) @ found.ranks / (2 * participants)
        held += [
            [one.low <= true <= one.high for one, true in zip(ranks, truth_ranks, strict=True)],
            [one.low <= true <= one.high for one, true in zip(model, truth_logs, strict=True)],
            (np.quantile(flat, 0.025, axis=0) <= truth_ranks) & (truth_ranks <= np.quantile(flat, 0.975, axis=0)),
        ]
    of_ranks, of_strengths, naive = held.mean(axis=1) / studies
    assert 0.92 <= of_ranks <= 0.98
    assert 0.91 <= of_strengths <= 0.98
    assert naive < 0.90
