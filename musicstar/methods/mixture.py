"""Mixture-supervised Music-STAR: one autoencoder from the source mixture to the target mixture (paper, section 3.4)."""

import torch

from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.methods.base import Sound, Stream
from musicstar.methods.method import TranslationSupervised


class MixtureSupervised(TranslationSupervised):
    """The paper's own method."""

    name = "mixture"
    recipe = "mixture"

    @classmethod
    def voices(cls, target: Domain) -> tuple[Voice, ...]:
        return (target.mixture,)

    def speaker(self, target: Domain) -> tuple[Model, ...]:
        return (self.parts.autoencoder(self.recipe, target.mixture),)

    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        voice = target.mixture
        latents = self.speaker(target)[0].encode(sound.mixture[None], torch.tensor([voice]), pulse=sound.pulse)
        return (Stream(latents[0], voice, sound.mixture),)
