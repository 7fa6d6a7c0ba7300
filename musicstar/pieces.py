"""Two-part pieces composed by rule, wide enough to learn from.

Made of classical habits (periods of two phrases, half and full cadences, motifs that return, one
accompaniment texture a section, modulation), so that a network trained on them meets chords, runs, rests,
dynamics and registers as StarNet's arrangements of classical music have them. NumPy promises no stream of
random numbers across versions: a piece that must be had again is kept as notes (`scores.write_midi`), not as
a seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from musicstar.scores import (
    ACCOMPANIMENT_KEYS,
    MELODY_KEYS,
    SHORTEST_S,
    Note,
    Score,
    ScoreError,
    fit,
    monophonic,
    released,
)

TEMPI_BPM = (52.0, 138.0)
VELOCITIES = (34, 122)
SHORTEST_PIECE_S = 2.0
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
SCALE_WEIGHTS = (0.52, 0.34, 0.08, 0.06)
# Where a triad on each degree of the scale tends to go, before a cadence overrules it.
PROGRESSIONS = ((0, 3, 4, 5, 1), (4, 4, 6), (5, 3), (4, 0, 1), (0, 0, 5), (3, 1, 4), (0, 4))
# Beats in a bar, and eighths in a beat: two in simple metres, three in compound ones.
METRES = ((4, 2), (3, 2), (2, 2), (2, 3))
METRE_WEIGHTS = (0.45, 0.27, 0.13, 0.15)

_DOMINANT, _LEADING = 4, 6
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Event:
    """A note while it is composed: time in quarter notes, loudness relative to the piece's."""

    onset: float
    length: float
    key: int
    accent: float


@dataclass(frozen=True)
class _Bar:
    """What a texture has to work with.

    Attributes
    ----------
    length, beat : quarter notes in the bar and in a beat
    beats, division : beats in the bar, eighths in a beat
    chord : pitch classes, the root first
    bass : the lowest key; voicing : two or three keys above it; upper : all keys of the chord in their
        register
    """

    length: float
    beat: float
    beats: int
    division: int
    chord: tuple[int, ...]
    bass: int
    voicing: tuple[int, ...]
    upper: tuple[int, ...]

    @property
    def eighths(self) -> range:
        """The eighths of the bar, by number."""
        return range(round(2 * self.length))


def _ladder(classes: Sequence[int], low: float, high: float) -> list[int]:
    """All keys of some pitch classes from low to high."""
    return [k for k in range(math.ceil(low), math.floor(high) + 1) if k % 12 in classes]


def _chord(offset: float, length: float, keys: Sequence[int], accent: float) -> list[_Event]:
    """Keys struck together."""
    return [_Event(offset, length, key, accent) for key in keys]


class _Composer:
    """Writes one piece, section by section; all choices come from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        scale = self.pick(tuple(SCALES), SCALE_WEIGHTS)
        self.scale = SCALES[scale]
        self.minor = scale == "minor"
        self.tonic = int(rng.integers(0, 12))
        self.beats, self.division = self.pick(METRES, METRE_WEIGHTS)
        self.bpm = float(np.exp(rng.uniform(*np.log(TEMPI_BPM))))
        # Slow pieces move in shorter notes.
        self.liveliness = float(rng.uniform(0.15, 0.9)) * (90 / self.bpm) ** 0.4
        self.melody_centre = float(rng.uniform(63, 76))
        self.bass_centre = float(rng.uniform(45, 55))
        self.chord_centre = float(rng.uniform(56, 65))
        self.position = self.melody_centre
        self.inner = self.chord_centre
        self.melody: list[_Event] = []
        self.accompaniment: list[_Event] = []
        self.textures: tuple[Callable[[_Bar], list[_Event]], ...] = (
            self.alberti,
            self.arpeggio,
            self.bass_and_chords,
            self.blocks,
            self.broken,
            self.second_voice,
            self.held,
            self.offbeat,
            self.pulse,
            self.octaves,
        )

    @property
    def beat_length(self) -> float:
        """Quarter notes in a beat."""
        return self.division / 2

    @property
    def bar_length(self) -> float:
        """Quarter notes in a bar."""
        return self.beats * self.beat_length

    def pick(self, items: Sequence[_Item], weights: Sequence[float] | None = None) -> _Item:
        """One of the items, by weight."""
        p = None if weights is None else np.asarray(weights, dtype=float) / float(np.sum(weights))
        return items[int(self.rng.choice(len(items), p=p))]

    def near(self, keys: Sequence[int], centre: float, spread: float) -> int:
        """One of the keys, likelier the nearer it is to the centre (in semitones)."""
        return self.pick(keys, [math.exp(-abs(k - centre) / spread) + 1e-9 for k in keys])

    def pitch_classes(self, degree: int) -> tuple[int, ...]:
        """The triad on a degree of the scale; on the dominant now and then with its seventh."""
        thirds = (0, 2, 4, 6) if degree == _DOMINANT and self.rng.random() < 0.4 else (0, 2, 4)
        classes = [(self.tonic + self.scale[(degree + t) % 7]) % 12 for t in thirds]
        if self.minor and degree in (_DOMINANT, _LEADING):
            natural = (self.tonic + 10) % 12
            classes = [(c + 1) % 12 if c == natural else c for c in classes]
        return tuple(classes)

    def degrees(self, bars: int, *, closing: bool) -> list[int]:
        """Chords for the bars of a phrase that ends on the dominant, or (closing) on the tonic."""
        degrees = [0 if self.rng.random() < 0.8 else self.pick((3, 5))]
        while len(degrees) < bars - 2:
            degrees.append(self.pick(PROGRESSIONS[degrees[-1]]))
        ending = [_DOMINANT, 0] if closing else [self.pick((1, 3, 0)), _DOMINANT]
        return (degrees + ending)[:bars]

    def rhythm(self, length: float) -> list[float]:
        """Note lengths that fill so many quarter notes."""
        busy, calm = self.liveliness, 1 - self.liveliness
        if self.division == 3:
            values = {0.5: 1.6 * busy, 1.0: 0.9, 1.5: 1.2, 0.75: 0.15, 3.0: max(0.05, 0.8 * calm)}
        else:
            values = {0.25: 0.9 * busy**2, 0.5: 1.7 * busy, 0.75: 0.2, 1.0: 1.3, 1.5: 0.5}
            values |= {2.0: max(0.05, calm), 3.0: 0.2}
        lengths: list[float] = []
        left = length
        while left > 1e-6:
            fitting = [v for v in values if v <= left + 1e-9] or [left]
            lengths.append(self.pick(fitting, [values.get(v, 1.0) + 0.01 for v in fitting]))
            left -= lengths[-1]
        return lengths

    def melody_bar(self, start: float, chord: Sequence[int], rhythm: Sequence[float], rests: float) -> None:
        """A bar of melody: chord notes on the beats, steps between them; `rests` is the chance of a rest."""
        onset = 0.0
        scale = {(self.tonic + s) % 12 for s in self.scale} | set(chord)
        low, high = MELODY_KEYS
        for length in rhythm:
            beat = onset / self.beat_length
            on_beat = abs(beat - round(beat)) < 1e-6
            self.position += 0.12 * (self.melody_centre - self.position)
            if on_beat or length > 1:
                keys = _ladder(chord, max(low, self.position - 9), min(high, self.position + 9))
                key = self.near(keys, self.position + self.rng.normal(0, 2.0), 2.4)
            else:
                steps = [k for k in _ladder(sorted(scale), low, high) if 0 < abs(k - self.position) < 3.5]
                leap = self.rng.random() < 0.12
                key = self.near(_ladder(chord, low, high) if leap or not steps else steps, self.position, 4.0)
            self.position = float(key)
            if self.rng.random() >= rests or onset == 0.0:
                accent = 6.0 if onset == 0.0 else 2.0 if on_beat else 0.0
                self.melody.append(_Event(start + onset, length, key, accent))
            onset += length

    def bar(self, chord: tuple[int, ...], thickness: int) -> _Bar:
        """A bass note and a voicing of so many notes for a chord."""
        low, high = ACCOMPANIMENT_KEYS
        bass = self.near(_ladder(chord[:1], low, self.bass_centre + 9), self.bass_centre, 4.0)
        lowest, highest = max(self.chord_centre - 7, bass + 3), min(high, self.chord_centre + 8)
        upper = tuple(_ladder(chord, lowest, highest)) or (bass + 12,)
        first = max(0, min(len(upper) - thickness, int(self.rng.integers(0, 3))))
        voicing = upper[first : first + thickness]
        return _Bar(self.bar_length, self.beat_length, self.beats, self.division, chord, bass, voicing, upper)

    def held(self, bar: _Bar) -> list[_Event]:
        """One chord a bar."""
        return _chord(0.0, bar.length * 0.98, [bar.bass, *bar.voicing], -2)

    def blocks(self, bar: _Bar) -> list[_Event]:
        """Chords on every beat or half bar."""
        every = bar.beat if self.rng.random() < 0.6 else bar.length / (2 if bar.beats % 2 == 0 else 1)
        events = _chord(0.0, every * 0.95, [bar.bass, *bar.voicing], 0)
        for i in range(1, round(bar.length / every)):
            events += _chord(i * every, every * 0.95, bar.voicing, 0)
        return events

    def bass_and_chords(self, bar: _Bar) -> list[_Event]:
        """The bass on the first beat, chords on the others, as in a waltz."""
        events = _chord(0.0, bar.beat * 0.95, [bar.bass], 6)
        for i in range(1, bar.beats):
            events += _chord(i * bar.beat, bar.beat * 0.6, bar.voicing, -4)
        return events

    def offbeat(self, bar: _Bar) -> list[_Event]:
        """Chords after every beat."""
        events: list[_Event] = []
        for i in range(bar.beats):
            events += _chord(i * bar.beat, bar.beat * 0.45, [bar.voicing[0] if i % 2 else bar.bass], 2)
            events += _chord((i + 0.5) * bar.beat, bar.beat * 0.45, bar.voicing, -5)
        return events

    def alberti(self, bar: _Bar) -> list[_Event]:
        """Eighths: low, high, middle, high."""
        low, middle, high = bar.voicing[0], bar.voicing[len(bar.voicing) // 2], bar.voicing[-1]
        order = (low, high, middle, high) if bar.division == 2 else (low, high, middle)
        return [_Event(i / 2, 0.55, order[i % len(order)], 0 if i else 4) for i in bar.eighths]

    def arpeggio(self, bar: _Bar) -> list[_Event]:
        """Eighths that climb through the chord, and sometimes back."""
        climb = [bar.bass, *bar.upper]
        if self.rng.random() < 0.4:
            climb += climb[-2:0:-1]
        return [_Event(i / 2, 0.9, climb[i % len(climb)], 0 if i else 4) for i in bar.eighths]

    def broken(self, bar: _Bar) -> list[_Event]:
        """Eighths between the low note and the high ones."""
        events = _chord(0.0, 0.6, [bar.bass], 3)
        for i in bar.eighths[1:]:
            events += _chord(i / 2, 0.6, bar.voicing[-2:] if i % 2 else bar.voicing[:1], -2)
        return events

    def pulse(self, bar: _Bar) -> list[_Event]:
        """Short repeated chords."""
        events = _chord(0.0, 0.42, [bar.bass], 3)
        for i in bar.eighths[1:]:
            events += _chord(i / 2, 0.42, bar.voicing[:2], -3)
        return events

    def octaves(self, bar: _Bar) -> list[_Event]:
        """A bass line in octaves."""
        low, high = ACCOMPANIMENT_KEYS
        events: list[_Event] = []
        for i in range(bar.beats):
            key = self.near(_ladder(bar.chord, low, high - 24), bar.bass, 5.0) if i else bar.bass
            events += _chord(i * bar.beat, bar.beat * 0.9, [key, key + 12], 0 if i else 2)
        return events

    def second_voice(self, bar: _Bar) -> list[_Event]:
        """A free second voice, with or without a held bass."""
        low, high = ACCOMPANIMENT_KEYS
        events: list[_Event] = []
        if self.rng.random() < 0.5:
            events += _chord(0.0, bar.length * 0.97, [bar.bass], 0)
        scale = sorted({(self.tonic + s) % 12 for s in self.scale} | set(bar.chord))
        onset = 0.0
        for length in self.rhythm(bar.length):
            keys = _ladder(bar.chord if onset % 1.0 == 0 else scale, low + 5, high - 8)
            keys = [k for k in keys if k != self.inner] or keys
            self.inner += 0.1 * (self.chord_centre - self.inner)
            self.inner = float(self.near(keys, self.inner, 2.6))
            events.append(_Event(onset, length, int(self.inner), 0 if onset else 2))
            onset += length
        return events

    def section(self, start: float) -> float:
        """Write a period of two phrases; return where it ends, in quarter notes."""
        texture = self.pick(self.textures)
        thickness = self.pick((2, 3), (0.45, 0.55))
        bars = self.pick((4, 4, 4, 2))
        motifs = [self.rhythm(self.bar_length) for _ in range(2)]
        rests = float(self.rng.uniform(0.0, 0.16))
        accent = float(self.rng.normal(0, 6))
        pause = self.pick((0.0, 0.0, 0.25, 0.5))
        first = (len(self.melody), len(self.accompaniment))
        for closing in (False, True):
            for number, degree in enumerate(self.degrees(bars, closing=closing), 1):
                chord = self.pitch_classes(degree)
                rhythm = motifs[(number - 1) % 2] if self.rng.random() < 0.7 else self.rhythm(self.bar_length)
                if number == bars:
                    rhythm = self.rhythm(self.bar_length / 2) if self.bar_length > 2 else []
                    rhythm = [*rhythm, self.bar_length - sum(rhythm)]
                self.melody_bar(start, chord, rhythm, rests)
                if number == bars:
                    last = self.melody[-1]
                    self.melody[-1] = replace(last, length=max(min(0.25, last.length), last.length * (1 - pause)))
                if self.rng.random() > 0.02:
                    events = texture(self.bar(chord, thickness))
                    self.accompaniment += [replace(e, onset=start + e.onset) for e in events]
                start += self.bar_length
        for part, since in zip((self.melody, self.accompaniment), first, strict=True):
            for i in range(since, len(part)):
                swell = 5 * math.sin(math.pi * (i - since) / max(1, len(part) - since))
                part[i] = replace(part[i], accent=part[i].accent + accent + swell)
        if self.rng.random() < 0.3:
            self.tonic = (self.tonic + self.pick((7, 5, -3 if self.minor else 9))) % 12
        return start


def compose(seed: int, *, duration_s: float) -> Score:
    """Compose a piece; the same seed gives the same piece under one version of NumPy.

    Raises
    ------
    ScoreError
        The duration is too short for any music.
    """
    if not duration_s >= SHORTEST_PIECE_S:
        raise ScoreError(f"{duration_s:g} s is too short for a piece, at least {SHORTEST_PIECE_S:g} s are needed")
    rng = np.random.default_rng([seed, 1709])
    composer = _Composer(rng)
    beat_us = round(60e6 / composer.bpm)
    quarter_s = beat_us / 1e6
    end = 0.0
    while end * quarter_s < duration_s:
        end = composer.section(end)
    articulation, touch = rng.uniform(0.55, 1.05), rng.uniform(0.6, 1.25)
    loose_s = rng.uniform(0.0, 0.012)
    loudness = rng.uniform(64, 94)
    behind = rng.uniform(-4, 14)

    def performed(events: Sequence[_Event], length_factor: float, velocity: float) -> list[Note]:
        notes = []
        softest, loudest = VELOCITIES
        for event in events:
            onset_s = max(0.0, event.onset * quarter_s + rng.normal(0, loose_s))
            length_s = max(2 * SHORTEST_S, event.length * quarter_s * length_factor)
            spoken = round(velocity + event.accent + rng.normal(0, 3.5))
            notes.append(Note(onset_s, length_s, event.key, min(loudest, max(softest, spoken))))
        return sorted(notes)

    melody = fit(monophonic(performed(composer.melody, articulation, loudness)), MELODY_KEYS)
    accompaniment = fit(performed(composer.accompaniment, touch, loudness - behind), ACCOMPANIMENT_KEYS)
    return Score(released(melody), released(accompaniment), beat_us).within(duration_s).snapped()
