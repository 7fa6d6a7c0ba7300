"""What is computed of many clips: decoded ahead by threads, worked on in batches, and kept, so that none is done twice.

A cache is a folder of shards, each written whole; whatever cannot be read of it is done again. A clip is known by its
file's place, size and time of change.
"""

import hashlib
import os
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from musicstar import audio
from musicstar.files import printable, whole

MAX_CLIP_S = 600.0
# Of sound in one batch, so that a batch of long clips does not take all memory.
BATCH_S = 600.0

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
Progress = Callable[[int, int], None]


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
        return printable(str(error))
    except OSError as error:
        return printable(f"{path.name[:80]}: not readable ({error.strerror})")


def _key(path: Path) -> str:
    """What changes with a file; a file that is missing has a key too, under which nothing is kept."""
    try:
        status = path.stat()
        identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    except OSError:
        identity = f"{path}\nmissing"
    return hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]


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
            with path.open("rb") as stream, np.load(stream) as shard:
                keys, rows, ends = shard["keys"], shard["rows"], np.cumsum(shard["lengths"])
            if (keys.ndim, rows.ndim) != (1, 2) or len(keys) != len(ends) or ends[-1] != len(rows):
                continue
        except (OSError, ValueError, KeyError, IndexError, EOFError, RuntimeError, BadZipFile, zlib.error):
            continue
        for key, end, start in zip(keys, ends, [0, *ends[:-1]], strict=True):
            if key in wanted:
                kept[str(key)] = rows[start:end]
    return kept
