"""What a family of networks looks like to a method, which need not know which one speaks.

Sound at this face is float32 at 16 kHz whose mixture has an RMS of 0.05 (-26 dBFS), in whole latent frames of 800
samples; latents are Tensor[B, 64, T / 800] in both families.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from musicstar.audio import LEVEL_RMS
from musicstar.domains import Voice
from musicstar.losses import Losses, Step

LATENT_SAMPLES = 800
LEVEL_DBFS = 20 * math.log10(LEVEL_RMS)


@dataclass(frozen=True)
class Sampling:
    """How outputs are drawn: a WaveNet's samples, a spectral decoder's variation.

    Attributes
    ----------
    temperature : of a WaveNet, 0 picks the most likely sample each time; of a spectral decoder, how much it varies
    chunk_s : seconds of the stretches that a WaveNet plays side by side and joins; 0 plays on end, None chooses
    start_samples : where in the clip the stretch to be decoded begins
    """

    seed: int = 0
    temperature: float = 1.0
    chunk_s: float | None = None
    start_samples: int = 0


class Model(nn.Module, ABC):
    """An autoencoder of either family.

    Attributes
    ----------
    config : dataclass of sizes, as `build` takes them
    voices : what it can decode to; for an encoder alone, what it reads out of a mixture
    latent_spread : Tensor[64], median absolute deviation of each latent dimension, 1 where nobody measured it
    latent_centre : Tensor[64], its median
    """

    config: Any
    voices: tuple[Voice, ...]
    latent_spread: Tensor
    latent_centre: Tensor

    def __init__(self, voices: Sequence[Voice], latent_channels: int) -> None:
        super().__init__()
        self.voices = tuple(voices)
        self.register_buffer("latent_spread", torch.ones(latent_channels))
        self.register_buffer("latent_centre", torch.zeros(latent_channels))

    @property
    @abstractmethod
    def context_samples(self) -> int:
        """How far to both sides a latent hears, or a little more, in whole latent frames."""

    @abstractmethod
    def encode(self, wav: Tensor, voices: Tensor) -> Tensor:
        """Sound Tensor[B, T] to latents Tensor[B, 64, T / 800]; `voices` int64 Tensor[B] is what is wanted of it."""

    def read(self, wav: Tensor, voice: Voice, *, pulse: Callable[[], None]) -> Tensor:
        """As `encode`, but one clip, not to be learned from: Tensor[T] to Tensor[64, T / 800].

        `pulse` is called now and then, and may raise to end the work.
        """
        pulse()
        return self.encode(wav[None], torch.tensor([voice]))[0]

    @staticmethod
    @abstractmethod
    def decode(
        parts: "Sequence[Part]",
        *,
        sampling: Sampling,
        progress: Callable[[float], None],
        rest: "Rest | None" = None,
    ) -> list[Tensor]:
        """Parts to sound, Tensor[800 N] each, by models of this family, side by side.

        `progress` hears the share done, and may raise to end the work; a family that remembers takes the `rest`.
        """

    @abstractmethod
    def reconstruction(self, latents: Tensor, heard: Tensor, gold: Tensor, voices: Tensor, step: Step) -> Losses:
        """Loss of decoding `latents` to `gold` Tensor[B, T] when `heard` Tensor[B, T] was the input."""

    @abstractmethod
    def encode_distorted(self, wav: Tensor, voices: Tensor, step: Step) -> Tensor:
        """As `encode`, through the distortions that training asks for in `step`."""

    @abstractmethod
    def domain_classifier(self) -> nn.Module:
        """A fresh classifier: latents, int64 voices Tensor[B] -> mean loss of telling their domain, Tensor[]."""

    def match_latents(self, aim: "Model") -> None:
        """Begin with latents as centred and spread as those of `aim`, where this family can."""

    def measure_latents(self, inputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Settle what is known of the latents on sounds Tensor[B, T] and the voices asked for, where that is kept."""

    def standardised(self, sound: Tensor, voices: Tensor) -> Tensor:
        """The latents of a sound, each dimension by its median and spread: Tensor[B, T] -> Tensor[B, 64, T / 800]."""
        return (self.encode(sound, voices) - self.latent_centre[:, None]) / self.latent_spread[:, None]


@dataclass(frozen=True, eq=False)
class Part:
    """Something to be decoded.

    Attributes
    ----------
    model : that decodes it
    latents : Tensor[64, N]
    voice : what to play
    cue : Tensor[800 N], the sound the latents were read from
    """

    model: Model
    latents: Tensor
    voice: Voice
    cue: Tensor


@dataclass(frozen=True, eq=False)
class Rest:
    """What of some parts is still to come, and who waits for what there is.

    Attributes
    ----------
    more : gives further latents of each part, Tensor[64, N]; None when there are none
    samples : of a part, how many there will be in all
    heard : told the sound of each part so far, Tensor[T], now and then
    """

    more: Callable[[], Sequence[Tensor] | None]
    samples: int
    heard: Callable[[list[Tensor]], None] | None
