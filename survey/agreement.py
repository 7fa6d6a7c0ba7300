"""Agreement between criteria: how alike the same participants rank the same clips by two of them.

Conventions
-----------
- Kendall's tau of two rankings of k systems: (pairs of systems in the same order - pairs in the other order) over
  k (k - 1) / 2 (Kendall 1938, Biometrika 30). 1 the same, 0 unrelated, -1 reversed; near 1 two criteria measure one
  thing. No ranking has ties, so tau-a and tau-b are one.
- Averaged over the trials that a participant ranked on both criteria, then over participants, who are what the
  interval resamples. Trials ranked on one of the two alone are left out; where there is none, tau is NaN.
- How alike the participants are among themselves on one criterion is Kendall's W, in `survey.stats`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from survey.bootstrap import RESAMPLES, Interval, interval, resample
from survey.scoring import names_of, pick, wide


@dataclass(frozen=True)
class Agreement:
    """Mean Kendall's tau of criteria `a` and `b`; higher is more alike.

    Attributes
    ----------
    direction : None for all
    participants, trials : how many have ranked on both
    """

    direction: str | None
    a: str
    b: str
    participants: int
    trials: int
    tau: Interval


def agreement(
    frame: pd.DataFrame,
    *,
    direction: str | None = None,
    criteria: Sequence[str] | None = None,
    with_excluded: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Agreement, ...]:
    """Every two criteria, in one direction or all; the frame and the ValueErrors are those of `survey.scoring`.

    >>> from survey.scoring import as_frame
    >>> style = as_frame([[1, 2, 3], [1, 2, 3]], "xyz", criterion="style", direction="cv")
    >>> content = as_frame([[1, 2, 3], [1, 3, 2]], "xyz", criterion="content", direction="cv")
    >>> round(agreement(pd.concat([style, content]))[0].tau.value, 3)
    0.667
    """
    ranks = wide(frame, with_excluded=with_excluded)
    orders = {
        name: pd.DataFrame(_orders(of.to_numpy()), index=of.index.droplevel("criterion"))
        for name in names_of(frame, "criterion", criteria)
        for of in [pick(ranks, name, direction)]
    }
    found = []
    for a, b in combinations(orders, 2):
        shared = orders[a].index.intersection(orders[b].index)
        tau = (orders[a].loc[shared] * orders[b].loc[shared]).mean(axis=1)
        own = tau.groupby(level="participant", observed=True).mean().to_numpy(dtype=float)
        n = len(own)
        value = float(own.mean()) if n else float("nan")
        draws = resample(n, resamples=resamples, seed=seed) @ own / max(n, 1)
        found.append(Agreement(direction, a, b, n, len(shared), interval(value, draws, n)))
    return tuple(found)


def _orders(ranks: np.ndarray) -> np.ndarray:
    """1 or -1 for every two systems of each ranking, as the first is ranked before or after the second."""
    first, second = np.triu_indices(ranks.shape[1], 1)
    return np.asarray(np.sign(ranks[:, second] - ranks[:, first]))
