"""Trained networks on disk: NAME.safetensors beside NAME.json."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from musicstar.domains import Voice
from musicstar.files import write_whole

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
BACKBONES = ("spectral", "wavenet", "demucs", "cnn9")
# What a card says of its training that was measured of the weights themselves.
SIMILARITY = "content_similarity"
MEASURED = ("validation_", SIMILARITY)
RECIPES = ("universal", "separation", "embedding", "stem", "mixture", "guess", "style", "judge", "concepts")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint holds, in words and sizes; the JSON beside the tensors.

    Attributes
    ----------
    backbone : one of `BACKBONES`
    recipe : one of `RECIPES`
    voices : labels it decodes to (embedding: that it reads; separation: that it yields; concepts: none)
    config : sizes of the networks
    training : data, steps, losses, limits; free text and figures
    sha256 : of the tensors' file, set by `save`
    partner : sha256 of the checkpoint this one is bound to, as an embedding encoder is to the universal model it was
        trained against; empty where it is bound to none, or nobody knows to which
    format_version : of this layout
    """

    backbone: str
    recipe: str
    voices: tuple[str, ...]
    config: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    partner: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise CheckpointError(
                f"format version {self.format_version!r} of a checkpoint's card, expected {FORMAT_VERSION}"
            )
        if self.backbone not in BACKBONES:
            raise CheckpointError(f"unknown backbone {self.backbone!r}: expected one of {', '.join(BACKBONES)}")
        if self.recipe not in RECIPES:
            raise CheckpointError(f"unknown recipe {self.recipe!r}: expected one of {', '.join(RECIPES)}")
        known = [voice.label for voice in Voice]
        for label in self.voices:
            if label not in known:
                raise CheckpointError(f"unknown voice {label!r}: expected one of {', '.join(known)}")

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a card's JSON; raises CheckpointError where it is missing or says something unknown."""
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            for name in ("config", "training"):
                if not isinstance(entries.get(name, {}), dict):
                    raise TypeError(f"{name} is {entries[name]!r}, expected names with values")
            for name in ("sha256", "partner"):
                if not isinstance(entries.get(name, ""), str):
                    raise TypeError(f"{name} is {entries[name]!r}, expected a text")
            return cls(**(entries | {"voices": tuple(entries["voices"])}))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: there is no such card; expected it beside the tensors") from None
        except (OSError, TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
            names = ", ".join(entry.name for entry in fields(cls))
            raise CheckpointError(f"{path}: not a checkpoint's card ({error}); expected {names}") from error


def _pair(path: str | Path) -> tuple[Path, Path]:
    """The tensors' file and the card of a checkpoint named by either, or without a suffix."""
    path = Path(path)
    stem = path.name.removesuffix(".safetensors").removesuffix(".json")
    return path.with_name(f"{stem}.safetensors"), path.with_name(f"{stem}.json")


def save(path: str | Path, card: Card, tensors: Mapping[str, Tensor], *, half: bool = False) -> Card:
    """Write NAME.safetensors and NAME.json, each whole or not at all, in a folder that is made if need be.

    Parameters
    ----------
    path : NAME, with or without either suffix
    tensors : a state dict
    half : store floating-point tensors in 16 bits; `load` gives 32 back

    Returns
    -------
    Card
        The card as written, with its sha256.

    Raises
    ------
    CheckpointError
        A tensor holds NaN or infinity, or does so once in 16 bits; or the path is a folder's.
    """
    _require_name(path)
    weights, described = _pair(path)
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        dtype = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
        plain[name] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
        if not torch.isfinite(plain[name]).all():
            raise CheckpointError(f"{weights.name}: tensor {name} holds NaN or infinity as {dtype}; not saved")
    content = safetensors.save(plain)
    card = replace(card, sha256=hashlib.sha256(content).hexdigest())
    weights.parent.mkdir(parents=True, exist_ok=True)
    write_whole(weights, content)
    write_whole(described, (json.dumps(asdict(card), indent=2) + "\n").encode())
    return card


def _require_name(path: str | Path) -> None:
    if Path(path).is_dir() or not Path(path).name:
        raise CheckpointError(f"{path} is a folder, expected the name of a new checkpoint")


def load(path: str | Path) -> tuple[Card, dict[str, Tensor]]:
    """Read a checkpoint and check that the tensors are those its card was written for.

    Returns
    -------
    Card
    dict of Tensor
        On the CPU; floating-point tensors in float32.

    Raises
    ------
    CheckpointError
        A file is missing, damaged, changed since it was written, or of another format, or a tensor is not finite.
    """
    weights, described = _pair(path)
    if not weights.is_file():
        raise CheckpointError(f"{weights}: there is no such checkpoint")
    card = Card.read(described)
    content = weights.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise CheckpointError(
            f"{weights}: sha256 {found[:12]}, its card says {card.sha256[:12]}: the file is not the one saved"
        )
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{weights}: not a safetensors file ({error})") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{weights}: tensor {name} holds NaN or infinity")
    return card, {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def annotate(path: str | Path, figures: Mapping[str, Any]) -> Card:
    """Add to what a checkpoint's card says of its training; the tensors stay as they are."""
    described = _pair(path)[1]
    card = Card.read(described)
    card = replace(card, training={**card.training, **figures})
    write_whole(described, (json.dumps(asdict(card), indent=2) + "\n").encode())
    return card


def average(newer: str | Path, older: str | Path, path: str | Path, *, share: float) -> Card:
    """Write the mean of two checkpoints of one network, `share` of it the newer's (Wortsman et al. 2022, model soups).

    Its card is the newer's, but for what was measured of the newer's weights alone.

    Raises
    ------
    CheckpointError
        Their networks differ, or the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise CheckpointError(f"the share of the newer weights is {share}, expected 0 to 1")
    _require_name(path)
    if _pair(path)[0].resolve() in {_pair(given)[0].resolve() for given in (newer, older)}:
        raise CheckpointError(f"{path} is one of the two, and would be lost: name another")
    (card, tensors), (other, others) = load(newer), load(older)
    refused = f"{newer} and {older} cannot be averaged"
    kinds = [f"{of.backbone} {of.recipe} for {', '.join(of.voices)}" for of in (card, other)]
    if kinds[0] != kinds[1]:
        raise CheckpointError(f"{refused}: one is {kinds[0]}, the other {kinds[1]}")
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (tensors, others)]
    if card.config != other.config or shapes[0] != shapes[1]:
        raise CheckpointError(f"{refused}: their networks are of different sizes")
    if card.partner != other.partner:
        raise CheckpointError(f"{refused}: they are bound to different checkpoints")
    mean = {
        name: torch.lerp(others[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    kept = {key: value for key, value in card.training.items() if not key.startswith(MEASURED)}
    averaged = {"averaged_with": other.sha256, "share": share}
    return save(path, replace(card, training={**kept, **averaged}), mean, half=True)


@dataclass(frozen=True)
class Library:
    """The checkpoints in some folders.

    Where more than one serves, the earlier folder wins. Within a folder a fine-tuned checkpoint goes before the one it
    was begun with, whatever their names; apart from that the earlier name wins.
    """

    folders: Sequence[Path]

    def cards(self) -> dict[Path, Card]:
        """The card of each NAME.safetensors, in order; one that cannot be read is left out with a warning."""
        cards: dict[Path, Card] = {}
        for folder in self.folders:
            for weights in sorted(Path(folder).glob("*.safetensors")):
                # A dot begins the name of what is still being written.
                if weights.name.startswith("."):
                    continue
                try:
                    cards[weights] = Card.read(_pair(weights)[1])
                except CheckpointError as error:
                    logger.warning("checkpoint left out: %s", error)
        return cards

    def find(self, backbone: str, recipe: str, voice: str, *, sha256: str = "") -> Path | None:
        """The tensors' file of a recipe that serves a voice, given by its label; None where there is none.

        Parameters
        ----------
        sha256 : of the tensors, as a card's `partner` names them: that very checkpoint and no other
        """
        return serving(self.cards(), backbone, recipe, voice, sha256=sha256)


def serving(cards: Mapping[Path, Card], backbone: str, recipe: str, voice: str, *, sha256: str = "") -> Path | None:
    """Which of a library's `cards` serves a voice, as `Library.find` does; None where none does."""
    found: dict[Path, Card] = {}
    for path, card in cards.items():
        if found and path.parent != next(iter(found)).parent:
            break
        if (card.backbone, card.recipe) == (backbone, recipe) and voice in card.voices:
            if sha256 == card.sha256:
                return path
            if not sha256:
                found[path] = card
    return min(found, key=lambda path: (_is_surpassed(found[path], found.values()), path.name), default=None)


def _is_surpassed(card: Card, others: Iterable[Card]) -> bool:
    """Whether another of these was begun with this one."""
    name = card.training.get("configuration")
    return name is not None and any(other is not card and other.training.get("begun_with") == name for other in others)
