"""Separation: signal-to-distortion ratio of each stem, in dB, higher is better.

SDR of one second is 10 log10(sum s^2 / sum (s - e)^2) of the stem s and its estimate e. A recording's figure is the
median over its whole seconds (its one stretch, where it is shorter). This is the SDR of BSS Eval v4 as museval takes it
for images (Stoeter, Liutkus and Ito 2018), where interference, artefacts and spatial error add up to e - s, so no
projection is needed (museval 0.4.1 gives the same to six digits); Demucs was published with it. Which SDR the paper's
supplementary page gives is not said there.

- A second in which a stem or an estimate is silent has no figure and is left out; where all are, the figure is NaN.
- Each stem has its estimate by place: swapped stems are wrong. A wrong gain counts too, the same gain on both does not.
- A perfect estimate has infinity; it is held at 100 dB, and -100 dB below.
"""

import numpy as np
import torch

from musicstar.audio import LEVEL_RMS, SAMPLE_RATE
from musicstar.methods.base import Source

MOST_DB = 100.0


def sdr(stem: np.ndarray, estimate: np.ndarray, *, sample_rate: int = SAMPLE_RATE) -> float:
    """Median SDR over seconds.

    Parameters
    ----------
    stem, estimate : np.ndarray[T], float, of one length

    Examples
    --------
    >>> round(sdr(np.ones(16_000), np.full(16_000, 0.9)), 6)
    20.0
    """
    seconds = range(0, max(1, len(stem) - sample_rate + 1), sample_rate)
    figures = []
    for start in seconds:
        wanted = stem[start : start + sample_rate].astype(np.float64)
        made = estimate[start : start + sample_rate].astype(np.float64)
        if wanted.any() and made.any():
            error = float(np.square(wanted - made).sum())
            ratio = float(np.square(wanted).sum()) / max(error, 1e-300)
            figures.append(float(np.clip(10 * np.log10(ratio), -MOST_DB, MOST_DB)))
    return float(np.median(figures)) if figures else float("nan")


@torch.inference_mode()
def measure(source: Source, separator: torch.nn.Module) -> dict[str, float]:
    """SDR by voice of a source that has its mixture and stems, separated at the level the network was trained at."""
    assert source.mixture is not None
    assert source.stems is not None
    mixture = torch.from_numpy(source.mixture.wav)
    gain = LEVEL_RMS / max(float(mixture.square().mean().sqrt()), 1e-6)
    estimates = separator(mixture[None] * gain)[0].numpy() / gain
    voices = zip(source.domain.stems, source.stems, estimates, strict=True)
    return {voice.label: sdr(stem.wav, estimate) for voice, stem, estimate in voices}
