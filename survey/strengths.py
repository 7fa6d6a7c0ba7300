"""How strong each system is in the Plackett-Luce model of rankings, estimated with intervals. Higher is better.

The best of k systems is chosen with chances in proportion to their strengths w, then the next best among those left
in the same way: a ranking a > b > c has the probability w_a / (w_a + w_b + w_c) * w_b / (w_b + w_c) (Plackett 1975,
Luce 1959). Strengths are given as logarithms with mean 0, and as shares that sum to 1: the chance to be ranked first.
Log-strengths that differ by x mean odds of e^x between the two, whatever else is in the ranking.

Conventions
-----------
- Estimates maximise the likelihood with half a choice added per system, in which it is first of all k. Without
  it a system that is first (or last) in every ranking would be infinitely strong (or weak). It is choix's
  regularisation of `ilsr_rankings` with `alpha` = 1 / (2 k) (Maystre and Grossglauser 2015), which finds the same.
- All rankings count alike; the interval resamples participants with all of theirs.
- Without rankings all strengths are equal and intervals are NaN at their ends.
"""

from dataclasses import dataclass

import numpy as np

from survey.bootstrap import RESAMPLES, Interval, interval, resample
from survey.stats import Rankings

PRIOR = 0.5


@dataclass(frozen=True)
class Strength:
    """Of one system.

    Attributes
    ----------
    log_strength : 0 is the mean of the systems
    first : chance to be ranked first of all, 0 to 1; 1 / k where all are alike
    """

    system: str
    log_strength: Interval
    first: Interval


def strengths(rankings: Rankings, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Strength, ...]:
    """The strength of each system, higher better, with intervals over participants.

    >>> from survey.scoring import as_frame
    >>> from survey.stats import select
    >>> frame = as_frame([[1, 2], [1, 2], [2, 1]], "xy", criterion="style", direction="cv")
    >>> found = strengths(select(frame, criterion="style"))  # 2.5 and 1.5 of 4 choices
    >>> [round(strength.first.value, 9) for strength in found]
    [0.625, 0.375]
    """
    k = len(rankings.systems)
    if k == 0:
        return ()
    members = _sets(k)
    wins, sets = _choices(rankings.ranks, len(members))
    wins, sets = rankings.by_participant(wins), rankings.by_participant(sets)
    n = len(wins)
    best = _fit(wins.sum(axis=0, keepdims=True), sets.sum(axis=0, keepdims=True), members, np.zeros((1, k)))
    drawn = resample(n, resamples=resamples, seed=seed)
    draws = _fit(drawn @ wins, drawn @ sets, members, np.repeat(best, resamples, axis=0))
    chance, chances = _shares(best), _shares(draws)
    return tuple(
        Strength(
            system=system,
            log_strength=interval(best[0, i], draws[:, i], n),
            first=interval(chance[0, i], chances[:, i], n),
        )
        for i, system in enumerate(rankings.systems)
    )


def _sets(k: int) -> np.ndarray:
    """Every non-empty set of systems, set s in row s - 1 with system i in it where bit i of s is set."""
    return ((np.arange(1, 2**k)[:, None] >> np.arange(k)) & 1).astype(float)


def _choices(ranks: np.ndarray, n_sets: int) -> tuple[np.ndarray, np.ndarray]:
    """What the likelihood needs of each ranking: who was chosen, and out of which sets.

    Returns
    -------
    array[rankings, k], 1 for all but the last; array[rankings, sets], 1 for each of its k - 1 choices
    """
    n, k = ranks.shape
    rows = np.arange(n)
    chosen, sets = (ranks < k).astype(float), np.zeros((n, n_sets))
    left = np.full(n, n_sets)
    for system in np.argsort(ranks, axis=1).T[: k - 1]:
        sets[rows, left - 1] += 1
        left -= 1 << system
    return chosen, sets


def _fit(wins: np.ndarray, sets: np.ndarray, members: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Log-strengths of many studies at once, by Newton's method on the concave log-likelihood.

    With the number of choices c_S out of each set S, its gradient is wins_i - sum over S of c_S w_i / w(S), so a
    step costs the same for ten rankings and ten thousand, and a thousand resamples take as long as one.

    Parameters
    ----------
    wins, sets, start : array[studies, k], array[studies, sets], array[studies, k]

    Returns
    -------
    array[studies, k], mean 0
    """
    k = wins.shape[1]
    wins, sets = wins + PRIOR, sets.copy()
    sets[:, -1] += PRIOR * k
    pairs = (members[:, :, None] * members[:, None, :]).reshape(len(members), -1)
    found = start
    for _ in range(100):
        worth = np.exp(found - found.max(axis=1, keepdims=True))
        sums = worth @ members.T
        expected = worth * (sets / sums @ members)
        curve = worth[:, :, None] * worth[:, None, :] * (sets / sums**2 @ pairs).reshape(-1, k, k)
        # The negative Hessian; 1 / k makes it regular, and does not touch steps of mean 0.
        curve = expected[:, :, None] * np.eye(k) - curve + 1 / k
        step = np.linalg.solve(curve, (wins - expected)[:, :, None])[:, :, 0]
        largest = np.abs(step).max(axis=1, keepdims=True)
        found = found + step / np.maximum(largest, 1)  # never by more than 1: far from the top it overshoots
        if largest.max() < 1e-9:
            break
    return np.asarray(found - found.mean(axis=1, keepdims=True))


def _shares(logs: np.ndarray) -> np.ndarray:
    worth = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(worth / worth.sum(axis=1, keepdims=True))
