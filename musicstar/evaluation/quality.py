"""Quality: how far a clip's sound is from its gold standard's, and what is wrong with it.

All take two clips as `spectra.levelled` gives them. Levels have a floor (`spectra.FLOOR_DB`, or -70 dB where the
measure is about audible movement), which stands for silence: nothing below is a logarithm of zero, two silent clips
give each measure's best value, and every value is finite save where stated. Nothing above 7.2 kHz counts.

- `stft_distance` (lower is better, 0 at best, no unit): spectral convergence plus mean absolute difference of natural
  logarithms of magnitude, averaged over windows of 512, 1024 and 2048 samples (Yamamoto, Song and Kim 2020, eq. 4-6).
- `mel_distance` (lower, 0, dB): mean absolute difference of the levels of 80 mel bands, 64 ms frames every 16 ms.
- `modulation_distance` (lower, 0, dB): each of 40 mel bands' level over time is split into modulations of 2-4, 4-8,
  8-16 and 16-30 Hz; mean absolute difference of their strengths 10 log10(variance in dB^2 + 0.25). It does not ask
  when something happens: smear, tremor and lifeless tones show (after Dau, Kollmeier and Kohlrausch 1997).
- `modulation_level` (nearest to 0, dB): the same differences signed, output less gold; negative is too smooth.
- `noise_bursts` (lower, 0, per second): moments where at least 60 % of the mel bands above 1 kHz stand over 12 dB above
  their median of 200 ms, and the gold within 48 ms has no such jump of even 6 dB.
- `buzz` (nearest to 0, dB): level between the harmonics, output less gold: the mean over frames and 500 Hz bands from
  2 to 7 kHz of the level below which a fifth of the bins lie (the valley of Jiang et al. 2002's spectral contrast).
- `attack_sharpness` (nearest to 1, a ratio): mean rise of the mel bands over 16 ms, in excess of its median, at its
  steepest within 48 ms of each onset of the gold; output's sum over gold's. Below 1 attacks are blunt; 0 of a silent
  output; NaN where the gold has no onset. Onsets are peaks of the gold's own rises (Bello et al. 2005, section III).
- `upper_harmonics` (nearest to 0, dB): level above 2 kHz relative to that below, output less gold.
"""

import numpy as np
from scipy.ndimage import maximum_filter1d, median_filter
from scipy.signal import find_peaks

from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.evaluation.spectra import FLOOR_POWER, FloatArray, mel_levels, of_one_length, power

WINDOWS = (512, 1024, 2048)
MOVING_FLOOR_DB = -70.0
UPPER_HZ = 2000.0
MODULATIONS_HZ = ((2, 4), (4, 8), (8, 16), (16, 30))
LEAST_VARIANCE = 0.25
BURST_DB = 12.0
BURST_SHARE = 0.6
NEAR_S = 0.048
LEAST_RISE_DB = 2.0


def measure(output: Clip, gold: Clip) -> dict[str, float]:
    """Every figure above by its name, of two levelled clips."""
    output, gold = of_one_length(output, gold)
    modulations = _modulations(output) - _modulations(gold)
    return {
        "stft_distance": stft_distance(output, gold),
        "mel_distance": mel_distance(output, gold),
        "modulation_distance": float(np.abs(modulations).mean()),
        "modulation_level": float(modulations.mean()),
        "noise_bursts": noise_bursts(output, gold),
        "buzz": float(np.mean(_valleys(output) - _valleys(gold))),
        "attack_sharpness": attack_sharpness(output, gold),
        "upper_harmonics": _upper_db(output) - _upper_db(gold),
    }


def stft_distance(output: Clip, gold: Clip) -> float:
    """Multi-resolution STFT distance; not symmetric, as it is relative to the gold."""
    distances = []
    for window in WINDOWS:
        made, wanted = (
            np.sqrt(power(clip, window_samples=window, hop_samples=window // 4) + FLOOR_POWER)
            for clip in (output, gold)
        )
        convergence = np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
        distances.append(convergence + np.abs(np.log(made / wanted)).mean())
    return float(np.mean(distances))


def mel_distance(output: Clip, gold: Clip) -> float:
    """Log-mel distance in dB; symmetric."""
    made, wanted = (mel_levels(clip, window_samples=1024, hop_samples=256, bands=80) for clip in (output, gold))
    return float(np.abs(made - wanted).mean())


def noise_bursts(output: Clip, gold: Clip) -> float:
    """Bursts per second that the gold does not have."""
    hop = 128
    near = 2 * round(NEAR_S * SAMPLE_RATE / hop) + 1
    bursting = _jumping(output, BURST_DB, hop)
    excused = maximum_filter1d(_jumping(gold, BURST_DB / 2, hop), near)
    found = np.flatnonzero(bursting & ~excused)
    separate = 1 + int(np.count_nonzero(np.diff(found) > near // 2)) if len(found) else 0
    return separate / max(output.duration_s, hop / SAMPLE_RATE)


def attack_sharpness(output: Clip, gold: Clip) -> float:
    """How steep the output is where the gold has its onsets, relative to the gold."""
    hop = 64
    near = round(NEAR_S * SAMPLE_RATE / hop)
    made, wanted = _rises(output, hop), _rises(gold, hop)
    onsets, _ = find_peaks(wanted, height=LEAST_RISE_DB, distance=near)
    if len(onsets) == 0:
        return float("nan")
    steepest = maximum_filter1d(made, 2 * near + 1)[onsets]
    return float(steepest.sum() / maximum_filter1d(wanted, 2 * near + 1)[onsets].sum())


def _modulations(clip: Clip) -> FloatArray:
    """Strength of each range of modulation in each band: [40, 4], dB."""
    hop = 128
    levels = _moving_levels(clip, window=512, hop=hop)
    window = np.hanning(levels.shape[1] + 2)[1:-1]
    spectrum = np.fft.rfft((levels - levels.mean(axis=1, keepdims=True)) * window, axis=1)
    variances = 2 * np.abs(spectrum) ** 2 / (len(window) * np.square(window).sum())
    rates_hz = np.fft.rfftfreq(len(window), hop / SAMPLE_RATE)
    ranges = [variances[:, (rates_hz >= low) & (rates_hz < high)].sum(axis=1) for low, high in MODULATIONS_HZ]
    return np.asarray(10 * np.log10(np.stack(ranges, axis=1) + LEAST_VARIANCE))


def _jumping(clip: Clip, threshold_db: float, hop: int) -> np.ndarray:
    """Whether most upper bands stand out of their surroundings: bool [frames]."""
    levels = _moving_levels(clip, window=256, hop=hop)[_above_1_khz()]
    background = median_filter(levels, (1, 25), mode="nearest")
    return np.asarray((levels - background > threshold_db).mean(axis=0) >= BURST_SHARE)


def _rises(clip: Clip, hop: int) -> FloatArray:
    """Mean rise of the bands over 16 ms less its median over the clip, never negative: [frames], dB."""
    levels = _moving_levels(clip, window=256, hop=hop)
    rises = np.maximum(levels[:, 4:] - levels[:, :-4], 0).mean(axis=0) if levels.shape[1] > 4 else np.zeros(1)
    return np.maximum(rises - np.median(rises), 0)


def _valleys(clip: Clip) -> FloatArray:
    """Level that a fifth of a 500 Hz band's bins stay below, from 2 to 7 kHz: [10, frames], dB."""
    window = 2048
    levels = 10 * np.log10(power(clip, window_samples=window, hop_samples=512) + FLOOR_POWER)
    first, width = round(UPPER_HZ * window / SAMPLE_RATE), round(500 * window / SAMPLE_RATE)
    upper = levels[first : first + 10 * width]
    return np.asarray(np.quantile(upper.reshape(10, width, -1), 0.2, axis=1))


def _upper_db(clip: Clip) -> float:
    """Power above 2 kHz relative to that below, in dB."""
    window = 1024
    spectrum = power(clip, window_samples=window, hop_samples=256).mean(axis=1) + FLOOR_POWER
    edge = round(UPPER_HZ * window / SAMPLE_RATE)
    return float(10 * np.log10(spectrum[edge:].sum() / spectrum[:edge].sum()))


def _moving_levels(clip: Clip, *, window: int, hop: int) -> FloatArray:
    """Levels of 40 mel bands that are not below what is heard beside the rest."""
    return mel_levels(clip, window_samples=window, hop_samples=hop, bands=40, floor_db=MOVING_FLOOR_DB)


def _above_1_khz() -> slice:
    """Of 40 mel bands, evenly spaced from 50 Hz to 8 kHz, those centred above 1 kHz."""
    lowest, edge, highest = (np.log10(1 + hz / 700) for hz in (50, 1000, 8000))
    return slice(int(np.ceil(41 * (edge - lowest) / (highest - lowest))) - 1, None)
