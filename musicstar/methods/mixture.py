"""Mixture-supervised Music-STAR: one autoencoder from the source mixture to the target mixture (paper, section 3.4)."""

from musicstar.domains import Direction, Domain, Voice
from musicstar.methods.base import Sound
from musicstar.methods.method import TranslationSupervised
from musicstar.model import Model, Part


class MixtureSupervised(TranslationSupervised):
    """The paper's own method."""

    name = "mixture"
    recipe = "mixture"

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return (direction.target.mixture,)

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return (self.parts.autoencoder(self.recipe, direction.target.mixture),)

    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        voice = target.mixture
        (model,) = self.speaker(Direction(sound.domain, target))
        return (Part(model, model.read(sound.mixture, voice, pulse=sound.pulse), voice, sound.mixture),)
