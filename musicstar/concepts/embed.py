"""Features of many clips: decoded ahead by threads, embedded in batches, and kept, so that nothing is done twice.

A cache is a folder of shards, each written whole; whatever cannot be read of it is done again. A clip is known by its
file's place, size and time of change.
"""

import hashlib
import importlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from musicstar import audio
from musicstar.concepts import sfx
from musicstar.files import whole
from musicstar.methods import shelf

SHIPPED = "concepts-cnn9"
MAX_CLIP_S = 600.0
WINDOWS_AT_ONCE = 64
# Of sound in one batch, so that a batch of long clips does not take all memory.
BATCH_S = 600.0

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
Progress = Callable[[int, int], None]


class EmbedderError(ValueError):
    """An embedder that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Embedder:
    """What makes features of sound.

    Attributes
    ----------
    name : changes whenever the features would, so that none of another kind are taken out of a cache
    sample_rate : of what `run` takes, in Hz
    window_s, hop_s : length of a window and from one to the next, in seconds
    run : float32[T] of each clip -> float32[W, D] of each, a row for each window, W 1 or more
    """

    name: str
    sample_rate: int
    window_s: float
    hop_s: float
    run: Run


@dataclass(frozen=True, eq=False)
class Features:
    """Features of P clips.

    Attributes
    ----------
    rows : np.ndarray[P, D], float32, the mean over each clip's windows; NaN where it failed. D is 0 where all failed.
    failures : what is wrong with the clips that failed, by where they stand
    """

    rows: np.ndarray
    failures: dict[int, str]


def find(name: str = "") -> Embedder:
    """An embedder by name.

    Parameters
    ----------
    name : "cnn9" or empty, the shipped backbone; "mel", means and deviations of log-mel bands; the path of a
        checkpoint; or "module:function" of something that returns an `Embedder`

    Raises
    ------
    EmbedderError
        There is none of that name, or it is not an embedder.
    CheckpointError
        The checkpoint is damaged or holds something else.
    """
    if name in ("", "cnn9"):
        folders = shelf.library().folders
        found = next((path for folder in folders if (path := folder / f"{SHIPPED}.safetensors").is_file()), None)
        if found is None:
            raise EmbedderError(
                f"no {SHIPPED}.safetensors in {', '.join(map(str, folders))}: train it (musicstar concepts train) and "
                "name its folder in MUSICSTAR_WEIGHTS"
            )
        return _of_checkpoint(found, found.stat().st_mtime_ns)
    if name == "mel":
        return mel()
    weights = Path(f"{name.removesuffix('.json').removesuffix('.safetensors')}.safetensors")
    if weights.is_file():
        return _of_checkpoint(weights, weights.stat().st_mtime_ns)
    module, colon, function = name.partition(":")
    if not colon:
        raise EmbedderError(f"no embedder {name!r}: expected cnn9, mel, a checkpoint's path or module:function")
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise EmbedderError(f"no embedder {name!r}: {error}") from error
    if not isinstance(made, Embedder):
        raise EmbedderError(f"{name} returned {type(made).__name__}, expected musicstar.concepts.embed.Embedder")
    return made


def mel(front_end: sfx.FrontEnd | None = None) -> Embedder:
    """Mean and standard deviation over time of a window's log-mel bands: two values for each band, in 0..1."""
    hears = front_end or sfx.FrontEnd()

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [
            torch.cat([windows.mean(1), windows.std(1, correction=0)], dim=1).numpy()
            for windows in map(hears.windows, wavs)
        ]

    return Embedder(f"mel 1 {hears}", hears.sample_rate, hears.window_s, hears.hop_s, run)


@lru_cache(maxsize=4)
def _of_checkpoint(path: Path, _modified: int) -> Embedder:
    trained = sfx.load(path)
    net, hears = trained.net.backbone, trained.front_end

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        windows = [hears.windows(wav) for wav in wavs]
        with torch.inference_mode():
            rows = torch.cat([net(some) for some in torch.cat(windows).split(WINDOWS_AT_ONCE)])
        return [part.numpy() for part in rows.split([len(some) for some in windows])]

    return Embedder(f"cnn9 {trained.card.sha256} {hears}", hears.sample_rate, hears.window_s, hears.hop_s, run)


def embed(
    paths: Sequence[Path],
    embedder: Embedder,
    cache: Path,
    *,
    progress: Progress | None = None,
    batch: int = 16,
    workers: int = 2,
) -> Features:
    """Features of audio files, out of a cache as far as they are in it.

    Parameters
    ----------
    cache : a folder, made where it is missing; each batch is in it as soon as it is done
    progress : told how many files are done, and of how many
    batch : files embedded at once
    workers : threads that decode

    Raises
    ------
    EmbedderError
        The embedder gave something else than rows for each clip, or of another width than before.
    """

    def means(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [rows.mean(axis=0, dtype=np.float64).astype(np.float32)[None] for rows in _run(embedder, wavs)]

    found, failures = measure(
        paths,
        means,
        cache,
        name=embedder.name,
        sample_rate=embedder.sample_rate,
        progress=progress,
        batch=batch,
        workers=workers,
    )
    widths = {row.shape[1] for row in found.values()}
    if len(widths) > 1:
        raise EmbedderError(f"{embedder.name} made {' and '.join(map(str, sorted(widths)))} values; expected one width")
    table = np.full((len(paths), max(widths, default=0)), np.nan, dtype=np.float32)
    for place, row in found.items():
        if np.isfinite(row).all():
            table[place] = row[0]
        else:
            failures[place] = f"{paths[place].name}: its features are not finite numbers"
    return Features(table, dict(sorted(failures.items())))


def measure(
    paths: Sequence[Path],
    run: Run,
    cache: Path,
    *,
    name: str,
    sample_rate: int,
    progress: Progress | None = None,
    batch: int = 16,
    workers: int = 2,
) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Whatever `run` makes of each of some files, as an array [any, D], by where it stands; and what failed."""
    folder = Path(cache) / hashlib.sha256(name.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    keys = [_key(path) for path in paths]
    kept = _read_shards(folder, set(keys))
    missing: dict[str, int] = {}
    for place, key in enumerate(keys):
        if key not in kept:
            missing.setdefault(key, place)
    failed: dict[str, str] = {}
    written: list[Path] = []
    done = len(paths) - len(missing)
    if progress is not None:
        progress(done, len(paths))
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        order = list(missing.values())
        for places, wavs in _batches([paths[place] for place in order], sample_rate, batch, pool):
            heard = [(keys[order[i]], wav) for i, wav in zip(places, wavs, strict=True) if not isinstance(wav, str)]
            failed |= {keys[order[i]]: wav for i, wav in zip(places, wavs, strict=True) if isinstance(wav, str)}
            if heard:
                made = dict(zip([key for key, _ in heard], run([wav for _, wav in heard]), strict=True))
                written.append(_write_shard(folder, made))
                kept |= made
            done += len(places)
            if progress is not None:
                progress(done, len(paths))
    if len(written) > 1:
        _write_shard(folder, {key: kept[key] for key in missing if key in kept})
        for shard in written:
            shard.unlink(missing_ok=True)
    rows = {place: kept[key] for place, key in enumerate(keys) if key in kept}
    return rows, {place: failed[key] for place, key in enumerate(keys) if key in failed}


def _run(embedder: Embedder, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What an embedder makes of some clips, checked."""
    made = [np.asarray(rows, dtype=np.float32) for rows in embedder.run(wavs)]
    shapes = [rows.shape for rows in made]
    one_width = len({shape[1:] for shape in shapes}) == 1
    if len(made) != len(wavs) or not one_width or any(len(shape) != 2 or shape[0] < 1 for shape in shapes):
        raise EmbedderError(
            f"{embedder.name} made arrays of shapes {', '.join(map(str, shapes))} of {len(wavs)} clips; "
            "expected [windows, D] for each, with one D"
        )
    return made


def _batches(
    paths: Sequence[Path], sample_rate: int, batch: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[int], list[np.ndarray | str]]]:
    """Clips in order, or what is wrong with them, and where each stands; decoded while the last ones are worked on."""
    waiting: deque[Future[np.ndarray | str]] = deque()
    coming = iter(paths)
    places: list[int] = []
    clips: list[np.ndarray | str] = []
    samples = 0
    for place in range(len(paths)):
        while len(waiting) <= batch and (path := next(coming, None)) is not None:
            waiting.append(pool.submit(_decode, path, sample_rate))
        clip = waiting.popleft().result()
        places.append(place)
        clips.append(clip)
        samples += 0 if isinstance(clip, str) else len(clip)
        if len(clips) == batch or samples > BATCH_S * sample_rate or place == len(paths) - 1:
            yield places, clips
            places, clips, samples = [], [], 0


def _decode(path: Path, sample_rate: int) -> np.ndarray | str:
    """A clip's samples, or what is wrong with it."""
    try:
        clip = audio.read(path, sample_rate=sample_rate, max_duration_s=MAX_CLIP_S)
        return audio.require_sound(clip, path.name).wav
    except audio.AudioError as error:
        return str(error)


def _key(path: Path) -> str:
    """What changes with a file; a file that is missing has a key too, under which nothing is kept."""
    try:
        status = path.stat()
        identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    except OSError:
        identity = f"{path}\nmissing"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _write_shard(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    path = folder / f"{uuid.uuid4().hex}.npz"
    lengths = np.array([len(array) for array in arrays.values()])
    with whole(path) as temporary:
        np.savez(temporary, keys=np.array(list(arrays)), lengths=lengths, rows=np.concatenate(list(arrays.values())))
    return path


def _read_shards(folder: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    kept: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        # A dot begins the name of what is still being written, or was when its process ended.
        if path.name.startswith("."):
            continue
        try:
            with np.load(path) as shard:
                keys, rows, ends = shard["keys"], shard["rows"], np.cumsum(shard["lengths"])
            if len(keys) != len(ends) or ends[-1] != len(rows):
                continue
        except (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile):
            continue
        for key, end, start in zip(keys, ends, [0, *ends[:-1]], strict=True):
            if key in wanted:
                kept[str(key)] = rows[start:end]
    return kept
