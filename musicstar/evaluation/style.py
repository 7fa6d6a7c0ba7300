"""Networks that judge style: a triplet embedding of MFCCs, as published, and a classifier of domains.

Conventions. Both hear sound at 16 kHz whose RMS is `LEVEL_RMS`, and neither depends on its level. The cosine of two
embeddings is a similarity, 0 to 1 since no value of them is negative; higher is better. The MFCCs are the first 13 of
decibels in mel bands up to 7.2 kHz, down to 80 dB below the stretch's loudest, by the orthonormal DCT-II; the first,
which is the level, is left out.

Source: Music-STAR (Alinoori and Tzerpos 2022), evaluation of style; the network goes back to Lee et al. 2020.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar import spectral
from musicstar.audio import SAMPLE_RATE
from musicstar.domains import Voice
from musicstar.losses import Losses, Step
from musicstar.starnet import Windows

SEGMENT_SAMPLES = 128_000
WINDOW_SAMPLES = 64_000
MFCC_HOP = 500
COEFFICIENTS = 13
MARGIN = 0.1
DYNAMICS_DB = 80.0

_MELS = 128
_HIGHEST_HZ = 7_200  # above it resampling from other rates begins to tell
_LENGTHS = (4, 4, 4, 2)


def mfcc(wav: Tensor) -> Tensor:
    """Mel-frequency cepstral coefficients 2 to 13: Tensor[B, T] -> Tensor[B, 12, T / 500]."""
    with torch.autocast(wav.device.type, enabled=False):
        mel = _mel_filters(wav.device, _MELS) @ spectral.stft(wav, hop=MFCC_HOP).abs() ** 2
        floor = 10 ** (-DYNAMICS_DB / 10) * mel.amax(dim=(1, 2), keepdim=True)
        level_db = 10 * torch.log10(torch.maximum(mel, floor).clamp(min=1e-20))
        return _dct(wav.device, level_db.shape[1]) @ level_db


def _mel_filters(device: torch.device, mels: int) -> Tensor:
    """Those of so many mel filters up to 8 kHz that do not reach over `_HIGHEST_HZ`: Tensor[fewer, 1025]."""
    filters = spectral.mel_filters(device, mels=mels)
    return filters[(filters[:, _HIGHEST_HZ * spectral.N_FFT // SAMPLE_RATE :] == 0).all(dim=1)]


def _dct(device: torch.device, bands: int) -> Tensor:
    """Rows 2 to 13 of the orthonormal DCT-II, Tensor[12, bands]."""
    order = torch.arange(1, COEFFICIENTS, dtype=torch.float64)[:, None]
    place = (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    return (math.sqrt(2 / bands) * torch.cos(math.pi * order * place)).to(device, torch.float32)


@dataclass(frozen=True)
class StyleConfig:
    """Size of the triplet network: values of an embedding."""

    channels: int = 64


class StyleNet(nn.Module):
    """MFCCs to an embedding of their timbre: four blocks of convolution, batch norm, ReLU and max-pool, and a mean."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = COEFFICIENTS - 1
        for length in _LENGTHS:
            layers += [
                nn.Conv1d(width, config.channels, length, padding=length // 2),
                nn.BatchNorm1d(config.channels),
                nn.ReLU(),
                nn.MaxPool1d(length),
            ]
            width = config.channels
        self.layers = nn.Sequential(*layers)

    def forward(self, wav: Tensor) -> Tensor:
        """Embeddings: Tensor[B, T] -> Tensor[B, channels], none negative.

        What is shorter than 4 s, the least that the pools leave something of, is repeated.
        """
        cepstra = mfcc(wav)
        cepstra = cepstra.repeat(1, 1, -(-math.prod(_LENGTHS) // cepstra.shape[2]))
        hidden: Tensor = self.layers(cepstra)
        return hidden.mean(dim=2)


@dataclass(frozen=True)
class JudgeConfig:
    """Sizes of the classifier of domains: mel bands, channels of its blocks."""

    bands: int = 80
    channels: tuple[int, ...] = (32, 48, 64)


class DomainJudge(nn.Module):
    """The probability of each domain, by how the bands of a log-mel spectrogram move.

    Each band's mean is taken off, so that the colour of a recording says nothing. Trained on inputs with bands and
    stretches left out and with noise, it does not lean on one band or on the silence behind a soundfont's notes.
    """

    def __init__(self, config: JudgeConfig, voices: tuple[Voice, ...]) -> None:
        super().__init__()
        self.config = config
        self.domains = tuple(dict.fromkeys(voice.domain for voice in voices))
        layers: list[nn.Module] = []
        width = 1
        for channels in config.channels:
            layers += (
                # As fine as attacks are, 12.5 ms, and then coarse at once, for speed.
                [nn.Conv2d(1, channels, (5, 7), stride=(2, 4), padding=(2, 3), bias=False)]
                if not layers
                else [nn.Conv2d(width, channels, 3, padding=1, bias=False)]
            )
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
            width = channels
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(width, len(self.domains))

    def embed(self, wav: Tensor, *, spoilt: torch.Generator | None = None) -> Tensor:
        """What the decision is made of: Tensor[B, T] -> Tensor[B, channels]; `spoilt` draws noise and gaps."""
        with torch.autocast(wav.device.type, enabled=False):
            if spoilt is not None:
                wav = _noisy(wav, spoilt)
            magnitudes = spectral.stft(wav).abs()
            mel = torch.log(_mel_filters(wav.device, self.config.bands) @ magnitudes + 2 * spectral.FLOOR)
            moved = mel - mel.mean(dim=2, keepdim=True)
            if spoilt is not None:
                moved = _with_gaps(moved, spoilt)
        hidden: Tensor = self.layers(moved[:, None])
        return hidden.mean(dim=(2, 3))

    def forward(self, wav: Tensor, *, spoilt: torch.Generator | None = None) -> Tensor:
        """Log-odds of each of `domains`: Tensor[B, T] -> Tensor[B, D]."""
        logits: Tensor = self.last(self.embed(wav, spoilt=spoilt))
        return logits


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def _noisy(wav: Tensor, generator: torch.Generator) -> Tensor:
    """Sound Tensor[B, T] with noise 20 to 60 dB below it, half of it darkened."""
    noise = torch.randn(wav.shape, generator=generator, device=wav.device)
    dark = F.avg_pool1d(noise[:, None], 9, 1, 4)[:, 0] * 3
    share = (_uniform((len(wav), 1), 0, 1, generator) < 0.5).float()
    level_db = _uniform((len(wav), 1), -60, -20, generator)
    rms = wav.square().mean(dim=1, keepdim=True).sqrt()
    return wav + torch.lerp(noise, dark, share) * rms * 10 ** (level_db / 20)


def _with_gaps(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Spectrograms Tensor[B, bands, frames] with two runs of bands and one stretch set to their mean, nought."""
    batch, bands, frames = mel.shape
    for size, dim, longest in ((bands, 1, 0.2), (bands, 1, 0.2), (frames, 2, 0.2)):
        length = _uniform((batch, 1), 0, longest * size, generator)
        start = _uniform((batch, 1), 0, 1, generator) * (size - length)
        place = torch.arange(size, device=mel.device)
        gap = (place >= start) & (place < start + length)
        mel = mel.masked_fill(gap.unsqueeze(3 - dim), 0.0)
    return mel


def _held(batch: Windows, voices: tuple[Voice, ...]) -> tuple[Voice, ...]:
    """Those of some voices that the set has."""
    return tuple(voice for voice in voices if voice < batch.heard.shape[1])


class StyleTraining:
    """What teaches the triplet network: mixtures of all domains, in all takes and balances.

    An anchor's positive is another piece in its domain, its negatives are the same piece in the other domains, so that
    what is played must not count and what plays it must.
    """

    recipe = "style"

    def __init__(self, net: StyleNet) -> None:
        self.net = net

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Mean hinge; beside it the share of triplets whose positive is nearer than the negative."""
        heard = batch.heard[:, list(_held(batch, voices))]
        # In one batch, or batch norm would see each domain alone and take away what tells them apart.
        embeddings = self.net(heard.flatten(0, 1)).unflatten(0, heard.shape[:2])
        positive, negative = triplet_similarities(embeddings.float())
        loss = (MARGIN + negative - positive).clamp(min=0).mean()
        return Losses(loss, {"hinge": loss, "accuracy": (positive > negative).float().mean()})


def triplet_similarities(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of each anchor with its positive and with each of its negatives.

    Parameters
    ----------
    embeddings : Tensor[B, D, C], of B pieces in D domains

    Returns
    -------
    positive, negative : Tensor[B, D, D - 1]; the positive is the next piece's, the last one's the first's
    """
    unit = F.normalize(embeddings, dim=2)
    domains = unit.shape[1]
    within = unit @ unit.transpose(1, 2)
    others = ~torch.eye(domains, dtype=torch.bool, device=unit.device)
    negative = within[:, others].unflatten(1, (domains, domains - 1))
    positive = (unit * unit.roll(-1, dims=0)).sum(dim=2, keepdim=True)
    return positive.expand_as(negative), negative


class JudgeTraining:
    """What teaches the classifier: mixtures of all its domains, in all takes and balances."""

    recipe = "judge"

    def __init__(self, judge: DomainJudge) -> None:
        self.judge = judge

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Mean cross-entropy; beside it the share that is called right."""
        voices = _held(batch, voices)
        heard = batch.heard[:, list(voices)]
        spoilt = step.generator if step.augment else None
        logits = self.judge(heard.flatten(0, 1), spoilt=spoilt).float()
        place = {domain: number for number, domain in enumerate(self.judge.domains)}
        wanted = torch.tensor([place[voice.domain] for voice in voices] * len(heard), device=logits.device)
        loss = F.cross_entropy(logits, wanted)
        return Losses(loss, {"cross_entropy": loss, "accuracy": (logits.argmax(dim=1) == wanted).float().mean()})
