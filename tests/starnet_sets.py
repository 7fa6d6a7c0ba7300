"""Small sets in the layout of StarNet, made of noise."""

from pathlib import Path

import numpy as np
import soundfile

from musicstar.domains import STARNET, STEMS, Voice

RATE = 16_000


def music(seed: int, *, seconds: float = 3.0, sample_rate: int = RATE) -> dict[Voice, np.ndarray]:
    """Six voices of band-limited noise that never falls silent; mixtures are sums."""
    rng = np.random.default_rng(seed)
    voices = {}
    for level, voice in zip((0.08, 0.05, 0.06, 0.03), STEMS, strict=True):
        spectrum = np.fft.rfft(rng.standard_normal(round(seconds * sample_rate)))
        spectrum[round(3_000 * seconds) :] = 0
        wav = np.fft.irfft(spectrum, round(seconds * sample_rate))
        voices[voice] = level * wav / np.std(wav)
    for domain in STARNET:
        melody, accompaniment = domain.stems
        voices[domain.mixture] = voices[melody] + voices[accompaniment]
    return voices


def write_piece(
    folder: Path,
    name: str,
    voices: dict[Voice, np.ndarray],
    *,
    sample_rate: int = RATE,
    suffix: str = "wav",
    channels: int = 1,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for voice, wav in voices.items():
        frames = np.repeat(wav[:, None], channels, axis=1)
        soundfile.write(folder / f"{name}.{voice.value}.{suffix}", frames, sample_rate, subtype="PCM_16")


def write_set(folder: Path) -> Path:
    """Five pieces of 2 to 3 s; take 1 is take 0 at half the level, take 2 other music of the same length."""
    for number in range(5):
        name, seconds = f"{number + 1:03d}", 2.0 + 0.25 * number
        voices = music(number, seconds=seconds)
        write_piece(folder, name, voices)
        write_piece(folder / "takes/1", name, {voice: wav / 2 for voice, wav in voices.items()})
        write_piece(folder / "takes/2", name, music(100 + number, seconds=seconds))
    return folder
