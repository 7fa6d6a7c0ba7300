"""The two families of networks behind the face of `musicstar.model`, and how they are built and loaded."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar import checkpoint, distances, spectral, wavenet
from musicstar.audio import mulaw_encode
from musicstar.chunking import Chunking
from musicstar.config import parse
from musicstar.domains import STEMS, Voice
from musicstar.engines.choice import engine_for
from musicstar.evaluation.style import DomainJudge, JudgeConfig, StyleConfig, StyleNet
from musicstar.generate import Line, perform, suited
from musicstar.guess import DomainGuesser, GuessConfig
from musicstar.losses import Losses, Step
from musicstar.model import LATENT_SAMPLES, Model, Part, Rest, Sampling
from musicstar.separation import DemucsConfig, Separator

# Of what the noise was in training. On validation pieces the mixture network keeps the same content with an eighth of
# it as with a quarter, its log-mel distance is 0.04 dB less and its target probability 0.005 (docs/training.md).
DRAWN_SPREAD = 0.125
# Of a WaveNet encoder at once: enough for all layers to work at full pace, little beside what they keep.
READ_SAMPLES = 16_384


class SpectralModel(Model):
    """The parallel backbone behind the common face."""

    def __init__(self, config: spectral.SpectralConfig, voices: Sequence[Voice], *, encoder_only: bool = False) -> None:
        super().__init__(voices, config.latent_channels)
        self.config = config
        self.encoder = spectral.Encoder(config)
        if not encoder_only:
            self.decoder = spectral.Decoder(config)

    @property
    def context_samples(self) -> int:
        return spectral.CONTEXT_SAMPLES

    def encode(self, wav: Tensor, voices: Tensor) -> Tensor:
        latents: Tensor = self.encoder(spectral.features(wav), voices)
        return latents

    def match_latents(self, aim: Model) -> None:
        self.encoder.centre.copy_(aim.latent_centre)
        self.encoder.spread.copy_(aim.latent_spread)

    @torch.no_grad()
    def measure_latents(self, inputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm1d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        if norms:
            self.train()
            for sound, voices in inputs:
                self.encode(sound, voices)
        self.eval()
        latents = torch.cat([self.encode(*pair).transpose(1, 2).flatten(0, 1) for pair in inputs])
        self.latent_centre.copy_(latents.median(dim=0).values)
        self.latent_spread.copy_((latents - self.latent_centre).abs().median(dim=0).values.clamp(min=0.01))

    def encode_distorted(self, wav: Tensor, voices: Tensor, step: Step) -> Tensor:
        with torch.no_grad():
            features = spectral.features(wav)
            if step.augment:
                features = spectral.distort(
                    features,
                    warp_semitones=step.config.warp_semitones,
                    equaliser_db=step.config.equaliser_db,
                    generator=step.generator,
                )
        latents: Tensor = self.encoder(features, voices)
        return latents

    @staticmethod
    def decode(
        parts: Sequence[Part],
        *,
        sampling: Sampling,
        progress: Callable[[float], None],
        rest: Rest | None = None,  # noqa: ARG004 (it remembers nothing)
    ) -> list[Tensor]:
        out = torch.zeros(len(parts), len(parts[0].cue))
        models = {id(part.model): part.model for part in parts}
        for done, (key, model) in enumerate(models.items()):
            progress(done / len(models))
            assert isinstance(model, SpectralModel)
            rows = [row for row, part in enumerate(parts) if id(part.model) == key]
            out[rows] = model.play([parts[row] for row in rows], sampling)
        progress(1.0)
        return list(out)

    def play(self, parts: Sequence[Part], sampling: Sampling) -> Tensor:
        """Its own parts to sound, Tensor[parts, 800 N]."""
        latents, cue = (torch.stack([getattr(part, name) for part in parts]) for name in ("latents", "cue"))
        voices = torch.tensor([part.voice for part in parts], device=latents.device)
        told = self.decoder(latents, voices)
        noise = self._noise([part.voice for part in parts], frames=told.shape[1], sampling=sampling).to(told.device)
        magnitudes, hidden = self.decoder.draw(told, voices, DRAWN_SPREAD * sampling.temperature * noise)
        wav: Tensor = self.decoder.sound(magnitudes, hidden, spectral.stft(cue))
        return wav

    def reconstruction(self, latents: Tensor, heard: Tensor, gold: Tensor, voices: Tensor, step: Step) -> Losses:
        """Distance of the output; once `energy_from` is past, the energy distance of two outputs.

        That is their mean distance to the gold standard less half of that between them, which is least where outputs
        vary as gold standards do (Gneiting and Raftery 2007, section 4.2; Gritsenko et al. 2020, section 3).
        """
        config = step.config
        if step.augment and config.latent_noise:
            latents = latents + config.latent_noise * self._normal(step, *latents.shape)
        told = self.decoder(latents, voices)
        in_pairs = config.energy_from < 1 and step.share >= config.energy_from
        noises = (
            [self._normal(step, *told.shape[:2], self.config.noise_channels) for _ in range(2)] if in_pairs else [None]
        )
        drawn = [self.decoder.draw(told, voices, noise) for noise in noises]
        wanted = torch.log(spectral.stft(gold).abs() + spectral.FLOOR)
        spectra = [magnitudes for magnitudes, _ in drawn]
        terms = _scores([distances.magnitude_distances(magnitudes, wanted, wanted) for magnitudes in spectra])
        if in_pairs:
            terms = _less_half(terms, distances.magnitude_distances(spectra[0], spectra[1], wanted))
        total = terms["log"] + config.power * terms["power"] + terms["mel"] + config.salience * terms["salience"]
        if in_pairs:
            total = total + terms["patch"]
        if config.waveform and step.share >= config.waveform_from:
            # A third of the batch teaches phase as well as all of it, and costs a third.
            some = slice(0, -(-len(heard) // 3))
            cue, aim = spectral.stft(heard[some]), distances.resolutions(gold[some])
            signals = [
                distances.resolutions(self.decoder.sound(magnitudes[some], hidden[some], cue))
                for magnitudes, hidden in drawn
            ]
            scored = _scores([{"waveform": distances.waveform_distance(signal, aim, aim)} for signal in signals])
            if in_pairs:
                scored = _less_half(scored, {"waveform": distances.waveform_distance(signals[0], signals[1], aim)})
            terms |= scored
            total = total + config.waveform * terms["waveform"]
        return Losses(total, terms)

    def _noise(self, voices: Sequence[Voice], *, frames: int, sampling: Sampling) -> Tensor:
        """Tensor[B, frames, noise_channels], the same for a frame of the clip whichever stretch it is played in."""
        before = sampling.start_samples // spectral.HOP
        return torch.stack(
            [
                torch.randn(
                    before + frames,
                    self.config.noise_channels,
                    generator=torch.Generator().manual_seed(len(Voice) * sampling.seed + voice),
                )[before:]
                for voice in voices
            ]
        )

    def _normal(self, step: Step, *shape: int) -> Tensor:
        return torch.randn(shape, generator=step.generator, device=step.generator.device)

    def domain_classifier(self) -> nn.Module:
        return spectral.DomainClassifier(self.config.latent_channels)


def _scores(per_output: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Each distance's mean over the outputs."""
    return {term: torch.stack([scores[term] for scores in per_output]).mean() for term in per_output[0]}


def _less_half(scores: Mapping[str, Tensor], between: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each distance less half of that between two outputs."""
    return {term: score - 0.5 * between[term] for term, score in scores.items()}


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes of the paper's autoencoder."""

    encoder: wavenet.EncoderConfig
    decoder: wavenet.DecoderConfig

    def __post_init__(self) -> None:
        given = (self.encoder.latent_channels, self.encoder.pool)
        taken = (self.decoder.latent_channels, self.decoder.pool)
        if given != taken:
            raise ValueError(f"the encoder gives latents of (channels, pool) {given}, the decoder takes {taken}")


class WaveNetModel(Model):
    """The paper's autoencoder behind the common face; its state is named `encoder.*` and `decoders.LABEL.*`."""

    def __init__(self, config: WaveNetConfig, voices: Sequence[Voice], *, encoder_only: bool = False) -> None:
        super().__init__(voices, config.encoder.latent_channels)
        self.config = config
        self.encoder = wavenet.Encoder(config.encoder)
        self.decoders = nn.ModuleDict(
            {} if encoder_only else {voice.label: wavenet.Decoder(config.decoder) for voice in voices}
        )

    @property
    def context_samples(self) -> int:
        # Separators, which work on the same stretches, look as far as the spectral networks.
        config: WaveNetConfig = self.config
        frames = math.ceil((1 + sum(config.encoder.dilations)) / LATENT_SAMPLES)
        return max(frames * LATENT_SAMPLES, spectral.CONTEXT_SAMPLES)

    def encode(self, wav: Tensor, voices: Tensor) -> Tensor:
        latents: Tensor = self.encoder(mulaw_encode(wav))
        return latents

    def read(self, wav: Tensor, voice: Voice, *, pulse: Callable[[], None]) -> Tensor:
        def blocks() -> Iterator[Tensor]:
            for block in torch.split(wav, READ_SAMPLES):
                pulse()
                yield mulaw_encode(block)

        return engine_for(self.encoder).encode(self.encoder, blocks())

    def encode_distorted(self, wav: Tensor, voices: Tensor, step: Step) -> Tensor:
        if step.augment and step.config.warp_semitones:
            wav = wavenet.shift_stretches(wav, semitones=step.config.warp_semitones, generator=step.generator)
        return self.encode(wav, voices)

    @staticmethod
    def decode(
        parts: Sequence[Part],
        *,
        sampling: Sampling,
        progress: Callable[[float], None],
        rest: Rest | None = None,
    ) -> list[Tensor]:
        lines = [cast(WaveNetModel, part.model).line(part.latents, part.voice, sampling) for part in parts]
        engine = engine_for(lines[0].decoder)
        rest = rest or Rest(lambda: None, lines[0].samples, None)
        total = rest.samples * len(lines)
        if sampling.chunk_s is None:
            chunking = suited(lines, engine, total=total)
        else:
            chunking = Chunking(chunk_s=sampling.chunk_s) if sampling.chunk_s else None
        return perform(
            lines, more=rest.more, total=total, chunking=chunking, engine=engine, progress=progress, heard=rest.heard
        )

    def line(self, latents: Tensor, voice: Voice, sampling: Sampling) -> Line:
        """What plays latents Tensor[64, N] as a voice."""
        decoder = self.decoders[voice.label]
        assert isinstance(decoder, wavenet.Decoder)
        seed = (sampling.seed, voice)
        return Line(decoder=decoder, latents=latents, seed=seed, temperature=sampling.temperature)

    def reconstruction(self, latents: Tensor, heard: Tensor, gold: Tensor, voices: Tensor, step: Step) -> Losses:
        codes = mulaw_encode(gold)
        spread = step.config.history_codes if step.augment else 0.0
        history = wavenet.with_noise(codes, spread=spread, generator=step.generator) if spread else codes
        total = torch.zeros((), device=gold.device)
        for voice in self.voices:
            rows = (voices == voice).nonzero()[:, 0]
            if len(rows):
                logits = self.decoders[voice.label](history[rows], latents[rows])
                total = total + F.cross_entropy(logits, codes[rows], reduction="sum")
        total = total / codes.numel()
        return Losses(total, {"cross_entropy": total})

    def domain_classifier(self) -> nn.Module:
        return PooledClassifier(self.config.encoder.latent_channels)


class PooledClassifier(nn.Module):
    """The paper's domain classifier over the four instruments, as a loss."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.classifier = wavenet.DomainClassifier(latent_channels, len(STEMS))

    def forward(self, latents: Tensor, voices: Tensor) -> Tensor:
        """Mean cross-entropy: latents Tensor[B, 64, N], int64 stem voices Tensor[B] -> Tensor[]."""
        return F.cross_entropy(self.classifier(latents), voices - 1 - (voices > Voice.SP).long())


Listener = DomainGuesser | StyleNet | DomainJudge


def build(
    backbone: str, recipe: str, voices: Sequence[Voice], sizes: Mapping[str, Any]
) -> Model | Separator | Listener:
    """Networks with fresh weights, of the sizes a checkpoint's card or a configuration gives."""
    if recipe == "guess":
        return DomainGuesser(parse(GuessConfig, sizes))
    if recipe == "style":
        return StyleNet(parse(StyleConfig, sizes))
    if recipe == "judge":
        return DomainJudge(parse(JudgeConfig, sizes), tuple(voices))
    if recipe == "separation":
        return Separator(parse(DemucsConfig, sizes), voices)
    encoder_only = recipe == "embedding"
    if backbone == "spectral":
        return SpectralModel(parse(spectral.SpectralConfig, sizes), voices, encoder_only=encoder_only)
    if backbone == "wavenet":
        return WaveNetModel(parse(WaveNetConfig, sizes), voices, encoder_only=encoder_only)
    raise ValueError(f"{backbone} has no networks for {recipe}; expected spectral or wavenet")


def load(path: Path) -> Model | Separator | Listener:
    """The networks of a checkpoint, ready to be used; raises CheckpointError where the tensors do not fit its card."""
    card, tensors = checkpoint.load(path)
    net = build(card.backbone, card.recipe, [Voice.from_label(label) for label in card.voices], card.config)
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    own = set(shapes)
    # A converted checkpoint knows nothing of the spread of its latents, which then stays 1.
    missing, unknown = own - set(tensors) - {"latent_spread", "latent_centre"}, set(tensors) - own
    if missing or unknown:
        raise checkpoint.CheckpointError(f"{path}: tensors missing {sorted(missing)}, unknown {sorted(unknown)}")
    for name, tensor in tensors.items():
        if tensor.shape != shapes[name]:
            found, expected = tuple(tensor.shape), tuple(shapes[name])
            raise checkpoint.CheckpointError(f"{path}: tensor {name} is {found}, its card's sizes make it {expected}")
    net.load_state_dict(tensors, strict=False)
    return net.eval().requires_grad_(False)
