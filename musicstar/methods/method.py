"""The contract of a translation method, and the one way in which all of them are carried out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from musicstar.domains import STARNET, Direction, Domain, Voice, known_domains
from musicstar.losses import Losses, Step
from musicstar.methods.base import NotOffered, Parts, Sound, not_taught
from musicstar.model import Model, Part
from musicstar.starnet import Windows


class Method(ABC):
    """One of the five ways to translate; the networks are its parts, of either backbone."""

    name: ClassVar[str]
    recipe: ClassVar[str]

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @abstractmethod
    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """What training minimises on a batch.

        `voices` are those of the model in training; the items of the batch take turns among them.
        """

    def encoder_inputs(self, batch: Windows, voices: tuple[Voice, ...]) -> list[tuple[Tensor, Tensor]]:
        """What the encoder in training hears of a batch, Tensor[B, T], and is asked for, int64 Tensor[B]; all of it."""
        return []

    @classmethod
    @abstractmethod
    def voices(cls, direction: Direction) -> tuple[Voice, ...]:
        """Those of its own recipe's weights that a translation takes, by what the weights are for."""

    def models(self, direction: Direction) -> tuple[Model, ...]:
        """All that a translation takes, loaded."""
        return *self.speaker(direction), *(self.parts.autoencoder(self.recipe, v) for v in self.voices(direction))

    def require(self, direction: Direction) -> None:
        """Load what a translation takes; raises NotOffered where something is missing, or was not taught the source."""
        for model in self.models(direction):
            if direction.source not in known_domains(model.voices):
                raise NotOffered(not_taught(self.parts.backbone.value, self.recipe, direction.source))

    @abstractmethod
    def speaker(self, direction: Direction) -> tuple[Model, ...]:
        """The models that decode towards `target`, one for each stream."""

    @abstractmethod
    def streams(self, sound: Sound, target: Domain) -> tuple[Part, ...]:
        """Everything up to decoding: what its models are to decode, whose sum is the translation."""


class TranslationSupervised(Method):
    """A method whose autoencoders learn from pairs: source mixture in, a voice of the target out (paper, eq. 2)."""

    def loss(self, batch: Windows, voices: tuple[Voice, ...], step: Step) -> Losses:
        """Loss of the outputs against the same stretch of the gold standard."""
        model = self.parts.autoencoder(self.recipe, voices[0])
        targets = take_turns(voices, len(batch.heard), step)
        heard = pick(batch.heard, take_sources(targets, known_domains(voices), step))
        wanted = torch.tensor(targets, device=heard.device)
        latents, guided = encode_guided(model, heard, wanted, step)
        losses = model.reconstruction(latents, heard, pick(batch.gold, targets), wanted, step)
        return losses.plus(guided)

    def encoder_inputs(self, batch: Windows, voices: tuple[Voice, ...]) -> list[tuple[Tensor, Tensor]]:
        domains = known_domains(voices)
        return [
            (batch.heard[:, source.mixture], torch.full((len(batch.heard),), voice, device=batch.heard.device))
            for voice in dict.fromkeys(voices)
            for source in voice.domain.others
            if source in domains
        ]


def encode_guided(model: Model, heard: Tensor, told: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """The latents to decode, and what the encoder is to learn beside: while it is guided, to give its guide's."""
    latents = model.encode_distorted(heard, told, step)
    if step.guide is None or step.share >= step.config.guided_until:
        return latents, {}
    aim = step.guide(heard, told)
    return aim, {"guide": (latents - aim).abs().mean()}


def take_turns(voices: tuple[Voice, ...], batch: int, step: Step) -> list[Voice]:
    """A voice for each item of a batch, each as often as the others over time."""
    return [voices[(step.index * batch + item) % len(voices)] for item in range(batch)]


def take_sources(targets: list[Voice], domains: tuple[Domain, ...], step: Step) -> list[Voice]:
    """A mixture to translate to each target, of the other domains by chance.

    For a voice of StarNet every other one is of StarNet's other domain: that is what the paper's methods are judged by.
    """
    draws = torch.rand(len(targets), generator=step.generator, device=step.generator.device).tolist()
    sources = []
    for target, draw in zip(targets, draws, strict=True):
        first, *rest = [domain for domain in target.domain.others if domain in domains]
        choices = [first] * (len(rest) or 1) + rest if target.domain in STARNET else [first, *rest]
        sources.append(choices[int(draw * len(choices))].mixture)
    return sources


def pick(sounds: Tensor, voices: list[Voice]) -> Tensor:
    """One voice of each item: Tensor[B, V, T] -> Tensor[B, T]."""
    return sounds[torch.arange(len(voices)), voices]
