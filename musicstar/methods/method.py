"""The contract of a translation method, and the one way in which all of them are carried out."""

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, AudioError, Clip, require_sound
from musicstar.domains import STARNET, Direction, Domain, Voice, known_domains
from musicstar.losses import Losses, Step
from musicstar.methods.base import (
    Cancelled,
    NotOffered,
    Options,
    Parts,
    Sound,
    Source,
    Stream,
    Translation,
    not_taught,
)
from musicstar.methods.catalog import Backbone
from musicstar.model import LATENT_SAMPLES, LEVEL_DBFS, Model, Part, Sampling
from musicstar.spectral import CONTEXT_SAMPLES
from musicstar.starnet import Windows

BLOCK_SAMPLES = 600 * LATENT_SAMPLES
JOIN_SAMPLES = LATENT_SAMPLES
MISMATCH_S = 0.25


class Method(ABC):
    """One of the five ways to translate; the networks are its parts, of either backbone."""

    name: ClassVar[str]
    recipe: ClassVar[str]

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @abstractmethod
    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """What training minimises on a batch.

        `voices` are those of the model in training; the items of the batch take turns among them.
        """

    def encoder_inputs(self, batch: Windows, voices: tuple[Voice, ...]) -> list[tuple[Tensor, Tensor]]:
        """What the encoder in training hears of a batch, Tensor[B, T], and is asked for, int64 Tensor[B]; all of it."""
        return []

    @classmethod
    @abstractmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        """Those of its own recipe's weights that a translation takes, by what the weights are for."""

    def require(self, direction: Direction) -> None:
        """Load what a translation takes; raises NotOffered where something is missing, or was not taught the source."""
        models = [*self.speaker(direction), *(self.parts.autoencoder(self.recipe, v) for v in self.voices(direction))]
        for model in models:
            if direction.source not in known_domains(model.voices):
                raise NotOffered(not_taught(self.parts.backbone.value, self.recipe, direction.source))

    @abstractmethod
    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        """The models that decode towards `target`, one for each stream."""

    @abstractmethod
    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        """Everything up to decoding: the voices whose sum is the translation, in the order of `speaker`."""

    def translate(self, source: Source, target: Domain, *, options: Options | None = None) -> Translation:
        """Translate a source to another domain.

        Raises
        ------
        AudioError, NeedsStems, NotOffered, Cancelled
            The source cannot be used, weights are missing, or the caller gave up.
        """
        prepared = prepare(source)
        (made,) = translate_together(
            [self], prepared, target, options=options or Options(), on_progress=lambda name, share: None
        )
        return made


@dataclass(frozen=True, eq=False)
class Prepared:
    """A source as the networks take it, its length in samples, and the gain that was applied."""

    sound: Sound
    samples: int
    gain_db: float


def prepare(source: Source) -> Prepared:
    """Make a source ready for the networks.

    Recordings of one performance may differ in length by up to 0.25 s; the shorter are taken as silent from their end.

    Raises
    ------
    AudioError
        There is nothing to translate, it is silent or too short, or the recordings differ in length.
    """
    clips = [clip.resampled(SAMPLE_RATE) for clip in source.stems or ()]
    given = [*clips, *([] if source.mixture is None else [source.mixture.resampled(SAMPLE_RATE)])]
    if not given:
        raise AudioError("nothing to translate: give a mixture or its two stems")
    samples = max(len(clip.wav) for clip in given)
    if samples - min(len(clip.wav) for clip in given) > MISMATCH_S * SAMPLE_RATE:
        lengths = ", ".join(f"{clip.duration_s:.2f} s" for clip in given)
        raise AudioError(
            f"the recordings are {lengths} long: expected stems, and a mixture, of one performance and one length"
        )
    clips = [Clip(np.pad(clip.wav, (0, samples - len(clip.wav)))) for clip in given]
    mixture = Clip(clips[0].wav + clips[1].wav) if source.mixture is None else clips.pop()
    require_sound(mixture, "the source")
    gain_db = LEVEL_DBFS - mixture.rms_dbfs()
    stacked = torch.from_numpy(np.stack([mixture.wav, *(clip.wav for clip in clips)]))
    padded = F.pad(stacked * 10 ** (gain_db / 20), (0, -samples % LATENT_SAMPLES))
    return Prepared(Sound(source.domain, padded[0], padded[1:] if clips else None), samples, gain_db)


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
    sound, backbone = prepared.sound, group[0].parts.backbone
    direction = Direction(sound.domain, target)
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
            for method in group:
                on_progress(method.name, done)

        with torch.inference_mode():
            progress(0.0)
            clock = time.monotonic()
            parts: list[Part] = []
            piece = sound.piece(before, after, pulse=lambda: progress(0.0))
            for method in group:
                own = method.streams(piece, target)
                voices[method.name] = [stream.voice for stream in own]
                parts += [
                    Part(model, stream.latents, stream.voice, stream.cue)
                    for model, stream in zip(itertools.cycle(method.speaker(direction)), own, strict=False)
                ]
            seconds["encode"] += time.monotonic() - clock
            clock = time.monotonic()
            sampling = Sampling(options.seed, options.temperature, options.chunk_s, before)
            played = parts[0].model.decode(
                parts, sampling=sampling, progress=lambda share: progress(0.05 + 0.95 * share)
            )
            seconds["decode"] += time.monotonic() - clock
        row = 0
        for method in group:
            count = len(voices[method.name])
            out = outputs.setdefault(method.name, torch.zeros(count, total))
            _join(out[:, :end], played[row : row + count, : end - before], start)
            row += count
    seconds["total"] = time.monotonic() - started
    for method in group:
        mix, stems = _finish(outputs[method.name], voices[method.name], prepared)
        on_progress(method.name, 1.0)
        yield Translation(method.name, backbone, sound.domain, target, mix, stems, dict(seconds))


def _join(out: Tensor, block: Tensor, start: int) -> None:
    """Put the end of `block` at the end of `out`, both Tensor[voices, T], fading over from what is there at `start`.

    The spectral networks give the same samples on both sides of a join; a separator, which hears more, does not quite.
    """
    lead = min(JOIN_SAMPLES, start)
    length = out.shape[1] - start
    rise = torch.linspace(0, 1, lead)
    over = block[:, block.shape[1] - length - lead : block.shape[1] - length]
    out[:, start - lead : start] = torch.lerp(out[:, start - lead : start], over, rise)
    out[:, start:] = block[:, block.shape[1] - length :]


def _finish(played: Tensor, voices: list[Voice], prepared: Prepared) -> tuple[Clip, dict[Voice, Clip]]:
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


class TranslationSupervised(Method):
    """A method whose autoencoders learn from pairs: source mixture in, a voice of the target out (paper, eq. 2)."""

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Loss of the outputs against the same stretch of the gold standard."""
        model = self.parts.autoencoder(self.recipe, voices[0])
        targets = take_turns(voices, len(batch.heard), step)
        heard = pick(batch.heard, take_sources(targets, known_domains(voices), step))
        wanted = torch.tensor(targets, device=heard.device)
        latents, guided = encode_guided(model, heard, wanted, step)
        losses = model.reconstruction(latents, heard, pick(batch.gold, targets), wanted, step)
        return losses.plus(guided)

    def encoder_inputs(self, batch: Windows, voices: tuple[Voice, ...]) -> list[tuple[Tensor, Tensor]]:
        domains = known_domains(voices)
        return [
            (batch.heard[:, source.mixture], torch.full((len(batch.heard),), voice, device=batch.heard.device))
            for voice in dict.fromkeys(voices)
            for source in voice.domain.others
            if source in domains
        ]


def encode_guided(model: Model, heard: Tensor, told: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """The latents to decode, and what the encoder is to learn beside: while it is guided, to give its guide's."""
    latents = model.encode_distorted(heard, told, step)
    if step.guide is None or step.share >= step.config.guided_until:
        return latents, {}
    aim = step.guide(heard, told)
    return aim, {"guide": (latents - aim).abs().mean()}


def take_turns(voices: tuple[Voice, ...], batch: int, step: Step) -> list[Voice]:
    """A voice for each item of a batch, each as often as the others over time."""
    return [voices[(step.index * batch + item) % len(voices)] for item in range(batch)]


def take_sources(targets: list[Voice], domains: tuple[Domain, ...], step: Step) -> list[Voice]:
    """A mixture to translate to each target, of the other domains by chance.

    For a voice of StarNet every other one is of StarNet's other domain: that is what the paper's methods are judged by.
    """
    draws = torch.rand(len(targets), generator=step.generator, device=step.generator.device).tolist()
    sources = []
    for target, draw in zip(targets, draws, strict=True):
        first, *rest = [domain for domain in target.domain.others if domain in domains]
        choices = [first] * (len(rest) or 1) + rest if target.domain in STARNET else [first, *rest]
        sources.append(choices[int(draw * len(choices))].mixture)
    return sources


def pick(sounds: Tensor, voices: list[Voice]) -> Tensor:
    """One voice of each item: Tensor[B, V, T] -> Tensor[B, T]."""
    return sounds[torch.arange(len(voices)), voices]
