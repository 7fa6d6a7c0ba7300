"""Concept activation vectors: of each concept, a direction in features that tells its clips from all others.

Conventions
-----------
- A vector is a logistic regression, the concept's clips against all that do not carry it, each side counted half.
- Features are z-scored by the training clips. Clips of VALIDATION choose how strongly a vector is held back (the exact
  method) or when its training ends (the published one); clips of TEST are left for `accuracies` and `similarity`.
- Balanced accuracy is (share of the concept's clips found + share of the others refused) / 2: higher is better, 0.5 is
  what guessing gives. A concept without held-out clips has 0.5 in an interval of 0 to 1: nothing is known of it.
- A concept without training clips is in nothing, and one that all training clips carry is in everything.

Source: Afchar, Hennequin and Guigue (2022), Learning unsupervised hierarchies of audio concepts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from musicstar.concepts import regression
from musicstar.concepts.atlas import TEST, TRAIN, VALIDATION, Vectors

METHODS = ("exact", "published")
# Of a larger concept so many clips are used, and vectors better than this are kept, as published.
MOST_CLIPS, LEAST_ACCURACY = 250, 0.7
# One for all: where each concept takes its own, accuracies are better but similarities, which are compared between
# concepts, less alike, and trees worse.
RIDGES = (0.03,)
MEMORY_BYTES = 2**30
# The logit of what is in everything, and with its sign turned in nothing.
CERTAIN = 10.0
FEW_TEST_CLIPS, WIDE = 8, 0.25
# Clips of which all probabilities are held at once.
ROWS = 4_096


@dataclass(frozen=True, eq=False)
class Accuracies:
    """How well vectors tell held-out clips apart.

    Attributes
    ----------
    balanced : np.ndarray[N], float64 in 0..1, balanced accuracy; 0.5 where there are no held-out clips
    low, high : np.ndarray[N], float64 in 0..1, its 95 % interval; 0 and 1 where there are none
    clips : np.ndarray[N], int64, held-out clips that carry the concept
    """

    balanced: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clips: np.ndarray


def fit(
    features: np.ndarray,
    members: np.ndarray,
    split: np.ndarray,
    *,
    others: np.ndarray | None = None,
    method: str = "exact",
    seed: int = 0,
    most_clips: int = MOST_CLIPS,
    ridges: Sequence[float] = RIDGES,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[float], None] = lambda _: None,
) -> Vectors:
    """Learn a vector of each concept.

    Parameters
    ----------
    features : np.ndarray[P, D]
    members : np.ndarray[N, P], bool
    split : np.ndarray[P], TRAIN, VALIDATION or TEST
    others : np.ndarray[N, P], bool, the clips that each concept is told from; without it all that do not carry it
    method : "exact" solves a ridge regression to its minimum; "published" descends in balanced random batches with
        dropout until validation clips are served no better. Either works on all concepts at once.
    most_clips : of a larger concept so many are drawn at random; the rest of its clips are on neither side
    ridges : for the exact method, the factor of |w|^2 / 2 beside the mean loss; of several each concept takes the one
        with the least validation loss, its own and by a little that of all
    memory_bytes : what is used besides the features, about; less takes fewer concepts at once
    progress : called with the share that is done

    Raises
    ------
    ValueError
        Shapes that do not fit, features that are not numbers, no training clips, or no such method.
    """
    _check(features, members, split)
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; expected {' or '.join(METHODS)}")
    others = ~members if others is None else others
    train, held = split == TRAIN, split == VALIDATION
    if not train.any():
        raise ValueError(f"none of {len(split)} clips is for training; expected most of them")
    mean = features[train].mean(axis=0, dtype=np.float64)
    scale = features[train].std(axis=0, dtype=np.float64)
    # What is constant but for rounding tells nothing apart.
    scale[scale <= 1e-6 * np.abs(mean)] = 1.0
    learned, judged = ((features[rows] - mean) / scale for rows in (train, held))
    n, size = len(members), features.shape[1]
    # Either side, weights, and six of their size that the solver or a batch takes.
    step = max(1, memory_bytes // (8 * (8 * len(learned) + 8 * size + 2 * regression.SIDE * size)))

    def blocks() -> Iterator[tuple[np.ndarray, regression.Side, regression.Side]]:
        """Concepts with clips on both sides, the clips that they learn from, and those that judge them."""
        for first in range(0, n, step):
            block = np.arange(first, min(n, first + step))
            drawn = _drawn(members, block, most_clips, seed)
            whole = drawn[:, train].any(axis=1) & others[block][:, train].any(axis=1)
            if whole.any():
                positive, negative = drawn[whole], others[block[whole]]
                yield (
                    block[whole],
                    regression.Side(learned, positive[:, train], negative[:, train]),
                    regression.Side(judged, positive[:, held], negative[:, held]),
                )

    found = np.zeros((n, size + 1), dtype=np.float32)
    found[:, -1] = np.where(members[:, train].any(axis=1), CERTAIN, -CERTAIN)
    if method == "published":
        for block, learning, judging in blocks():
            found[block] = regression.published(learning, judging, seed + int(block[0]))
            progress((int(block[-1]) + 1) / n)
    else:
        falling = np.sort(ridges)[::-1]
        starts, losses = np.zeros((len(falling), n, size + 1), dtype=np.float32), np.zeros((len(falling), n))
        counts = np.zeros(n)
        several = len(falling) > 1
        for block, learning, judging in blocks() if several else ():
            starts[:, block], losses[:, block] = regression.path(learning, judging, falling)
            counts[block] = np.where(judging.whole, judging.positive.sum(axis=1), 0)
            progress(0.5 * (int(block[-1]) + 1) / n)
        best = regression.chosen(losses, counts)
        for block, learning, _ in blocks():
            found[block] = regression.exact(learning, falling[best[block]], starts[best[block], block])
            share = (int(block[-1]) + 1) / n
            progress(0.5 + 0.5 * share if several else share)
    progress(1.0)
    return Vectors(found[:, :-1].copy(), found[:, -1].copy(), mean.astype(np.float32), scale.astype(np.float32))


def accuracies(
    vectors: Vectors,
    features: np.ndarray,
    members: np.ndarray,
    split: np.ndarray,
    tracks: Sequence[str],
) -> Accuracies:
    """Balanced accuracy on clips of TEST, with an interval.

    That of either share is Wilson's, clips of one track counted as one, and those of the two make that of their mean
    (Zou and Donner 2008, "MOVER").

    Parameters
    ----------
    features : np.ndarray[P, D]
    members : np.ndarray[N, P], bool
    split : np.ndarray[P]
    tracks : P names
    """
    _check(features, members, split)
    test = np.flatnonzero(split == TEST)
    inside, n = members[:, test], len(members)
    balanced, low, high = np.full(n, 0.5), np.zeros(n), np.ones(n)
    found = Accuracies(balanced, low, high, inside.sum(axis=1))
    if not len(test):
        return found
    _, track = np.unique(np.asarray(tracks)[test], return_inverse=True)
    blocks = (test[first : first + ROWS] for first in range(0, len(test), ROWS))
    says = np.concatenate([vectors.probabilities(features[rows]) > 0.5 for rows in blocks]).T
    for concept in np.flatnonzero((found.clips > 0) & (found.clips < len(test))):
        carries = inside[concept]
        right = says[concept] == carries
        sides = [(right[side].mean(), len(np.unique(track[side]))) for side in (carries, ~carries)]
        share, lower, upper = np.array([(share, *wilson(share, count)) for share, count in sides]).T
        balanced[concept] = share.mean()
        low[concept] = balanced[concept] - np.hypot(*(share - lower)) / 2
        high[concept] = balanced[concept] + np.hypot(*(upper - share)) / 2
    return found


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of so many (Wilson 1927).

    >>> tuple(round(end, 3) for end in wilson(1.0, 8))
    (0.676, 1.0)
    """
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def similarity(vectors: Vectors, features: np.ndarray, members: np.ndarray, split: np.ndarray) -> np.ndarray:
    """How much each concept is in the clips of each other, float32[N, N] in 0..1.

    [i, j] is the mean over the clips of concept i of sigmoid(v_j . f(x) + b_j): its clips of TEST, or where it has none
    those that it was learned from, of which `warnings` tells. A concept without any clip has zeros.
    """
    _check(features, members, split)
    test = split == TEST
    judged = members & (test | ~members[:, test].any(axis=1, keepdims=True))
    total = np.zeros((len(members), len(members)), dtype=np.float32)
    used = np.flatnonzero(judged.any(axis=0))
    for first in range(0, len(used), ROWS):
        rows = used[first : first + ROWS]
        total += judged[:, rows].astype(np.float32) @ vectors.probabilities(features[rows])
    total /= np.maximum(1, judged.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.clip(total, 0, 1)


def warnings(found: Accuracies) -> tuple[str, ...]:
    """For each concept a sentence on why its vector is not to be relied upon, or nothing."""
    said = []
    for accuracy, low, high, clips in zip(found.balanced, found.low, found.high, found.clips, strict=True):
        if not clips:
            said.append(
                "No held-out clips: how good its vector is, is not known, and its similarities are those of the "
                "clips it was learned from."
            )
            continue
        faults = []
        if clips < FEW_TEST_CLIPS:
            faults.append(f"only {clips} held-out clip{'s' if clips > 1 else ''}")
        if accuracy <= LEAST_ACCURACY:
            faults.append(f"accuracy {accuracy:.2f}, not above {LEAST_ACCURACY}")
        if low <= 0.5 <= high:
            faults.append(f"guessing (0.5) is within its interval, {low:.2f} to {high:.2f}")
        elif high - low > WIDE:
            faults.append(f"a wide interval, {low:.2f} to {high:.2f}")
        said.append(f"Not to be relied upon: {'; '.join(faults)}." if faults else "")
    return tuple(said)


def _check(features: np.ndarray, members: np.ndarray, split: np.ndarray) -> None:
    if features.ndim != 2 or members.ndim != 2 or not len(features) == members.shape[1] == len(split):
        raise ValueError(
            f"features {features.shape}, members {members.shape}, split {split.shape}; expected [P, D], [N, P], [P]"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{len(bad)} clips have features that are not numbers, the first is clip {bad[0]}; expected them left out"
        )


def _drawn(members: np.ndarray, block: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The members of some concepts, at most so many of each; what is drawn of one does not depend on the others."""
    drawn: np.ndarray = members[block].copy()
    for row in np.flatnonzero(drawn.sum(axis=1) > most):
        clips = np.flatnonzero(drawn[row])
        rng = np.random.default_rng([seed, int(block[row])])
        drawn[row, rng.choice(clips, len(clips) - most, replace=False)] = False
    return drawn
