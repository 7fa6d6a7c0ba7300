"""Latents spread evenly, and decoders that follow those of another network."""

import pytest
import torch

from musicstar.latents import follow_other_latents, whitening
from musicstar.wavenet import Decoder, DecoderConfig


def test_whitened_latents_differ_as_much_in_all_directions_in_which_they_differ() -> None:
    torch.manual_seed(0)
    spreads = torch.tensor([30.0, 3.0, 1.0, 0.0])
    turned = torch.linalg.qr(torch.randn(4, 4)).Q
    latents = 5.0 + (torch.randn(4_000, 4) * spreads) @ turned
    centre, matrix = whitening(latents)
    white = (latents - centre) @ matrix
    assert white.mean(0).abs().max() < 1e-3
    found = torch.linalg.eigvalsh(torch.cov(white.T)).flip(0)
    # The mean variance is 227.5, and the ridge 3e-3 of it.
    expected = torch.tensor([900 / 900.68, 9 / 9.68, 1 / 1.68, 0.0])
    assert torch.allclose(found, expected, atol=0.04)
    assert torch.allclose(matrix, matrix.T, atol=1e-5)


@pytest.mark.parametrize("size", [0.05, 1.0])
def test_a_decoder_follows_latents_of_another_space_as_its_own(size: float) -> None:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(blocks=1, layers=3, channels=8, skip_channels=8, latent_channels=4, pool=10))
    known = torch.randn(1, 4, 500)
    given = size * (torch.eye(4) + 0.3 * torch.randn(4, 4)) @ known + 2.0
    codes = torch.randint(256, (1, 5_000))
    wanted = decoder(codes, known)
    assert (decoder(codes, given) - wanted).abs().mean() > 0.1
    follow_other_latents(decoder, given[0].T, known[0].T)
    # The ridge shrinks the map by some thousandths.
    assert (decoder(codes, given) - wanted).abs().mean() < 0.01
