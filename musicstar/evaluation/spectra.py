"""What the measures of quality look at: levelled clips and their spectra.

Two clips are compared at one sample rate (16 kHz), one level (RMS -26 dBFS) and one length (the shorter is silent from
its end), so gain and sample rate do not count as differences. A silent clip stays silent.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from musicstar.audio import LEVEL_RMS, SAMPLE_RATE, SILENCE_DBFS, Clip
from musicstar.pictures import mel_filters

# 64 dB below the level that clips are brought to; what is softer counts as silence.
FLOOR_DB = -90.0
FLOOR_POWER = 10 ** (FLOOR_DB / 10)
# Up to here any resampling to 16 kHz leaves a sound as it was.
HIGHEST_HZ = 7200.0

FloatArray = NDArray[np.float64]


def levelled(clip: Clip) -> Clip:
    """The clip at 16 kHz and an RMS of 0.05 (-26 dBFS); one below -80 dBFS becomes digital silence."""
    clip = clip.resampled(SAMPLE_RATE)
    level_dbfs = clip.rms_dbfs()
    if level_dbfs < SILENCE_DBFS:
        return Clip(np.zeros_like(clip.wav))
    return clip.amplified(20 * float(np.log10(LEVEL_RMS)) - level_dbfs)


def without_tail(clip: Clip, samples: int) -> Clip:
    """The clip at 16 kHz without the silence (below -80 dBFS) that is left where so many samples have gone by."""
    clip = clip.resampled(SAMPLE_RATE)
    sounding = np.flatnonzero(np.abs(clip.wav[samples:]) > 10 ** (SILENCE_DBFS / 20))
    return Clip(clip.wav[: samples + (int(sounding[-1]) + 1 if len(sounding) else 0)])


def of_one_length(a: Clip, b: Clip) -> tuple[Clip, Clip]:
    """Two clips, zeros appended to the shorter."""
    length = max(len(a.wav), len(b.wav))
    one, other = (Clip(np.pad(clip.wav, (0, length - len(clip.wav))), clip.sample_rate) for clip in (a, b))
    return one, other


def power(clip: Clip, *, window_samples: int, hop_samples: int) -> FloatArray:
    """Power of centred Hann frames; a full-scale sine has 1 (0 dB) in its bin.

    Returns
    -------
    np.ndarray[bins up to `HIGHEST_HZ`, 1 + T // hop_samples], float64
    """
    window = np.hanning(window_samples + 1)[:-1]
    padded = np.pad(clip.wav.astype(np.float64), window_samples // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop_samples]
    spectrum = np.fft.rfft(frames * window, axis=1)[:, : _bins(window_samples)]
    return np.asarray(np.abs(spectrum / (window.sum() / 2)) ** 2).T


def mel_levels(
    clip: Clip, *, window_samples: int, hop_samples: int, bands: int, floor_db: float = FLOOR_DB
) -> FloatArray:
    """Level of mel bands (HTK, mean power of a band's bins) in dB, `floor_db` at the least.

    The floor is added as power, 10 log10(P + floor), so that there is no kink at it. Of `bands` evenly spaced
    from 50 Hz to 8 kHz those are left out that reach above `HIGHEST_HZ`.

    Returns
    -------
    np.ndarray[bands left, 1 + T // hop_samples], float64, dB
    """
    spectrum = power(clip, window_samples=window_samples, hop_samples=hop_samples)
    return np.asarray(10 * np.log10(_filters(bands, window_samples) @ spectrum + 10 ** (floor_db / 10)))


@lru_cache(maxsize=8)
def _filters(bands: int, window_samples: int) -> FloatArray:
    filters = mel_filters(sample_rate=SAMPLE_RATE, bands=bands, fft_samples=window_samples)
    kept = _bins(window_samples)
    return filters[filters[:, kept:].sum(axis=1) == 0, :kept]


def _bins(window_samples: int) -> int:
    """How many bins lie up to `HIGHEST_HZ`."""
    return int(HIGHEST_HZ * window_samples / SAMPLE_RATE) + 1
