"""How all methods are carried out: a recording goes through them stretch by stretch, whatever its length.

Spectral networks look a bounded way, so each stretch, given that much more to both sides, is translated by itself. A
WaveNet's encoder looks a bounded way too, but its decoder remembers what it has played: stretches are read one by one,
and their latents, 256 bytes for 50 ms, played from beginning to end.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, AudioError, Clip, blocks, require_sound, room
from musicstar.domains import Direction, Domain, Voice
from musicstar.methods.base import Cancelled, Options, Sound, Source, Translation
from musicstar.methods.catalog import Backbone
from musicstar.methods.method import Method
from musicstar.model import LATENT_SAMPLES, LEVEL_DBFS, Part, Rest, Sampling

STRETCH_SAMPLES = {Backbone.SPECTRAL: 600 * LATENT_SAMPLES, Backbone.WAVENET: 1200 * LATENT_SAMPLES}
# So much is translated first, where somebody waits for it.
FIRST_SAMPLES = 60 * LATENT_SAMPLES
JOIN_SAMPLES = LATENT_SAMPLES
MISMATCH_S = 0.25


@dataclass(frozen=True, eq=False)
class Prepared:
    """A source that can be used: recordings of one length at 16 kHz, and what brings the mixture to -26 dBFS.

    Attributes
    ----------
    recordings : np.ndarray[T] each, the mixture first, then its stems, where they are known
    """

    domain: Domain
    recordings: tuple[np.ndarray, ...]
    gain_db: float

    @property
    def samples(self) -> int:
        """Length of the recordings."""
        return len(self.recordings[0])

    @property
    def total(self) -> int:
        """Length in whole latent frames."""
        return self.samples + -self.samples % LATENT_SAMPLES

    def piece(self, start: int, end: int, *, pulse: Callable[[], None] = lambda: None) -> Sound:
        """The samples from `start` to `end`, as the networks take them; silent where the recordings have ended."""
        sounds = torch.zeros(len(self.recordings), end - start)
        for sound, recording in zip(sounds, self.recordings, strict=True):
            heard = torch.from_numpy(recording[start:end])
            sound[: len(heard)] = heard * 10 ** (self.gain_db / 20)
        return Sound(self.domain, sounds[0], sounds[1:] if len(sounds) > 1 else None, pulse)


def prepare(source: Source) -> Prepared:
    """Make a source ready for the networks.

    Recordings of one performance may differ in length by up to 0.25 s; the shorter are taken as silent from their end.

    Raises
    ------
    AudioError
        There is nothing to translate, it is silent or too short, or the recordings differ in length.
    """
    clips = [clip.resampled(SAMPLE_RATE) for clip in source.stems or ()]
    given = [*([] if source.mixture is None else [source.mixture.resampled(SAMPLE_RATE)]), *clips]
    if not given:
        raise AudioError("nothing to translate: give a mixture or its two stems")
    samples = max(len(clip.wav) for clip in given)
    if samples - min(len(clip.wav) for clip in given) > MISMATCH_S * SAMPLE_RATE:
        lengths = ", ".join(f"{clip.duration_s:.2f} s" for clip in given)
        raise AudioError(
            f"the recordings are {lengths} long: expected stems, and a mixture, of one performance and one length"
        )
    recordings = [_lengthened(clip.wav, samples) for clip in given]
    if source.mixture is None:
        recordings.insert(0, room(samples))
        for mixed, *stems in zip(*map(blocks, recordings), strict=True):
            mixed[:] = sum(stems)
    mixture = require_sound(Clip(recordings[0]), "the source")
    return Prepared(source.domain, tuple(recordings), LEVEL_DBFS - mixture.rms_dbfs())


def _lengthened(wav: np.ndarray, samples: int) -> np.ndarray:
    """A recording, silent from its end to a length."""
    if len(wav) == samples:
        return wav
    longer = room(samples)
    longer[: len(wav)] = wav
    return longer


def translate_together(
    group: Sequence[Method],
    prepared: Prepared,
    target: Domain,
    *,
    options: Options,
    on_progress: Callable[[str, float], None],
) -> Iterator[Translation]:
    """Translate by methods of one backbone, what they decode side by side.

    Raises
    ------
    ValueError
        Source and target are in one domain.
    """
    started = time.monotonic()

    def progress(share: float) -> None:
        if options.cancelled():
            raise Cancelled("the translation was cancelled")
        for method in group:
            on_progress(method.name, share)

    way = _Way(group, prepared, Direction(prepared.domain, target), options, progress)
    with torch.inference_mode():
        outputs = way.by_stretches() if way.backbone is Backbone.SPECTRAL else way.by_voices()
    way.seconds["total"] = time.monotonic() - started
    for method in group:
        mix, stems = _finish(outputs[method.name], prepared)
        on_progress(method.name, 1.0)
        yield Translation(method.name, way.backbone, prepared.domain, target, mix, stems, dict(way.seconds))


Output = list[tuple[Voice, Tensor]]


class _Way:
    """A translation under way.

    Attributes
    ----------
    seconds : spent so far, by stage
    """

    def __init__(
        self,
        group: Sequence[Method],
        prepared: Prepared,
        direction: Direction,
        options: Options,
        progress: Callable[[float], None],
    ) -> None:
        self._group, self._prepared, self._direction = group, prepared, direction
        self._options, self._progress = options, progress
        self.backbone = group[0].parts.backbone
        self.seconds = {"encode": 0.0, "decode": 0.0}
        self._context = max(model.context_samples for method in group for model in method.models(direction))

    def _sampling(self, start: int = 0) -> Sampling:
        return Sampling(self._options.seed, self._options.temperature, self._options.chunk_s, start)

    def _stretches(self) -> Iterator[tuple[int, int, int, int]]:
        """Where stretches begin and end, and where what they need to be given does."""
        total, length, end = self._prepared.total, STRETCH_SAMPLES[self.backbone], 0
        if self._options.on_sound and total > 2 * FIRST_SAMPLES:
            length = FIRST_SAMPLES
        while end < total:
            start, end = end, min(end + length, total)
            yield start, end, max(0, start - self._context), min(total, end + self._context)
            length = STRETCH_SAMPLES[self.backbone]

    def _read(self, before: int, after: int, *, pulse: Callable[[], None]) -> dict[str, list[Part]]:
        """What each method decodes of a stretch."""
        clock = time.monotonic()
        sound = self._prepared.piece(before, after, pulse=pulse)
        parts = {method.name: [*method.streams(sound, self._direction.target)] for method in self._group}
        self.seconds["encode"] += time.monotonic() - clock
        return parts

    def _decode(
        self, parts: list[Part], start: int, progress: Callable[[float], None], rest: Rest | None = None
    ) -> list[Tensor]:
        clock, read_s = time.monotonic(), self.seconds["encode"]
        played = parts[0].model.decode(parts, sampling=self._sampling(start), progress=progress, rest=rest)
        # What was read meanwhile is counted there.
        self.seconds["decode"] += time.monotonic() - clock - (self.seconds["encode"] - read_s)
        return played

    def _tell(self, name: str, sounds: Sequence[Tensor]) -> None:
        """Let a method's output so far be heard."""
        if self._options.on_sound:
            mix = torch.stack(list(sounds)).sum(0) * 10 ** (-self._prepared.gain_db / 20)
            self._options.on_sound(name, Clip((mix / mix.abs().max().clamp(min=1)).numpy()[: self._prepared.samples]))

    def by_stretches(self) -> dict[str, Output]:
        """Each method's voices, and what they play, Tensor[T]: every stretch read and decoded by itself."""
        total = self._prepared.total
        outputs: dict[str, Output] = {}
        for start, end, before, after in self._stretches():

            def progress(share: float, start: int = start, end: int = end) -> None:
                self._progress((start + share * (end - start)) / total)

            progress(0.0)
            parts = self._read(before, after, pulse=lambda: progress(0.0))
            every = [part for own in parts.values() for part in own]
            played = iter(self._decode(every, before, lambda share: progress(0.05 + 0.95 * share)))
            for name, own in parts.items():
                new = [(part.voice, torch.from_numpy(room(total))) for part in own]
                for _, out in outputs.setdefault(name, new):
                    _join(out[:end], next(played)[: end - before], start)
                if end < total:
                    self._tell(name, [out[:end] for _, out in outputs[name]])
        return outputs

    def by_voices(self) -> dict[str, Output]:
        """The same, every voice decoded from beginning to end, while stretch after stretch is read."""
        done = 0.0
        self._progress(done)

        def progress(share: float) -> None:
            nonlocal done
            done = share
            self._progress(share)

        def read() -> Iterator[dict[str, list[Part]]]:
            for start, end, before, after in self._stretches():
                parts = self._read(before, after, pulse=lambda: self._progress(done))
                frames = slice((start - before) // LATENT_SAMPLES, (end - before) // LATENT_SAMPLES)
                yield {
                    name: [replace(part, latents=part.latents[:, frames], cue=part.cue[:0]) for part in own]
                    for name, own in parts.items()
                }

        reading = read()
        first = next(reading)

        def more() -> list[Tensor] | None:
            parts = next(reading, None)
            return None if parts is None else [part.latents for own in parts.values() for part in own]

        def heard(sounds: list[Tensor]) -> None:
            rest = iter(sounds)
            for name, own in first.items():
                self._tell(name, [next(rest) for _ in own])

        rest = Rest(more, self._prepared.total, heard if self._options.on_sound else None)
        played = iter(self._decode([part for own in first.values() for part in own], 0, progress, rest))
        return {name: [(part.voice, next(played)) for part in own] for name, own in first.items()}


def _join(out: Tensor, stretch: Tensor, start: int) -> None:
    """Put the end of a stretch at the end of `out`, both Tensor[T], fading over from what is there at `start`.

    The spectral networks give the same samples on both sides of a join; a separator, which hears more, does not quite.
    """
    lead, length = min(JOIN_SAMPLES, start), len(out) - start
    rise = torch.linspace(0, 1, lead)
    over = stretch[len(stretch) - length - lead : len(stretch) - length]
    out[start - lead : start] = torch.lerp(out[start - lead : start], over, rise)
    out[start:] = stretch[len(stretch) - length :]


def _finish(output: Output, prepared: Prepared) -> tuple[Clip, dict[Voice, Clip]]:
    """Give what is played the level of its source, and keep it within full scale: the mix, and the stems there are."""
    sounds = [played.numpy()[: prepared.samples] for _, played in output]
    mix, peak = room(prepared.samples), 0.0
    for mixed, *heard in zip(*map(blocks, (mix, *sounds)), strict=True):
        for sound in heard:
            np.multiply(sound, np.float32(10 ** (-prepared.gain_db / 20)), out=sound)
            np.add(mixed, sound, out=mixed)
        if not np.isfinite(mixed).all():
            raise ArithmeticError("the networks gave values that are not numbers")
        peak = max(peak, *(float(np.abs(sound).max()) for sound in (mixed, *heard)))
    for sound in (mix, *sounds) if peak > 1 else ():
        np.divide(sound, np.float32(peak), out=sound)
    stems = {voice: Clip(sound) for (voice, _), sound in zip(output, sounds, strict=True) if not voice.is_mixture}
    return Clip(mix), stems
