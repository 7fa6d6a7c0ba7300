"""Where trained networks come from, and which methods they let us offer."""

import os
from functools import lru_cache
from pathlib import Path

from torch import nn

from musicstar import backbones, checkpoint
from musicstar.backbones import Model
from musicstar.domains import MIXTURES, STEMS, Domain, Voice
from musicstar.guess import DomainGuesser
from musicstar.methods.base import NotOffered
from musicstar.methods.catalog import METHODS, Backbone

SHIPPED = Path(__file__).parent.parent / "weights"
LEAST_SIMILARITY = 0.25


def library() -> checkpoint.Library:
    """The checkpoints there are: folders named in MUSICSTAR_WEIGHTS (separated as in PATH) before the shipped ones."""
    named = [Path(folder) for folder in os.environ.get("MUSICSTAR_WEIGHTS", "").split(os.pathsep) if folder]
    return checkpoint.Library([*named, SHIPPED])


@lru_cache(maxsize=16)
def _load(path: Path, _modified: float) -> nn.Module:
    """A checkpoint's networks, kept until the file changes."""
    return backbones.load(path)


class StoredParts:
    """Networks of one backbone out of a library, each read once on first use."""

    def __init__(self, backbone: Backbone, shelf: checkpoint.Library) -> None:
        self.backbone, self.shelf = backbone, shelf

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """The trained autoencoder; raises NotOffered where there is none."""
        model = self._get(self.backbone, recipe, voice)
        assert isinstance(model, Model)
        return model

    def separator(self, domain: Domain) -> nn.Module:
        """The trained separator; raises NotOffered where there is none."""
        return self._get("demucs", "separation", domain.stems[0])

    def guesser(self) -> DomainGuesser:
        """The trained guesser of domains; raises NotOffered where there is none."""
        guesser = self._get("spectral", "guess", Voice.SP)
        assert isinstance(guesser, DomainGuesser)
        return guesser

    def _get(self, family: str, recipe: str, voice: Voice) -> nn.Module:
        path = self.shelf.find(family, recipe, voice.label)
        if path is None:
            raise NotOffered(_how_to_get(family, recipe, voice))
        return _load(path, path.stat().st_mtime)


def why_not_offered(backbone: Backbone, *, shelf: checkpoint.Library | None = None) -> dict[str, str]:
    """The methods that cannot be offered on a backbone, each with the reason and what to do about it."""
    cards = list((shelf or library()).cards().values())
    reasons = {}
    for name, info in METHODS.items():
        wanted = [
            ("demucs" if recipe == "separation" else backbone.value, recipe, voice)
            for recipe in info.recipes
            for voice in (MIXTURES if recipe == "mixture" else STEMS)
        ]
        faults = [fault for want in wanted if (fault := _fault(cards, *want))]
        if faults:
            reasons[name] = faults[0]
    return reasons


def _fault(cards: list[checkpoint.Card], family: str, recipe: str, voice: Voice) -> str | None:
    """What keeps a voice from being offered; None where nothing does."""
    for card in cards:
        if (card.backbone, card.recipe) == (family, recipe) and voice.label in card.voices:
            reached = card.training.get("content_similarity", LEAST_SIMILARITY)
            if reached >= LEAST_SIMILARITY:
                return None
            return (
                f"The {family} weights for {voice.label} reach a content similarity of {reached:.2f} on held-out "
                f"pieces, and {LEAST_SIMILARITY} is asked for. {_remedy(family, recipe)}"
            )
    return _how_to_get(family, recipe, voice)


def _how_to_get(family: str, recipe: str, voice: Voice) -> str:
    return f"There are no {family} weights of {recipe} for {voice.label}. {_remedy(family, recipe)}"


def _remedy(family: str, recipe: str) -> str:
    if family == "wavenet":
        return (
            f"Train them (musicstar train wavenet-{recipe}) or import the authors' "
            "(musicstar checkpoint convert), and name their folder in MUSICSTAR_WEIGHTS."
        )
    name = {"separation": "separation-cv separation-sp", "guess": "guess-domain"}.get(recipe, f"{family}-{recipe}")
    return f"Train them (musicstar train {name}) and name their folder in MUSICSTAR_WEIGHTS."
