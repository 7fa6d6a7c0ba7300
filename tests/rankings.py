"""Frames of rankings to count and to test: the published ones, and simulated listeners with tastes of their own."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from survey import scoring
from survey.planner import draw
from survey.stats import Rankings

# How often each system of the Music-STAR paper was ranked 1st to 5th, read off the charts of its supplementary page;
# and the totals of its Table 1, which these counts give.
SYSTEMS = ("single", "separation", "embedding", "stem", "mixture")
COUNTS = {
    ("content", "sp"): ((0, 3, 7, 12, 8), (2, 1, 11, 10, 6), (2, 4, 8, 6, 10), (8, 14, 3, 0, 5), (18, 8, 1, 2, 1)),
    ("content", "cv"): ((7, 6, 9, 7, 1), (6, 6, 6, 8, 4), (3, 6, 10, 9, 2), (0, 1, 4, 3, 22), (14, 11, 1, 3, 1)),
    ("style", "sp"): ((2, 1, 8, 7, 12), (1, 3, 7, 14, 5), (2, 2, 11, 5, 10), (8, 14, 4, 1, 3), (17, 10, 0, 3, 0)),
    ("style", "cv"): ((3, 6, 10, 6, 5), (1, 7, 6, 9, 7), (4, 4, 11, 6, 5), (2, 10, 1, 7, 10), (20, 3, 2, 2, 3)),
    ("quality", "sp"): ((1, 1, 12, 4, 12), (2, 2, 4, 18, 4), (4, 1, 8, 4, 13), (7, 15, 5, 2, 1), (16, 11, 1, 2, 0)),
    ("quality", "cv"): ((2, 7, 12, 5, 4), (5, 8, 5, 5, 7), (2, 5, 9, 9, 5), (4, 3, 2, 9, 12), (17, 7, 2, 2, 2)),
}
TOTALS = {
    "content": (166, 165, 161, 154, 254),
    "style": (150, 147, 157, 190, 256),
    "quality": (153, 159, 149, 183, 256),
}


def published() -> pd.DataFrame:
    """Thirty participants who rank as often as published."""
    return pd.concat(
        [
            scoring.as_frame(scoring.decompose(counts), SYSTEMS, criterion=criterion, direction=direction)
            for (criterion, direction), counts in COUNTS.items()
        ],
        ignore_index=True,
    )


def listeners(
    rng: np.random.Generator,
    participants: int,
    logs: Sequence[float],
    *,
    trials: int = 1,
    taste: float = 0.0,
    criteria: Sequence[str] = ("content",),
) -> pd.DataFrame:
    """Participants who rank `trials` trials, each in a direction of its own; log-strengths plus their own taste."""
    k = len(logs)
    own = np.asarray(logs) + taste * rng.normal(size=(participants, k))
    return pd.concat(
        [
            scoring.as_frame(draw(own, rng), "abcdefgh"[:k], criterion=criterion, direction=f"d{trial}")
            for criterion in criteria
            for trial in range(trials)
        ],
        ignore_index=True,
    )


def crowd(
    rng: np.random.Generator, participants: int, logs: Sequence[float], *, trials: int = 1, taste: float = 0.0
) -> Rankings:
    """Such listeners as `select` would give them, without the way through a frame, for tests that need many studies."""
    own = np.asarray(logs) + taste * rng.normal(size=(participants, len(logs)))
    ranks = draw(np.repeat(own, trials, axis=0), rng)
    names = tuple(f"p_{number:05d}" for number in range(participants))
    return Rankings(tuple("abcdefgh"[: len(logs)]), names, ranks, np.repeat(np.arange(participants), trials))


def shuffled(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The same rows in another order, with text as categories whose order is another too."""
    frame = frame.sample(frac=1, random_state=seed)
    for column in ("participant", "direction", "criterion", "system"):
        categories = sorted(set(frame[column]), reverse=True)
        frame[column] = pd.Categorical(frame[column], categories=[*categories, "nobody's"])
    return frame
