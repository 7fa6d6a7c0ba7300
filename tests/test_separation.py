"""The separator: shapes, lengths, and that its loss falls."""

import torch

from musicstar.domains import Domain
from musicstar.separation import DemucsConfig, Separator


def test_any_length_gives_stems_of_that_length() -> None:
    separator = Separator(DemucsConfig(channels=4, depth=2), Domain.SP.stems).eval()
    with torch.inference_mode():
        for samples in (801, 16_000):
            assert separator(torch.randn(3, samples)).shape == (3, 2, samples)


def test_it_learns_to_part_low_from_high() -> None:
    torch.manual_seed(0)
    separator = Separator(DemucsConfig(channels=8, depth=2), Domain.CV.stems)
    optimizer = torch.optim.Adam(separator.parameters(), 3e-3)
    times = torch.arange(8_000) / 16_000
    losses = []
    for step in range(60):
        hertz = torch.tensor([[300.0 + step], [3000.0 + step]])
        stems = 0.05 * torch.sin(2 * torch.pi * hertz * times)
        loss = (separator(stems.sum(dim=0, keepdim=True))[0] - stems).abs().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < losses[0] / 3
