"""What a clip contains, over time, and concepts of one's own from a handful of clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicstar.audio import AudioError, Clip, require_sound
from musicstar.concepts import cav, embed
from musicstar.concepts.atlas import TEST, TRAIN, Atlas, AtlasError, Vectors
from musicstar.concepts.embed import Embedder

LEAST_CLIPS = 3
FEW_CLIPS = 5
# Some clips of the background may well be of the concept: that part of it which is most like it is left out.
UNLABELLED_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Heard:
    """The concepts of a clip over time.

    Attributes
    ----------
    times_s : np.ndarray[W], the middle of each window in seconds
    probabilities : np.ndarray[N, W], float32 in 0..1; a vector is learned from sides that count the same, so 0.5 is
        where a concept is as likely there as not when half of all clips carry it
    """

    times_s: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Own:
    """A concept of somebody's own.

    Attributes
    ----------
    accuracy, low, high : balanced accuracy with each clip left out in turn, against the atlas's held-out clips; its
        95 % interval (Wilson's, for the share of the own clips that is found)
    towards : np.ndarray[N], how much each concept of the atlas is in the own clips
    back : np.ndarray[N], how much the own concept is in the held-out clips of each
    warnings : sentences
    """

    accuracy: float
    low: float
    high: float
    towards: np.ndarray
    back: np.ndarray
    warnings: tuple[str, ...]


def listener(atlas: Atlas, *, vouched: str = "") -> Embedder:
    """What makes features that an atlas's vectors understand.

    Parameters
    ----------
    vouched : module:function of an embedder of one's own; an atlas alone does not have code run

    Raises
    ------
    AtlasError
        The atlas was not learned from audio.
    EmbedderError
        The embedder cannot be had, or has changed since.
    """
    if atlas.vectors is None:
        raise AtlasError(f"{atlas.title}: holds similarities alone; expected an atlas learned from audio")
    plain = atlas.embedder.partition("@")[0]
    return embed.find(atlas.embedder, code=bool(vouched) and plain == vouched)


def hear(clip: Clip, atlas: Atlas, embedder: Embedder) -> Heard:
    """Listen to a clip window by window.

    Raises
    ------
    AudioError
        The clip is silent or too short.
    """
    assert atlas.vectors is not None
    rows = _windows([clip], embedder)[0]
    middle_s = min(embedder.window_s, clip.duration_s) / 2
    # The last window may lie flush with the clip's end.
    times_s = np.minimum(middle_s + embedder.hop_s * np.arange(len(rows)), clip.duration_s - middle_s)
    return Heard(times_s, atlas.vectors.probabilities(rows).T)


def _windows(clips: Sequence[Clip], embedder: Embedder) -> list[np.ndarray]:
    wavs = [require_sound(clip, "the clip").resampled(embedder.sample_rate).wav for clip in clips]
    found = embedder.run(wavs)
    if not all(np.isfinite(rows).all() for rows in found):
        raise AudioError("the clip gives features that are not numbers; expected sound that is finite")
    return found


def own(clips: Sequence[Clip], atlas: Atlas, embedder: Embedder) -> Own:
    """Learn a concept from a few clips, against those the atlas was learned from.

    Raises
    ------
    AtlasError
        The atlas holds no features of its clips.
    AudioError
        There are fewer than `LEAST_CLIPS` clips, or one is silent or too short.
    """
    if atlas.vectors is None or atlas.background is None:
        raise AtlasError(f"{atlas.title}: holds no features of its clips; expected an atlas learned from audio")
    if len(clips) < LEAST_CLIPS:
        raise AudioError(f"{len(clips)} clips; expected {LEAST_CLIPS} or more, {FEW_CLIPS} are better")
    rows = np.stack([found.mean(axis=0) for found in _windows(clips, embedder)])
    background = atlas.background
    test = background.features[background.split == TEST]
    vectors = _each_left_out(rows, background.features[background.split == TRAIN])
    heard = vectors.probabilities(test)
    found = int((vectors.probabilities(rows).diagonal() > 0.5).sum())
    refused = float((heard[:, :-1] <= 0.5).mean())
    low, high = cav.wilson(found / len(rows), len(rows))
    inside = background.members[:, background.split == TEST].astype(np.float64)
    back = inside @ heard[:, -1] / np.maximum(1, inside.sum(axis=1))
    warnings = []
    if len(rows) < FEW_CLIPS:
        warnings.append(f"Learned from {len(rows)} clips only: {FEW_CLIPS} or more tell a concept better.")
    if found < len(rows):
        missed = len(rows) - found
        warnings.append(f"{missed} of {len(rows)} clips would not be recognised from the others: are they of one kind?")
    return Own(
        accuracy=(found / len(rows) + refused) / 2,
        low=(low + refused) / 2,
        high=(high + refused) / 2,
        towards=atlas.vectors.probabilities(rows).mean(axis=0),
        back=back,
        warnings=tuple(warnings),
    )


def _each_left_out(rows: np.ndarray, others: np.ndarray) -> Vectors:
    """Vectors without each of the rows in turn, and one of all rows at last; a row left out counts in scaling alone."""
    features, split = np.concatenate([rows, others]), np.full(len(rows) + len(others), TRAIN)
    members, told_from = np.zeros((2, len(rows) + 1, len(features)), dtype=bool)
    members[:, : len(rows)] = ~np.eye(len(rows) + 1, len(rows), dtype=bool)
    told_from[:, len(rows) :] = True
    alike = cav.fit(features, members, split, others=told_from).probabilities(others).T
    told_from[:, len(rows) :] = alike <= np.quantile(alike, 1 - UNLABELLED_SHARE, axis=1, keepdims=True)
    return cav.fit(features, members, split, others=told_from)
