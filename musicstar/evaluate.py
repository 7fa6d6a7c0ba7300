"""How well the methods do: content similarity to the gold standard, beside the untranslated input's, and speed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from musicstar import checkpoint, multipitch
from musicstar.domains import PAPER, STARNET
from musicstar.methods import studio
from musicstar.methods.base import NotOffered
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import SIMILARITY, StoredParts, library
from musicstar.pairs import Pair

UNTRANSLATED = "untranslated"


@dataclass(frozen=True)
class Score:
    """One output against its gold standard.

    Attributes
    ----------
    similarity : content similarity, silent frames counted 1; higher is better
    speed : seconds of audio per second of work; 0 for the untranslated input
    """

    piece: str
    target: str
    system: str
    backbone: str
    similarity: float
    speed: float


def score(pairs: Iterator[Pair], methods: Sequence[str], *, backbone: Backbone) -> Iterator[Score]:
    """Translate every pair by every method it has the inputs for, and compare with the gold standard."""
    for pair in pairs:
        gold = multipitch.pitches(pair.gold)
        target, source = pair.target, pair.source
        assert source.mixture is not None
        untouched = multipitch.compare(multipitch.pitches(source.mixture), gold).silent_one
        yield Score(pair.name, target.value, UNTRANSLATED, "", untouched, 0.0)
        for name in methods:
            if METHODS[name].needs_stems and source.stems is None:
                continue
            # One at a time, so that each method's time is its own.
            for made in studio.translate_all([name], source, target, backbone=backbone):
                similarity = multipitch.compare(multipitch.pitches(made.mix), gold).silent_one
                speed = made.mix.duration_s / made.seconds["total"]
                yield Score(pair.name, target.value, name, backbone.value, similarity, speed)


def with_weights(methods: Sequence[str], *, backbone: Backbone) -> tuple[list[str], dict[str, str]]:
    """The methods whose networks are all there, and of the others what is missing; nothing is asked of what is."""
    trained, left_out = [], {}
    for name in methods:
        try:
            for direction in PAPER:
                CLASSES[name](StoredParts(backbone, library())).require(direction)
        except NotOffered as error:
            left_out[name] = str(error)
        else:
            trained.append(name)
    return trained, left_out


def record(scores: Sequence[Score], *, backbone: Backbone) -> None:
    """Write the similarity each method's own weights reached, towards the domains they serve, into their cards."""
    found = library()
    for name in dict.fromkeys(score.system for score in scores if score.system in CLASSES):
        kind = CLASSES[name]
        family = "demucs" if kind.recipe == "separation" else backbone.value
        reached: dict[Path, list[float]] = {}
        for direction in PAPER:
            own = [score.similarity for score in scores if (score.system, score.target) == (name, direction.target)]
            for voice in kind.voices(direction):
                path = found.find(family, kind.recipe, voice.label)
                if path is not None:
                    reached.setdefault(path, []).extend(own)
        for path, similarities in reached.items():
            checkpoint.annotate(path, {SIMILARITY: round(float(np.mean(similarities)), 3)})


def table(scores: Sequence[Score]) -> str:
    """Mean content similarity per direction and pooled, with a 95 % bootstrap interval over pieces, as markdown."""
    lines = [
        "| system | to CV | to SP | pooled (95 % over pieces) | times real time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for system in dict.fromkeys(score.system for score in scores):
        own = [score for score in scores if score.system == system]
        to = [np.mean([score.similarity for score in own if score.target == domain]) for domain in STARNET]
        low, high = _interval(own)
        speed = float(np.median([score.speed for score in own]))
        lines.append(
            f"| {system} | {to[0]:.3f} | {to[1]:.3f} | {np.mean([score.similarity for score in own]):.3f} "
            f"({low:.3f} to {high:.3f}) | {f'{speed:.2g}' if speed else ''} |"
        )
    return "\n".join(lines)


def as_json(scores: Sequence[Score]) -> str:
    """One JSON object per line."""
    return "\n".join(json.dumps(asdict(score)) for score in scores)


def _interval(scores: Sequence[Score]) -> tuple[float, float]:
    pieces = sorted({score.piece for score in scores})
    means = np.array([np.mean([score.similarity for score in scores if score.piece == piece]) for piece in pieces])
    draws = np.random.default_rng(0).integers(0, len(pieces), (2000, len(pieces)))
    low, high = np.quantile(means[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
