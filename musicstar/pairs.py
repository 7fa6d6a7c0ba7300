"""Pieces that are there in several domains, for measuring and for listening tests."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from musicstar import audio
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.domains import PAPER, STARNET, Direction, Domain
from musicstar.methods.base import Source
from musicstar.starnet import Reduced


@dataclass(frozen=True, eq=False)
class Pair:
    """One piece in two domains: the one to translate from, and what the translation should come to."""

    name: str
    source: Source
    target: Domain
    gold: Clip


def excerpt_pairs(folder: Path) -> Iterator[Pair]:
    """Both directions of each piece of which a folder has the two mixtures, NNN.0.wav and NNN.3.wav, or .flac."""
    found: dict[str, dict[Domain, Path]] = {}
    for path in sorted(folder.glob("*.*.*")):
        for domain in STARNET:
            if match := re.fullmatch(rf"([^.]+)\.{domain.mixture.value}\.(wav|flac)", path.name):
                found.setdefault(match[1], {})[domain] = path
    if not found:
        raise ValueError(f"{folder}: no NNN.0.wav; expected mixtures in the StarNet layout, as WAV or FLAC")
    for number, paths in found.items():
        if lacking := set(STARNET) - set(paths):
            voice = lacking.pop().mixture.value
            raise ValueError(f"{folder}: of {number} there is no {number}.{voice}.wav; expected both mixtures")
        clips = {domain: audio.read(path) for domain, path in paths.items()}
        for target, source in zip(STARNET, reversed(STARNET), strict=True):
            yield Pair(number, Source(source, clips[source]), target, clips[target])


def set_pairs(
    data: Reduced, names: Iterable[str], *, directions: Sequence[Direction] = PAPER, seconds: float = 10.0
) -> Iterator[Pair]:
    """The first seconds of some pieces in some directions, heard in a take that is not the target's, with stems."""
    samples = int(seconds * SAMPLE_RATE)
    takes = {piece.name: piece.takes for piece in data.pieces}
    names = list(names)
    if unknown := sorted(set(names) - set(takes)):
        raise ValueError(f"{data.folder}: there is no piece {', '.join(unknown)}, expected of {', '.join(takes)}")
    for name in names:
        heard, gold = (data.piece(name, take=take)[:, :samples].numpy() for take in (min(1, takes[name] - 1), 0))
        for direction in directions:
            mixture, melody, accompaniment = (Clip(heard[voice]) for voice in direction.source.voices)
            source = Source(direction.source, mixture, (melody, accompaniment))
            yield Pair(name, source, direction.target, Clip(gold[direction.target.mixture]))
