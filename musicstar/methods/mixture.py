"""Mixture-supervised Music-STAR: one autoencoder from the source mixture to the target mixture (paper, section 3.4)."""

import torch

from musicstar.backbones import Model
from musicstar.domains import Direction, Domain, Voice
from musicstar.methods.base import Sound, Stream
from musicstar.methods.method import TranslationSupervised


class MixtureSupervised(TranslationSupervised):
    """The paper's own method."""

    name = "mixture"
    recipe = "mixture"

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return (direction.target.mixture,)

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return (self.parts.autoencoder(self.recipe, direction.target.mixture),)

    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        voice = target.mixture
        latents = self.speaker(Direction(sound.domain, target))[0].encode(
            sound.mixture[None], torch.tensor([voice]), pulse=sound.pulse
        )
        return (Stream(latents[0], voice, sound.mixture),)
