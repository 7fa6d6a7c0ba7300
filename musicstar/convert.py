"""WaveNet checkpoints of the Music-STAR authors, made into ours.

Theirs are pickles, which can hold programs: they are read without running anything.
"""

import argparse
import hashlib
import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

from musicstar.checkpoint import Card, CheckpointError, save
from musicstar.config import load_table
from musicstar.domains import Voice
from musicstar.wavenet import Decoder, DecoderConfig, Encoder, EncoderConfig

logger = logging.getLogger(__name__)

# What the authors trained as a WaveNet; theirs for separation is a Demucs.
CONVERTED = ("universal", "embedding", "stem", "mixture")
# The paper's longest dilation is 2 ** 13 samples; a layer beyond these would look back for over half a minute.
MOST_LAYERS = 20

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
    """Turn a WaveNet checkpoint of the authors into one of ours, which `backbones.load` reads.

    Parameters
    ----------
    src : folder with `args.pth` and `bestmodel_0.pth`, or another such .pth beside its `args.pth`
    dst : NAME of the checkpoint to write
    recipe : what it was trained for: "universal", "embedding", "stem" or "mixture"
    voices : label of each decoder in order; for "embedding", whose decoders are left out, of what it reads

    Returns
    -------
    Card
        As written; its `training` has "origin": "converted", "source" with the names of the files read, and the
        "source_sha256" of the tensors' one.

    Raises
    ------
    CheckpointError
        A file is missing, would run code, or holds other networks than the paper's; or its recipe and voices are
        not those named.
    """
    weights = Path(src) if Path(src).is_file() else Path(src) / "bestmodel_0.pth"
    told = weights.with_name("args.pth")
    args, content = _unpickle(told), _unpickle(weights)
    # The namespace may be followed by the epoch.
    args = args[0] if isinstance(args, list | tuple) and args else args
    if not isinstance(args, argparse.Namespace) or not isinstance(content, dict):
        raise CheckpointError(f"{weights.parent}: expected a namespace in args.pth, a dict in {weights.name}")
    said = {name: value for name, value in vars(args).items() if value is not None}
    keys = [key for key in ("decoder_state", "decoder2_state") if key in content and recipe != "embedding"]
    if recipe not in CONVERTED:
        raise CheckpointError(f"{weights}: cannot be made into {recipe!r}, expected one of {', '.join(CONVERTED)}")
    if len(set(voices)) != len(voices) or len(voices) != (1 if recipe == "embedding" else len(keys)):
        raise CheckpointError(
            f"{weights}: decoders {keys} for {recipe} and voices {list(voices)}; expected one voice each"
        )
    kind = "pairs" if recipe == "mixture" else "single instruments"
    known = {voice.label for voice in Voice if voice.is_mixture == (recipe == "mixture")}
    if not set(voices) <= known:
        raise CheckpointError(f"voices {list(voices)} for {recipe}, which plays {kind}: {', '.join(sorted(known))}")
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
    # An encoder alone says for what decoder it was made, as one of our own training does.
    config.setdefault("decoder", asdict(_decoder_told(said, encoder)))
    training = {
        "origin": "converted",
        "source": [told.name, weights.name],
        "source_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    card = Card(backbone="wavenet", recipe=recipe, voices=tuple(voices), config=config, training=training)
    return save(dst, card, converted)


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; expected args.pth and bestmodel_0.pth together")
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it asks for {asked[1]}" if asked else "it is damaged or was not written by torch.save"
    # Outside the handler: torch's own message advises to let the file run what it likes.
    raise CheckpointError(f"{path}: refused, {found}; expected tensors, plain values, a namespace and paths only")


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
    if not isinstance(activation, str) or activation not in ("relu", "glu"):
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
    pool = _number(args, "encoder_pool") or EncoderConfig.pool
    if pool != EncoderConfig.pool:
        raise CheckpointError(f"args.pth says encoder_pool = {pool}, expected {EncoderConfig.pool} samples a latent")
    glu = _size(tensors, "layers.0.pointwise.weight", 0) == 2 * channels
    blocks, layers = _depth(tensors, "encoder_", args, usual=14 if glu else 10)
    config = EncoderConfig(
        kind="glu" if glu else "universal",
        blocks=blocks,
        layers=layers,
        channels=channels,
        latent_channels=latent_channels,
        pool=pool,
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


def _decoder_told(args: Mapping[str, Any], encoder: EncoderConfig) -> DecoderConfig:
    """Sizes of the decoder that args.pth tells of; where it does not, those of the paper."""
    paper = load_table("wavenet")["network"]["decoder"]
    theirs = {"channels": "residual_channels"}
    sizes = {name: _number(args, theirs.get(name, name)) or size for name, size in paper.items()}
    return DecoderConfig(**sizes | {"latent_channels": encoder.latent_channels, "pool": encoder.pool})


def _number(args: Mapping[str, Any], name: str) -> int | None:
    """A size that args.pth tells, if it does."""
    size = args.get(name)
    if size is not None and (type(size) is not int or size < 1):
        found = size if isinstance(size, int | float | str) else type(size).__name__
        raise CheckpointError(f"args.pth says {name} = {found!r}, expected a whole number above 0")
    return size


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    if name not in tensors or tensors[name].ndim != 3:
        raise CheckpointError(f"nothing serves as {name}, expected a convolution; found {sorted(tensors)[:9]}")
    return tensors[name].shape[axis]


def _depth(tensors: Mapping[str, Tensor], prefix: str, args: Mapping[str, Any], *, usual: int) -> tuple[int, int]:
    """Blocks and the layers of each; the tensors tell their product only, the rest args.pth or the paper."""
    depth = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    blocks, layers = _number(args, f"{prefix}blocks"), _number(args, f"{prefix}layers")
    if blocks and layers and blocks * layers == depth and layers <= MOST_LAYERS:
        return blocks, layers
    said = f"args.pth says {prefix}blocks = {blocks}, {prefix}layers = {layers}, the tensors hold {depth} layers"
    if not depth or depth % usual:
        raise CheckpointError(f"{said}; expected their product")
    logger.warning("%s: taken as blocks of %d, as in the paper", said, usual)
    return depth // usual, usual


def _compare(args: Mapping[str, Any], **found: int) -> None:
    for name, size in found.items():
        told = _number(args, name) or size
        if told != size:
            logger.warning("args.pth says %s = %d, the tensors %d: the tensors hold", name, told, size)


def _require_fit(key: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    shapes, known = ({name: tuple(t.shape) for name, t in state.items()} for state in (tensors, expected))
    wrong = sorted({name for name, _ in shapes.items() ^ known.items()})
    if wrong:
        faults = (f"{name} {shapes.get(name, 'missing')}, expected {known.get(name, 'none')}" for name in wrong)
        raise CheckpointError(f"{key} is not the paper's network: {'; '.join(list(faults)[:6])}")
