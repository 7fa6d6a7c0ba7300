"""What a network begins its training with: finished weights of others."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from musicstar import backbones, checkpoint
from musicstar.latents import follow_other_latents
from musicstar.wavenet import Decoder

# Of each voice, to learn how one network's latents follow from another's.
FITTED_SECONDS = 60.0


def begin_with(
    net: nn.Module, configuration: str, *, voices: Sequence[str], parts: Sequence[str], library: checkpoint.Library
) -> None:
    """Load the finished weights of another configuration; what it has not stays fresh.

    Parameters
    ----------
    voices : labels of what `net` is for
    parts : submodules that begin so; empty for all

    Raises
    ------
    CheckpointError
        There are no such weights, or `net` has no place for them.
    """
    path, card = _finished(library, configuration)
    tensors = _renamed(checkpoint.load(path)[1], card.voices, voices)
    for part in parts:
        if not any(name.startswith(f"{part}.") for name in tensors):
            raise checkpoint.CheckpointError(f"{path} has no part named {part}")
    if parts:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(tuple(f"{p}." for p in parts))}
    own = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if unknown := sorted(set(tensors) - set(own)):
        raise checkpoint.CheckpointError(f"the network in training has no place for {', '.join(unknown)} of {path}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name]:
            sizes = f"{tuple(tensor.shape)} in {path}, {tuple(own[name])} in the network in training"
            raise checkpoint.CheckpointError(f"{name} is {sizes}: they are of different sizes")
    net.load_state_dict(tensors, strict=False)


@torch.no_grad()
def take_decoders(
    net: backbones.WaveNetModel,
    configuration: str,
    *,
    inputs: Sequence[Sequence[tuple[Tensor, Tensor]]],
    latents: Callable[[Tensor, Tensor], Tensor],
    library: checkpoint.Library,
) -> None:
    """Begin with the decoders of WaveNets of one voice each, brought to follow other latents.

    Parameters
    ----------
    configuration : of those WaveNets, without their voices
    inputs : batches; of each, for each of the network's voices, a sound Tensor[B, T] and what is asked of it, int64
        Tensor[B]
    latents : what the decoders are to be given for a sound

    Raises
    ------
    CheckpointError
        There are no such weights, or their decoders are of other sizes.
    """
    for number, voice in enumerate(net.voices):
        path, _ = _finished(library, f"{configuration}-{voice.label}", trained_by=configuration)
        other = backbones.load(path).to(net.latent_centre.device)
        if (
            not isinstance(other, backbones.WaveNetModel)
            or voice.label not in other.decoders
            or other.config.decoder != net.config.decoder
        ):
            raise checkpoint.CheckpointError(f"{path} has no decoder of the sizes of the network in training")
        decoder = net.decoders[voice.label]
        assert isinstance(decoder, Decoder)
        decoder.load_state_dict(other.decoders[voice.label].state_dict())
        sounds = [batch[number] for batch in inputs]
        given, known = (
            torch.cat([encode(*sound) for sound in sounds]).transpose(1, 2).flatten(0, 1)
            for encode in (latents, other.encode)
        )
        follow_other_latents(decoder, given, known)


def _finished(library: checkpoint.Library, configuration: str, *, trained_by: str = "") -> tuple[Path, checkpoint.Card]:
    """Where the finished weights of a configuration are."""
    for path, card in library.cards().items():
        if card.training.get("configuration") == configuration:
            return path, card
    raise checkpoint.CheckpointError(
        f"no weights of {configuration}, with which this training begins, in "
        f"{', '.join(map(str, library.folders))}: train {trained_by or configuration} first"
    )


def _renamed(tensors: dict[str, Tensor], old: Sequence[str], new: Sequence[str]) -> dict[str, Tensor]:
    """Tensors of a model of one voice as those of a model of others."""
    if len(old) != 1:
        return tensors
    return {
        name.replace(f"decoders.{old[0]}.", f"decoders.{voice}."): tensor
        for name, tensor in tensors.items()
        for voice in new
    }
