"""Trainings of seconds: a set of four pieces, and every configuration shrunk."""

import json
from pathlib import Path

import numpy as np

from musicstar import audio
from musicstar.audio import Clip
from musicstar.domains import STEMS

SHRUNK = {
    "spectral": "[network]\nwidth = 16\nhidden = 24\nphase_rank = 8\n",
    "separation": "[network]\nchannels = 4\ndepth = 2\n",
    "guess": "[network]\nchannels = 4\nbands = 24\n",
    "style": "[network]\n",
    "wavenet": (
        "[network.encoder]\nblocks = 1\nlayers = 2\nchannels = 8\n"
        "[network.decoder]\nblocks = 1\nlayers = 2\nchannels = 8\nskip_channels = 8\n"
    ),
}
METRICS = ("step", "total", "gradient_norm")


def write_set(folder: Path) -> Path:
    """Four pieces of two seconds in the StarNet layout: a tone with a harmonic of its own per instrument."""
    times = np.arange(32_000) / 16_000
    for piece in range(4):
        for number, voice in enumerate(STEMS):
            hertz = 220 * 2 ** ((3 * piece + 7 * (number % 2)) / 12)
            wav = np.sin(2 * np.pi * hertz * times) + 0.5 * np.sin(2 * np.pi * hertz * (2 + number) * times)
            audio.write(folder / f"{piece:03d}.{voice.value}.wav", Clip((0.05 * wav).astype(np.float32)))
    return folder


def shrink(name: str, folder: Path, *, steps: int = 2) -> Path:
    """A configuration as shipped but for its sizes, under its own name."""
    path = folder / f"{name}.toml"
    sizes = SHRUNK[name.split("-", maxsplit=1)[0]]
    path.write_text(f'extends = "{name}"\nsteps = {steps}\nbatch_size = 4\nwindow_samples = 8000\n{sizes}')
    return path


def metrics(folder: Path) -> list[list[float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[key] for key in METRICS] for line in lines]


def logging_each(path: Path) -> Path:
    path.write_text("save_minutes = 0.0\n" + path.read_text())
    return path
