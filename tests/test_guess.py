"""Guessing a clip's domain."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musicstar import audio
from musicstar.audio import AudioError, Clip
from musicstar.checkpoint import Library
from musicstar.domains import Domain
from musicstar.guess import DomainGuesser, GuessConfig
from musicstar.methods import studio
from musicstar.methods.base import NotOffered

EXAMPLES = Path(studio.__file__).parent.parent / "examples"


def test_a_recordings_colour_does_not_matter() -> None:
    """A gain per band, which is what a filter is, leaves the guess alone."""
    torch.manual_seed(0)
    guesser = DomainGuesser(GuessConfig(channels=8)).eval()
    wav = 0.05 * torch.randn(1, 32_000)
    assert torch.allclose(guesser(wav), guesser(3.0 * wav), atol=0.05)


def test_learning_tells_two_sounds_apart() -> None:
    torch.manual_seed(0)
    guesser = DomainGuesser(GuessConfig(channels=8, bands=32))
    optimizer = torch.optim.Adam(guesser.parameters(), 1e-2)
    times = torch.arange(16_000) / 16_000
    steady = 0.07 * torch.sin(2 * torch.pi * 440 * times)[None].repeat(4, 1)
    struck = steady * torch.exp(-4 * (times % 0.25) / 0.25)
    first = guesser.loss(steady, struck).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss = guesser.loss(steady, struck)
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < first / 2
    guesser.eval()
    assert guesser(struck).min() > guesser(steady).max()


def test_shipped_weights_know_the_examples() -> None:
    paths = sorted(path for domain in Domain for path in EXAMPLES.glob(f"*.{domain.mixture.value}.flac"))
    assert paths
    for path in paths:
        domain, confidence = studio.guess_domain(audio.read(path))
        assert domain.mixture.value == int(path.suffixes[0][1:])
        assert 0.5 <= confidence <= 1


def test_shipped_weights_on_real_excerpts(excerpts: Path) -> None:
    guesses = [
        studio.guess_domain(audio.read(path))[0] is domain
        for domain in Domain
        for path in sorted(excerpts.glob(f"*.{domain.mixture.value}.wav"))
    ]
    assert sum(guesses) / len(guesses) > 0.5


def test_what_cannot_be_guessed(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="silent"):
        studio.guess_domain(Clip(np.zeros(16_000, np.float32)))
    sound = Clip(np.full(16_000, 0.1, np.float32))
    with pytest.raises(NotOffered, match="guess-domain"):
        studio.guess_domain(sound, shelf=Library([tmp_path]))
