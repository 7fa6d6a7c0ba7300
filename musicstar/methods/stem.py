"""Stem-supervised: an autoencoder from the source mixture to each target stem (paper, section 3.4)."""

import torch

from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.base import Method, Sound, Stream, take_turns, translation_loss
from musicstar.starnet import Windows


class StemSupervised(Method):
    """Two outputs, added."""

    name = "stem"
    recipe = "stem"

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        targets = take_turns(voices, len(batch.heard), step)
        return translation_loss(self.parts.autoencoder(self.recipe, voices[0]), batch, targets, step)

    def speaker(self, target: Domain) -> tuple[Model, ...]:
        return tuple(self.parts.autoencoder(self.recipe, voice) for voice in target.stems)

    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        return tuple(
            Stream(model.encode(sound.mixture[None], torch.tensor([voice]))[0], voice, sound.mixture)
            for model, voice in zip(self.speaker(target), target.stems, strict=True)
        )
