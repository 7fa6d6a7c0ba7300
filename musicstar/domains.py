"""The words of StarNet and of what is added to it: domains of two instruments, voices, who is whose counterpart."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Voice(IntEnum):
    """What one file of a set holds; the value is the K of `NNN.K.wav`. StarNet itself ends with the piano."""

    CV = 0
    CLARINET = 1
    VIBRAPHONE = 2
    SP = 3
    STRINGS = 4
    PIANO = 5
    FG = 6
    FLUTE = 7
    GUITAR = 8
    TH = 9
    TRUMPET = 10
    HARPSICHORD = 11

    @property
    def domain(self) -> "Domain":
        """The domain this voice belongs to."""
        return tuple(Domain)[self // 3]

    def counterpart(self, domain: "Domain") -> "Voice":
        """The voice that plays the same notes in another domain."""
        return Voice(domain.mixture + self % 3)

    @property
    def is_mixture(self) -> bool:
        """Whether this voice is the sum of its domain's two stems."""
        return self % 3 == 0

    @property
    def is_melody(self) -> bool:
        """Whether this voice is the melody's, a single line."""
        return self % 3 == 1

    @property
    def label(self) -> str:
        """The name used in file names, on the command line and in weights."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> "Voice":
        """Read a voice by its `label`; raises ValueError naming those there are."""
        try:
            return cls[label.upper()]
        except KeyError:
            known = ", ".join(voice.label for voice in cls)
            raise ValueError(f"unknown voice {label!r}: expected one of {known}") from None


class Domain(StrEnum):
    """A pair of instruments playing together: melody and accompaniment."""

    CV = "cv"
    SP = "sp"
    FG = "fg"
    TH = "th"

    @property
    def mixture(self) -> Voice:
        """The voice of both instruments together."""
        return Voice[self.name]

    @property
    def stems(self) -> tuple[Voice, Voice]:
        """The melody's voice and the accompaniment's."""
        return Voice(self.mixture + 1), Voice(self.mixture + 2)

    @property
    def voices(self) -> tuple[Voice, Voice, Voice]:
        """The mixture, the melody, the accompaniment."""
        return self.mixture, *self.stems

    @property
    def others(self) -> tuple["Domain", ...]:
        """The domains a clip of this one can be translated to; of StarNet's own two, the other comes first."""
        return tuple(domain for domain in Domain if domain is not self)

    @property
    def label(self) -> str:
        """The name a person reads."""
        return " and ".join(voice.label for voice in self.stems)


@dataclass(frozen=True)
class Direction:
    """From which domain to which other a translation goes.

    Raises
    ------
    ValueError
        They are the same.
    """

    source: Domain
    target: Domain

    def __post_init__(self) -> None:
        if self.source is self.target:
            raise ValueError(f"source and target are both {self.target.label}: a translation goes to another domain")


STARNET = (Domain.CV, Domain.SP)
PAPER = (Direction(Domain.SP, Domain.CV), Direction(Domain.CV, Domain.SP))
DIRECTIONS = tuple(Direction(source, target) for target in Domain for source in target.others)


def stems_of(domains: "tuple[Domain, ...]") -> tuple[Voice, ...]:
    """The stems of some domains, in order."""
    return tuple(voice for domain in domains for voice in domain.stems)


def known_domains(voices: Iterable[Voice]) -> tuple[Domain, ...]:
    """The domains that networks for some voices have heard: StarNet's, and their own."""
    return tuple(dict.fromkeys((*STARNET, *(voice.domain for voice in voices))))


# The stems of StarNet itself.
STEMS = stems_of(STARNET)
