"""A small library of sounds made on the spot: tones low and high, and noise."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
KINDS = ("tones/low tones", "tones/high tones", "noise")


def sound(kind: str, number: int, *, seconds: float = 1.0) -> np.ndarray:
    """float32[T]: a steady tone or noise, each number another one."""
    rng = np.random.default_rng([KINDS.index(kind), number])
    time_s = np.arange(round(seconds * RATE)) / RATE
    if kind == "noise":
        wav = rng.standard_normal(len(time_s)) * 0.1
    else:
        low = 110 if kind == "tones/low tones" else 1_200
        wav = 0.2 * np.sin(2 * np.pi * low * rng.uniform(1, 1.8) * time_s) + 0.002 * rng.standard_normal(len(time_s))
    return (wav * rng.uniform(0.3, 1)).astype(np.float32)


def library(folder: Path, *, clips: int = 20) -> Path:
    """A folder tree of them."""
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for number in range(clips):
            soundfile.write(folder / kind / f"{number:02d}.wav", sound(kind, number), RATE)
    return folder
