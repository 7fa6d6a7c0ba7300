"""Distances of spectra: none between equals, salience hears notes and not timbres."""

import torch

from musicstar import distances, spectral
from musicstar.spectral import LATENT_SAMPLES
from tests.test_spectral import noise


def test_distances_vanish_between_equals_alone() -> None:
    gold, other = noise(1, 16 * LATENT_SAMPLES), noise(1, 16 * LATENT_SAMPLES, seed=1)
    aim = distances.resolutions(gold)
    for heard, least, most in ((gold, 0.0, 2e-3), (other, 0.05, 10.0)):
        wanted = spectral.log_magnitude(gold)
        apart = distances.magnitude_distances(spectral.log_magnitude(heard), wanted, wanted)
        assert set(apart) == {"log", "power", "mel", "salience", "patch"}
        assert all(least <= value <= most for value in apart.values())
        assert least <= distances.waveform_distance(distances.resolutions(heard), aim, aim) <= most


def tone(*partials: float, key: float = 69) -> torch.Tensor:
    """A second of the first partials of a note, of these strengths."""
    times = torch.arange(16_000) / 16_000
    hertz = 440 * 2 ** ((key - 69) / 12)
    return sum(
        (
            0.1 * strength * torch.sin(2 * torch.pi * number * hertz * times)
            for number, strength in enumerate(partials, 1)
        ),
        start=torch.zeros(16_000),
    )[None]


def test_pitch_filters_find_a_note_by_its_partials() -> None:
    filters = distances.pitch_filters(torch.device("cpu"))
    assert filters.shape == (121, spectral.BINS)
    for key in (45, 69, 81.5):
        salience = filters @ spectral.stft(tone(1, 0.8, 0.6, 0.4, key=key))[0, :, 40].abs()
        assert 36 + 0.5 * salience.argmax() == key


def test_salience_hears_a_wrong_note_more_than_a_wrong_timbre() -> None:
    gold = spectral.log_magnitude(tone(1, 0.5, 0.25))

    def apart(other: torch.Tensor) -> float:
        return float(distances.magnitude_distances(spectral.log_magnitude(other), gold, gold)["salience"])

    assert apart(tone(1, 0.5, 0.25)) < 1e-6
    assert apart(2 * tone(1, 0.5, 0.25)) < 0.02, "level is no content"
    assert apart(tone(1, 0.2, 0.4)) < 0.3
    assert 1.5 < apart(tone(1, 0.5, 0.25, key=76)) <= 2
