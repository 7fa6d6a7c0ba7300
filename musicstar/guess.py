"""Which domain a clip is in, guessed from how its bands move; a person can correct it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar import spectral
from musicstar.domains import Voice
from musicstar.losses import Losses, Step
from musicstar.starnet import Windows


@dataclass(frozen=True)
class GuessConfig:
    """Sizes of the guesser: mel bands, channels and layers of its convolutions."""

    bands: int = 80
    channels: int = 48
    layers: int = 4


class DomainGuesser(nn.Module):
    """Convolutions over a log-mel spectrogram from which each band's mean is taken.

    Without its mean a band says nothing of a recording's colour, which differs from one soundfont or microphone to the
    next, and everything of attacks, decays, vibrato and of which partials sound together.
    """

    def __init__(self, config: GuessConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = 1
        for _ in range(config.layers):
            layers += [
                nn.Conv2d(width, config.channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(config.channels),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Dropout(0.2),
            ]
            width = config.channels
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(width, 1)

    def forward(self, wav: Tensor) -> Tensor:
        """Log-odds that strings and piano play: Tensor[B, T] with an RMS near 0.05 -> Tensor[B]."""
        with torch.no_grad():
            magnitudes = spectral.stft(wav).abs()[..., ::2]
            mel = torch.log(spectral.mel_filters(wav.device, mels=self.config.bands) @ magnitudes + spectral.FLOOR)
            moved = mel - mel.mean(dim=2, keepdim=True)
        hidden: Tensor = self.layers(moved[:, None])
        odds: Tensor = self.last(hidden.mean(dim=(2, 3)))
        return odds[:, 0]

    def loss(self, cv: Tensor, sp: Tensor) -> Tensor:
        """Mean cross-entropy on clips of each domain, Tensor[B, T] both."""
        # In one batch, or batch norm would see each domain alone and take away what tells them apart.
        odds = self(torch.cat([cv, sp]))
        is_sp = torch.arange(len(odds), device=odds.device) >= len(cv)
        return F.binary_cross_entropy_with_logits(odds, is_sp.to(odds.dtype))


class GuessTraining:
    """What teaches the guesser: mixtures of both domains, in all takes and balances."""

    recipe = "guess"

    def __init__(self, guesser: DomainGuesser) -> None:
        self.guesser = guesser

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Mean cross-entropy on the batch's mixtures."""
        loss = self.guesser.loss(batch.heard[:, Voice.CV], batch.heard[:, Voice.SP])
        return Losses(loss, {"cross_entropy": loss})
