"""Embedders, found by name, and the features they make of many clips."""

import hashlib
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar.concepts import cache as cached
from musicstar.concepts import sfx
from musicstar.concepts.cache import Progress, Run
from musicstar.methods import shelf

# What CAVs are learned from, unless told otherwise: its mean over time, its bands of frequency joined to so many.
LAYER, BANDS = "block4", 6
# Names with what their embedder was, if that is said: of a function all that it calls itself, else a digest.
_FUNCTION = re.compile(r"([\w.]+:\w+)(?:@(.*))?", re.DOTALL)
_OTHER = re.compile(r"(.*?)(?:@([0-9a-f]{16}))?", re.DOTALL)
WINDOWS_AT_ONCE = 64


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


def find(name: str = "", *, code: bool = True) -> Embedder:
    """An embedder by name.

    Parameters
    ----------
    name : "cnn9" or empty, the shipped backbone; "mel", means and deviations of log-mel bands; the path of a
        checkpoint; or "module:function" of something that returns an `Embedder`. A backbone's layer, one of
        `sfx.LAYERS`, may follow behind "#" and is "block4" otherwise. An embedder's own name, which has an "@" behind
        one of these, finds it as long as it has not changed.
    code : whether a function may be named; not where the name comes from a file that may be anybody's

    Raises
    ------
    EmbedderError
        There is none of that name, or it is not an embedder.
    CheckpointError
        The checkpoint is damaged or holds something else.
    """
    parts = _FUNCTION.fullmatch(name) or _OTHER.fullmatch(name)
    assert parts is not None
    plain, identity = parts.groups()
    found = _find(plain, code=code)
    if identity and found.name != name:
        raise EmbedderError(f"{plain or 'cnn9'} is now {found.name}; expected {name}, that made the features before")
    return found


def _find(named: str, *, code: bool) -> Embedder:
    name, mark, layer = named.rpartition("#")
    if not mark or "/" in layer:
        name, layer = named, ""
    if layer and layer not in sfx.LAYERS:
        raise EmbedderError(f"no layer {layer!r} in {named!r}: expected {', '.join(sfx.LAYERS)}")
    if name in ("", "cnn9"):
        folders = shelf.library().folders
        shipped = next((path for folder in folders if (path := folder / f"{sfx.SHIPPED}.safetensors").is_file()), None)
        if shipped is None:
            raise EmbedderError(
                f"no {sfx.SHIPPED}.safetensors in {', '.join(map(str, folders))}: train it (musicstar concepts train) "
                "and name its folder in MUSICSTAR_WEIGHTS"
            )
        return _of_checkpoint("cnn9", shipped, layer or LAYER, shipped.stat().st_mtime_ns)
    if name == "mel":
        return mel()
    weights = Path(f"{name.removesuffix('.json').removesuffix('.safetensors')}.safetensors")
    if weights.is_file():
        return _of_checkpoint(str(weights.resolve()), weights, layer or LAYER, weights.stat().st_mtime_ns)
    module, colon, function = name.partition(":")
    if not colon:
        raise EmbedderError(f"no embedder {name!r}: expected cnn9, mel, a checkpoint's path or module:function")
    if not code:
        raise EmbedderError(f"an atlas names the function {name}, which is not run unasked; name it yourself")
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise EmbedderError(f"no embedder {name!r}: {error}") from error
    if not isinstance(made, Embedder):
        raise EmbedderError(f"{name} returned {type(made).__name__}, expected musicstar.concepts.embed.Embedder")
    return replace(made, name=f"{name}@{made.name}")


def mel(front_end: sfx.FrontEnd | None = None) -> Embedder:
    """Mean and standard deviation over time of a window's log-mel bands: two values for each band, in 0..1."""
    hears = front_end or sfx.FrontEnd()

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [
            torch.cat([windows.mean(1), windows.std(1, correction=0)], dim=1).numpy()
            for windows in map(hears.windows, wavs)
        ]

    return Embedder(f"mel@{_digest(hears)}", hears.sample_rate, hears.window_s, hears.hop_s, run)


@lru_cache(maxsize=4)
def _of_checkpoint(name: str, path: Path, layer: str, _modified: int) -> Embedder:
    trained = sfx.load(path)
    net, hears = sfx.fused(trained.net.backbone), trained.front_end

    def heard(windows: Tensor) -> Tensor:
        found = net.activations(windows, [layer])[layer]
        return found if layer == "embedding" else _over_time(found)

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        windows = [hears.windows(wav) for wav in wavs]
        with torch.inference_mode():
            rows = torch.cat([heard(some) for some in torch.cat(windows).split(WINDOWS_AT_ONCE)])
        return [part.numpy() for part in rows.split([len(some) for some in windows])]

    identity = f"{name}#{layer}@{_digest(trained.card.sha256, hears, BANDS)}"
    return Embedder(identity, hears.sample_rate, hears.window_s, hears.hop_s, run)


def _over_time(activations: Tensor) -> Tensor:
    """The mean over time of Tensor[W, channels, T, bands], the bands joined to `BANDS`: Tensor[W, channels * BANDS]."""
    return F.adaptive_avg_pool1d(activations.mean(dim=2), BANDS).flatten(1)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


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

    found, failures = cached.measure(
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
