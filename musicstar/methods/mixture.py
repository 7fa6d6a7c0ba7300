"""Mixture-supervised Music-STAR: one autoencoder from the source mixture to the target mixture (paper, section 3.4)."""

import torch

from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.base import Method, Sound, Stream, take_turns, translation_loss
from musicstar.starnet import Windows


class MixtureSupervised(Method):
    """The paper's own method."""

    name = "mixture"
    recipe = "mixture"

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        targets = take_turns(voices, len(batch.heard), step)
        return translation_loss(self.parts.autoencoder(self.recipe, voices[0]), batch, targets, step)

    def speaker(self, target: Domain) -> tuple[Model, ...]:
        return (self.parts.autoencoder(self.recipe, target.mixture),)

    def streams(self, sound: Sound, target: Domain) -> tuple[Stream, ...]:
        voice = target.mixture
        latents = self.speaker(target)[0].encode(sound.mixture[None], torch.tensor([voice]))
        return (Stream(latents[0], voice, sound.mixture),)
