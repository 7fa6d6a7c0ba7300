"""What the rankings of a listening test show beyond chance: intervals, tests, effect sizes.

Conventions
-----------
- Rankings come from a frame as `survey.scoring` takes it, by `select`: one criterion, one direction or all of them
  pooled, without the excluded unless asked for. Neither the order of rows nor that of labels changes a figure.
- The unit is the participant: intervals resample participants with all their rankings, never single rankings, and
  one participant is one block of every test. A block holds the participant's mean score (k..1) per system over
  their rankings, which is their sum where all have ranked as often, and weighs everyone alike where some have not.
  Rankings of one person are not independent, so taking each ranking as a block would count the same taste several
  times and give p-values too small. With one ranking per participant, as per direction of the built-in study, the
  block is that ranking; the pooled blocks of all the directions hold two.
- Friedman's test and Nemenyi's rank each block anew, ties sharing their mean rank.
- Scores and their differences: higher is better. Ranks: lower is better, 1 to k.
- Under ten participants a test is not done and `Withheld` says why. Estimates and intervals are given all the same;
  those of one participant or none have NaN as their ends, and of none NaN as their value.
- What is drawn at random is drawn from `seed`: the same rankings give the same figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
import scipy

from survey.bootstrap import RESAMPLES, Interval, interval, resample
from survey.scoring import pick, wide

MIN_PARTICIPANTS = 10
PERMUTATIONS = 9999
# Beyond this the exact distribution of the signed ranks takes long, and the normal one is as good.
EXACT_DIFFERENCES = 100


@dataclass(frozen=True)
class Withheld:
    """A test not done, and why."""

    participants: int
    reason: str


@dataclass(frozen=True)
class Friedman:
    """Whether the systems differ at all.

    Attributes
    ----------
    chi_square, p_chi_square : Friedman's statistic, corrected for ties, on k - 1 degrees of freedom
    f, p_f : Iman and Davenport's, on `df` and `df_error`
    p_permutation : of `permutations` random ones; at least 1 / (permutations + 1)
    kendall_w : agreement of the participants, 0 none to 1 all alike
    """

    participants: int
    rankings: int
    df: int
    df_error: int
    chi_square: float
    p_chi_square: float
    f: float
    p_f: float
    p_permutation: float
    permutations: int
    kendall_w: float


@dataclass(frozen=True)
class Comparison:
    """System `a` against system `b`.

    Attributes
    ----------
    difference : mean over participants of the score of a less that of b; above 0 a is better
    ahead, behind, level : participants who put a ahead of b, behind it, and neither
    p, p_holm : of the signed ranks, two-sided; for this pair alone, and among all pairs
    rank_biserial : 1 all participants put a ahead, -1 all behind
    """

    a: str
    b: str
    difference: Interval
    ahead: int
    behind: int
    level: int
    p: float
    p_holm: float
    rank_biserial: float


@dataclass(frozen=True)
class CriticalDifference:
    """Nemenyi's test.

    Attributes
    ----------
    mean_ranks : per system, over the blocks; lower is better
    difference : two systems differ whose mean ranks do by this or more
    p : per system, then per system
    groups : best first, the largest sets of systems not told apart, for the bars of a diagram
    """

    participants: int
    systems: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    alpha: float
    difference: float
    p: tuple[tuple[float, ...], ...]
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Rankings:
    """The rankings on one criterion, in one direction or all.

    Attributes
    ----------
    ranks : array[rankings, k], int, 1 best
    owner : array[rankings], int, whose it is, into `participants`
    """

    systems: tuple[str, ...]
    participants: tuple[str, ...]
    ranks: np.ndarray
    owner: np.ndarray

    def by_participant(self, values: np.ndarray) -> np.ndarray:
        """Sums over the rankings of each participant, array[rankings, ...] -> array[participants, ...]."""
        sums = np.zeros((len(self.participants), *values.shape[1:]))
        np.add.at(sums, self.owner, values)
        return sums

    @cached_property
    def blocks(self) -> np.ndarray:
        """Mean score of each system by each participant, array[participants, k], 1 to k, k best."""
        scores = len(self.systems) + 1 - self.ranks
        counts = np.bincount(self.owner, minlength=len(self.participants))[:, None]
        return np.asarray(self.by_participant(scores) / counts)

    @cached_property
    def block_ranks(self) -> np.ndarray:
        """The blocks ranked anew, array[participants, k], 1 best, ties sharing their mean rank."""
        return np.asarray(scipy.stats.rankdata(-self.blocks, axis=1)).reshape(self.blocks.shape)


def select(
    frame: pd.DataFrame,
    *,
    criterion: str,
    direction: str | None = None,
    systems: Sequence[str] | None = None,
    with_excluded: bool = False,
) -> Rankings:
    """The rankings on one criterion, in one direction or, with None, in all; ValueError as `scoring.wide` raises."""
    chosen = pick(wide(frame, systems=systems, with_excluded=with_excluded), criterion, direction)
    names, owner = np.unique(chosen.index.get_level_values("participant").to_numpy(dtype=object), return_inverse=True)
    return Rankings(tuple(chosen.columns), tuple(names), chosen.to_numpy(), owner)


def mean_ranks(rankings: Rankings, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Interval, ...]:
    """Mean rank of each system over all rankings, with its interval; lower is better.

    Participants are resampled and bring all their rankings (cluster bootstrap). The interval is the expanded
    percentile one of `survey.bootstrap`.
    """
    sums = rankings.by_participant(rankings.ranks)
    counts = np.bincount(rankings.owner, minlength=len(sums))
    drawn = resample(len(sums), resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore"):
        values, draws = sums.sum(axis=0) / counts.sum(), (drawn @ sums) / (drawn @ counts)[:, None]
    return tuple(interval(value, column, len(sums)) for value, column in zip(values, draws.T, strict=True))


def friedman(rankings: Rankings, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Friedman | Withheld:
    """Friedman's test over participants, with Iman and Davenport's F and a permutation test.

    With the rank sums R_j of k systems by n blocks, A the sum of all squared ranks and C = n k (k + 1)^2 / 4,
    chi-square = (k - 1) (sum R_j^2 - n C) / (A - C) (Friedman 1937; with ties Conover 1999, section 5.8), and
    F = (n - 1) chi-square / (n (k - 1) - chi-square), infinite where all blocks are alike (Iman and Davenport 1980,
    which keeps its level where chi-square is too cautious). For the permutation p the systems are relabelled within
    each participant, in all their rankings at once, so that what ties those to one another stays; p is
    (1 + relabellings as extreme) / (1 + relabellings) (Phipson and Smyth 2010).
    """
    n, k = rankings.block_ranks.shape
    if n < MIN_PARTICIPANTS:
        return withheld(n)
    chi_square = _chi_square(rankings)
    slack = n * (k - 1) - chi_square
    f = (n - 1) * chi_square / slack if slack > 1e-9 else math.inf
    return Friedman(
        participants=n,
        rankings=len(rankings.ranks),
        df=k - 1,
        df_error=(k - 1) * (n - 1),
        chi_square=chi_square,
        p_chi_square=float(scipy.stats.chi2.sf(chi_square, k - 1)),
        f=f,
        p_f=float(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        p_permutation=_permutation_p(rankings.block_ranks, permutations, np.random.default_rng(seed)),
        permutations=permutations,
        kendall_w=chi_square / (n * (k - 1)),
    )


def pairwise(rankings: Rankings, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Comparison, ...] | Withheld:
    """Every two systems by Wilcoxon's signed-rank test on the participants' scores, with Holm's correction.

    The differences d of two systems' scores within a participant that are not 0 are ranked by |d|, ties sharing
    their mean rank; W+ and W- sum the ranks of those above and below 0 (Wilcoxon 1945). The two-sided p is exact,
    all signs of these ranks being as likely, ties or none; beyond a hundred differences it is the normal one. p_holm
    holds among all k (k - 1) / 2 pairs (Holm 1979). The effect size is the matched-pairs rank-biserial correlation
    (W+ - W-) / (W+ + W-) (King, Rosopa and Minium 2011), 0 where no participant tells the two apart. The interval is
    of the mean difference, by resampling participants.
    """
    n = len(rankings.participants)
    if n < MIN_PARTICIPANTS:
        return withheld(n)
    drawn = resample(n, resamples=resamples, seed=seed)
    places = list(combinations(range(len(rankings.systems)), 2))
    # Rounded, as thirds of different participants that should tie may differ in their last bit.
    differences = [np.round(rankings.blocks[:, a] - rankings.blocks[:, b], 6) for a, b in places]
    tested = [_signed_ranks(d) for d in differences]
    holm = holm_adjusted(np.array([p for p, _ in tested]))
    return tuple(
        Comparison(
            a=rankings.systems[a],
            b=rankings.systems[b],
            difference=interval(float(d.mean()), drawn @ d / n, n),
            ahead=int((d > 0).sum()),
            behind=int((d < 0).sum()),
            level=int((d == 0).sum()),
            p=p,
            p_holm=float(adjusted),
            rank_biserial=effect,
        )
        for (a, b), d, (p, effect), adjusted in zip(places, differences, tested, holm, strict=True)
    )


def nemenyi(rankings: Rankings, *, alpha: float = 0.05) -> CriticalDifference | Withheld:
    """Nemenyi's test of all pairs of systems by their mean ranks.

    The critical difference is q sqrt(k (k + 1) / (6 n)) with q the upper alpha point of the studentised range of k
    means with infinite degrees of freedom, over sqrt(2); p is where two mean ranks lie on that scale (Nemenyi 1963;
    Demsar 2006, section 3.2.2). More cautious than the signed-rank tests, and ties are not corrected for.
    """
    n, k = rankings.block_ranks.shape
    if n < MIN_PARTICIPANTS:
        return withheld(n)
    means = rankings.block_ranks.mean(axis=0)
    scale = math.sqrt(k * (k + 1) / (12 * n))  # the square root of 2 included
    difference = float(scipy.stats.studentized_range.isf(alpha, k, np.inf)) * scale
    p = scipy.stats.studentized_range.sf(np.abs(means[:, None] - means) / scale, k, np.inf)
    order = sorted(range(k), key=lambda place: (means[place], rankings.systems[place]))
    groups: list[list[int]] = []
    for first in range(k):
        group = [place for place in order[first:] if means[place] - means[order[first]] < difference]
        if len(group) > 1 and not any(set(group) <= set(larger) for larger in groups):
            groups.append(group)
    return CriticalDifference(
        participants=n,
        systems=rankings.systems,
        mean_ranks=tuple(means.tolist()),
        alpha=alpha,
        difference=difference,
        p=tuple(map(tuple, p.tolist())),
        groups=tuple(tuple(rankings.systems[place] for place in group) for group in groups),
    )


def withheld(participants: int) -> Withheld:
    """Why there is no test."""
    return Withheld(
        participants,
        f"A test needs at least {MIN_PARTICIPANTS} participants and has {participants}: with fewer, neither a "
        "difference nor its absence says much.",
    )


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """Holm's p-values among those of the last axis, array[..., tests] (Holm 1979); smaller is more significant.

    >>> holm_adjusted(np.array([0.03, 0.01, 0.02])).tolist()
    [0.04, 0.03, 0.04]
    """
    order = np.argsort(p, axis=-1)
    steps = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(steps)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1), axis=-1)
    return adjusted


def friedman_statistic(sums: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Chi-square of Friedman's test from the rank sums and the sum of squared ranks of n blocks, corrected for ties.

    Parameters
    ----------
    sums : array[..., k]
    squares : array[...]

    Returns
    -------
    array[...], 0 where all blocks are level throughout
    """
    k = sums.shape[-1]
    centre = n * k * (k + 1) ** 2 / 4
    spread = squares - centre
    between = (k - 1) * (np.square(sums).sum(axis=-1) - n * centre)
    return np.where(spread > 1e-9, between / np.where(spread > 1e-9, spread, 1), 0.0)


def _chi_square(rankings: Rankings) -> float:
    ranks = rankings.block_ranks
    return float(friedman_statistic(ranks.sum(axis=0), np.square(ranks).sum(), len(ranks)))


def _permutation_p(ranks: np.ndarray, permutations: int, rng: np.random.Generator) -> float:
    """Share of relabellings with rank sums spread as widely; all else in chi-square stays the same."""
    # Whole numbers compare exactly; in order, the order of systems and participants does not change what is drawn.
    doubled = np.sort(np.rint(2 * ranks).astype(np.int64), axis=1)
    doubled = doubled[np.lexsort(doubled.T)]
    observed = np.square(np.rint(2 * ranks).astype(np.int64).sum(axis=0)).sum()
    extreme, todo = 0, permutations
    while todo:
        size = min(todo, max(1, 1_000_000 // doubled.size))
        drawn = rng.permuted(np.broadcast_to(doubled, (size, *doubled.shape)), axis=2).sum(axis=1)
        extreme += int((np.square(drawn).sum(axis=1) >= observed).sum())
        todo -= size
    return (1 + extreme) / (1 + permutations)


def _signed_ranks(differences: np.ndarray) -> tuple[float, float]:
    """Two-sided p of Wilcoxon's test, and the rank-biserial correlation."""
    d = differences[differences != 0]
    if len(d) == 0:
        return 1.0, 0.0
    doubled = np.rint(2 * scipy.stats.rankdata(np.abs(d))).astype(int)
    total, above = int(doubled.sum()), int(doubled[d > 0].sum())
    effect = (2 * above - total) / total
    if len(d) > EXACT_DIFFERENCES:
        z = (2 * above - total) / math.sqrt(np.square(doubled).sum())
        return float(2 * scipy.stats.norm.sf(abs(z))), effect
    chance = np.ones(1)  # of each value of W+, in half ranks, one difference after another
    for rank in doubled:
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    return min(1.0, 2 * float(chance[: min(above, total - above) + 1].sum())), effect
