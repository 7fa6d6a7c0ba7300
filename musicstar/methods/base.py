"""The contract of a translation method: what it takes, how it learns, what it gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from musicstar.audio import Clip
from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.catalog import METHODS, Backbone, MethodInfo
from musicstar.starnet import Windows


class NeedsStems(ValueError):
    """A method that translates stems was given a mixture alone."""


class NotOffered(ValueError):
    """No trained weights for what was asked; the message says how to get them."""


class Cancelled(Exception):
    """The caller asked for the work to stop."""


@dataclass(frozen=True, eq=False)
class Source:
    """What is to be translated: a mixture, or its two stems, or both.

    Attributes
    ----------
    domain : the domain the recording is in
    mixture : both instruments together; None where only stems are given
    stems : melody and accompaniment, in the order of `domain.stems`; None where only a mixture is given
    """

    domain: Domain
    mixture: Clip | None = None
    stems: tuple[Clip, Clip] | None = None


@dataclass(frozen=True)
class Options:
    """How to translate.

    Attributes
    ----------
    seed : of everything drawn at random
    temperature : of WaveNet sampling; 0 picks the most likely sample each time
    progress : called with the share done, 0 to 1
    cancelled : asked often; true ends the work with `Cancelled`
    """

    seed: int = 0
    temperature: float = 1.0
    progress: Callable[[float], None] = field(default=lambda share: None)
    cancelled: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, eq=False)
class Translation:
    """One method's output.

    Attributes
    ----------
    mix : the translated clip, 16 kHz, as long as its source
    stems : the translated stems by voice; empty for a method that makes none
    seconds : time spent by stage, with "total"; methods that share a decoder share its time
    """

    method: str
    backbone: Backbone
    source: Domain
    target: Domain
    mix: Clip
    stems: dict[Voice, Clip]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Sound:
    """A source as the networks take it: 16 kHz, mixture at -26 dBFS, in whole latent frames.

    Attributes
    ----------
    mixture : Tensor[T]
    stems : Tensor[2, T] in the order of `domain.stems`; None where only the mixture is known
    """

    domain: Domain
    mixture: Tensor
    stems: Tensor | None

    def piece(self, start: int, end: int) -> "Sound":
        """The samples from `start` to `end`."""
        return Sound(self.domain, self.mixture[start:end], None if self.stems is None else self.stems[:, start:end])


@dataclass(frozen=True, eq=False)
class Stream:
    """One voice still to be decoded.

    Attributes
    ----------
    latents : Tensor[64, N]
    voice : what to play
    cue : Tensor[800 N], the sound the latents were read from
    """

    latents: Tensor
    voice: Voice
    cue: Tensor


class Parts(Protocol):
    """Where a method finds its networks: shipped weights when it translates, those in training when it learns."""

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """The autoencoder of `recipe` that has to do with `voice`."""

    def separator(self, domain: Domain) -> nn.Module:
        """The separator of a domain's mixtures: Tensor[B, T] -> Tensor[B, 2, T]."""


class Method(ABC):
    """One of the five ways to translate; the networks are its parts, of either backbone."""

    name: ClassVar[str]
    recipe: ClassVar[str]

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @property
    def info(self) -> MethodInfo:
        """How the method is presented, and what it needs."""
        return METHODS[self.name]

    @abstractmethod
    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """What training minimises on a batch.

        `voices` are those of the model in training; the items of the batch take turns among them.
        """

    @abstractmethod
    def speaker(self, target: Domain) -> tuple[Model, ...]:
        """The models that decode towards `target`, one for each stream."""

    @abstractmethod
    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        """Everything up to decoding: the voices whose sum is the translation, in the order of `speaker`."""


def take_turns(voices: tuple[Voice, ...], batch: int, step: Step) -> list[Voice]:
    """A voice for each item of a batch, each as often as the others over time."""
    return [voices[(step.index * batch + item) % len(voices)] for item in range(batch)]


def pick(sounds: Tensor, voices: list[Voice]) -> Tensor:
    """One voice of each item: Tensor[B, 6, T] -> Tensor[B, T]."""
    return sounds[torch.arange(len(voices)), voices]


def translation_loss(model: Model, batch: Windows, targets: list[Voice], step: Step) -> Losses:
    """Loss of an autoencoder from the source mixture to the voices `targets` of the other domain (paper, eq. 2)."""
    heard = pick(batch.heard, [target.domain.other.mixture for target in targets])
    wanted = torch.tensor(targets, device=heard.device)
    latents = model.encode_distorted(heard, wanted, step)
    return model.reconstruction(latents, heard, pick(batch.gold, targets), wanted, step)
