"""Translation by any of the methods, with shipped or imported weights; work is shared where weights allow."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar import checkpoint
from musicstar.audio import SAMPLE_RATE, AudioError, Clip, require_sound
from musicstar.backbones import LATENT_SAMPLES, LEVEL_DBFS, Model, Sampling
from musicstar.domains import Domain, Voice
from musicstar.methods.base import Cancelled, Method, Options, Sound, Source, Stream, Translation
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import StoredParts, library
from musicstar.spectral import CONTEXT_SAMPLES

BLOCK_SAMPLES = 600 * LATENT_SAMPLES
GUESS_SAMPLES = 64_000


@torch.inference_mode()
def guess_domain(clip: Clip, *, shelf: checkpoint.Library | None = None) -> tuple[Domain, float]:
    """Which domain a clip seems to be in, and how sure that is, 0.5 to 1.

    Raises
    ------
    AudioError
        The clip is silent or too short.
    NotOffered
        There are no weights to guess with.
    """
    guesser = StoredParts(Backbone.SPECTRAL, shelf or library()).guesser()
    windows = list(torch.split(_prepare(Source(Domain.CV, clip)).sound.mixture, GUESS_SAMPLES))
    # A last window of under a second says little; it counts only where it is all there is.
    long_enough = [window for window in windows if len(window) >= SAMPLE_RATE] or [windows[0]]
    odds = torch.stack([guesser(window[None])[0] for window in long_enough]).mean()
    share_sp = float(torch.sigmoid(odds))
    return (Domain.SP, share_sp) if share_sp >= 0.5 else (Domain.CV, 1 - share_sp)


def translate_all(
    names: Sequence[str],
    source: Source,
    target: Domain,
    *,
    backbone: Backbone = Backbone.SPECTRAL,
    options: Options | None = None,
    on_progress: Callable[[str, float], None] | None = None,
    shelf: checkpoint.Library | None = None,
) -> Iterator[Translation]:
    """Translate by several methods, yielding each as it is done.

    Methods that speak through the same decoder are decoded side by side in one batch.

    Parameters
    ----------
    names : keys of `METHODS`
    on_progress : called with a method's name and the share of it that is done
    shelf : where weights are looked for; `library()` by default

    Raises
    ------
    AudioError
        The source is silent, too short, or its stems differ in length.
    NeedsStems, NotOffered, Cancelled
        See there.
    ValueError
        An unknown method, or source and target in one domain.
    """
    options = options or Options()
    if target is source.domain:
        raise ValueError(f"source and target are both {target.label}: a translation goes to the other domain")
    unknown = set(names) - set(METHODS)
    if unknown:
        raise ValueError(f"unknown method {', '.join(sorted(unknown))}: expected one of {', '.join(METHODS)}")
    prepared = _prepare(source)
    parts = StoredParts(backbone, shelf or library())
    methods = [CLASSES[name](parts) for name in dict.fromkeys(names)]
    groups: dict[tuple[int, ...], list[Method]] = {}
    for method in methods:
        groups.setdefault(tuple(id(model) for model in method.speaker(target)), []).append(method)
    for group in groups.values():
        yield from _translate_group(
            group, prepared, target, backbone, options, on_progress or (lambda name, share: None)
        )


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A source as the networks take it, its length in samples, and the gain that was applied."""

    sound: Sound
    samples: int
    gain_db: float


def _prepare(source: Source) -> _Prepared:
    clips = [] if source.stems is None else [clip.resampled(SAMPLE_RATE) for clip in source.stems]
    if source.mixture is not None:
        mixture = source.mixture.resampled(SAMPLE_RATE)
    elif clips:
        if len(clips[0].wav) != len(clips[1].wav):
            lengths = " and ".join(f"{clip.duration_s:.2f} s" for clip in clips)
            raise AudioError(f"the two stems are {lengths} long: expected recordings of one length")
        mixture = Clip(clips[0].wav + clips[1].wav)
    else:
        raise AudioError("nothing to translate: give a mixture or its two stems")
    require_sound(mixture, "the source")
    samples = len(mixture.wav)
    if any(len(clip.wav) != samples for clip in clips):
        raise AudioError("the stems and the mixture differ in length: expected recordings of one performance")
    gain_db = LEVEL_DBFS - mixture.rms_dbfs()
    stacked = torch.from_numpy(np.stack([mixture.wav, *(clip.wav for clip in clips)]))
    padded = F.pad(stacked * 10 ** (gain_db / 20), (0, -samples % LATENT_SAMPLES))
    return _Prepared(Sound(source.domain, padded[0], padded[1:] if clips else None), samples, gain_db)


def _translate_group(
    group: list[Method],
    prepared: _Prepared,
    target: Domain,
    backbone: Backbone,
    options: Options,
    on_progress: Callable[[str, float], None],
) -> Iterator[Translation]:
    started = time.monotonic()
    sound = prepared.sound
    seconds = {"encode": 0.0, "decode": 0.0}
    total = len(sound.mixture)
    # A WaveNet remembers what it has played, so it gets the whole clip; the spectral networks look a bounded way.
    block = BLOCK_SAMPLES if backbone is Backbone.SPECTRAL else total
    voices: dict[str, list[Voice]] = {}
    outputs: dict[str, Tensor] = {}
    for start in range(0, total, block):
        end = min(start + block, total)
        before, after = max(0, start - CONTEXT_SAMPLES), min(total, end + CONTEXT_SAMPLES)

        def progress(share: float, start: int = start, end: int = end) -> None:
            if options.cancelled():
                raise Cancelled("the translation was cancelled")
            done = (start + share * (end - start)) / total
            options.progress(done)
            for method in group:
                on_progress(method.name, done)

        with torch.inference_mode():
            progress(0.0)
            clock = time.monotonic()
            streams: list[Stream] = []
            for method in group:
                own = method.streams(sound.piece(before, after), target)
                voices[method.name] = [stream.voice for stream in own]
                streams += own
                progress(0.05)
            seconds["encode"] += time.monotonic() - clock
            clock = time.monotonic()
            played = _decode(group[0].speaker(target), streams, options, progress)
            seconds["decode"] += time.monotonic() - clock
        row = 0
        for method in group:
            count = len(voices[method.name])
            out = outputs.setdefault(method.name, torch.zeros(count, total))
            out[:, start:end] = played[row : row + count, start - before : end - before]
            row += count
    seconds["total"] = time.monotonic() - started
    for method in group:
        mix, stems = _finish(outputs[method.name], voices[method.name], prepared)
        on_progress(method.name, 1.0)
        yield Translation(method.name, backbone, sound.domain, target, mix, stems, dict(seconds))


def _decode(
    speakers: tuple[Model, ...], streams: list[Stream], options: Options, progress: Callable[[float], None]
) -> Tensor:
    """Play all streams, those of one model in one batch: Tensor[streams, T]."""
    by_model: dict[int, list[int]] = {}
    for row in range(len(streams)):
        by_model.setdefault(id(speakers[row % len(speakers)]), []).append(row)
    played = torch.zeros(len(streams), len(streams[0].cue))
    models = {id(model): model for model in speakers}
    for number, (key, rows) in enumerate(by_model.items()):

        def model_progress(share: float, number: int = number) -> None:
            progress(0.05 + 0.95 * (number + share) / len(by_model))

        played[rows] = models[key].decode(
            torch.stack([streams[row].latents for row in rows]),
            [streams[row].voice for row in rows],
            cue=torch.stack([streams[row].cue for row in rows]),
            sampling=Sampling(options.seed, options.temperature),
            progress=model_progress,
        )
    return played


def _finish(played: Tensor, voices: list[Voice], prepared: _Prepared) -> tuple[Clip, dict[Voice, Clip]]:
    """Give an output Tensor[voices, T] the level of its source, and keep it within full scale."""
    played = played[:, : prepared.samples] * 10 ** (-prepared.gain_db / 20)
    mix = played.sum(dim=0)
    peak = max(float(mix.abs().max()), float(played.abs().max()))
    if not math.isfinite(peak):
        raise ArithmeticError("the networks gave values that are not numbers")
    if peak > 1:
        played, mix = played / peak, mix / peak
    stems = {voice: Clip(wav.numpy()) for voice, wav in zip(voices, played, strict=True) if not voice.is_mixture}
    return Clip(mix.numpy()), stems
