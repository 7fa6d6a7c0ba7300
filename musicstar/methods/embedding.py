"""Embedding-supervised: read one instrument's universal latents out of the mixture (paper, section 3.3)."""

import torch

from musicstar.domains import Direction, Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.base import Sound
from musicstar.methods.method import Method, pick, take_turns
from musicstar.methods.single import UNTOLD
from musicstar.model import Model, Part
from musicstar.starnet import Windows


class EmbeddingSupervised(Method):
    """Encoders of its own, the universal network's decoders."""

    name = "embedding"
    recipe = "embedding"

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """L1 to the universal latents of the stem (eq. 1), each dimension relative to its spread."""
        turns = take_turns(voices, len(batch.heard), step)
        told = torch.tensor(turns, device=batch.heard.device)
        universal = self.parts.autoencoder("universal", voices[0])
        with torch.no_grad():
            aim = universal.encode(pick(batch.heard, turns), torch.full_like(told, UNTOLD))
        mixtures = pick(batch.heard, [voice.domain.mixture for voice in turns])
        model = self.parts.autoencoder(self.recipe, voices[0])
        latents = model.encode_distorted(mixtures, told, step)
        error = ((latents - aim).abs() / universal.latent_spread[:, None]).mean()
        return Losses(error, {"l1": error})

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return direction.source.stems

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return tuple(self.parts.partner(self.recipe, voice) for voice in direction.source.stems)

    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        mixture = sound.mixture
        return tuple(
            Part(
                model,
                self.parts.autoencoder(self.recipe, voice).read(mixture, voice, pulse=sound.pulse),
                voice.counterpart(target),
                mixture,
            )
            for model, voice in zip(self.speaker(Direction(sound.domain, target)), sound.domain.stems, strict=True)
        )
