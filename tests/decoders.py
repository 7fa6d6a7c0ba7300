"""Decoders and latents for tests."""

import torch
from torch import Tensor

from musicstar.config import load_table
from musicstar.wavenet import Decoder, DecoderConfig

PAPER, SMALL = (
    DecoderConfig(**load_table(name)["network"]["decoder"]) for name in ("wavenet-mixture", "wavenet-small-mixture")
)
# 50 ms frames of 20 samples only, so that clips of many frames are cheap.
TINY = DecoderConfig(blocks=2, layers=3, channels=6, skip_channels=5, latent_channels=4, pool=20)


def decoder_of(config: DecoderConfig, *, gain: float = 2.0, seed: int = 0) -> Decoder:
    """Random weights, larger than fresh ones so that every layer matters and no logit is near another."""
    torch.manual_seed(seed)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(gain)
    return decoder


def latents_of(batch: int, frames: int, channels: int = 4) -> Tensor:
    """Tensor[batch, channels, frames]."""
    return torch.randn(batch, channels, frames, generator=torch.Generator().manual_seed(1))
