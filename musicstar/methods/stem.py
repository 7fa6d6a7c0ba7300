"""Stem-supervised: an autoencoder from the source mixture to each target stem (paper, section 3.4)."""

from musicstar.domains import Direction, Domain, Voice
from musicstar.methods.base import Sound
from musicstar.methods.method import TranslationSupervised
from musicstar.model import Model, Part


class StemSupervised(TranslationSupervised):
    """Two outputs, added."""

    name = "stem"
    recipe = "stem"

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return direction.target.stems

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return tuple(self.parts.autoencoder(self.recipe, voice) for voice in direction.target.stems)

    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        return tuple(
            Part(model, model.read(sound.mixture, voice, pulse=sound.pulse), voice, sound.mixture)
            for model, voice in zip(self.speaker(Direction(sound.domain, target)), target.stems, strict=True)
        )
