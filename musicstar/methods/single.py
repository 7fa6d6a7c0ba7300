"""Single-instrument: universal encoder, one decoder per instrument, stem by stem (paper, section 3.1)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from musicstar.domains import Direction, Domain, Voice
from musicstar.losses import Losses, Step
from musicstar.methods.base import NeedsStems, Parts, Sound
from musicstar.methods.method import Method, encode_guided, pick, take_turns
from musicstar.model import Model, Part
from musicstar.starnet import Windows

# The universal encoder is not told what it hears: it is always asked as if for this one voice.
UNTOLD = Voice.CV


class SingleInstrument(Method):
    """Translates two stem recordings; its universal network also serves two other methods."""

    name = "single"
    recipe = "universal"

    def __init__(self, parts: Parts, classifier: nn.Module | None = None) -> None:
        super().__init__(parts)
        self.classifier = classifier

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Reconstruct each stem while a classifier, fought by the encoder, looks for its domain in the latents."""
        model = self.parts.autoencoder(self.recipe, voices[0])
        turns = take_turns(voices, len(batch.heard), step)
        heard, gold = pick(batch.heard, turns), pick(batch.gold, turns)
        told = torch.tensor(turns, device=heard.device)
        latents, guided = encode_guided(model, heard, torch.full_like(told, UNTOLD), step)
        losses = model.reconstruction(latents, heard, gold, told, step).plus(guided)
        weight, classifier = step.config.adversary, self.classifier
        if not weight or classifier is None:
            return losses
        step.fit_adversary(lambda: classifier(latents.detach(), told))
        fooled = classifier(gradient_reversed(latents, weight * step.ramp), told)
        return losses.plus({"classifier": fooled})

    def encoder_inputs(self, batch: Windows, voices: tuple[Voice, ...]) -> list[tuple[Tensor, Tensor]]:
        told = torch.full((len(batch.heard),), UNTOLD, device=batch.heard.device)
        return [(batch.heard[:, voice], told) for voice in voices]

    @classmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        return direction.target.stems

    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        return tuple(self.parts.autoencoder(self.recipe, voice) for voice in direction.target.stems)

    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        if sound.stems is None:
            raise NeedsStems(
                "single-instrument translates two stem recordings (melody and accompaniment), and was given a mixture "
                "alone: add the stems, or use the separation-based method, which makes them from the mixture"
            )
        return self.stem_streams(sound.stems, Direction(sound.domain, target), pulse=sound.pulse)

    def stem_streams(self, stems: Tensor, direction: Direction, *, pulse: Callable[[], None]) -> tuple[Part, ...]:
        """The streams of two stems Tensor[2, T], given or separated, towards their counterparts."""
        return tuple(
            Part(model, model.read(stem, UNTOLD, pulse=pulse), voice, stem)
            for model, voice, stem in zip(self.speaker(direction), direction.target.stems, stems, strict=True)
        )


def gradient_reversed(x: Tensor, weight: float) -> Tensor:
    """The identity, whose gradient is minus `weight` times what arrives (Ganin et al. 2016, section 4.2)."""
    return x - (1 + weight) * (x - x.detach())
