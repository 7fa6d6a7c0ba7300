"""Reduced StarNet, as the paper makes it: 16 kHz, one channel, stems of one length, none silent.

Stretches where one of the stems is silent are cut from all at once.

A reduced piece is NNN.npy, int16 [takes, 2 * domains, T], stems in the order of `domains.STEMS`, and NNN.json. Only
stems are kept: a mixture is their sum.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.audio import SAMPLE_RATE
from musicstar.domains import Domain, Voice, stems_of
from musicstar.files import whole, write_whole
from musicstar.layout import FULL_SCALE, Piece, read_pcm

logger = logging.getLogger(__name__)

FORMAT = 2
SILENCE_DB = -40.0
SILENCE_S = 1.0
SHORTEST_PIECE_S = 1.0
MIXTURE_TOLERANCE_DB = -40.0

_FRAME = SAMPLE_RATE // 50
_FADE = SAMPLE_RATE // 100

# Of one domain, [2 * takes, 2 * takes]: the means of the products of any two of its stems, first those of all takes'
# melodies, then those of their accompaniments.
Energies = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Stored:
    """A reduced piece.

    Attributes
    ----------
    samples : T, at 16 kHz
    energies : per `Domain`, of samples in [-1, 1)
    """

    name: str
    samples: int
    energies: tuple[Energies, ...]

    @property
    def takes(self) -> int:
        """How many takes there are, take 0 included."""
        return len(self.energies[0]) // 2

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains it is played in."""
        return tuple(Domain)[: len(self.energies)]

    def power(self, domain: Domain, takes: tuple[int, int], *, balance: float) -> float:
        """Mean square of a mixture: the melody of one take and the accompaniment, times `balance`, of another."""
        energies = self.energies[tuple(Domain).index(domain)]
        melody, accompaniment = takes[0], self.takes + takes[1]
        cross = energies[melody][accompaniment]
        return energies[melody][melody] + 2 * balance * cross + balance**2 * energies[accompaniment][accompaniment]

    def evening(self, domain: Domain, takes: tuple[int, int]) -> float:
        """What an accompaniment is multiplied by to stand to the melody, each of some take, as in take 0."""
        if takes == (0, 0):
            return 1.0
        energies = self.energies[tuple(Domain).index(domain)]
        wanted, found = (
            energies[self.takes + accompaniment][self.takes + accompaniment] / max(energies[melody][melody], 1e-12)
            for melody, accompaniment in ((0, 0), takes)
        )
        return math.sqrt(wanted / max(found, 1e-12))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Stored":
        """Read what JSON kept."""
        energies = tuple(tuple(tuple(map(float, row)) for row in domain) for domain in values["energies"])
        return cls(str(values["name"]), int(values["samples"]), energies)


def sounding(stems: np.ndarray) -> list[tuple[int, int]]:
    """The stretches that are kept: those in which no stem is silent for over `SILENCE_S`.

    A stem is silent in a frame of 20 ms whose RMS lies over 40 dB below that of the stem's loudest frame.

    Parameters
    ----------
    stems : np.ndarray[S, T], int16, at 16 kHz

    Returns
    -------
    list of (start, stop) in samples, in order; whole frames, but for the end
    """
    frames = stems.shape[1] // _FRAME
    if frames == 0:
        return []
    shaped = stems[:, : frames * _FRAME].reshape(len(stems), frames, _FRAME).astype(np.float32)
    power = np.einsum("sft,sft->sf", shaped, shaped, dtype=np.float64)
    quiet = power <= power.max(axis=1, keepdims=True) * 10 ** (SILENCE_DB / 10)
    cut = np.zeros(frames, bool)
    for row in quiet:
        for start, stop in _runs(row):
            if (stop - start) * _FRAME > SILENCE_S * SAMPLE_RATE:
                cut[start:stop] = True
    kept = [(start * _FRAME, stop * _FRAME) for start, stop in _runs(~cut)]
    if kept and kept[-1][1] == frames * _FRAME:
        kept[-1] = (kept[-1][0], stems.shape[1])
    return kept


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Where flags [N] are set, as (start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def joined(wav: np.ndarray, kept: Sequence[tuple[int, int]]) -> np.ndarray:
    """The kept stretches of wav [..., T] end to end.

    What followed a stretch fades out under the first 10 ms of the next, against clicks.
    """
    out = np.concatenate([wav[..., start:stop] for start, stop in kept], axis=-1)
    rise = np.linspace(0, 1, _FADE, endpoint=False, dtype=np.float32)
    at = 0
    for (start, stop), (following, end) in pairwise(kept):
        at += stop - start
        length = min(_FADE, end - following)
        fading = wav[..., stop : stop + length] * (1 - rise[:length])
        out[..., at : at + length] = np.rint(out[..., at : at + length] * rise[:length] + fading)
    return out


def _energies(stems: np.ndarray) -> list[list[list[float]]]:
    """What `Stored.energies` holds, of stems [takes, 2 * domains, T], int16."""
    energies = []
    for melody in range(0, stems.shape[1], 2):
        rows = np.concatenate([stems[:, melody], stems[:, melody + 1]]).astype(np.float32) / FULL_SCALE
        energies.append((rows @ rows.T / rows.shape[1]).tolist())
    return energies


def reduce_piece(piece: Piece, cache: Path) -> Stored | None:
    """Reduce a piece into a folder, or find it there, unchanged; None when too little of it sounds.

    Raises
    ------
    AudioError
        A file cannot be read as audio.
    """
    state = [
        [(v.value, p.name, p.stat().st_size, p.stat().st_mtime_ns) for v, p in sorted(take.items())]
        for take in piece.takes
    ]
    key = hashlib.sha256(json.dumps([FORMAT, state]).encode()).hexdigest()
    array_path, card_path = cache / f"{piece.name}.npy", cache / f"{piece.name}.json"
    if card_path.is_file() and array_path.is_file():
        # What is damaged is made anew.
        with suppress(ValueError, KeyError, TypeError):
            card = json.loads(card_path.read_text())
            if card["key"] == key:
                return Stored.from_dict(card) if card["samples"] else None
    read = [{voice: read_pcm(path) for voice, path in take.items()} for take in piece.takes]
    for number, take in enumerate(read):
        _check_mixtures(f"{piece.name}, take {number}", take)
    voices = stems_of(piece.domains)
    lengths = [len(take[voice]) for take in read for voice in voices]
    if max(lengths) - min(lengths) > SAMPLE_RATE:
        logger.warning(
            "%s: stems of %.1f to %.1f s, trimmed to the shortest",
            piece.name,
            min(lengths) / SAMPLE_RATE,
            max(lengths) / SAMPLE_RATE,
        )
    stems = np.stack([[take[voice][: min(lengths)] for voice in voices] for take in read])
    kept = sounding(stems[0])
    samples = sum(stop - start for start, stop in kept)
    card = {"key": key, "name": piece.name, "samples": 0, "energies": []}
    if samples >= SHORTEST_PIECE_S * SAMPLE_RATE:
        stems = joined(stems, kept)
        card |= {"samples": samples, "energies": _energies(stems)}
    else:
        seconds = samples / SAMPLE_RATE
        logger.warning("%s: left out, its stems sound together for %.1f s only", piece.name, seconds)
        stems = stems[..., :0]
    cache.mkdir(parents=True, exist_ok=True)
    # No array may be left behind beside the card of another, should this be interrupted.
    card_path.unlink(missing_ok=True)
    with whole(array_path) as temporary:
        np.save(temporary, stems)
    write_whole(card_path, json.dumps(card).encode())
    return Stored.from_dict(card) if card["samples"] else None


def _check_mixtures(name: str, take: dict[Voice, np.ndarray]) -> None:
    """Log where a mixture is not the sum of its stems."""
    for domain in Domain:
        voices = (domain.mixture, *domain.stems)
        if domain.mixture not in take:
            continue
        length = min(len(take[voice]) for voice in voices)
        mixture, melody, accompaniment = (take[voice][:length].astype(np.float64) for voice in voices)
        total = melody + accompaniment
        rest = mixture - total
        louder = max(float(mixture @ mixture), float(total @ total), 1.0)
        off_db = 10 * math.log10(max(float(rest @ rest), 1e-9) / louder)
        if off_db > MIXTURE_TOLERANCE_DB:
            logger.warning(
                "%s: the %s mixture is not the sum of its stems (they differ by %.0f dB); the sum is used",
                name,
                domain.value,
                off_db,
            )
