"""Log-mel pictures of all systems on one piece, one below the other."""

from pathlib import Path

import numpy as np

from musicstar import audio, pictures
from musicstar.audio import SAMPLE_RATE, AudioError
from musicstar.evaluation.outputs import GOLD, INPUT, Collection


def write(collection: Collection, folder: Path) -> None:
    """Write PIECE.DIRECTION.png for each place of a collection; what cannot be read is not in it.

    The input comes first, then the gold standard, then the systems by name, all at one loudness.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for (piece, direction), systems in collection.files.items():
        tracks = []
        for system in sorted(systems, key=lambda name: (name != INPUT, name != GOLD, name)):
            try:
                clip = audio.read(systems[system], sample_rate=SAMPLE_RATE)
            except AudioError:
                continue
            tracks.append((system, clip.wav, clip.loudness_lufs()))
        # One axis of time for all.
        longest = max((len(wav) for _, wav, _ in tracks), default=0)
        tracks = [(system, np.pad(wav, (0, longest - len(wav))), level) for system, wav, level in tracks]
        if tracks:
            pictures.draw_sheet(tracks, folder / f"{piece}.{direction}.png", sample_rate=SAMPLE_RATE)
