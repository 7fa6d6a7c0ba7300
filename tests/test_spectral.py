"""The parallel backbone: transforms, shapes, bounded context, sharpening, distortion."""

import torch

from musicstar import spectral
from musicstar.spectral import CONTEXT_SAMPLES, LATENT_SAMPLES, SpectralConfig

TINY = SpectralConfig(width=16, hidden=24, phase_rank=8, sharpen=True)


def noise(batch: int, samples: int, *, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def networks() -> tuple[spectral.Encoder, spectral.Decoder]:
    torch.manual_seed(0)
    encoder, decoder = spectral.Encoder(TINY).eval(), spectral.Decoder(TINY).eval()
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder, decoder


@torch.no_grad()
def play(wav: torch.Tensor, encoder: spectral.Encoder, decoder: spectral.Decoder) -> torch.Tensor:
    voices = torch.tensor([3])
    magnitudes, hidden = decoder.draw(decoder(encoder(spectral.features(wav), voices), voices), voices, None)
    return decoder.sound(magnitudes, hidden, spectral.stft(wav))


def test_transform_inverts() -> None:
    wav = noise(2, 20 * LATENT_SAMPLES)
    assert torch.allclose(spectral.istft(spectral.stft(wav)), wav, atol=1e-5)


def test_latents_have_the_papers_rate() -> None:
    encoder, decoder = networks()
    latents = encoder(spectral.features(noise(2, 7 * LATENT_SAMPLES)), torch.tensor([0, 5]))
    assert latents.shape == (2, 64, 7)
    voices = torch.tensor([1, 2])
    told = decoder(latents, voices)
    assert told.shape == (2, 28, TINY.width)
    magnitudes, hidden = decoder.draw(told, voices, torch.zeros(2, 28, TINY.noise_channels))
    assert magnitudes.shape == (2, spectral.BINS, 28)
    assert hidden.shape == (2, 28, TINY.width)


def test_context_decides_everything() -> None:
    """A piece with its context around gives the very samples that the whole gives."""
    encoder, decoder = networks()
    wav = noise(1, 100 * LATENT_SAMPLES)
    whole = play(wav, encoder, decoder)
    start, end = 40 * LATENT_SAMPLES, 60 * LATENT_SAMPLES
    piece = play(wav[:, start - CONTEXT_SAMPLES : end + CONTEXT_SAMPLES], encoder, decoder)
    inner = piece[:, CONTEXT_SAMPLES : CONTEXT_SAMPLES + end - start]
    assert torch.allclose(inner, whole[:, start:end], atol=1e-5)
    short = play(wav[:, start - LATENT_SAMPLES : end + LATENT_SAMPLES], encoder, decoder)
    assert not torch.allclose(short[:, LATENT_SAMPLES:-LATENT_SAMPLES], whole[:, start:end], atol=1e-5)


def test_voice_and_phase_reach_the_output() -> None:
    encoder, decoder = networks()
    features = spectral.features(noise(1, 8 * LATENT_SAMPLES))
    latents = encoder(features, torch.tensor([0]))
    one, other = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(decoder(latents, one), decoder(latents, other))
    untrained = spectral.Decoder(TINY)
    cue = spectral.stft(noise(1, 8 * LATENT_SAMPLES, seed=1))
    phasors = untrained.phasors(untrained.draw(untrained(latents, one), one, None)[1], cue)
    assert torch.allclose(phasors, cue / cue.abs(), atol=1e-3), "before training the phases are the cue's own"


@torch.no_grad()
def test_a_decoder_that_sharpens_clears_what_the_long_window_spreads_before_an_attack() -> None:
    decoder = spectral.Decoder(TINY)
    assert decoder.gain is not None
    onset = 12_000
    wav = noise(1, 32 * LATENT_SAMPLES)
    wav[:, :onset] = 0
    cue = spectral.stft(wav)
    # Magnitudes of the frames around the onset, averaged: as a decoder that does not know just when it is.
    smeared = torch.nn.functional.avg_pool1d(cue.abs(), 7, 1, 3, count_include_pad=False)
    magnitudes = torch.log(smeared + spectral.FLOOR)
    hidden = torch.zeros(1, cue.shape[-1], TINY.width)
    plain = decoder.sound(magnitudes, hidden, cue)
    assert torch.allclose(
        plain, spectral.istft(spectral.magnitude(magnitudes) * cue / (cue.abs() + 1e-4)), atol=1e-3
    ), "before training it changes nothing"
    hidden[:, : onset // spectral.HOP] = -1
    decoder.gain.weight[:, 0] = 4.0
    sharp = decoder.sound(magnitudes, hidden, cue)
    before, after = slice(onset - 1200, onset - spectral.SHORT_FFT), slice(onset + spectral.SHORT_FFT, None)
    assert sharp[:, before].square().mean() < 0.01 * plain[:, before].square().mean()
    assert torch.allclose(sharp[:, after], plain[:, after], atol=1e-5)


def test_candidate_phasors_follow_harmonics() -> None:
    """The octave's candidate, made from a tone's fundamental, has the phase of a tone an octave up."""
    times = torch.arange(16_000) / 16_000
    low, high = 437.5, 875.0
    fundamental = torch.cos(2 * torch.pi * low * times)[None]
    octave = torch.cos(2 * torch.pi * high * times)[None]
    bin_high = round(high / 16_000 * spectral.N_FFT)
    made = spectral.candidate_phasors(spectral.stft(fundamental))[0, 1, bin_high, 10:60]
    true = spectral.stft(octave)[0, bin_high, 10:60]
    assert torch.allclose(made, true / true.abs(), atol=0.05)


def test_distortion_shifts_pitch_by_no_more_than_asked() -> None:
    times = torch.arange(4 * 16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 2000 * times)[None]
    features = spectral.features(tone)
    generator = torch.Generator().manual_seed(1)
    distorted = spectral.distort(features, warp_semitones=0.5, equaliser_db=0.0, generator=generator)
    peaks = distorted[0, : spectral.BINS, 20:-20].argmax(dim=0)
    centre = 2000 / 16_000 * spectral.N_FFT
    assert (peaks - centre).abs().max() <= centre * (2 ** (0.5 / 12) - 1) + 1
    assert peaks.unique().numel() > 2
    untouched = spectral.distort(features, warp_semitones=0.0, equaliser_db=0.0, generator=generator)
    assert torch.allclose(untouched, features, atol=1e-3)


def test_domain_classifier_judges_within_the_pair() -> None:
    classifier = spectral.DomainClassifier(width=8)
    latents = torch.randn(4, 64, 10, generator=torch.Generator().manual_seed(0))
    clarinet = classifier(latents, torch.full((4,), 1))
    strings = classifier(latents, torch.full((4,), 4))
    # The same logit p gives -log(1 - p) and -log(p): what helps one costs the other.
    logit = classifier.layers(latents)[:, 0]
    assert torch.allclose(strings - clarinet, -logit.mean(), atol=1e-5)
