"""Means and their intervals by resampling pieces, each with all it was measured on, and others by leaving them out.

Conventions
-----------
- Pieces are resampled, as many as there are, with replacement, 2,000 times from one seed; both directions of a piece
  stay together. The order of the pieces does not matter.
- Intervals hold 95 %, for which percentiles of few pieces reach too short (at ten, 90 %): theirs go further out, to
  the quantile Phi(-sqrt(n / (n - 1)) t) and its counterpart, with t Student's on n - 1 degrees of freedom.
- A figure that is NaN (there was nothing to measure) is left out; of none at all the mean is NaN.
- With a single piece there is no interval: its ends are NaN.
- A difference is paired: it is taken piece by piece before resampling, over the pieces that both systems have.

Sources: Efron and Tibshirani (1993), chapters 8, 11 and 13; Hesterberg (2015), The American Statistician 69, 371-386.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

DRAWS = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over pieces and the ends of its 95 % interval; NaN where there is none."""

    mean: float
    low: float
    high: float


NOTHING = Estimate(math.nan, math.nan, math.nan)


def draws(pieces: int, *, count: int = DRAWS) -> np.ndarray:
    """Resamples of so many pieces: int64 [count, pieces], the same each time."""
    return np.random.default_rng(0).integers(0, pieces, (count, pieces))


def ends(pieces: int) -> tuple[float, float]:
    """The quantiles of resampled figures between which an interval of so many pieces lies; two pieces at least.

    >>> [round(end, 4) for end in ends(10)]
    [0.0086, 0.9914]
    """
    t = scipy.stats.t.ppf(0.975, pieces - 1)
    tail = float(scipy.stats.norm.cdf(-math.sqrt(pieces / (pieces - 1)) * t))
    return tail, 1 - tail


def estimate(by_piece: Mapping[str, float]) -> Estimate:
    """Mean over pieces with its interval.

    >>> estimate({"a": 0.0, "b": 1.0})
    Estimate(mean=0.5, low=0.0, high=1.0)
    """
    values = np.array([by_piece[piece] for piece in sorted(by_piece) if not math.isnan(by_piece[piece])])
    if len(values) == 0:
        return NOTHING
    if len(values) == 1:
        return Estimate(float(values[0]), math.nan, math.nan)
    low, high = np.quantile(values[draws(len(values))].mean(axis=1), ends(len(values)))
    return Estimate(float(values.mean()), float(low), float(high))


def jackknife(whole: float, without: Sequence[float]) -> Estimate:
    """A figure of all pieces that is no mean, 0 at the least, with an interval by leaving each piece out in turn.

    >>> round(jackknife(0.5, [0.4, 0.5, 0.6]).high, 3)
    0.997
    """
    values = np.array([value for value in without if not math.isnan(value)])
    count = len(values)
    if math.isnan(whole) or count < 2:
        return Estimate(whole, math.nan, math.nan)
    error = math.sqrt((count - 1) * float(np.mean((values - values.mean()) ** 2)))
    reach = float(scipy.stats.t.ppf(0.975, count - 1)) * error
    return Estimate(whole, max(0.0, whole - reach), whole + reach)


def gain(by_piece: Mapping[str, float], other: Mapping[str, float]) -> Estimate:
    """Mean of the first less the second, piece by piece.

    >>> gain({"a": 0.5, "b": 0.75}, {"a": 0.25, "b": 0.5})
    Estimate(mean=0.25, low=0.25, high=0.25)
    """
    return estimate({piece: by_piece[piece] - other[piece] for piece in by_piece if piece in other})
