"""What translation is about: sources, options, outputs, and the parts that methods are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from musicstar.audio import Clip
from musicstar.domains import Domain, Voice
from musicstar.methods.catalog import Backbone
from musicstar.model import Model


class NeedsStems(ValueError):
    """A method that translates stems was given a mixture alone."""


class NotOffered(ValueError):
    """No trained weights for what was asked; the message says how to get them."""


def not_taught(family: str, recipe: str, source: Domain) -> str:
    """Why weights that play what is wanted are not offered all the same."""
    return f"The {family} weights of {recipe} have heard no {source.label}: they translate from other instruments only."


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
    temperature : how much outputs vary by chance; 0 picks what is most likely
    chunk_s : a WaveNet plays stretches of so many seconds side by side and joins them; 0 plays on end, and None what is
        large enough to gain by it is played in stretches
    cancelled : asked often; true ends the work with `Cancelled`
    on_sound : told a method's name and the beginning of its output, now and then, while the rest is still to come
    """

    seed: int = 0
    temperature: float = 1.0
    chunk_s: float | None = None
    cancelled: Callable[[], bool] = field(default=lambda: False)
    on_sound: Callable[[str, Clip], None] | None = None


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
    pulse : called now and then by what works on the sound; may raise to end the work
    """

    domain: Domain
    mixture: Tensor
    stems: Tensor | None
    pulse: Callable[[], None] = field(default=lambda: None)


class Parts(Protocol):
    """Where a method finds its networks: shipped weights when it translates, those in training when it learns.

    Attributes
    ----------
    backbone : the family its autoencoders are of
    """

    backbone: Backbone

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """The autoencoder of `recipe` that has to do with `voice`."""

    def partner(self, recipe: str, voice: Voice) -> Model:
        """The universal autoencoder whose latents the encoder of `recipe` for `voice` was taught to give."""

    def separator(self, domain: Domain) -> nn.Module:
        """The separator of a domain's mixtures: Tensor[B, T] -> Tensor[B, 2, T]."""
