"""Stem-supervised: an autoencoder from the source mixture to each target stem (paper, section 3.4)."""

import torch

from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.methods.base import Sound, Stream
from musicstar.methods.method import TranslationSupervised


class StemSupervised(TranslationSupervised):
    """Two outputs, added."""

    name = "stem"
    recipe = "stem"

    @classmethod
    def voices(cls, target: Domain) -> tuple[Voice, ...]:
        return target.stems

    def speaker(self, target: Domain) -> tuple[Model, ...]:
        return tuple(self.parts.autoencoder(self.recipe, voice) for voice in target.stems)

    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        return tuple(
            Stream(model.encode(sound.mixture[None], torch.tensor([voice]), pulse=sound.pulse)[0], voice, sound.mixture)
            for model, voice in zip(self.speaker(target), target.stems, strict=True)
        )
