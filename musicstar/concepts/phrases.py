"""Phrases: a few seconds of music that show one texture, in a mode, a register, a tempo and an articulation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from musicstar.scores import Note, released

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}
# Centres of the registers as MIDI keys, tempi in quarter notes a minute, and how much of its time a note sounds.
REGISTERS = {"low register": 45, "middle register": 60, "high register": 76}
TEMPI = {"slow": (56, 72), "moderate": (92, 116), "fast": (144, 184)}
ARTICULATIONS = {"staccato": 0.28, "detached": 0.7, "legato": 1.06}

_KEYS = (24, 103)
# Scale degrees that a phrase's chords are built on.
_PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 1, 4, 0), (5, 3, 0, 4))


@dataclass(frozen=True)
class Phrase:
    """What a phrase is to be.

    Attributes
    ----------
    texture : one of `TEXTURES`
    mode, register, tempo, articulation : of the tables above
    """

    texture: str
    mode: str
    register: str
    tempo: str
    articulation: str

    def perform(self, rng: np.random.Generator, *, duration_s: float) -> "Performance":
        """Play the phrase, and what can go along with it; nothing begins after `duration_s`."""
        writer = _Writer(self, rng)
        beat_s = 60 / rng.uniform(*TEMPI[self.tempo])
        beats = duration_s / beat_s
        share = ARTICULATIONS[self.articulation] * rng.uniform(0.9, 1.1)
        loud = rng.uniform(70, 105)
        lead = TEXTURES[self.texture](writer, beats)
        every = writer.per_chord
        chords = [
            (float(at), 0.95 * every, key - 12) for at in range(0, int(beats) + 1, every) for key in writer.chord(at)
        ]
        strokes = [(i / 2, 0.4, 50 if i % 2 else 43) for i in range(int(2 * beats) + 1)]

        def played(events: Sequence[_Event], length: float) -> tuple[Note, ...]:
            found = {}
            for onset, beats, place in events:
                key = _within(place)
                onset_s = max(0.0, onset * beat_s + rng.normal(0, 0.004))
                if onset_s < duration_s - 0.05:
                    velocity = int(np.clip(rng.normal(loud + 6 * (onset % 1 == 0), 5), 30, 122))
                    found[round(onset_s, 3), key] = Note(onset_s, max(0.04, beats * beat_s * length), key, velocity)
            return released(list(found.values()))

        return Performance(played(lead, share), played(chords, 1.0), played(strokes, 1.0))


@dataclass(frozen=True)
class Performance:
    """Notes of a phrase, sorted: itself, its chords held for a piano, and strokes on every half beat for drums."""

    lead: tuple[Note, ...]
    chords: tuple[Note, ...]
    strokes: tuple[Note, ...]


def _within(key: int) -> int:
    """A key brought by octaves to where all instruments sound."""
    low, high = _KEYS
    return key + 12 * math.ceil(max(0, low - key) / 12) - 12 * math.ceil(max(0, key - high) / 12)


# Onset and length in quarter notes, and the key.
_Event = tuple[float, float, int]


class _Writer:
    """Chords and scale of one phrase."""

    def __init__(self, phrase: Phrase, rng: np.random.Generator) -> None:
        self.rng = rng
        scale = MODES[phrase.mode]
        tonic = int(rng.integers(0, 12))
        self.centre = REGISTERS[phrase.register] + int(rng.integers(-3, 4))
        classes = {(tonic + step) % 12 for step in scale}
        self.ladder = [key for key in range(self.centre - 14, self.centre + 15) if key % 12 in classes]
        self.degrees = _PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))]
        self.steps = [(tonic + scale[degree % len(scale)]) % 12 for degree in range(len(scale))]
        self.per_chord = 2 if phrase.tempo == "slow" else 4

    def classes(self, beat: float) -> tuple[int, int, int]:
        """The pitch classes of the chord at a time, its root first."""
        degree = self.degrees[int(beat // self.per_chord) % len(self.degrees)]
        root, third, fifth = (self.steps[(degree + i) % len(self.steps)] for i in (0, 2, 4))
        return root, third, fifth

    def chord(self, beat: float, size: int = 3) -> list[int]:
        """Keys of the chord around the centre, from its root on upwards."""
        classes = self.classes(beat)
        root = min((k for k in range(self.centre - 9, self.centre + 3) if k % 12 == classes[0]), default=self.centre)
        keys = [key for key in range(root, root + 28) if key % 12 in classes]
        return keys[:size]

    def line(self, beats: float, lengths: Sequence[float]) -> list[_Event]:
        """A melody that walks along the scale, on chord tones at the beats."""
        place, onset, events = len(self.ladder) // 2, 0.0, []
        while onset < beats:
            length = float(self.rng.choice(lengths))
            step = int(self.rng.choice((-2, -1, -1, 1, 1, 2)))
            place = int(np.clip(place + step, 0, len(self.ladder) - 1))
            if onset % 1 == 0:
                tones = [i for i, key in enumerate(self.ladder) if key % 12 in self.classes(onset)]
                place = min(tones, key=lambda i: (abs(i - place), i)) if tones else place
            events.append((onset, length, self.ladder[place]))
            onset += length
        return events


def _figure(
    writer: _Writer, beats: float, pattern: Callable[[int, list[int]], Sequence[int]], every: float
) -> list[_Event]:
    """Keys chosen out of the current chord, at even distances."""
    return [
        (i * every, every, key) for i in range(int(beats / every) + 1) for key in pattern(i, writer.chord(i * every, 6))
    ]


def _single_line(w: _Writer, beats: float) -> list[_Event]:
    return w.line(beats, (0.5, 0.5, 1.0, 1.0, 2.0))


def _octaves(w: _Writer, beats: float) -> list[_Event]:
    return [(at, n, key - down) for at, n, key in w.line(beats, (0.5, 1.0, 1.0)) for down in (0, 12)]


def _scale_runs(w: _Writer, beats: float) -> list[_Event]:
    there_and_back = [*w.ladder, *w.ladder[-2:0:-1]]
    first = int(w.rng.integers(len(there_and_back)))
    return [(i / 4, 0.25, there_and_back[(first + i) % len(there_and_back)]) for i in range(int(beats * 4) + 1)]


def _alberti(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda i, chord: [chord[(0, 2, 1, 2)[i % 4]]], 0.5)


def _arpeggio(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda i, chord: [chord[i % 6]], 0.5)


def _broken_thirds(w: _Writer, beats: float) -> list[_Event]:
    top = len(w.ladder) - 3
    first = int(w.rng.integers(top))
    return [(i / 4, 0.25, w.ladder[(first + i // 2) % top + 2 * (i % 2)]) for i in range(int(beats * 4) + 1)]


def _block_chords(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda _, chord: chord[:4], 1.0)


def _offbeat_chords(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda i, chord: chord[1:4] if i % 2 else [chord[0] - 12], 0.5)


def _waltz(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda i, chord: chord[1:4] if i % 3 else [chord[0] - 12], 1.0)


def _counterpoint(w: _Writer, beats: float) -> list[_Event]:
    upper, lower = w.line(beats, (0.5, 0.5, 1.0)), w.line(beats, (1.0, 1.0, 0.5))
    return [*upper, *((at, n, key - 12) for at, n, key in lower)]


def _canon(w: _Writer, beats: float) -> list[_Event]:
    leader = w.line(beats, (0.5, 0.5, 1.0))
    return [*leader, *((at + 2, n, key - 12) for at, n, key in leader)]


def _ostinato(w: _Writer, beats: float) -> list[_Event]:
    figure = [w.ladder[len(w.ladder) // 2 + int(step)] for step in w.rng.integers(-4, 5, size=4)]
    return [(i / 2, 0.5, figure[i % 4]) for i in range(int(beats * 2) + 1)]


def _tremolo(w: _Writer, beats: float) -> list[_Event]:
    return _figure(w, beats, lambda i, chord: [chord[(0, 2)[i % 2]]], 0.125)


def _repeated_notes(w: _Writer, beats: float) -> list[_Event]:
    return [(at + i / 4, 0.25, key) for at, _, key in w.line(beats, (1.0,)) for i in range(4)]


TEXTURES: dict[str, Callable[[_Writer, float], list[_Event]]] = {
    "single line": _single_line,
    "octaves": _octaves,
    "scale runs": _scale_runs,
    "alberti bass": _alberti,
    "arpeggio": _arpeggio,
    "broken thirds": _broken_thirds,
    "block chords": _block_chords,
    "offbeat chords": _offbeat_chords,
    "waltz": _waltz,
    "counterpoint": _counterpoint,
    "canon": _canon,
    "ostinato": _ostinato,
    "tremolo": _tremolo,
    "repeated notes": _repeated_notes,
}
