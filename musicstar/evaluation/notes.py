"""Notes: which were played, out of what sounds frame by frame, and how many of the gold's the output has.

Conventions
-----------
- A note is a run of frames that hold its semitone. Gaps of up to 48 ms are bridged; runs under 48 ms, bridged gaps
  included, are dropped.
- `precision`, `recall` and `f1` are mir_eval's (Raffel et al. 2014; Bay, Ehmann and Downie 2009): a note of the output
  is right where one of the gold starts within 50 ms and is within 50 cents, each used once; ends do not count.
  Higher is better, 1 at best. Where neither clip has a note all three are 1; where only one has, all are 0.
- Frames' pitches do not tell a repeated note from a held one where no gap lies between.
- `octave_errors`: of the pitches in the output's frames that the gold does not have in that frame, the share that lie
  12 or 24 semitones from a pitch the gold has in it. Lower is better; 0 where there is no such pitch. By chance, with
  two or three pitches sounding, a few per cent; what matters is the excess over the reference rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest

import numpy as np

from musicstar.audio import SAMPLE_RATE
from musicstar.evaluation.multipitch import HOP_SAMPLES, Semitones

FRAME_S = HOP_SAMPLES / SAMPLE_RATE
BRIDGED_FRAMES = 6
LEAST_FRAMES = 6
OCTAVES = (-24, -12, 12, 24)


@dataclass(frozen=True, order=True)
class Note:
    """One note; times in seconds, pitch as MIDI number."""

    start_s: float
    end_s: float
    pitch: int


@dataclass(frozen=True)
class NoteScore:
    """Share of the output's notes that are right, share of the gold's that were found, their harmonic mean."""

    precision: float
    recall: float
    f1: float


def notes(frames: Sequence[Semitones]) -> list[Note]:
    """The notes in frames of 8 ms, by their start.

    >>> c = frozenset({60})
    >>> notes([c] * 25 + [frozenset()] * 5 + [c] * 20)
    [Note(start_s=0.0, end_s=0.4, pitch=60)]
    """
    found = []
    for pitch in sorted(frozenset().union(*frames)):
        held = np.flatnonzero([pitch in frame for frame in frames])
        for run in np.split(held, np.flatnonzero(np.diff(held) > BRIDGED_FRAMES + 1) + 1):
            first, last = int(run[0]), int(run[-1]) + 1
            if last - first >= LEAST_FRAMES:
                found.append(Note(round(first * FRAME_S, 3), round(last * FRAME_S, 3), pitch))
    return sorted(found)


def is_installed() -> bool:
    """Whether mir_eval is there to compare notes with."""
    return find_spec("mir_eval") is not None


def compare(output: Sequence[Note], gold: Sequence[Note]) -> NoteScore:
    """Hold the notes of an output against those of the gold.

    Raises
    ------
    ImportError
        The extra `eval` is not installed.
    """
    if not output or not gold:
        value = float(not output and not gold)
        return NoteScore(value, value, value)
    from mir_eval.transcription import precision_recall_f1_overlap

    precision, recall, f1, _ = precision_recall_f1_overlap(
        *_arrays(gold), *_arrays(output), onset_tolerance=0.05, pitch_tolerance=50.0, offset_ratio=None
    )
    return NoteScore(float(precision), float(recall), float(f1))


def octave_errors(output: Sequence[Semitones], gold: Sequence[Semitones]) -> float:
    """Share of the output's wrong pitches that are an octave or two off.

    >>> octave_errors([frozenset({60, 72, 65})], [frozenset({60})])
    0.5
    """
    silence: Semitones = frozenset()
    wrong = slips = 0
    for made, wanted in zip_longest(output, gold, fillvalue=silence):
        for pitch in made - wanted:
            wrong += 1
            slips += any(pitch + octave in wanted for octave in OCTAVES)
    return slips / wrong if wrong else 0.0


def _arrays(played: Sequence[Note]) -> tuple[np.ndarray, np.ndarray]:
    """Intervals [N, 2] in seconds and pitches [N] in Hz."""
    intervals = np.array([(note.start_s, note.end_s) for note in played])
    return intervals, 440 * 2 ** ((np.array([note.pitch for note in played]) - 69) / 12)
