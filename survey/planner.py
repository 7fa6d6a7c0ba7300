"""How many participants a study needs: power by simulation, from strengths of the systems that one expects.

Studies are drawn from the Plackett-Luce model (see `survey.strengths`): a participant orders the systems by
log-strength + Gumbel noise, which is the same as choosing one after another (Yellott 1977). Each study grows by one
participant at a time and is tested at every size, so that one simulation gives the power at all sizes.

Conventions
-----------
- Power is the share of studies in which a test finds what is there, 0 to 1; higher is better. Its standard error
  is at most 0.5 / sqrt(studies): 0.016 for 1000.
- Tests are those of `survey.stats` on blocks of participants, from ten participants on: Iman and Davenport's F for
  any difference; for two systems the signed-rank test with Holm's correction among all pairs, which counts where it
  also puts the stronger system ahead. Its exact p would take too long for so many studies; the one used here is
  close: from a dozen participants on the power is within 0.05 of the exact test's, at ten it can be 0.1 too high.
- Strengths are positive; only their ratios count. With equal strengths the shares are those of false alarms.
- The smallest number of participants is the one from which on the power is reached at every size up to the largest
  (few systems make it rise in a zigzag); None where it is not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy

from survey.stats import MIN_PARTICIPANTS, friedman_statistic, holm_adjusted


@dataclass(frozen=True)
class Power:
    """The power of the two tests with some number of participants: of telling the pair apart, of any difference."""

    participants: int
    pair: float
    friedman: float


@dataclass(frozen=True)
class Plan:
    """How many participants it takes.

    Attributes
    ----------
    pair : stronger system first; where both are as strong, as asked
    for_pair, for_friedman : smallest numbers that reach `power`; None if more than the curve goes to
    curve : power by number of participants, from ten
    """

    pair: tuple[str, str]
    power: float
    alpha: float
    studies: int
    for_pair: int | None
    for_friedman: int | None
    curve: tuple[Power, ...]


def plan(
    strengths: Mapping[str, float],
    pair: tuple[str, str],
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    rankings_each: int = 1,
    taste: float = 0.0,
    most: int = 200,
    studies: int = 1000,
    seed: int = 0,
) -> Plan:
    """Find the smallest number of participants that tells two systems apart, and any at all.

    Parameters
    ----------
    strengths : of all 2 to 8 systems, above 0; twice the strength is preferred two times out of three
    rankings_each : how many rankings on the criterion each participant gives
    taste : standard deviation of a participant's own log-strengths about the common ones, the same in all their
        rankings; 0 where all listeners are alike, which makes further rankings worth most
    most : participants to go up to
    studies : simulated

    Raises
    ------
    ValueError
        A number is out of its range, or the pair is not two of the systems.

    >>> made = plan({"x": 4.0, "y": 1.0}, ("x", "y"), most=40, studies=200)
    >>> made.curve[0].participants, made.curve[-1].pair > made.power
    (10, True)
    """
    _check(strengths, pair)
    if not (0 < power < 1 and 0 < alpha < 1):
        raise ValueError(f"power {power:g} and alpha {alpha:g} must lie between 0 and 1")
    if rankings_each < 1 or studies < 1 or not 0 <= taste < math.inf:
        raise ValueError("rankings_each and studies must be 1 or more, taste 0 or more")
    if most < MIN_PARTICIPANTS:
        raise ValueError(f"most is {most}; tests begin at {MIN_PARTICIPANTS} participants")
    names = list(strengths)
    pair = (pair[0], pair[1]) if strengths[pair[0]] >= strengths[pair[1]] else (pair[1], pair[0])
    growing = _Studies(np.array(list(strengths.values()), dtype=float), rankings_each, taste, studies, seed)
    a, b = names.index(pair[0]), names.index(pair[1])
    either_way = strengths[pair[0]] == strengths[pair[1]]
    curve = []
    for n in range(1, most + 1):
        growing.add()
        if n >= MIN_PARTICIPANTS:
            told = growing.told_apart(a, b, alpha, either_way=either_way)
            curve.append(Power(n, float(told.mean()), float(growing.differ(alpha).mean())))
    return Plan(
        pair=pair,
        power=power,
        alpha=alpha,
        studies=studies,
        for_pair=_smallest(curve, [point.pair >= power for point in curve]),
        for_friedman=_smallest(curve, [point.friedman >= power for point in curve]),
        curve=tuple(curve),
    )


def draw(log_strengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rankings drawn from the Plackett-Luce model, array[..., k] -> array[..., k] of ranks 1 (best) to k.

    >>> draw(np.array([99.0, 0.0, -99.0]), np.random.default_rng(0)).tolist()
    [1, 2, 3]
    """
    noisy = log_strengths + rng.gumbel(size=log_strengths.shape)
    return np.asarray(np.argsort(np.argsort(-noisy, axis=-1), axis=-1) + 1)


class _Studies:
    """Many simulated studies that grow together, kept as the counts that the tests need."""

    def __init__(self, strengths: np.ndarray, rankings_each: int, taste: float, studies: int, seed: int) -> None:
        k = len(strengths)
        self.logs, self.each, self.taste = np.log(strengths), rankings_each, taste
        self.rng = np.random.default_rng(seed)
        self.n = 0
        self.pairs = list(combinations(range(k), 2))
        self.first, self.second = np.array(self.pairs).T
        self.widest = (k - 1) * rankings_each
        # How many participants' scores of each two systems differ by -widest..widest.
        self.differences = np.zeros((studies, len(self.pairs), 2 * self.widest + 1))
        self.sums, self.squares = np.zeros((studies, k)), np.zeros(studies)

    def add(self) -> None:
        """Add one participant to every study."""
        studies, k = self.sums.shape
        logs = self.logs + self.taste * self.rng.normal(size=(studies, 1, k))
        ranks = draw(np.repeat(logs, self.each, axis=1), self.rng)
        scores = self.each * (k + 1) - ranks.sum(axis=1)
        higher = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
        level = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)  # with itself too
        block = 0.5 + higher + level / 2
        self.sums += block
        self.squares += np.square(block).sum(axis=1)
        found = scores[:, self.first] - scores[:, self.second] + self.widest
        self.differences[np.arange(studies)[:, None], np.arange(len(self.pairs)), found] += 1
        self.n += 1

    def differ(self, alpha: float) -> np.ndarray:
        """In which studies Iman and Davenport's F is significant, array[studies], bool."""
        k = self.sums.shape[1]
        chi_square = friedman_statistic(self.sums, self.squares, self.n)
        limit = scipy.stats.f.isf(alpha, k - 1, (k - 1) * (self.n - 1))
        # F >= limit, without a division by 0 where all participants agree.
        return np.asarray((self.n - 1) * chi_square >= limit * (self.n * (k - 1) - chi_square))

    def told_apart(self, a: int, b: int, alpha: float, *, either_way: bool) -> np.ndarray:
        """In which studies system a is significantly ahead of b, or either of the other, array[studies], bool."""
        below, above = self.differences[..., self.widest - 1 :: -1], self.differences[..., self.widest + 1 :]
        size = below + above
        rank = size.cumsum(axis=-1) - size / 2 + 0.5  # the mean rank of all differences of one absolute value
        balance = (rank * (above - below)).sum(axis=-1)
        holm = holm_adjusted(_signed_rank_p(balance, rank, size))
        place = self.pairs.index((min(a, b), max(a, b)))
        ahead = balance[:, place] > 0 if a < b else balance[:, place] < 0
        return np.asarray((holm[:, place] <= alpha) & (ahead | either_way))


def _signed_rank_p(balance: np.ndarray, rank: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Two-sided p of W+ - W- (`balance`), near the exact one, from the ranks of the absolute differences.

    The normal p is corrected for its fourth cumulant (Cornish and Fisher 1938), as for few participants the
    statistic has shorter tails, and for continuity: the sum steps by twice the smallest rank where all differences
    are of one size, and the ranks of d sizes fill each other's gaps, to about a d-th.

    Parameters
    ----------
    rank, size : array[..., sizes], the mean rank of the differences of one absolute value, and how many they are
    """
    variance = np.maximum((np.square(rank) * size).sum(axis=-1), 1)
    there = size > 0
    step = np.where(there, rank, np.inf).min(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    z = np.maximum(np.abs(balance) - np.where(np.isfinite(step), step, 0), 0) / np.sqrt(variance)
    excess = -2 * (rank**4 * size).sum(axis=-1) / np.square(variance)
    return np.asarray(2 * scipy.stats.norm.sf(z - excess * (z**3 - 3 * z) / 24))


def _check(strengths: Mapping[str, float], pair: tuple[str, str]) -> None:
    if not 2 <= len(strengths) <= 8:
        raise ValueError(f"there are strengths of {len(strengths)} systems; expected 2 to 8")
    for name, strength in strengths.items():
        if not 0 < strength < math.inf:
            raise ValueError(f"the strength of {name} is {strength:g}; expected a number above 0")
    if pair[0] == pair[1] or not set(pair) <= set(strengths):
        raise ValueError(f"the pair {' and '.join(pair)} is not two of the systems {', '.join(strengths)}")


def _smallest(curve: list[Power], reached: list[bool]) -> int | None:
    """The number of participants from which on all is reached."""
    beyond = next((place for place in range(len(reached), 0, -1) if not reached[place - 1]), 0)
    return curve[beyond].participants if beyond < len(curve) else None
