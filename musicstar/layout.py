"""Where a StarNet set keeps its files.

A piece is files NNN.K.wav or NNN.K.flac, six in StarNet itself: K = 0 clarinet and vibraphone, 1 clarinet, 2
vibraphone, 3 strings and piano, 4 strings, 5 piano. A rendered set may go on with the voices of further domains, as
`domains.Voice` numbers them. A set is a folder of them at any depth, or the published archives
(starnet_part1.tar.gz and starnet_part2.tar.gz). A rendered set holds further takes of the same notes, each in
its own takes/1, takes/2, ... beside take 0.
"""

import re
import shutil
import tarfile
import tempfile
import wave
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from musicstar import audio
from musicstar.audio import SAMPLE_RATE
from musicstar.domains import STARNET, Domain, Voice, stems_of
from musicstar.files import whole, write_whole

FULL_SCALE = 32_768
FILE_NAME = re.compile(r"(?P<piece>[^.]+)\.(?P<voice>\d|1[01])\.(?:wav|flac)", re.IGNORECASE)
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")

_STAMP = "archive.txt"


class StarNetError(ValueError):
    """A data set that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Piece:
    """The files of one piece.

    Attributes
    ----------
    takes : per take, the path of each voice it has; every take has all stems. In an archive, a path is
        the archive's followed by the member's.
    """

    name: str
    takes: tuple[dict[Voice, Path], ...]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains it is played in."""
        return _domains(self.takes[0])


def index(folder: str | Path, *, without: Path | None = None) -> tuple[Piece, ...]:
    """List the pieces of a set, by name.

    Archives count where a folder holds no loose files. They are read through once, minutes for the published
    ones; `starnet.reduce` does without this pass.

    Parameters
    ----------
    folder : an unpacked set, a folder with archives, or one archive
    without : a folder within it that is not looked into

    Raises
    ------
    StarNetError
        There is no such folder, no file NNN.K.wav in it, a file twice, or a piece lacks a stem.
    """
    folder = Path(folder)
    found = loose_files(folder, without=without)
    if not found:
        for archive in archives(folder):
            with _reading(archive):
                names = [PurePosixPath(member.name) for _, member in _members(archive)]
            found += [(name, archive / name) for name in names]
    if not found:
        raise StarNetError(
            f"{folder}: no file of a StarNet set is there; expected NNN.K.wav or NNN.K.flac with K from 0 "
            f"to 5, or archives ({', '.join(ARCHIVE_SUFFIXES)}) of them"
        )
    return _grouped(found, folder)


def loose_files(folder: Path, *, without: Path | None = None) -> list[tuple[PurePosixPath, Path]]:
    """The audio files of an unpacked set, in order, with their paths relative to it.

    Raises
    ------
    StarNetError
        There is no such folder.
    """
    if not folder.exists():
        raise StarNetError(f"{folder}: there is no such folder or archive")
    paths = sorted(p for p in folder.rglob("*") if FILE_NAME.fullmatch(p.name) and p.is_file())
    kept = (p for p in paths if without is None or not p.resolve().is_relative_to(without.resolve()))
    return [(PurePosixPath(p.relative_to(folder).as_posix()), p) for p in kept]


def archives(folder: Path) -> list[Path]:
    """The archives at a path: itself, or those in the folder."""
    candidates = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    return [p for p in candidates if p.is_file() and p.name.lower().endswith(ARCHIVE_SUFFIXES)]


def unpack(archive: Path, folder: Path) -> None:
    """Bring the audio of an archive into a folder at 16 kHz, one channel, in a single pass; resumable.

    Raises
    ------
    StarNetError
        The archive is damaged, or a package that reads its files is not installed.
    AudioError
        A file in it is not audio.
    """
    stat = archive.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    stamp_path = folder / _STAMP
    earlier = stamp_path.read_text() if stamp_path.is_file() else ""
    if earlier == f"{stamp} whole":
        return
    if earlier != stamp:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(stamp_path, stamp.encode())
    seen: set[Path] = set()
    with _reading(archive):
        for tar, member in _members(archive):
            name, take, voice = _place(PurePosixPath(member.name))
            target = folder.joinpath(*(("takes", str(take)) if take else ()), f"{name}.{voice.value}.wav")
            if target in seen:
                raise StarNetError(f"{archive.name}: {target.stem} is there twice, expected once")
            seen.add(target)
            content = None if target.is_file() else tar.extractfile(member)
            if content is None:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                raw = Path(scratch, PurePosixPath(member.name).name)
                with raw.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                write_pcm(target, read_pcm(raw))
    write_whole(stamp_path, f"{stamp} whole".encode())


def read_pcm(path: Path) -> np.ndarray:
    """A file as int16 [T] at 16 kHz, one channel; a WAV file that is so already needs no package to be read.

    Raises
    ------
    StarNetError
        A package that reads other files is not installed.
    AudioError
        It is not audio.
    """
    if (pcm := _as_it_is(path)) is not None:
        return pcm
    try:
        wav = audio.read(path, sample_rate=SAMPLE_RATE).wav
    except ModuleNotFoundError as error:
        raise StarNetError(
            f"{path.name}: reading it needs the package {error.name}, which is not installed; without it a set is "
            f"expected as WAV files of 16 bits at {SAMPLE_RATE} Hz in one channel"
        ) from error
    return np.asarray(np.clip(np.rint(wav * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1), np.int16)


def _as_it_is(path: Path) -> np.ndarray | None:
    """The samples of a WAV file of 16 bits at 16 kHz in one channel; None of what is anything else."""
    try:
        with path.open("rb") as stream, wave.open(stream) as file:
            if (file.getsampwidth(), file.getframerate(), file.getnchannels()) != (2, SAMPLE_RATE, 1):
                return None
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return None
    # A file that was broken off may end within a sample; one that holds none is for `audio.read` to refuse.
    return np.frombuffer(content, "<i2", len(content) // 2).astype(np.int16) if len(content) > 1 else None


def write_pcm(path: Path, pcm: np.ndarray, *, sample_rate: int = SAMPLE_RATE) -> None:
    """Write samples [T], int16, as a WAV file of one channel, whole or not at all."""
    with whole(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm.astype("<i2").tobytes())


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Name the archive where it turns out to be damaged."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise StarNetError(f"{archive}: not readable as a tar archive ({error})") from error


def _members(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The audio files of an archive as they come, without seeking."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if member.isfile() and FILE_NAME.fullmatch(PurePosixPath(member.name).name):
                yield tar, member


def _place(path: PurePosixPath) -> tuple[str, int, Voice]:
    """Piece, take and voice of a file, by its path within the set."""
    found = FILE_NAME.fullmatch(path.name)
    assert found is not None
    *_, above, folder = ("", "", *path.parts[:-1])
    take = int(folder) if above == "takes" and folder.isdecimal() else 0
    return found["piece"], take, Voice(int(found["voice"]))


def _grouped(found: Sequence[tuple[PurePosixPath, Path]], folder: Path) -> tuple[Piece, ...]:
    """Files to pieces; refuses what is there twice or not whole."""
    takes: dict[str, dict[int, dict[Voice, Path]]] = {}
    for relative, path in found:
        name, take, voice = _place(relative)
        voices = takes.setdefault(name, {0: {}}).setdefault(take, {})
        if voice in voices:
            raise StarNetError(f"{name}.{voice.value} is there twice, expected once: {voices[voice]} and {path}")
        voices[voice] = path
    expected = stems_of(
        _domains(voice for by_take in takes.values() for voices in by_take.values() for voice in voices)
    )
    lacking = []
    for name, by_take in sorted(takes.items()):
        for take, voices in sorted(by_take.items()):
            missing = [f"{name}.{voice.value} ({voice.label})" for voice in expected if voice not in voices]
            if missing:
                lacking.append(f"{', '.join(missing)}{f' of take {take}' if take else ''}")
    if lacking:
        more = f"; and so {len(lacking) - 3} more" if len(lacking) > 3 else ""
        count = sum(map(len, takes.values()))
        raise StarNetError(
            f"{folder}: {len(lacking)} of {count} takes lack stems: {'; '.join(lacking[:3])}{more}. "
            f"Expected all of {', '.join(f'NNN.{voice.value} ({voice.label})' for voice in expected)}"
        )
    return tuple(Piece(name, tuple(by_take[t] for t in sorted(by_take))) for name, by_take in sorted(takes.items()))


def _domains(voices: Iterable[Voice]) -> tuple[Domain, ...]:
    """The domains of a set in which these voices were found: StarNet's, and all up to the last that occurs."""
    return tuple(Domain)[: max(len(STARNET), max(voices, default=Voice.CV) // 3 + 1)]
