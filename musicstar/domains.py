"""The words of StarNet: two domains, four instruments, six voices, and who is whose counterpart."""

from enum import IntEnum, StrEnum


class Voice(IntEnum):
    """What one StarNet file holds; the value is the K of `NNN.K.wav`."""

    CV = 0
    CLARINET = 1
    VIBRAPHONE = 2
    SP = 3
    STRINGS = 4
    PIANO = 5

    @property
    def domain(self) -> "Domain":
        """The domain this voice belongs to."""
        return Domain.CV if self < Voice.SP else Domain.SP

    @property
    def counterpart(self) -> "Voice":
        """The voice that plays the same notes in the other domain."""
        return Voice((self + 3) % 6)

    @property
    def is_mixture(self) -> bool:
        """Whether this voice is the sum of its domain's two stems."""
        return self % 3 == 0

    @property
    def label(self) -> str:
        """The name used in file names, on the command line and in weights."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> "Voice":
        """Read a voice by its `label`; raises ValueError naming the six there are."""
        try:
            return cls[label.upper()]
        except KeyError:
            known = ", ".join(voice.label for voice in cls)
            raise ValueError(f"unknown voice {label!r}: expected one of {known}") from None


class Domain(StrEnum):
    """A pair of instruments playing together: melody and accompaniment."""

    CV = "cv"
    SP = "sp"

    @property
    def mixture(self) -> Voice:
        """The voice of both instruments together."""
        return Voice.CV if self is Domain.CV else Voice.SP

    @property
    def stems(self) -> tuple[Voice, Voice]:
        """The melody's voice and the accompaniment's."""
        return Voice(self.mixture + 1), Voice(self.mixture + 2)

    @property
    def other(self) -> "Domain":
        """The domain a clip of this one is translated to."""
        return Domain.SP if self is Domain.CV else Domain.CV

    @property
    def label(self) -> str:
        """The name a person reads."""
        return "clarinet and vibraphone" if self is Domain.CV else "strings and piano"


STEMS = tuple(voice for voice in Voice if not voice.is_mixture)
MIXTURES = tuple(voice for voice in Voice if voice.is_mixture)
