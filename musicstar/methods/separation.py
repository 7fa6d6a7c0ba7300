"""Separation-based: split the mixture into stems, then go on as single-instrument does (paper, section 3.2)."""

from musicstar.audio import LEVEL_RMS
from musicstar.domains import Direction, Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.base import Sound
from musicstar.methods.method import Method
from musicstar.methods.single import SingleInstrument
from musicstar.model import Model, Part
from musicstar.starnet import Windows


class SeparationBased(Method):
    """Trains the separator alone; translation is borrowed."""

    name = "separation"
    recipe = "separation"

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Mean absolute error of the separated stems, relative to the mixture's level."""
        domain = voices[0].domain
        estimated = self.parts.separator(domain)(batch.heard[:, domain.mixture])
        error = (estimated - batch.heard[:, list(voices)]).abs().mean() / LEVEL_RMS
        return Losses(error, {"l1": error})

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return direction.source.stems

    def models(self, direction: Direction) -> tuple[Model, ...]:
        return SingleInstrument(self.parts).models(direction)

    def require(self, direction: Direction) -> None:
        SingleInstrument(self.parts).require(direction)
        self.parts.separator(direction.source)

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return SingleInstrument(self.parts).speaker(direction)

    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        stems = self.parts.separator(sound.domain)(sound.mixture[None])[0]
        return SingleInstrument(self.parts).stem_streams(stems, Direction(sound.domain, target), pulse=sound.pulse)
