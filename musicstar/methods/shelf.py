"""Where trained networks come from, and which methods they let us offer."""

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from torch import nn

from musicstar import backbones, checkpoint
from musicstar.checkpoint import SIMILARITY
from musicstar.domains import DIRECTIONS, STARNET, Direction, Domain, Voice, known_domains
from musicstar.guess import DomainGuesser
from musicstar.methods.base import NotOffered, not_taught
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.model import Model

SHIPPED = Path(__file__).parent.parent / "weights"
LEAST_SIMILARITY = 0.25


def library() -> checkpoint.Library:
    """The checkpoints there are: folders named in MUSICSTAR_WEIGHTS (separated as in PATH) before the shipped ones."""
    named = [Path(folder) for folder in os.environ.get("MUSICSTAR_WEIGHTS", "").split(os.pathsep) if folder]
    for folder in named:
        if not folder.is_dir():
            raise checkpoint.CheckpointError(f"MUSICSTAR_WEIGHTS names {folder}, and there is no such folder")
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

    def partner(self, recipe: str, voice: Voice) -> Model:
        """The universal autoencoder an encoder is bound to; any, where its card names none (a converted one's)."""
        path = self._path(self.backbone, recipe, voice)
        sha256 = checkpoint.Card.read(path.with_suffix(".json")).partner
        model = self._get(self.backbone, "universal", voice, sha256=sha256)
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

    def _get(self, family: str, recipe: str, voice: Voice, *, sha256: str = "") -> nn.Module:
        path = self._path(family, recipe, voice, sha256=sha256)
        return _load(path, path.stat().st_mtime)

    def _path(self, family: str, recipe: str, voice: Voice, *, sha256: str = "") -> Path:
        path = self.shelf.find(family, recipe, voice.label, sha256=sha256)
        if path is None:
            raise NotOffered(_how_to_get(family, recipe, voice) if not sha256 else _bound(family))
        return path


def why_not_offered(
    backbone: Backbone, *, direction: Direction | None = None, shelf: checkpoint.Library | None = None
) -> dict[str, str]:
    """The methods that cannot be offered on a backbone, each with the reason and what to do about it.

    Without a `direction`, those that can be offered in none.
    """
    if direction is None:
        one, *more = (why_not_offered(backbone, direction=direction, shelf=shelf) for direction in DIRECTIONS)
        return {name: reason for name, reason in one.items() if all(name in other for other in more)}
    cards = (shelf or library()).cards()
    wanted = {
        "separation": direction.source.stems,
        "embedding": direction.source.stems,
        "universal": direction.target.stems,
        "stem": direction.target.stems,
        "mixture": (direction.target.mixture,),
    }
    reasons = {}
    for name, info in METHODS.items():
        faults = [
            fault
            for recipe in info.recipes
            for voice in wanted[recipe]
            if (
                fault := _fault(cards, "demucs" if recipe == "separation" else backbone.value, recipe, voice, direction)
            )
        ]
        if faults:
            reasons[name] = faults[0]
    return reasons


def _fault(
    cards: Mapping[Path, checkpoint.Card], family: str, recipe: str, voice: Voice, direction: Direction
) -> str | None:
    """What keeps a voice from being offered for a direction; None where nothing does."""
    path = checkpoint.serving(cards, family, recipe, voice.label)
    if path is None:
        return _how_to_get(family, recipe, voice)
    card = cards[path]
    if direction.source not in known_domains(map(Voice.from_label, card.voices)):
        return not_taught(family, recipe, direction.source)
    if card.partner and checkpoint.serving(cards, family, "universal", voice.label, sha256=card.partner) is None:
        return _bound(family)
    # The authors' own are taken on trust; of ours a WaveNet must have shown what it can do.
    if family != "wavenet" or card.training.get("origin") == "converted":
        return None
    reached = card.training.get(SIMILARITY)
    if not isinstance(reached, int | float) or not math.isfinite(reached):
        return (
            f"The wavenet weights of {recipe} for {voice.label} have not been measured: "
            "run musicstar evaluate with --held-out and --record."
        )
    if reached < LEAST_SIMILARITY:
        return (
            f"The wavenet weights of {recipe} for {voice.label} reach a content similarity of {reached:.2f} on "
            f"held-out pieces, and {LEAST_SIMILARITY} is asked for. {_remedy(family, recipe)}"
        )
    return None


def _bound(family: str) -> str:
    return (
        f"The {family} encoders of embedding are bound to other {family} weights of universal than there are: train "
        f"them again (musicstar train {family}-embedding)."
    )


def _how_to_get(family: str, recipe: str, voice: Voice) -> str:
    if voice.domain not in STARNET and recipe not in ("mixture", "guess"):
        return f"Only mixture-supervised translates from and to {voice.domain.label}."
    return f"There are no {family} weights of {recipe} for {voice.label}. {_remedy(family, recipe)}"


def _remedy(family: str, recipe: str) -> str:
    if family == "wavenet":
        return (
            f"Train them (musicstar train wavenet-{recipe}) or import the authors' "
            "(musicstar checkpoint convert), and name their folder in MUSICSTAR_WEIGHTS."
        )
    name = {"separation": "separation-cv separation-sp", "guess": "guess-domain"}.get(recipe, f"{family}-{recipe}")
    return f"Train them (musicstar train {name}) and name their folder in MUSICSTAR_WEIGHTS."
