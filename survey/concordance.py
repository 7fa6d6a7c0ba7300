"""Concordance of objective measures and rankings: whether a measure orders the systems as the participants do.

Conventions
-----------
- Kendall's tau-b (Kendall 1945, Biometrika 33) of a measure and the mean scores of the systems, in each direction by
  itself, averaged over the directions. The measure is turned so that higher is better: 1 the same order, 0 unrelated,
  -1 reversed. A direction in which all systems are level has none; where there is none at all, tau is NaN.
- The unit is the system, of which there are few. p is exact and two-sided: the share of all k! relabellings of the
  systems, the same in every direction, whose average is as far from 0. It takes the scores as they are, so it is
  about these participants and these recordings, and it can never be less than 1 / k!.
- p stands for one pair of measure and criterion; nothing corrects for how many of them are looked at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from survey.objective import merit
from survey.parts import Objective

AS_FAR = 1e-9
Places = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class Concordance:
    """Of one measure and one criterion.

    Attributes
    ----------
    systems, directions : how many are compared
    tau : -1 to 1, higher is more alike
    p : two-sided
    """

    measure: str
    criterion: str
    systems: int
    directions: int
    tau: float
    p: float


def concordance(merits: np.ndarray, scores: np.ndarray) -> tuple[float, float, int]:
    """Mean tau-b over directions, its exact p, and in how many directions there is one.

    Parameters
    ----------
    merits : array[directions, k], the measure, higher is better
    scores : array[directions, k], mean scores, higher is better; NaN throughout a direction that nobody has ranked in

    >>> concordance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]]))
    (0.333..., 1.0, 1)
    """
    first, second = np.triu_indices(merits.shape[1], 1)
    relabelled = _relabellings(merits.shape[1])
    taus = []
    for figures, score in zip(merits, scores, strict=True):
        signs = np.sign(figures[first] - figures[second])
        # The first relabelling changes nothing.
        others = np.sign(score[relabelled[:, first]] - score[relabelled[:, second]])
        scale = math.sqrt(np.square(signs).sum() * np.square(others[0]).sum())
        if scale > 0:
            taus.append(others @ signs / scale)
    if not taus:
        return math.nan, math.nan, 0
    means = np.mean(taus, axis=0)
    return float(means[0]), float((np.abs(means) >= abs(means[0]) - AS_FAR).mean()), len(taus)


def concordances(objective: Objective, scores: Mapping[str, np.ndarray], where: Places) -> tuple[Concordance, ...]:
    """Every measure that is shown with every criterion.

    Parameters
    ----------
    scores : by criterion array[directions, k], as `concordance` takes them
    where : the directions and systems that these are of
    """
    directions, systems = where
    found = []
    for name in objective.shown:
        measure = objective.measures[name]
        figures = [[objective.value(name, system, direction) for system in systems] for direction in directions]
        merits = np.array([[merit(measure, one.mean) if one else math.nan for one in row] for row in figures])
        for criterion, of in scores.items():
            tau, p, counted = concordance(merits, of)
            found.append(Concordance(name, criterion, len(systems), counted, tau, p))
    return tuple(found)


def weakness(of: Sequence[Concordance]) -> str:
    """What such figures cannot show, in a sentence or two."""
    k = of[0].systems
    return (
        f"This is weak evidence: with {k} systems there are {math.factorial(k)} orders, so p is never below "
        f"{1 / math.factorial(k):.2g}; the directions hold the same systems, and nothing corrects for how many pairs "
        "are looked at."
    )


@lru_cache(maxsize=1)
def _relabellings(k: int) -> np.ndarray:
    """Every order of k, array[k!, k]; as they are comes first."""
    return np.array(list(permutations(range(k))), dtype=np.int8)
