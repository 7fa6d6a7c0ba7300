"""StarNet on disk, real or rendered: index it, reduce it once, draw aligned windows from it.

A set holds six files a piece, NNN.K.wav (or .flac): K = 0 clarinet and vibraphone, 1 clarinet, 2 vibraphone,
3 strings and piano, 4 strings, 5 piano. It is an unpacked folder of any depth or the published tar.gz archives.
A rendered set holds further takes of the same notes in other timbres, in takes/1, takes/2, ... beside take 0: the
network hears any take, its target is always take 0.

Reduction follows the paper: 16 kHz mono, the stems of a piece at one length, stretches where one of them is silent
cut from all at once. Only stems are kept, the mixtures are their sums.
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from musicstar.domains import Domain, Voice

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
STEMS = (Voice.CLARINET, Voice.VIBRAPHONE, Voice.STRINGS, Voice.PIANO)
FILE_NAME = re.compile(r"^(?P<piece>[^.]+)\.(?P<voice>[0-5])\.(?:wav|flac)$", re.IGNORECASE)
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
LEVEL_RMS = 0.05
SILENCE_DB = -40.0
SILENCE_S = 1.0
SHORTEST_PIECE_S = 1.0
MIXTURE_TOLERANCE_DB = -40.0

_FULL_SCALE = 32_768
_FRAME = SAMPLE_RATE // 50
_FADE = SAMPLE_RATE // 100
_FORMAT = 1
_MANIFEST = "reduced.json"


class StarNetError(ValueError):
    """A data set that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Piece:
    """The files of one piece.

    Attributes
    ----------
    takes : per take the path of each voice it has; every take has the four stems. In an archive, a path is the
        archive's followed by the member's.
    """

    name: str
    takes: tuple[dict[Voice, Path], ...]


@dataclass(frozen=True)
class Split:
    """Names of pieces for training, choosing and judging; no piece is in two of them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """Aligned stretches of music; the second axis is `Voice`, mixtures are exact sums of their stems.

    Attributes
    ----------
    heard : Tensor[B, 6, T], float32, a take by chance: what a network is given
    gold : Tensor[B, 6, T], float32, take 0: what it is to answer
    """

    heard: torch.Tensor
    gold: torch.Tensor


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def _archives(folder: Path) -> list[Path]:
    """The archives a set is in, if it is in archives: the path itself, or those in the folder."""
    if folder.is_file() and _is_archive(folder):
        return [folder]
    return sorted(p for p in folder.iterdir() if p.is_file() and _is_archive(p)) if folder.is_dir() else []


def _members(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The audio files of a set in an archive, in one pass without seeking."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                if member.isfile() and FILE_NAME.match(PurePosixPath(member.name).name):
                    yield tar, member
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StarNetError(f"{archive}: not readable as a tar archive ({error})") from error


def _place(path: PurePosixPath) -> tuple[str, int, Voice]:
    """Piece, take and voice of a file, by its path within the set."""
    found = FILE_NAME.match(path.name)
    assert found is not None
    folders = path.parts[:-1]
    take = int(folders[-1]) if len(folders) > 1 and folders[-2] == "takes" and folders[-1].isdigit() else 0
    return found["piece"], take, Voice(int(found["voice"]))


def index(folder: str | Path) -> tuple[Piece, ...]:
    """List the pieces of a set, by name.

    Where a folder holds loose files, archives beside them are left aside. Archives are read through once (minutes
    for the published ones); `reduce` does without this pass.

    Parameters
    ----------
    folder : an unpacked set at any depth, a folder with the archives, or one archive

    Raises
    ------
    StarNetError
        There is no such folder, no file named NNN.K.wav in it, a file twice, or a stem is missing.
    """
    folder = Path(folder)
    if not folder.exists():
        raise StarNetError(f"{folder}: there is no such folder or archive")
    files = []
    if folder.is_dir():
        files = [(p.relative_to(folder), p) for p in sorted(folder.rglob("*")) if FILE_NAME.match(p.name)]
    found = [(PurePosixPath(relative.as_posix()), path) for relative, path in files if path.is_file()]
    if not found:
        for archive in _archives(folder):
            names = (PurePosixPath(member.name) for _, member in _members(archive))
            found += [(name, archive / name) for name in names]
    if not found:
        raise StarNetError(
            f"{folder}: no file of a StarNet layout found; expected NNN.K.wav or NNN.K.flac with K = 0..5, "
            f"or archives ending in {', '.join(ARCHIVE_SUFFIXES)} that hold them"
        )
    return _grouped(found, folder)


def _grouped(found: Sequence[tuple[PurePosixPath, Path]], folder: Path) -> tuple[Piece, ...]:
    """Files to pieces; refuses what is twice or not whole."""
    takes: dict[str, dict[int, dict[Voice, Path]]] = {}
    for relative, path in found:
        name, take, voice = _place(relative)
        voices = takes.setdefault(name, {}).setdefault(take, {})
        if voice in voices:
            raise StarNetError(
                f"{name}.{voice.value} is there twice: {voices[voice]} and {path}; expected once"
            )
        voices[voice] = path
    lacking = [
        f"{name}{f' (take {take})' if take else ''} lacks {', '.join(missing)}"
        for name in sorted(takes)
        for take in sorted({0, *takes[name]})
        if (missing := [f"{v.label} ({name}.{v.value})" for v in STEMS if v not in takes[name].get(take, {})])
    ]
    if lacking:
        shown = "; ".join(lacking[:3]) + (f"; and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        raise StarNetError(
            f"{folder}: {len(lacking)} of {sum(map(len, takes.values()))} takes are not whole: {shown}. "
            f"Expected the stems {', '.join(f'NNN.{v.value} ({v.label})' for v in STEMS)} of every piece"
        )
    return tuple(
        Piece(name, tuple(by_take[t] for t in sorted(by_take))) for name, by_take in sorted(takes.items())
    )


def _read(path: Path) -> np.ndarray:
    """A file as int16 samples [T] at 16 kHz, one channel."""
    from musicstar import audio

    wav = audio.read(path, sample_rate=SAMPLE_RATE).wav
    return np.clip(np.rint(wav * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def _replace(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path) -> None:
    """Bring the audio of an archive into a folder, each file at 16 kHz mono as it passes by."""
    from musicstar import audio

    stat = archive.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns}\n"
    done = folder / "done"
    if done.is_file() and done.read_text() == stamp:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for tar, member in _members(archive):
        name, take, voice = _place(PurePosixPath(member.name))
        target = folder.joinpath(*(("takes", str(take)) if take else ()), f"{name}.{voice.value}.wav")
        content = tar.extractfile(member)
        if target.is_file() or content is None:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            raw = Path(scratch, PurePosixPath(member.name).name)
            with raw.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            audio.write(target, audio.read(raw, sample_rate=SAMPLE_RATE))
    _replace(done, lambda file: file.write(stamp.encode()))


def sounding(stems: np.ndarray) -> list[tuple[int, int]]:
    """The stretches that are kept: those in which no stem is silent for over `SILENCE_S`.

    A stem is silent in a frame of 20 ms whose RMS is more than 40 dB below that of its loudest frame.

    Parameters
    ----------
    stems : np.ndarray[S, T], int16, at 16 kHz

    Returns
    -------
    list of (start, stop) in samples, in order, on whole frames but for the end
    """
    frames = stems.shape[1] // _FRAME
    if frames == 0:
        return []
    shaped = stems[:, : frames * _FRAME].reshape(len(stems), frames, _FRAME).astype(np.float32)
    power = np.einsum("sft,sft->sf", shaped, shaped, dtype=np.float64)
    quiet = power <= power.max(axis=1, keepdims=True) * 10 ** (SILENCE_DB / 10)
    cut = np.zeros(frames, bool)
    for row in quiet:
        edges = np.flatnonzero(np.diff(np.concatenate(([False], row, [False]))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if (stop - start) * _FRAME > SILENCE_S * SAMPLE_RATE:
                cut[start:stop] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ~cut, [False])).astype(np.int8)))
    kept = [(int(a) * _FRAME, int(b) * _FRAME) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    if kept and kept[-1][1] == frames * _FRAME:
        kept[-1] = (kept[-1][0], stems.shape[1])
    return kept


def _joined(wav: np.ndarray, kept: Sequence[tuple[int, int]]) -> np.ndarray:
    """The kept stretches end to end; what followed one fades out under the beginning of the next, against clicks."""
    out = np.concatenate([wav[..., a:b] for a, b in kept], axis=-1)
    rise = np.linspace(0, 1, _FADE, endpoint=False, dtype=np.float32)
    at = 0
    for (start, stop), (following, end) in zip(kept, kept[1:], strict=False):
        at += stop - start
        length = min(_FADE, end - following)
        fading = wav[..., stop : stop + length] * (1 - rise[:length])
        out[..., at : at + length] = np.rint(out[..., at : at + length] * rise[:length] + fading)
    return out


@dataclass(frozen=True)
class Stored:
    """A reduced piece in the cache.

    Attributes
    ----------
    samples : T, at 16 kHz
    energies : per take and domain, mean of melody squared, melody times accompaniment, accompaniment squared, of
        samples in [-1, 1)
    """

    name: str
    samples: int
    energies: tuple[tuple[tuple[float, float, float], ...], ...]

    @property
    def takes(self) -> int:
        """How many takes there are, the canonical one included."""
        return len(self.energies)


def _energies(stems: np.ndarray) -> list[list[tuple[float, float, float]]]:
    """What `Stored.energies` holds, of stems [takes, 4, T] int16."""
    energies = []
    for take in stems:
        by_domain = []
        for melody, accompaniment in (take[:2], take[2:]):
            a, b = melody.astype(np.float64) / _FULL_SCALE, accompaniment.astype(np.float64) / _FULL_SCALE
            by_domain.append((float(a @ a) / len(a), float(a @ b) / len(a), float(b @ b) / len(a)))
        energies.append(by_domain)
    return energies


def _stored(values: dict[str, Any]) -> Stored:
    """Read what JSON made of a `Stored`."""
    energies = tuple(tuple(tuple(float(e) for e in domain) for domain in take) for take in values["energies"])
    return Stored(values["name"], int(values["samples"]), energies)  # type: ignore[arg-type]


def _reduce_piece(piece: Piece, cache: Path) -> Stored | None:
    """Reduce a piece into the cache, or find it there; None when too little of it sounds."""
    state = [
        [(v.value, p.name, p.stat().st_size, p.stat().st_mtime_ns) for v, p in sorted(t.items())]
        for t in piece.takes
    ]
    key = hashlib.sha256(json.dumps([_FORMAT, state]).encode()).hexdigest()
    array_path, card_path = cache / f"{piece.name}.npy", cache / f"{piece.name}.json"
    if card_path.is_file() and array_path.is_file():
        card = json.loads(card_path.read_text())
        if card["key"] == key:
            return _stored(card) if card["samples"] else None
    read = [{voice: _read(path) for voice, path in take.items()} for take in piece.takes]
    lengths = [len(take[voice]) for take in read for voice in STEMS]
    if max(lengths) - min(lengths) > SAMPLE_RATE:
        logger.warning(
            "%s: stems of %.1f to %.1f s, all are trimmed to the shortest",
            piece.name,
            min(lengths) / SAMPLE_RATE,
            max(lengths) / SAMPLE_RATE,
        )
    for number, take in enumerate(read):
        _check_mixtures(f"{piece.name}, take {number}", take)
    stems = np.stack([[take[voice][: min(lengths)] for voice in STEMS] for take in read])
    kept = sounding(stems[0])
    samples = sum(stop - start for start, stop in kept)
    card = {"key": key, "name": piece.name, "samples": 0, "energies": []}
    if samples >= SHORTEST_PIECE_S * SAMPLE_RATE:
        reduced = _joined(stems, kept)
        card |= {"samples": samples, "energies": _energies(reduced)}
    else:
        logger.warning(
            "%s is left out: all its stems sound together for %.1f s only", piece.name, samples / SAMPLE_RATE
        )
        reduced = stems[..., :0]
    # An array that does not match its card must not be left behind when this is interrupted between the two.
    card_path.unlink(missing_ok=True)
    _replace(array_path, lambda file: np.save(file, reduced))
    _replace(card_path, lambda file: file.write(json.dumps(card).encode()))
    return _stored(card) if samples >= SHORTEST_PIECE_S * SAMPLE_RATE else None


def _check_mixtures(name: str, take: dict[Voice, np.ndarray]) -> None:
    """Log where a mixture is not the sum of its stems."""
    for domain in Domain:
        if domain.mixture not in take:
            continue
        length = min(len(take[voice]) for voice in (domain.mixture, *domain.stems))
        mixture, melody, accompaniment = (
            take[voice][:length].astype(np.float64) for voice in (domain.mixture, *domain.stems)
        )
        rest = mixture - melody - accompaniment
        power = float(mixture @ mixture)
        if float(rest @ rest) > power * 10 ** (MIXTURE_TOLERANCE_DB / 10):
            off_db = 10 * math.log10(float(rest @ rest) / max(power, 1e-9))
            logger.warning(
                "%s: the %s mixture is not the sum of its stems (difference %.0f dB); the sum is used",
                name,
                domain.value,
                off_db,
            )


def reduce(
    folder: str | Path, cache: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> "Reduced":
    """Reduce a set into a cache folder; what is there and still matches its files is kept.

    Parameters
    ----------
    folder : as for `index`
    cache : folder that gets NNN.npy (int16 [takes, 4, T]) and NNN.json a piece; archives are also unpacked into it,
        at 16 kHz mono, in one pass each
    progress : told how many pieces are done, and of how many

    Raises
    ------
    StarNetError
        As `index`; or nothing of the set sounds.
    AudioError
        A file cannot be read as audio.
    """
    folder, cache = Path(folder), Path(cache)
    loose = folder.is_dir() and any(FILE_NAME.match(p.name) for p in folder.rglob("*"))
    if not loose and (archives := _archives(folder)):
        for archive in archives:
            _unpack(archive, cache / "unpacked" / archive.name)
        folder = cache / "unpacked"
    pieces = index(folder)
    stored = []
    for done, piece in enumerate(pieces, 1):
        if (reduced := _reduce_piece(piece, cache)) is not None:
            stored.append(reduced)
        if progress:
            progress(done, len(pieces))
    if not stored:
        raise StarNetError(
            f"{folder}: in none of {len(pieces)} pieces do all stems sound together for a second"
        )
    manifest = {"format": _FORMAT, "pieces": [asdict(piece) for piece in stored]}
    _replace(cache / _MANIFEST, lambda file: file.write(json.dumps(manifest).encode()))
    return Reduced(cache, tuple(stored))


def load(cache: str | Path) -> "Reduced":
    """Open what `reduce` left in a cache folder, without the set it was made from.

    Raises
    ------
    StarNetError
        There is no finished cache, or it lacks a piece's samples.
    """
    cache = Path(cache)
    try:
        manifest = json.loads((cache / _MANIFEST).read_text())
    except FileNotFoundError as error:
        raise StarNetError(
            f"{cache}: no {_MANIFEST} there; expected a folder that `reduce` has finished"
        ) from error
    stored = tuple(_stored(piece) for piece in manifest["pieces"])
    for piece in stored:
        if not (cache / f"{piece.name}.npy").is_file():
            raise StarNetError(f"{cache}: {piece.name}.npy is missing; reduce the set again")
    return Reduced(cache, stored)


@dataclass(frozen=True)
class Reduced:
    """A reduced set.

    Attributes
    ----------
    folder : the cache
    pieces : what it holds, by name
    """

    folder: Path
    pieces: tuple[Stored, ...]

    @cached_property
    def _by_name(self) -> dict[str, Stored]:
        return {piece.name: piece for piece in self.pieces}

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Memory maps, int16 [takes, 4, T], opened on first use and kept open."""
        return {}

    def _stems(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            # A memory map as plain array: slicing np.memmap itself costs ten times as much.
            self._arrays[name] = np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r"))
        return self._arrays[name]

    def _piece(self, name: str) -> Stored:
        try:
            return self._by_name[name]
        except KeyError:
            raise StarNetError(
                f"there is no piece {name!r}; this set holds {', '.join(self._by_name)}"
            ) from None

    @property
    def duration_s(self) -> float:
        """Seconds of music, takes not counted."""
        return sum(piece.samples for piece in self.pieces) / SAMPLE_RATE

    def split(self) -> Split:
        """Part the pieces 84 : 10 : 10, by the order of their names' hashes: the same names part the same way.

        Raises
        ------
        StarNetError
            There are fewer than three pieces.
        """
        count = len(self.pieces)
        if count < 3:
            raise StarNetError(
                f"{self.folder}: {count} pieces cannot be split in three, at least 3 are needed"
            )
        names = sorted(self._by_name, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        held_out = max(1, round(count * 10 / 104))
        validation, test, train = names[:held_out], names[held_out : 2 * held_out], names[2 * held_out :]
        return Split(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))

    def _fill(
        self, out: np.ndarray, piece: Stored, *, take: int, start: int, stop: int, balance_db: float
    ) -> None:
        """Write six voices of a stretch of one take to out [6, stop - start], float32."""
        stems = self._stems(piece.name)[take, :, start:stop]
        balance = 10 ** (balance_db / 20)
        for domain, (first, energies) in enumerate(zip((0, 2), piece.energies[take], strict=True)):
            melody, cross, accompaniment = energies
            power = melody + 2 * balance * cross + balance**2 * accompaniment
            gain = LEVEL_RMS / math.sqrt(max(power, 1e-12)) / _FULL_SCALE
            voices = out[3 * domain : 3 * domain + 3]
            np.multiply(stems[first], np.float32(gain), out=voices[1])
            np.multiply(stems[first + 1], np.float32(gain * balance), out=voices[2])
            np.add(voices[1], voices[2], out=voices[0])

    def windows(
        self,
        pieces: Sequence[str],
        *,
        batch_size: int,
        window_samples: int,
        balance_db: float = 0.0,
        seed: int = 0,
        step: int = 0,
        rng: np.random.Generator | None = None,
    ) -> Windows:
        """Draw a batch: per item a piece, a start, a take to hear and a balance by chance.

        A pure function of (seed, step), or of the state of `rng` where that is given. The balance, up to
        `balance_db` to either side, is added to the accompaniments of both domains, heard and gold alike; then the
        stems of each domain and take are scaled together so that the whole piece's mixture has RMS `LEVEL_RMS`.

        Raises
        ------
        StarNetError
            A name is unknown, or no piece is as long as a window.
        """
        long_enough = [p for p in map(self._piece, pieces) if p.samples >= window_samples]
        if not long_enough:
            longest_s = max((self._piece(name).samples for name in pieces), default=0) / SAMPLE_RATE
            raise StarNetError(
                f"no piece lasts a window of {window_samples / SAMPLE_RATE:g} s: the longest of {len(pieces)} has "
                f"{longest_s:.1f} s"
            )
        if rng is None:
            rng = np.random.default_rng([seed, step])
        heard = torch.empty(batch_size, len(Voice), window_samples)
        gold = torch.empty(batch_size, len(Voice), window_samples)
        for into, target in zip(heard.numpy(), gold.numpy(), strict=True):
            piece = long_enough[int(rng.integers(len(long_enough)))]
            start = int(rng.integers(piece.samples - window_samples + 1))
            take = int(rng.integers(piece.takes))
            balance = float(rng.uniform(-balance_db, balance_db))
            for out, number in ((into, take), (target, 0)):
                self._fill(
                    out, piece, take=number, start=start, stop=start + window_samples, balance_db=balance
                )
        return Windows(heard, gold)

    def piece(self, name: str, *, take: int = 0, balance_db: float = 0.0) -> torch.Tensor:
        """A whole piece at the level `windows` gives it.

        Returns
        -------
        Tensor[6, T], float32

        Raises
        ------
        StarNetError
            There is no such piece or take.
        """
        piece = self._piece(name)
        if not 0 <= take < piece.takes:
            raise StarNetError(f"piece {name} has no take {take}; expected 0 to {piece.takes - 1}")
        voices = torch.empty(len(Voice), piece.samples)
        self._fill(voices.numpy(), piece, take=take, start=0, stop=piece.samples, balance_db=balance_db)
        return voices
