"""What the rankings of a listening test add up to: totals, mean ranks, medians, first places, counts of every rank.

Rank r of k systems scores k - r + 1, so that 1..5 scores 5..1, and a system's total is the sum of its scores: the
figures of Music-STAR's Table 1 (its section 5.1).

Conventions
-----------
- The frame has one row per ranked item, with the columns `participant, session, trial, direction, criterion, system,
  rank` (1 best) and `excluded`; others are not looked at. The order of its rows, and the types and order of its
  labels, change nothing.
- A ranking is what one participant said in one trial on one criterion: a permutation of 1..k over all the k systems.
  Anything else is refused with ValueError, and so are versions of a study with different systems in one frame.
- Rankings marked as excluded are left out unless `with_excluded` is true.
- A direction is a name, or None for all of them pooled. Pooled figures count every ranking alike.
- Totals and first places: higher is better. Mean and median ranks: lower is better, 1 to k.
- Where nobody has ranked, totals and counts are 0, mean and median are NaN.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

# What tells one ranking from another.
RANKING = ["participant", "session", "trial", "direction", "criterion"]


@dataclass(frozen=True)
class Standing:
    """How one system stands on one criterion, in one direction (None: pooled).

    Attributes
    ----------
    rankings : how many there are of all the systems
    total : sum of the scores k..1; higher is better
    mean_rank, median_rank : lower is better
    rank_counts : how often the system was ranked 1st, 2nd, ..., kth
    """

    criterion: str
    direction: str | None
    system: str
    rankings: int
    total: int
    mean_rank: float
    median_rank: float
    rank_counts: tuple[int, ...]

    @property
    def first_places(self) -> int:
        return self.rank_counts[0]


@dataclass(frozen=True)
class Exclusions:
    """The standings with and without the excluded rankings, and the participants some of whose are excluded."""

    participants: tuple[str, ...]
    before: tuple[Standing, ...]
    after: tuple[Standing, ...]

    def pairs(self) -> Iterator[tuple[Standing, Standing]]:
        """The same system's standings before and after, in the order of both."""
        return zip(self.before, self.after, strict=True)


def wide(frame: pd.DataFrame, *, systems: Sequence[str] | None = None, with_excluded: bool = False) -> pd.DataFrame:
    """One row per ranking and one column per system, holding its rank; checked, and sorted by who, when and what.

    Parameters
    ----------
    systems : all of them, in the order wanted; sorted by name where not given

    Raises
    ------
    ValueError
        A column is missing, a system is unknown or ranked twice, or a ranking is no permutation of 1..k.

    >>> wide(as_frame([[2, 1, 3], [1, 2, 3]], ("x", "y", "z"), criterion="style", direction="cv")).to_numpy().tolist()
    [[2, 1, 3], [1, 2, 3]]
    """
    missing = sorted({*RANKING, "system", "rank", "excluded"} - set(frame.columns))
    if missing:
        raise ValueError(f"the frame of rankings has no column {', '.join(missing)}")
    names = names_of(frame, "system", systems)
    kept = frame if with_excluded else frame[~frame["excluded"].astype(bool)]
    twice = kept.duplicated([*RANKING, "system"])
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(f"{_which(row)}: {row['system']} is ranked twice")
    columns = pd.Index(names, name="system", dtype=object)
    items = kept.astype(dict.fromkeys([*RANKING, "system"], object))  # categories would sort in an order of their own
    ranks = items.pivot(index=RANKING, columns="system", values="rank").reindex(columns=columns)
    sound = (np.sort(ranks.to_numpy(dtype=float), axis=1) == np.arange(1, len(names) + 1)).all(axis=1)
    if not sound.all():
        row = ranks[~sound].reset_index().iloc[0]
        found = ", ".join(f"{name} {row[name]}" for name in names)
        raise ValueError(
            f"{_which(row)}: not a permutation of 1 to {len(names)} ({found}); "
            "versions of a study with other systems are scored apart"
        )
    return ranks.astype(int)


def standings(
    frame: pd.DataFrame,
    *,
    systems: Sequence[str] | None = None,
    criteria: Sequence[str] | None = None,
    directions: Sequence[str] | None = None,
    with_excluded: bool = False,
) -> tuple[Standing, ...]:
    """Every system's standing: by criterion, and there each direction first, then all of them pooled.

    Names not given are those in the frame, sorted; names given must take in all of those, so that nothing is left
    out unseen. Raises ValueError as `wide` does.

    >>> frame = as_frame([[2, 1, 3], [1, 2, 3]], ("x", "y", "z"), criterion="style", direction="cv")
    >>> standings(frame)[0]
    Standing(criterion='style', direction='cv', system='x', rankings=2, total=5, mean_rank=1.5, median_rank=1.5, \
rank_counts=(1, 1, 0))
    """
    ranks = wide(frame, systems=systems, with_excluded=with_excluded)
    return tuple(
        _standing(of[system].to_numpy(), criterion, direction, system, len(ranks.columns))
        for criterion in names_of(frame, "criterion", criteria)
        for direction in (*names_of(frame, "direction", directions), None)
        for of in [pick(ranks, criterion, direction)]
        for system in ranks.columns
    )


def exclusions(
    frame: pd.DataFrame,
    *,
    systems: Sequence[str] | None = None,
    criteria: Sequence[str] | None = None,
    directions: Sequence[str] | None = None,
) -> Exclusions:
    """The standings before and after the exclusions; raises ValueError as `wide` does."""
    before, after = (
        standings(frame, systems=systems, criteria=criteria, directions=directions, with_excluded=with_excluded)
        for with_excluded in (True, False)
    )
    return Exclusions(tuple(sorted(set(frame.loc[frame["excluded"].astype(bool), "participant"]))), before, after)


def pick(ranks: pd.DataFrame, criterion: str, direction: str | None) -> pd.DataFrame:
    """Of the rankings that `wide` gives, those on one criterion in one direction, or in all."""
    chosen = ranks.index.get_level_values("criterion") == criterion
    if direction is not None:
        chosen &= ranks.index.get_level_values("direction") == direction
    return ranks[chosen]


def names_of(frame: pd.DataFrame, column: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The names in a column, excluded rows included: as wanted, or sorted; ValueError where one is not wanted."""
    found = set(frame[column])
    if wanted is None:
        return tuple(sorted(found))
    unknown = sorted(found - set(wanted))
    if unknown:
        raise ValueError(f"the frame has the {column} {', '.join(unknown)}; expected {', '.join(wanted)}")
    return tuple(wanted)


def decompose(counts: np.ndarray | Sequence[Sequence[int]]) -> np.ndarray:
    """Rankings that have given rank counts: a matrix of counts as a sum of permutations.

    A non-negative integer matrix whose rows and columns all sum to n is the sum of n permutation matrices (Birkhoff
    1946, von Neumann 1953): wherever something is left, the bipartite graph of its positive entries has a perfect
    matching, which is taken off as often as it fits. There are as a rule many such decompositions, and everything
    that depends on rank counts alone (totals, mean ranks, Friedman, W) is the same in all; what compares two systems
    within a ranking is not.

    Parameters
    ----------
    counts : array[k, k], a row per system, how often it was ranked 1st, ..., kth

    Returns
    -------
    array[n, k], a row per ranking, the rank 1..k of each system; equal rankings lie together

    Raises
    ------
    ValueError
        The matrix is not square, or its rows and columns do not all sum to the same, or an entry is no count.

    >>> decompose([[2, 1], [1, 2]]).tolist()
    [[1, 2], [1, 2], [2, 1]]
    """
    left = np.array(counts)
    if left.ndim != 2 or left.shape[0] != left.shape[1] or left.size == 0:
        raise ValueError(f"rank counts must be a square matrix, a row per system; its shape is {left.shape}")
    if left.dtype.kind not in "iu" or left.min() < 0:
        raise ValueError("rank counts must be whole numbers from 0")
    if len({*left.sum(axis=0).tolist(), *left.sum(axis=1).tolist()}) != 1:
        raise ValueError(
            f"rank counts must sum to the same in every row and column; "
            f"the rows sum to {left.sum(axis=1).tolist()}, the columns to {left.sum(axis=0).tolist()}"
        )
    rankings = [np.empty((0, len(left)), dtype=int)]
    while left.any():
        rows, ranks = scipy.optimize.linear_sum_assignment(left == 0)
        times = left[rows, ranks].min()
        assert times > 0, "Birkhoff's theorem"
        left[rows, ranks] -= times
        rankings.append(np.tile(ranks + 1, (times, 1)))
    return np.concatenate(rankings)


def as_frame(
    ranks: np.ndarray | Sequence[Sequence[int]], systems: Sequence[str], *, criterion: str, direction: str
) -> pd.DataFrame:
    """A frame of one ranking per participant (`p_001`, `p_002`, ...), none excluded, from the ranks of the systems.

    Frames of other criteria and directions can be put under it: the participants and trials are then the same.
    """
    found = np.asarray(ranks, dtype=int).reshape(-1, len(systems))
    numbers = np.repeat([f"{number:03d}" for number in range(1, len(found) + 1)], len(systems)).astype(object)
    return pd.DataFrame(
        {
            "participant": "p_" + numbers,
            "session": "s_" + numbers,
            "version": 1,
            "trial": "t_" + numbers + f".{direction}",
            "direction": direction,
            "criterion": criterion,
            "system": list(systems) * len(found),
            "rank": found.ravel(),
            "k": len(systems),
            "excluded": False,
        }
    )


def _standing(ranks: np.ndarray, criterion: str, direction: str | None, system: str, k: int) -> Standing:
    n = len(ranks)
    return Standing(
        criterion=criterion,
        direction=direction,
        system=system,
        rankings=n,
        total=int((k + 1 - ranks).sum()),
        mean_rank=float(ranks.mean()) if n else float("nan"),
        median_rank=float(np.median(ranks)) if n else float("nan"),
        rank_counts=tuple(np.bincount(ranks, minlength=k + 1)[1:].tolist()),
    )


def _which(row: pd.Series) -> str:
    return f"participant {row['participant']}, trial {row['trial']}, {row['criterion']}"
