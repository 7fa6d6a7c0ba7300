"""Resampling: flat below Nyquist, silent above it, nothing moved, whatever the length."""

import time
from itertools import product

import numpy as np
import pytest

from musicstar import audio
from musicstar.audio import Clip
from tests.test_audio import level_of_middle_dbfs, tone

RATES = (22_050, 44_100, 48_000)


@pytest.mark.parametrize(("rate", "frequency_hz"), [*product(RATES, (50, 997, 4_000, 7_300))])
def test_a_tone_below_nyquist_is_kept(rate: int, frequency_hz: float) -> None:
    clip = tone(frequency_hz, sample_rate=rate)
    assert level_of_middle_dbfs(clip.resampled(16_000)) == pytest.approx(level_of_middle_dbfs(clip), abs=0.1)


@pytest.mark.parametrize(("rate", "frequency_hz"), [*product(RATES, (8_100, 9_000, 10_900))])
def test_a_tone_above_nyquist_is_gone(rate: int, frequency_hz: float) -> None:
    clip = tone(frequency_hz, sample_rate=rate)
    assert level_of_middle_dbfs(clip.resampled(16_000)) < level_of_middle_dbfs(clip) - 90


@pytest.mark.parametrize("rate", [44_100, 22_050, 11_025])
def test_a_long_clip_is_resampled_as_one(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(np.random.default_rng(0).normal(0, 0.1, 3 * rate + 17).astype(np.float32), rate)
    whole = clip.resampled(16_000).wav
    monkeypatch.setattr(audio, "RESAMPLED_SAMPLES", 5_000)
    monkeypatch.setattr(audio, "IN_MEMORY_BYTES", 1_000)
    in_blocks = clip.resampled(16_000).wav
    assert isinstance(in_blocks.base, np.memmap)
    assert np.allclose(in_blocks, whole, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 37_800, 44_100, 48_000, 96_000])
def test_resampling_keeps_length_and_place(rate: int) -> None:
    """Against the same tone sampled at 16 kHz to begin with: nothing is shifted, stretched or turned."""
    resampled = tone(440, sample_rate=rate, duration_s=3).resampled(16_000)
    assert len(resampled.wav) == 48_000
    error = resampled.wav - tone(440, duration_s=3).wav
    assert np.abs(error[400:-400]).max() < 1e-3


@pytest.mark.parametrize("rate", [22_255, 44_101, 191_999])
def test_rates_without_a_common_factor_cost_no_more(rate: int) -> None:
    start = time.monotonic()
    resampled = tone(440, sample_rate=rate, duration_s=3).resampled(16_000)
    assert time.monotonic() - start < 5
    assert len(resampled.wav) == 48_000
    error = resampled.wav - tone(440, duration_s=3).wav
    assert np.abs(error[400:-400]).max() < 0.05


def test_there_and_back(two_voices: tuple[Clip, Clip]) -> None:
    clip = two_voices[0]
    assert clip.resampled(16_000) is clip
    back = clip.resampled(44_100).resampled(16_000)
    assert len(back.wav) == len(clip.wav)
    assert np.abs(back.wav - clip.wav)[400:-400].max() < 1e-3
