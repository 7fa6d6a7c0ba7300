"""Trained networks on disk: NAME.safetensors beside NAME.json, and the authors' checkpoints made so."""

import argparse
import hashlib
import json
import logging
import pickle
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from musicstar.domains import Voice
from musicstar.wavenet import Decoder, DecoderConfig, Encoder, EncoderConfig

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
BACKBONES = ("spectral", "wavenet", "demucs")
RECIPES = ("universal", "separation", "embedding", "stem", "mixture", "guess")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint holds, in words and sizes; the JSON beside the tensors.

    Attributes
    ----------
    backbone : one of `BACKBONES`
    recipe : one of `RECIPES`
    voices : labels it decodes to (embedding: that it reads; separation: that it yields)
    config : sizes of the networks
    training : data, steps, losses, limits; free text and figures
    sha256 : of the tensors' file, set by `save`
    format_version : of this layout
    """

    backbone: str
    recipe: str
    voices: tuple[str, ...]
    config: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise CheckpointError(
                f"format version {self.format_version!r} of a checkpoint's card, expected {FORMAT_VERSION}"
            )
        if self.backbone not in BACKBONES:
            raise CheckpointError(
                f"unknown backbone {self.backbone!r}: expected one of {', '.join(BACKBONES)}"
            )
        if self.recipe not in RECIPES:
            raise CheckpointError(f"unknown recipe {self.recipe!r}: expected one of {', '.join(RECIPES)}")
        for label in self.voices:
            Voice.from_label(label)

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a card's JSON; raises CheckpointError where it is missing or says something unknown."""
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            return cls(**(entries | {"voices": tuple(entries["voices"])}))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: there is no such card; expected it beside the tensors") from None
        except (TypeError, KeyError, ValueError) as error:
            names = ", ".join(entry.name for entry in fields(cls))
            raise CheckpointError(f"{path}: not a checkpoint's card ({error}); expected {names}") from error


def _pair(path: str | Path) -> tuple[Path, Path]:
    """The tensors' file and the card of a checkpoint named by either, or without a suffix."""
    path = Path(path)
    stem = path.name.removesuffix(".safetensors").removesuffix(".json")
    return path.with_name(f"{stem}.safetensors"), path.with_name(f"{stem}.json")


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def save(path: str | Path, card: Card, tensors: Mapping[str, Tensor], *, half: bool = False) -> Card:
    """Write NAME.safetensors and NAME.json, each whole or not at all.

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
        A tensor holds NaN or infinity, or does so once in 16 bits.
    """
    weights, described = _pair(path)
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        dtype = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
        plain[name] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
        if not torch.isfinite(plain[name]).all():
            raise CheckpointError(
                f"{weights.name}: tensor {name} holds NaN or infinity as {dtype}; not saved"
            )
    content = safetensors.save(plain)
    card = replace(card, sha256=hashlib.sha256(content).hexdigest())
    weights.parent.mkdir(parents=True, exist_ok=True)
    _write(weights, content)
    _write(described, (json.dumps(asdict(card), indent=2) + "\n").encode())
    return card


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
        A file is missing, damaged, changed since it was written, or of another format.
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
    return card, {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


@dataclass(frozen=True)
class Library:
    """The checkpoints in some folders; where two serve, the earlier folder wins, then the earlier name."""

    folders: Sequence[Path]

    def cards(self) -> dict[Path, Card]:
        """The card of each NAME.safetensors, in order; one that cannot be read is left out with a warning."""
        cards: dict[Path, Card] = {}
        for folder in self.folders:
            for weights in sorted(Path(folder).glob("*.safetensors")):
                try:
                    cards[weights] = Card.read(_pair(weights)[1])
                except CheckpointError as error:
                    logger.warning("checkpoint left out: %s", error)
        return cards

    def find(self, backbone: str, recipe: str, voice: str) -> Path | None:
        """The tensors' file of a recipe that serves a voice, given by its label; None where there is none."""
        for path, card in self.cards().items():
            if (card.backbone, card.recipe) == (backbone, recipe) and voice in card.voices:
                return path
        return None


# None of these runs anything of the file's: a namespace of values, and paths that touch no disk.
_ALLOWED: list[Any] = [argparse.Namespace] + [
    (pure, f"{module}.{name}")
    for pure, name in ((PurePosixPath, "PosixPath"), (PureWindowsPath, "WindowsPath"))
    for module in ("pathlib", "pathlib._local")
]
# What reading a damaged or hostile pickle can raise.
_UNREADABLE = (
    *(pickle.UnpicklingError, EOFError, OSError, RuntimeError, AssertionError),
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
)


def convert(src: str | Path, dst: str | Path, *, recipe: str, voices: Sequence[str]) -> Card:
    """Turn a WaveNet checkpoint of the authors into one of ours.

    Parameters
    ----------
    src : folder with `args.pth` and `bestmodel_0.pth`, or another such .pth beside its `args.pth`
    dst : NAME of the checkpoint to write
    recipe : what it was trained for, one of `RECIPES` except "separation"
    voices : label of each decoder in order; for "embedding", whose decoders are left out, of what it reads

    Raises
    ------
    CheckpointError
        A file is missing, would run code, or holds other networks than the paper's.
    """
    weights = Path(src) if Path(src).is_file() else Path(src) / "bestmodel_0.pth"
    args, content = _unpickle(weights.with_name("args.pth")), _unpickle(weights)
    # The namespace may be followed by the epoch.
    args = args[0] if isinstance(args, list | tuple) and args else args
    if not isinstance(args, argparse.Namespace) or not isinstance(content, dict):
        raise CheckpointError(f"{weights.parent}: expected a namespace in args.pth, a dict in {weights.name}")
    said = {name: value for name, value in vars(args).items() if isinstance(value, int | str)}
    keys = [key for key in ("decoder_state", "decoder2_state") if key in content and recipe != "embedding"]
    if recipe == "separation" or len(voices) != (1 if recipe == "embedding" else len(keys)):
        raise CheckpointError(
            f"{weights}: decoders {keys} for {recipe} and voices {list(voices)}; expected one voice each"
        )
    encoder, tensors = _encoder(_state(content, "encoder_state", weights), said)
    converted = {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    config = {"encoder": asdict(encoder)}
    for label, key in zip(voices, keys, strict=False):
        tensors = _state(content, key, weights)
        decoder = _decoder(key, tensors, said, encoder.pool)
        same = config.setdefault("decoder", asdict(decoder)) == asdict(decoder)
        if not same or decoder.latent_channels != encoder.latent_channels:
            raise CheckpointError(
                f"{weights}: {key} is {decoder} behind {encoder}, expected equal decoders that fit it"
            )
        converted |= {f"decoders.{label}.{name}": tensor for name, tensor in tensors.items()}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    training = {"origin": "converted from a checkpoint of the Music-STAR authors", "origin_sha256": digest}
    card = Card(backbone="wavenet", recipe=recipe, voices=tuple(voices), config=config, training=training)
    return save(dst, card, converted)


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such file; expected args.pth and bestmodel_0.pth together"
        )
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it asks for {asked[1]}" if asked else "it is damaged or was not written by torch.save"
    # Outside the handler: torch's own message advises to let the file run what it likes.
    raise CheckpointError(
        f"{path}: refused, {found}; expected tensors, plain values, a namespace and paths only"
    )


def _state(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """A network's tensors in float32, named without the prefix of DataParallel."""
    state = content.get(key)
    if not isinstance(state, dict) or not all(
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        # A view that claims more numbers than it has would fill the memory once copied.
        and tensor.nbytes <= tensor.untyped_storage().nbytes()
        for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: {key} is not a state dict, expected names with dense tensors")
    return {name.removeprefix("module."): tensor.detach().float() for name, tensor in state.items()}


def _encoder(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Sizes and tensors of an encoder, whose convolutions are known by place and kernel, not by name."""
    activation = args.get("encoder_func", "relu")
    if activation not in ("relu", "glu"):
        raise CheckpointError(f"the encoder's activation is {activation!r}, expected relu or glu")
    legacy = any(".extra." in name for name in state)
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, part = name.rpartition(".")
        layer = re.fullmatch(r"\w+\.(\d+)\.(\w+)", module)
        if legacy and layer and layer[2] == "conv_1x1":
            continue
        kernel = tuple(state.get(f"{module}.weight", tensor).shape)[2:]
        roles: dict[tuple[int, ...], str] = {(3,): "first_conv", (1,): "last_conv"}
        if layer:
            roles = {(3,): f"layers.{layer[1]}.dilated", (1,): f"layers.{layer[1]}.pointwise"}
        role = f"{roles.get(kernel)}.{part}"
        if kernel not in roles or role in tensors:
            raise CheckpointError(f"encoder_state: unknown tensor {name} of shape {tuple(tensor.shape)}")
        tensors[role] = tensor
    channels, latent_channels = (_size(tensors, f"{name}_conv.weight", 0) for name in ("first", "last"))
    glu = _size(tensors, "layers.0.pointwise.weight", 0) == 2 * channels
    blocks, layers = _depth(tensors, "encoder_", args, usual=14 if glu else 10)
    config = EncoderConfig(
        kind="glu" if glu else "universal",
        blocks=blocks,
        layers=layers,
        channels=channels,
        latent_channels=latent_channels,
        pool=args.get("encoder_pool", 800),
    )
    with torch.device("meta"):
        _require_fit("encoder_state", tensors, Encoder(config).state_dict())
    _compare(args, encoder_channels=channels, latent_d=latent_channels)
    return config, tensors


def _decoder(key: str, tensors: Mapping[str, Tensor], args: Mapping[str, Any], pool: int) -> DecoderConfig:
    """Sizes of a decoder, whose tensors bear the names of ours."""
    channels, skip_channels = (_size(tensors, f"{name}_conv.weight", 0) for name in ("first", "skip"))
    latent_channels = _size(tensors, "condition.weight", 1)
    blocks, layers = _depth(tensors, "", args, usual=10)
    config = DecoderConfig(
        blocks=blocks,
        layers=layers,
        channels=channels,
        skip_channels=skip_channels,
        latent_channels=latent_channels,
        pool=pool,
    )
    with torch.device("meta"):
        _require_fit(key, tensors, Decoder(config).state_dict())
    _compare(args, residual_channels=channels, skip_channels=skip_channels, latent_d=latent_channels)
    return config


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    if name not in tensors or tensors[name].ndim != 3:
        raise CheckpointError(
            f"nothing serves as {name}, expected a convolution; found {sorted(tensors)[:9]}"
        )
    return tensors[name].shape[axis]


def _depth(
    tensors: Mapping[str, Tensor], prefix: str, args: Mapping[str, Any], *, usual: int
) -> tuple[int, int]:
    """Blocks and the layers of each; the tensors tell their product only, the rest args.pth or the paper."""
    depth = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    blocks, layers = args.get(f"{prefix}blocks"), args.get(f"{prefix}layers")
    if isinstance(blocks, int) and isinstance(layers, int) and blocks * layers == depth:
        return blocks, layers
    said = (
        f"args.pth says {prefix}blocks = {blocks}, {prefix}layers = {layers}, the tensors hold {depth} layers"
    )
    if depth % usual:
        raise CheckpointError(f"{said}; expected their product")
    logger.warning("%s: taken as blocks of %d, as in the paper", said, usual)
    return depth // usual, usual


def _compare(args: Mapping[str, Any], **found: int) -> None:
    for name, size in found.items():
        if args.get(name, size) != size:
            logger.warning("args.pth says %s = %s, the tensors %d: the tensors hold", name, args[name], size)


def _require_fit(key: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    shapes, known = ({name: tuple(t.shape) for name, t in state.items()} for state in (tensors, expected))
    wrong = sorted({name for name, _ in shapes.items() ^ known.items()})
    if wrong:
        faults = (
            f"{name} {shapes.get(name, 'missing')}, expected {known.get(name, 'none')}" for name in wrong
        )
        raise CheckpointError(f"{key} is not the paper's network: {'; '.join(list(faults)[:6])}")
