"""Pieces that are there in both domains, for measuring and for listening tests."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from musicstar import audio
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.domains import Domain
from musicstar.methods.base import Source
from musicstar.starnet import Reduced


@dataclass(frozen=True, eq=False)
class Pair:
    """One piece in both domains, each the other's gold standard."""

    name: str
    source: Source
    gold: Clip


def excerpt_pairs(folder: Path) -> Iterator[Pair]:
    """Both directions of each piece of which a folder has the two mixtures, NNN.0.wav and NNN.3.wav, or .flac."""
    found: dict[str, dict[Domain, Path]] = {}
    for path in sorted(folder.glob("*.*.*")):
        for domain in Domain:
            if match := re.fullmatch(rf"([^.]+)\.{domain.mixture.value}\.(wav|flac)", path.name):
                found.setdefault(match[1], {})[domain] = path
    if not found:
        raise ValueError(f"{folder}: no NNN.0.wav; expected mixtures in the StarNet layout, as WAV or FLAC")
    for number, paths in found.items():
        if lacking := set(Domain) - set(paths):
            voice = lacking.pop().mixture.value
            raise ValueError(f"{folder}: of {number} there is no {number}.{voice}.wav; expected both mixtures")
        clips = {domain: audio.read(path) for domain, path in paths.items()}
        for target in Domain:
            yield Pair(number, Source(target.other, clips[target.other]), clips[target])


def set_pairs(data: Reduced, names: Iterable[str], *, seconds: float = 10.0) -> Iterator[Pair]:
    """Both directions of the first seconds of some pieces, heard in a take that is not the target's, with stems."""
    samples = int(seconds * SAMPLE_RATE)
    takes = {piece.name: piece.takes for piece in data.pieces}
    for name in names:
        heard, gold = (data.piece(name, take=take)[:, :samples].numpy() for take in (min(1, takes[name] - 1), 0))
        for target in Domain:
            mixture, stems = target.other.mixture, target.other.stems
            source = Source(target.other, Clip(heard[mixture]), (Clip(heard[stems[0]]), Clip(heard[stems[1]])))
            yield Pair(name, source, Clip(gold[target.mixture]))
