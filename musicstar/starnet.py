"""StarNet, real or rendered: reduced once, then split by piece and drawn from in aligned windows.

A network hears the melody of any take of a piece with the accompaniment of any, its target is always take 0. One draw
yields all voices of both.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from musicstar.audio import LEVEL_RMS, SAMPLE_RATE
from musicstar.domains import Domain
from musicstar.files import write_whole
from musicstar.layout import FULL_SCALE, Piece, StarNetError, archives, index, loose_files, unpack
from musicstar.reduction import FORMAT, Stored, reduce_piece

__all__ = [
    "Piece",
    "Reduced",
    "Split",
    "StarNetError",
    "Stored",
    "Windows",
    "index",
    "load",
    "reduce",
]

MANIFEST = "reduced.json"
# Of StarNet's 104 pieces, 84 to train on, 10 to choose by and 10 to judge by.
HELD_OUT_SHARE = 10 / 104


@dataclass(frozen=True)
class Split:
    """Names of pieces for training, choosing and judging; no piece is in two of them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """Aligned stretches of music; the second axis is `Voice`, V of them, mixtures are exact sums of their stems.

    Attributes
    ----------
    heard : Tensor[B, V, T], float32, takes by chance: what a network is given
    gold : Tensor[B, V, T], float32, take 0: what it is to answer
    """

    heard: torch.Tensor
    gold: torch.Tensor


def reduce(folder: str | Path, cache: str | Path, *, progress: Callable[[int, int], None] | None = None) -> "Reduced":
    """Reduce a set into a cache folder; what is there and still matches its files is kept.

    Parameters
    ----------
    folder : as for `index`
    cache : folder for the reduced pieces; archives are also unpacked into it, at 16 kHz
    progress : told how many pieces are done, and of how many

    Raises
    ------
    StarNetError
        As `index`; or in no piece do all stems sound.
    AudioError
        A file cannot be read as audio.
    """
    folder, cache = Path(folder), Path(cache)
    if not loose_files(folder, without=cache) and (packed := archives(folder)):
        for archive in packed:
            unpack(archive, cache / "unpacked" / archive.name)
        for earlier in (cache / "unpacked").iterdir():
            if earlier.name not in {archive.name for archive in packed}:
                shutil.rmtree(earlier)
        pieces = index(cache / "unpacked")
    else:
        pieces = index(folder, without=cache)
    stored = []
    for done, piece in enumerate(pieces, 1):
        if (reduced := reduce_piece(piece, cache)) is not None:
            stored.append(reduced)
        if progress:
            progress(done, len(pieces))
    if not stored:
        raise StarNetError(f"{folder}: in none of {len(pieces)} pieces do all stems sound together for a second")
    manifest = {"format": FORMAT, "pieces": [asdict(piece) for piece in stored]}
    write_whole(cache / MANIFEST, json.dumps(manifest).encode())
    return Reduced(cache, tuple(stored))


def load(cache: str | Path) -> "Reduced":
    """Open what `reduce` left in a cache folder, without the set it was made from.

    Raises
    ------
    StarNetError
        The folder holds no finished reduction, one of another format, or lacks a piece.
    """
    cache = Path(cache)
    try:
        manifest = json.loads((cache / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise StarNetError(f"{cache}: no {MANIFEST} there; expected a folder that `reduce` has finished") from error
    except ValueError as error:
        raise StarNetError(f"{cache / MANIFEST} is damaged ({error}): reduce the set again") from error
    try:
        if manifest["format"] != FORMAT:
            raise StarNetError(
                f"{cache}: reduced in format {manifest['format']}, expected {FORMAT}; reduce the set again"
            )
        stored = tuple(Stored.from_dict(piece) for piece in manifest["pieces"])
    except (KeyError, TypeError) as error:
        raise StarNetError(f"{cache / MANIFEST} is of something else ({error!r}): reduce the set again") from error
    for piece in stored:
        if not (cache / f"{piece.name}.npy").is_file():
            raise StarNetError(f"{cache}: {piece.name}.npy is missing; reduce the set again")
    return Reduced(cache, stored)


@dataclass(frozen=True)
class Reduced:
    """A reduced set.

    Attributes
    ----------
    folder : where it lies
    pieces : what it holds, by name
    """

    folder: Path
    pieces: tuple[Stored, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of music, further takes not counted."""
        return sum(piece.samples for piece in self.pieces) / SAMPLE_RATE

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that every piece is played in."""
        return min((piece.domains for piece in self.pieces), key=len)

    @property
    def described(self) -> str:
        """What it holds, in words."""
        takes = max(piece.takes for piece in self.pieces)
        return f"{len(self.pieces)} pieces, {self.duration_s / 60:.0f} minutes, {takes} takes"

    @property
    def sha256(self) -> str:
        """Of all that is known of its pieces; another set has another."""
        return hashlib.sha256(repr(self.pieces).encode()).hexdigest()

    def split(self) -> Split:
        """Part the pieces 84 : 10 : 10 in the order of their names' hashes.

        Sets that hold the same names part the same way, whatever else differs between them. With other names
        added or taken away a piece may come to stand in another part.

        Raises
        ------
        StarNetError
            There are fewer than three pieces.
        """
        count = len(self.pieces)
        if count < 3:
            raise StarNetError(f"{self.folder}: {count} pieces cannot be split in three, at least 3 are needed")
        names = sorted(self._by_name, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        held_out = max(1, round(count * HELD_OUT_SHARE))
        validation, test, train = names[:held_out], names[held_out : 2 * held_out], names[2 * held_out :]
        return Split(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))

    def windows(
        self,
        pieces: Sequence[str],
        *,
        batch_size: int,
        window_samples: int,
        balance_db: float = 0.0,
        seed: int = 0,
        step: int = 0,
    ) -> Windows:
        """Draw a batch: for each item a piece, a start, a balance and two takes to hear in each domain, by chance.

        A pure function of (seed, step). A take's accompaniment is made to stand to its melody as take 0's does: which
        line is in front is content, and takes differ in sound alone. The balance, up to `balance_db` to either side, is
        added to the accompaniments of all domains, heard and gold alike. Then the two stems of each domain are scaled
        together, so that the whole piece's mixture has RMS `audio.LEVEL_RMS`. Pieces shorter than a window are
        passed over.

        Raises
        ------
        StarNetError
            A name is unknown, or no piece is as long as a window.
        """
        chosen = [self._piece(name) for name in pieces]
        drawn_from = [piece for piece in chosen if piece.samples >= window_samples]
        if not drawn_from:
            longest_s = max((piece.samples for piece in chosen), default=0) / SAMPLE_RATE
            raise StarNetError(
                f"no window of {window_samples / SAMPLE_RATE:g} s fits: the longest of {len(chosen)} pieces "
                f"has {longest_s:.1f} s"
            )
        rng = np.random.default_rng([seed, step])
        domains = self.domains
        heard, gold = (torch.empty(batch_size, 3 * len(domains), window_samples) for _ in range(2))
        for given, wanted in zip(heard.numpy(), gold.numpy(), strict=True):
            piece = drawn_from[int(rng.integers(len(drawn_from)))]
            start = int(rng.integers(piece.samples - window_samples + 1))
            takes = rng.integers(piece.takes, size=(len(domains), 2))
            balance = float(rng.uniform(-balance_db, balance_db))
            for out, numbers in ((given, takes), (wanted, np.zeros_like(takes))):
                self._fill(out, piece, takes=numbers, start=start, balance_db=balance)
        return Windows(heard, gold)

    def piece(self, name: str, *, take: int = 0) -> torch.Tensor:
        """A whole piece as it is balanced, at the level that `windows` gives it.

        Returns
        -------
        Tensor[V, T], float32

        Raises
        ------
        StarNetError
            There is no such piece or take.
        """
        piece = self._piece(name)
        if not 0 <= take < piece.takes:
            raise StarNetError(f"piece {name} has no take {take}, expected 0 to {piece.takes - 1}")
        voices = torch.empty(3 * len(self.domains), piece.samples)
        takes = np.full((len(self.domains), 2), take)
        self._fill(voices.numpy(), piece, takes=takes, start=0, balance_db=0.0)
        return voices

    @cached_property
    def _by_name(self) -> dict[str, Stored]:
        return {piece.name: piece for piece in self.pieces}

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Memory maps by piece, int16 [takes, 2 * domains, T], opened on first use and kept open."""
        return {}

    def _piece(self, name: str) -> Stored:
        try:
            return self._by_name[name]
        except KeyError:
            raise StarNetError(f"there is no piece {name!r}, expected one of {', '.join(self._by_name)}") from None

    def _stems(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            # Seen as a plain array: a slice of np.memmap itself costs ten times as much.
            path = self.folder / f"{name}.npy"
            try:
                self._arrays[name] = np.asarray(np.load(path, mmap_mode="r"))
            except (ValueError, EOFError) as error:
                raise StarNetError(f"{path} is damaged ({error}): delete it and reduce the set again") from error
        return self._arrays[name]

    def _fill(self, out: np.ndarray, piece: Stored, *, takes: np.ndarray, start: int, balance_db: float) -> None:
        """Write all voices of a stretch to out [V, T], float32, by takes [domains, 2] of melody and accompaniment."""
        stems = self._stems(piece.name)[..., start : start + out.shape[1]]
        balance = 10 ** (balance_db / 20)
        for number, (domain, pair) in enumerate(zip(self.domains, takes.tolist(), strict=True)):
            own = balance * piece.evening(domain, (pair[0], pair[1]))
            power = piece.power(domain, (pair[0], pair[1]), balance=own)
            gain = LEVEL_RMS / math.sqrt(max(power, 1e-12)) / FULL_SCALE
            mixture, melody, accompaniment = out[3 * number : 3 * number + 3]
            np.multiply(stems[pair[0], 2 * number], np.float32(gain), out=melody)
            np.multiply(stems[pair[1], 2 * number + 1], np.float32(gain * own), out=accompaniment)
            np.add(melody, accompaniment, out=mixture)
