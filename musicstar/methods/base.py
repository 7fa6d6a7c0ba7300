"""The contract of a translation method: what it takes, what it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field

from musicstar.audio import Clip
from musicstar.domains import Domain, Voice
from musicstar.methods.catalog import Backbone


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
    seconds : time spent by stage, with "total"
    """

    method: str
    backbone: Backbone
    source: Domain
    target: Domain
    mix: Clip
    stems: dict[Voice, Clip]
    seconds: dict[str, float]
