"""How far sounds are apart by their spectra: what the parallel backbone is taught by."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE
from musicstar.spectral import BINS, FLOOR, N_FFT, SHORT_FFT, magnitude, mel_filters, stft

PATCH_FRAMES = (8, 32)
PARTIALS = 10


@lru_cache(maxsize=4)
def pitch_filters(device: torch.device) -> Tensor:
    """Sums of a pitch's first ten partials, each 0.8 of the one before, every half semitone: Tensor[121, 1025].

    The pitches are MIDI notes 36 to 96; a partial reaches two bins to each side (Salamon and Gomez 2012, section II-B).
    """
    bins = torch.arange(BINS, dtype=torch.float64)
    hertz = 440 * 2 ** ((torch.arange(36, 96.5, 0.5, dtype=torch.float64) - 69) / 12)
    filters = torch.zeros(len(hertz), BINS, dtype=torch.float64)
    for number in range(PARTIALS):
        places = hertz[:, None] * (number + 1) * N_FFT / SAMPLE_RATE
        filters += 0.8**number * torch.cos((bins - places).clamp(-2, 2) * math.pi / 4) ** 2
    return filters.to(device, torch.float32)


def magnitude_distances(a: Tensor, b: Tensor, gold: Tensor) -> dict[str, Tensor]:
    """How far apart two log-magnitude spectrograms are, Tensor[B, 1025, F] each, where this is the gold standard's.

    Returns
    -------
    "log": L1 weighted by 1 / (0.3 + kHz); "power": L1 of magnitudes to the 0.4; "mel": L1 of log-mel; "patch":
    Euclidean distance of log-mel patches of 0.1 and 0.4 s, per root of their size, which sees what moves together;
    "salience": L1 of how a frame's squared salience is spread over pitches, frames weighted by the root of the
    gold standard's amplitude
    """
    khz = torch.arange(BINS, device=a.device) * (SAMPLE_RATE / N_FFT / 1000)
    weights = 1 / (0.3 + khz)
    weights = (weights / weights.mean())[:, None]
    # The mel product would be taken in 16 bits, and the figure logged with it.
    with torch.autocast(a.device.type, enabled=False):
        mel = mel_filters(a.device)
        apart = torch.log(mel @ a.exp()) - torch.log(mel @ b.exp())
        pitches = pitch_filters(a.device)
        loud = (pitches @ magnitude(gold)).square().sum(dim=1).pow(0.25)
        shares = [_shares((pitches @ magnitude(x)).square()) for x in (a, b)]
        salience = ((shares[0] - shares[1]).abs().sum(dim=1) * loud).mean() / (loud.mean() + 1e-3)
    return {
        "log": ((a - b).abs() * weights).mean(),
        "power": ((0.4 * a).exp() - (0.4 * b).exp()).abs().mean(),
        "mel": apart.abs().mean(),
        "salience": salience,
        "patch": torch.stack([_patch_distance(apart, frames) for frames in PATCH_FRAMES]).mean(),
    }


def _shares(salience: Tensor) -> Tensor:
    """Each pitch's share of its frame, of salience Tensor[B, P, F]."""
    return salience / (salience.sum(dim=1, keepdim=True) + 1e-3)


def _patch_distance(apart: Tensor, frames: int) -> Tensor:
    """Root mean square of differences Tensor[B, M, F] within stretches of so many frames, averaged over them."""
    whole = apart[..., : apart.shape[-1] // frames * frames]
    distance: Tensor = whole.unflatten(-1, (-1, frames)).square().mean(dim=(1, 3)).add(1e-6).sqrt().mean()
    return distance


def resolutions(wav: Tensor) -> list[Tensor]:
    """Magnitudes of a signal Tensor[B, T] through windows of 512, 1024 and 2048 samples."""
    spectra = [stft(wav, n_fft=n_fft, hop=n_fft // 4) for n_fft in (SHORT_FFT, 2 * SHORT_FFT, N_FFT)]
    return [(spectrum.real**2 + spectrum.imag**2 + 1e-7).sqrt() for spectrum in spectra]


def waveform_distance(a: list[Tensor], b: list[Tensor], gold: list[Tensor]) -> Tensor:
    """Distance of two signals by their `resolutions`, relative to the gold's (Yamamoto et al. 2020, section 2.2)."""
    total = torch.zeros((), device=gold[0].device)
    for one, other, reference in zip(a, b, gold, strict=True):
        floor = FLOOR * (reference.shape[1] - 1) / (N_FFT / 2)
        total = total + (torch.log(one + floor) - torch.log(other + floor)).abs().mean()
        total = total + (one - other).norm() / reference.norm()
    return total / len(gold)
