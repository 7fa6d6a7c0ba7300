"""The parallel backbone: an autoencoder of log-magnitude spectra that runs in one pass.

Frames are 200 samples apart, so four of them make one latent frame of 800 samples (50 ms at 16 kHz), the paper's
rate. Every layer looks a bounded way to both sides: `CONTEXT_SAMPLES` of signal around a stretch decide it fully, which
lets long clips be worked through piece by piece without a seam.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar.audio import SAMPLE_RATE
from musicstar.domains import Voice

N_FFT = 2048
SHORT_FFT = 512
HOP = 200
POOL = 4
LATENT_SAMPLES = HOP * POOL
BINS = N_FFT // 2 + 1
SHORT_BINS = SHORT_FFT // 2 + 1
FLOOR = 0.01
LOG_RANGE = (-4.7, 6.0)
MOST_GAIN = 4.0
CONTEXT_SAMPLES = 24 * LATENT_SAMPLES


@dataclass(frozen=True)
class SpectralConfig:
    """Sizes of the spectral autoencoder.

    Attributes
    ----------
    width, hidden : channels between and inside the blocks
    kernel : frames a block's depthwise convolution sees
    encoder_fine, encoder_coarse : blocks at 12.5 ms before and at 50 ms after pooling
    decoder_coarse, decoder_fine : blocks at 50 ms before and at 12.5 ms after expanding
    latent_channels : values per latent frame
    normalise_latents : whether latents pass a batch norm without affine (the universal encoder's do)
    phase_rank : width of the phase head
    noise_channels : values drawn at random per frame, from which the decoder makes what no latent tells
    sharpen : whether the decoder also moves energy in time, by gains of short windows
    """

    width: int = 256
    hidden: int = 768
    kernel: int = 7
    encoder_fine: int = 2
    encoder_coarse: int = 2
    decoder_coarse: int = 2
    decoder_fine: int = 3
    latent_channels: int = 64
    normalise_latents: bool = False
    phase_rank: int = 128
    noise_channels: int = 16
    sharpen: bool = False

    def __post_init__(self) -> None:
        fine, coarse = self.encoder_fine + self.decoder_fine, self.encoder_coarse + self.decoder_coarse
        reach = (fine * HOP + coarse * LATENT_SAMPLES) * (self.kernel // 2) + N_FFT + SHORT_FFT
        if reach > CONTEXT_SAMPLES:
            raise ValueError(f"blocks that look {reach} samples to each side; at most {CONTEXT_SAMPLES} are allowed")


def stft(wav: Tensor, *, n_fft: int = N_FFT, hop: int = HOP) -> Tensor:
    """Centred Hann spectra, one frame per whole hop: Tensor[B, T] -> complex Tensor[B, n_fft / 2 + 1, T / hop]."""
    window = torch.hann_window(n_fft, device=wav.device)
    spectrum: Tensor = torch.stft(wav, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    return spectrum[..., : wav.shape[-1] // hop]


def istft(spectrum: Tensor) -> Tensor:
    """Inverse of `stft` at its own hop: complex Tensor[B, n_fft / 2 + 1, T / 200] -> Tensor[B, T]."""
    n_fft = 2 * (spectrum.shape[1] - 1)
    window = torch.hann_window(n_fft, device=spectrum.device)
    return torch.istft(spectrum, n_fft, HOP, window=window, length=spectrum.shape[-1] * HOP)


def log_magnitude(wav: Tensor, *, n_fft: int = N_FFT) -> Tensor:
    """Natural logarithm of magnitude plus 0.01: Tensor[B, T] -> Tensor[B, n_fft / 2 + 1, T / 200]."""
    return torch.log(stft(wav, n_fft=n_fft).abs() + FLOOR)


def mel_filters(device: torch.device, *, mels: int = 80) -> Tensor:
    """Triangular filters of unit sum between 30 Hz and 8 kHz, evenly spaced in HTK mel: Tensor[mels, 1025]."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (30.0, SAMPLE_RATE / 2))
    corners = 700 * (10 ** (torch.linspace(lowest, highest, mels + 2, dtype=torch.float64) / 2595) - 1)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, BINS, dtype=torch.float64)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    filters = torch.minimum((hertz - left) / (centre - left), (right - hertz) / (right - centre)).clamp(min=0)
    return (filters / filters.sum(dim=1, keepdim=True).clamp(min=1e-3)).to(device, torch.float32)


class Block(nn.Module):
    """ConvNeXt block over time with a norm conditioned on the voice (Liu et al. 2022, section 2)."""

    def __init__(self, config: SpectralConfig, *, scale: float) -> None:
        super().__init__()
        width = config.width
        self.depthwise = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.gain = nn.Embedding(len(Voice), width, _weight=torch.ones(len(Voice), width))
        self.bias = nn.Embedding(len(Voice), width, _weight=torch.zeros(len(Voice), width))
        self.expand = nn.Linear(width, config.hidden)
        self.contract = nn.Linear(config.hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, voices: Tensor) -> Tensor:
        """Tensor[B, F, width], int64 Tensor[B] -> Tensor[B, F, width]."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.norm(y) * self.gain(voices)[:, None] + self.bias(voices)[:, None]
        y = F.gelu(self.expand(y), approximate="tanh")
        return torch.addcmul(x, self.scale, self.contract(y))


class Encoder(nn.Module):
    """Spectra to latents, told which voice is wanted of them."""

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        scale = 1 / (config.encoder_fine + config.encoder_coarse)
        self.first = nn.Linear(BINS + SHORT_BINS, config.width)
        self.first_norm = nn.LayerNorm(config.width)
        self.voice = nn.Embedding(len(Voice), config.width)
        self.fine = nn.ModuleList(Block(config, scale=scale) for _ in range(config.encoder_fine))
        self.pool = nn.Linear(POOL * config.width, config.width)
        self.coarse = nn.ModuleList(Block(config, scale=scale) for _ in range(config.encoder_coarse))
        self.last_norm = nn.LayerNorm(config.width)
        self.last = nn.Linear(config.width, config.latent_channels)
        self.normalise = (
            nn.BatchNorm1d(config.latent_channels, affine=False, momentum=0.05)
            if config.normalise_latents
            else nn.Identity()
        )
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(config.latent_channels))
        self.register_buffer("spread", torch.ones(config.latent_channels))
        nn.init.normal_(self.voice.weight, std=0.3)

    def forward(self, features: Tensor, voices: Tensor) -> Tensor:
        """Tensor[B, 1282, F], int64 Tensor[B] -> Tensor[B, latent_channels, F / 4]."""
        x = self.first_norm(self.first(features.transpose(1, 2) * 0.4 + 0.4)) + self.voice(voices)[:, None]
        for block in self.fine:
            x = block(x, voices)
        batch, frames, width = x.shape
        x = self.pool(x.reshape(batch, frames // POOL, POOL * width))
        for block in self.coarse:
            x = block(x, voices)
        latents = self.last(self.last_norm(x)).float().transpose(1, 2)
        normalised: Tensor = self.normalise(latents)
        return normalised * self.spread[:, None] + self.centre[:, None]


class Decoder(nn.Module):
    """Latents to the log-magnitudes and phases of one voice.

    The long window that tells low notes apart is 128 ms, over which it smears attacks. A decoder that sharpens passes
    its sound through windows of 32 ms once more and scales their bins, as codecs shape what quantisation spreads in
    time (Herre and Johnston 1996).
    """

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        scale = 1 / (config.decoder_coarse + config.decoder_fine)
        self.first = nn.Linear(config.latent_channels, config.width)
        self.first_norm = nn.LayerNorm(config.width)
        self.voice = nn.Embedding(len(Voice), config.width)
        self.coarse = nn.ModuleList(Block(config, scale=scale) for _ in range(config.decoder_coarse))
        self.expand = nn.Linear(config.width, POOL * config.width)
        self.noise = nn.Linear(config.noise_channels, config.width, bias=False)
        self.fine = nn.ModuleList(Block(config, scale=scale) for _ in range(config.decoder_fine))
        self.last_norm = nn.LayerNorm(config.width)
        self.magnitude = nn.Linear(config.width, BINS)
        self.phase = nn.Sequential(
            nn.Linear(config.width, config.phase_rank), nn.GELU(), nn.Linear(config.phase_rank, 6 * BINS)
        )
        self.gain = nn.Linear(config.width, SHORT_BINS) if config.sharpen else None
        if self.gain is not None:
            nn.init.zeros_(self.gain.weight)
            nn.init.zeros_(self.gain.bias)
        nn.init.normal_(self.voice.weight, std=0.3)
        nn.init.normal_(self.magnitude.weight, std=0.02)
        nn.init.normal_(self.noise.weight, std=0.05)
        nn.init.constant_(self.magnitude.bias, -3.0)
        mixing = self.phase[-1]
        assert isinstance(mixing, nn.Linear)
        nn.init.zeros_(mixing.weight)
        nn.init.zeros_(mixing.bias)
        with torch.no_grad():
            mixing.bias[:BINS] = 1.0

    def forward(self, latents: Tensor, voices: Tensor) -> Tensor:
        """What latents tell of each frame: Tensor[B, latent_channels, N], int64 Tensor[B] -> Tensor[B, 4 N, width]."""
        x = self.first_norm(self.first(latents.transpose(1, 2))) + self.voice(voices)[:, None]
        for block in self.coarse:
            x = block(x, voices)
        batch, frames, width = x.shape
        told: Tensor = x.repeat_interleave(POOL, dim=1) + self.expand(x).reshape(batch, frames * POOL, width)
        return told

    def draw(self, told: Tensor, voices: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """One of the sounds that what is told leaves possible.

        Parameters
        ----------
        told : Tensor[B, F, width], of `forward`
        voices : int64 Tensor[B]
        noise : Tensor[B, F, noise_channels], standard normal; without it the sound in their middle

        Returns
        -------
        log-magnitudes, Tensor[B, 1025, F], and the hidden frames the phase head reads, Tensor[B, F, width]
        """
        x = told if noise is None else told + self.noise(noise)
        for block in self.fine:
            x = block(x, voices)
        hidden = self.last_norm(x)
        return self.magnitude(hidden).transpose(1, 2).float().clamp(*LOG_RANGE), hidden

    def phasors(self, hidden: Tensor, cue: Tensor) -> Tensor:
        """Unit phasors mixed from the cue's own, its octave's and its twelfth's.

        Parameters
        ----------
        hidden : Tensor[B, F, width]
        cue : complex Tensor[B, 1025, F], spectrum of the signal being translated

        Returns
        -------
        complex Tensor[B, 1025, F]
        """
        weights = self.phase(hidden).transpose(1, 2).float()
        batch, _, frames = weights.shape
        weights = weights.view(batch, 3, 2, BINS, frames)
        mixed = (torch.complex(weights[:, :, 0], weights[:, :, 1]) * candidate_phasors(cue)).sum(dim=1)
        return mixed / (mixed.abs() + 1e-4)

    def sound(self, log_magnitudes: Tensor, hidden: Tensor, cue: Tensor) -> Tensor:
        """What was drawn, to be heard.

        Parameters
        ----------
        log_magnitudes, hidden : of `draw`
        cue : as for `phasors`

        Returns
        -------
        Tensor[B, 200 F]
        """
        wav = istft(magnitude(log_magnitudes) * self.phasors(hidden, cue))
        if self.gain is None:
            return wav
        gains = MOST_GAIN * torch.tanh(self.gain(hidden).transpose(1, 2).float() / MOST_GAIN)
        return istft(stft(wav, n_fft=SHORT_FFT) * gains.exp())


def magnitude(logarithm: Tensor) -> Tensor:
    """Magnitudes of the log-magnitudes a decoder gives, the 0.01 that `log_magnitude` adds taken off again."""
    return (logarithm.exp() - FLOOR).clamp(min=0)


def candidate_phasors(spectrum: Tensor) -> Tensor:
    """Phases a harmonic of a sound may follow: its own bin's, twice the half's, three times the third's.

    complex Tensor[B, 1025, F] -> complex Tensor[B, 3, 1025, F], all of unit size
    """
    bins = torch.arange(BINS, device=spectrum.device)
    # Phases are taken at the middle of the frame, where multiples of a frequency keep in step; the spectrum's own
    # reference is the frame's start.
    to_middle = (1.0 - 2.0 * (bins % 2))[:, None]
    own = spectrum / (spectrum.abs() + 1e-9) * to_middle
    octave = own[:, (bins / 2).round().long()] ** 2
    twelfth = own[:, (bins / 3).round().long()] ** 3
    return torch.stack([own, octave, twelfth], dim=1) * to_middle


class DomainClassifier(nn.Module):
    """Tells from the latents of a stem which of its pair plays: clarinet or strings, vibraphone or piano."""

    def __init__(self, latent_channels: int = 64, *, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(latent_channels, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, 2, 1),
        )

    def forward(self, latents: Tensor, voices: Tensor) -> Tensor:
        """Mean cross-entropy: latents Tensor[B, 64, N], int64 stem voices Tensor[B] -> Tensor[]."""
        logits = self.layers(latents)[torch.arange(len(voices), device=voices.device), voices % 3 - 1]
        is_sp = (voices >= Voice.SP).to(logits.dtype)[:, None].expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits, is_sp)


def distort(spectra: Tensor, *, warp_semitones: float, equaliser_db: float, generator: torch.Generator) -> Tensor:
    """Shift half of all half-second stretches in pitch and equalise at random, on `features` Tensor[B, 1282, F]."""
    batch, _, frames = spectra.shape
    device = spectra.device

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator, device=device) - 1

    stretch = 40
    count = -(-frames // stretch)
    moved = torch.rand((batch, count), generator=generator, device=device) < 0.5
    semitones = warp_semitones * uniform(batch, count) * moved
    ratios = torch.exp2(-semitones / 12).repeat_interleave(stretch, dim=1)[:, None, :frames]
    knots = 7
    curve = equaliser_db / 8.686 * uniform(batch, 1, knots)
    parts = []
    for part in torch.split(spectra, [BINS, SHORT_BINS], dim=1):
        bins = part.shape[1]
        wanted = (torch.arange(bins, device=device)[:, None] * ratios).clamp(max=bins - 1.001)
        lower = wanted.long()
        warped = torch.lerp(part.gather(1, lower), part.gather(1, lower + 1), wanted - lower)
        # Knots lie evenly on the square root of frequency, dense where the notes are.
        place = torch.linspace(0, 1, bins, device=device).sqrt() * (knots - 1.001)
        left = place.long()
        gain = torch.lerp(curve[:, 0, left], curve[:, 0, left + 1], place - left)[:, :, None].exp()
        parts.append(torch.log((warped.exp() - FLOOR).clamp(min=0) * gain + FLOOR))
    return torch.cat(parts, dim=1)


def features(wav: Tensor) -> Tensor:
    """What the encoder reads, log-magnitudes through both windows: Tensor[B, T] -> Tensor[B, 1282, T / 200]."""
    return torch.cat([log_magnitude(wav), log_magnitude(wav, n_fft=SHORT_FFT)], dim=1)
