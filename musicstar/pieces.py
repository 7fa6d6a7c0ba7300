"""Two-part pieces: a melody over an accompaniment, composed by rule or read from MIDI, and kept as MIDI.

A `Score` holds what all four instruments play: the melody goes to clarinet and strings, the accompaniment to
vibraphone and piano. Composed scores are made of classical habits (periods of two four-bar phrases, cadences, a
few motifs, one accompaniment texture a section), so that a network trained on them meets chords, runs, rests,
dynamics and registers like those of StarNet. NumPy promises no stream of random numbers across versions: a score
that must be had again is kept by `write_midi` and read by `read_midi`, which gives back the very same notes.
"""

import math
import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

TICKS_PER_BEAT = 960
MELODY_KEYS = (52, 88)
ACCOMPANIMENT_KEYS = (41, 81)
TEMPI_BPM = (52.0, 138.0)
LEGATO_OVERLAP_S = 0.012
SHORTEST_S = 0.05
RELEASE_S = 0.2
DRUM_CHANNEL = 9

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
SCALE_WEIGHTS = (0.52, 0.34, 0.08, 0.06)
# Where a triad on each degree of the scale tends to go, before a cadence overrules it.
PROGRESSIONS = ((0, 3, 4, 5, 1), (4, 4, 6), (5, 3), (4, 0, 1), (0, 0, 5), (3, 1, 4), (0, 4))
TEXTURES = (
    "alberti",
    "arpeggio",
    "bass_chord",
    "block",
    "broken_sixths",
    "counterpoint",
    "held",
    "offbeat",
    "pulse",
    "octaves",
)
# Beats in a bar, and how many parts the bar's eighths come in twos (simple) or threes (compound).
METRES = ((4, 2), (3, 2), (2, 2), (2, 3))
METRE_WEIGHTS = (0.45, 0.27, 0.13, 0.15)


class PieceError(ValueError):
    """Notes that cannot be had or used; the message says what was found and what was expected."""


@dataclass(frozen=True, order=True)
class Note:
    """One note.

    Attributes
    ----------
    onset_s, duration_s : float, seconds
    key : int, MIDI key number (69 = 440 Hz)
    velocity : int, 1..127
    """

    onset_s: float
    duration_s: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Score:
    """What the two parts of a piece play; notes are sorted by onset.

    Attributes
    ----------
    melody, accompaniment : tuple[Note, ...]
    beat_us : int, microseconds per quarter note, the tempo written into a MIDI file
    """

    melody: tuple[Note, ...]
    accompaniment: tuple[Note, ...]
    beat_us: int = 500_000

    @property
    def duration_s(self) -> float:
        """When the last note ends, in seconds."""
        return max((n.onset_s + n.duration_s for n in self.melody + self.accompaniment), default=0.0)

    def within(self, duration_s: float) -> "Score":
        """The notes that start in the first `duration_s` seconds, none lasting beyond `RELEASE_S` before the end."""

        def cut(notes: tuple[Note, ...]) -> tuple[Note, ...]:
            end_s = duration_s - RELEASE_S
            kept = (n for n in notes if n.onset_s < end_s - SHORTEST_S)
            return tuple(replace(n, duration_s=min(n.duration_s, end_s - n.onset_s)) for n in kept)

        return replace(self, melody=cut(self.melody), accompaniment=cut(self.accompaniment))


def fit(notes: Sequence[Note], keys: tuple[int, int]) -> tuple[Note, ...]:
    """Move a part by octaves into a range of keys: as a whole first, then the notes that still lie outside."""
    if not notes:
        return ()
    low, high = keys
    middle = float(np.median([n.key for n in notes]))
    whole = 12 * round(((low + high) / 2 - middle) / 12) if not low <= middle <= high else 0

    def inside(key: int) -> int:
        key += whole
        while key < low:
            key += 12
        while key > high:
            key -= 12
        return key

    return tuple(replace(n, key=inside(n.key)) for n in notes)


def monophonic(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The upper line: of notes that start together the highest, each ending where the next begins.

    An overlap of `LEGATO_OVERLAP_S` is left, as a player who slurs leaves it.
    """
    line: list[Note] = []
    for note in sorted(notes, key=lambda n: (n.onset_s, -n.key)):
        if line and note.onset_s - line[-1].onset_s < SHORTEST_S / 2:
            continue
        if line:
            limit_s = max(SHORTEST_S / 2, note.onset_s - line[-1].onset_s + LEGATO_OVERLAP_S)
            line[-1] = replace(line[-1], duration_s=min(line[-1].duration_s, limit_s))
        line.append(note)
    return tuple(line)


def released(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The same notes, none still sounding when its own key is struck again."""
    following: dict[int, float] = {}
    kept: list[Note] = []
    for note in sorted(notes, reverse=True):
        limit_s = following.get(note.key, math.inf) - note.onset_s - 0.004
        if limit_s < SHORTEST_S / 2:
            continue
        following[note.key] = note.onset_s
        kept.append(replace(note, duration_s=min(note.duration_s, limit_s)))
    return tuple(reversed(kept))


def snapped(score: Score) -> Score:
    """The score with its notes moved to the ticks of a MIDI file: what `read_midi` gives after `write_midi`."""

    def snap(notes: Sequence[Note]) -> tuple[Note, ...]:
        moved = []
        for note in notes:
            on = round(note.onset_s / _tick_s(score.beat_us))
            off = max(on + 1, round((note.onset_s + note.duration_s) / _tick_s(score.beat_us)))
            onset_s = on * _tick_s(score.beat_us)
            moved.append(replace(note, onset_s=onset_s, duration_s=off * _tick_s(score.beat_us) - onset_s))
        return tuple(sorted(moved))

    return replace(score, melody=snap(score.melody), accompaniment=snap(score.accompaniment))


def _tick_s(beat_us: int, ticks_per_beat: int = TICKS_PER_BEAT) -> float:
    """Seconds in a MIDI tick."""
    return beat_us / 1e6 / ticks_per_beat


@dataclass(frozen=True)
class _Event:
    """A note while it is composed: time in quarter notes, loudness relative to the piece's."""

    onset: float
    length: float
    key: int
    accent: float


class _Composer:
    """Writes one piece, bar by bar; all choices come from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        scale = self.pick(tuple(SCALES), SCALE_WEIGHTS)
        self.scale = SCALES[scale]
        self.minor = scale == "minor"
        self.tonic = int(rng.integers(0, 12))
        self.beats, self.division = self.pick(METRES, METRE_WEIGHTS)
        self.beat_length = self.division / 2
        low, high = TEMPI_BPM
        self.bpm = float(np.exp(rng.uniform(math.log(low), math.log(high))))
        # Slow pieces move in shorter notes.
        self.liveliness = float(rng.uniform(0.15, 0.9)) * (90 / self.bpm) ** 0.4
        self.melody_centre = float(rng.uniform(63, 76))
        self.bass_centre = float(rng.uniform(45, 55))
        self.chord_centre = float(rng.uniform(56, 65))
        self.position = self.melody_centre
        self.inner = self.chord_centre
        self.melody: list[_Event] = []
        self.accompaniment: list[_Event] = []

    def pick(self, items: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """One of the items, by weight."""
        p = None if weights is None else np.asarray(weights, dtype=float) / float(np.sum(weights))
        return items[int(self.rng.choice(len(items), p=p))]

    @property
    def bar_length(self) -> float:
        """Quarter notes in a bar."""
        return float(self.beats * self.beat_length)

    def pitch_classes(self, degree: int) -> tuple[int, ...]:
        """The triad on a degree of the scale (with its seventh on the fifth degree, now and then)."""
        thirds = (0, 2, 4, 6) if degree == 4 and self.rng.random() < 0.4 else (0, 2, 4)
        classes = [(self.tonic + self.scale[(degree + t) % 7]) % 12 for t in thirds]
        if self.minor and degree in (4, 6):
            leading = (self.tonic + 10) % 12
            classes = [(c + 1) % 12 if c == leading else c for c in classes]
        return tuple(classes)

    def ladder(self, classes: Sequence[int], low: float, high: float) -> list[int]:
        """All keys of these pitch classes from low to high."""
        return [k for k in range(math.ceil(low), math.floor(high) + 1) if k % 12 in classes]

    def near(self, keys: Sequence[int], centre: float, spread: float) -> int:
        """One of the keys, likelier the nearer it is to the centre (in semitones)."""
        return int(self.pick(keys, [math.exp(-abs(k - centre) / spread) + 1e-9 for k in keys]))

    def chords(self, bars: int, *, closing: bool) -> list[int]:
        """Degrees for the bars of a phrase that ends on the dominant, or (closing) on the tonic."""
        degrees = [0 if self.rng.random() < 0.8 else int(self.pick((3, 5)))]
        while len(degrees) < bars - 2:
            degrees.append(int(self.pick(PROGRESSIONS[degrees[-1]])))
        ending = [4, 0] if closing else [int(self.pick((1, 3, 0))), 4]
        return (degrees + ending)[:bars]

    def rhythm(self, length: float) -> list[float]:
        """Note lengths that fill so many quarter notes."""
        busy = self.liveliness
        if self.division == 3:
            values = {0.5: 1.6 * busy, 1.0: 0.9, 1.5: 1.2, 0.75: 0.15, 3.0: max(0.05, 0.8 * (1 - busy))}
        else:
            values = {
                0.25: 0.9 * busy**2,
                0.5: 1.7 * busy,
                0.75: 0.2,
                1.0: 1.3,
                1.5: 0.5,
                2.0: max(0.05, 1 - busy),
                3.0: 0.2,
            }
        lengths: list[float] = []
        left = length
        while left > 1e-6:
            fitting = [v for v in values if v <= left + 1e-9] or [left]
            lengths.append(float(self.pick(fitting, [values.get(v, 1.0) + 0.01 for v in fitting])))
            left -= lengths[-1]
        return lengths

    def melody_bar(
        self, start: float, chord: Sequence[int], rhythm: Sequence[float], rest_chance: float
    ) -> None:
        """A bar of melody: chord notes on the beats, steps between them."""
        onset = 0.0
        scale = {(self.tonic + s) % 12 for s in self.scale} | set(chord)
        low, high = MELODY_KEYS
        for length in rhythm:
            on_beat = abs(onset / self.beat_length - round(onset / self.beat_length)) < 1e-6
            self.position += 0.12 * (self.melody_centre - self.position)
            if on_beat or length > 1:
                keys = self.ladder(chord, max(low, self.position - 9), min(high, self.position + 9))
                key = self.near(keys, self.position + self.rng.normal(0, 2.0), 2.4)
            else:
                steps = [k for k in self.ladder(sorted(scale), low, high) if 0 < abs(k - self.position) < 3.5]
                leap = self.rng.random() < 0.12
                keys = self.ladder(chord, low, high) if leap or not steps else steps
                key = self.near(keys, self.position, 4.0)
            self.position = float(key)
            if self.rng.random() >= rest_chance or onset == 0.0:
                accent = 6.0 if onset == 0.0 else 2.0 if on_beat else 0.0
                self.melody.append(_Event(start + onset, length, key, accent))
            onset += length

    def play(self, start: float, offset: float, length: float, keys: Sequence[int], accent: float) -> None:
        """Add accompaniment notes that sound together."""
        for key in keys:
            self.accompaniment.append(_Event(start + offset, length, key, accent))

    def accompaniment_bar(self, start: float, chord: Sequence[int], texture: str, thickness: int) -> None:
        """A bar of accompaniment in one texture."""
        low, high = ACCOMPANIMENT_KEYS
        centre = self.chord_centre
        bass = self.near(self.ladder(chord[:1], low, self.bass_centre + 9), self.bass_centre, 4.0)
        upper = self.ladder(chord, max(centre - 7, bass + 3), min(high, centre + 8)) or [bass + 12]
        first = max(0, min(len(upper) - thickness, int(self.rng.integers(0, 3))))
        voicing = upper[first : first + thickness]
        bar, beat = self.bar_length, self.beat_length
        eighths = [i * 0.5 for i in range(round(bar / 0.5))]
        match texture:
            case "held":
                self.play(start, 0.0, bar * 0.98, [bass, *voicing], -2)
            case "block":
                every = beat if self.rng.random() < 0.6 else bar / (2 if self.beats % 2 == 0 else 1)
                for i in range(round(bar / every)):
                    self.play(start, i * every, every * 0.95, voicing if i else [bass, *voicing], 0)
            case "bass_chord":
                self.play(start, 0.0, beat * 0.95, [bass], 6)
                for i in range(1, self.beats):
                    self.play(start, i * beat, beat * 0.6, voicing, -4)
            case "offbeat":
                for i in range(self.beats):
                    self.play(start, i * beat, beat * 0.45, [bass if i % 2 == 0 else voicing[0]], 2)
                    self.play(start, (i + 0.5) * beat, beat * 0.45, voicing, -5)
            case "alberti":
                order = [voicing[0], voicing[-1], voicing[len(voicing) // 2], voicing[-1]]
                order = order if self.division == 2 else order[:3]
                for i, offset in enumerate(eighths):
                    self.play(start, offset, 0.55, [order[i % len(order)]], 4 if i == 0 else 0)
            case "arpeggio":
                climb = [bass, *upper]
                if self.rng.random() < 0.4:
                    climb = climb + climb[-2:0:-1]
                for i, offset in enumerate(eighths):
                    self.play(start, offset, 0.9, [climb[i % len(climb)]], 4 if i == 0 else 0)
            case "broken_sixths":
                for i, offset in enumerate(eighths):
                    keys = [bass] if i == 0 else voicing[-2:] if i % 2 else voicing[:1]
                    self.play(start, offset, 0.6, keys, 3 if i == 0 else -2)
            case "pulse":
                for i, offset in enumerate(eighths):
                    self.play(start, offset, 0.42, [bass] if i == 0 else voicing[:2], 3 if i == 0 else -3)
            case "octaves":
                for i in range(self.beats):
                    key = bass if i == 0 else self.near(self.ladder(chord, low, high - 24), bass, 5.0)
                    self.play(start, i * beat, beat * 0.9, [key, key + 12], 2 if i == 0 else 0)
            case _:
                self.second_voice(start, chord, bass if self.rng.random() < 0.5 else None)

    def second_voice(self, start: float, chord: Sequence[int], bass: int | None) -> None:
        """A bar of a free second voice, with or without a held bass."""
        low, high = ACCOMPANIMENT_KEYS
        if bass is not None:
            self.play(start, 0.0, self.bar_length * 0.97, [bass], 0)
        scale = sorted({(self.tonic + s) % 12 for s in self.scale} | set(chord))
        onset = 0.0
        for length in self.rhythm(self.bar_length):
            keys = self.ladder(chord if onset % 1.0 == 0 else scale, low + 5, high - 8)
            keys = [k for k in keys if k != self.inner] or keys
            self.inner += 0.1 * (self.chord_centre - self.inner)
            self.inner = float(self.near(keys, self.inner, 2.6))
            self.play(start, onset, length, [int(self.inner)], 2 if onset == 0 else 0)
            onset += length

    def section(self, start: float) -> float:
        """Write a period of two phrases; return where it ends, in quarter notes."""
        texture = str(self.pick(TEXTURES))
        thickness = int(self.pick((2, 3), (0.45, 0.55)))
        bars = int(self.pick((4, 4, 4, 2)))
        motifs = [self.rhythm(self.bar_length) for _ in range(2)]
        rest_chance = float(self.rng.uniform(0.0, 0.16))
        accent = float(self.rng.normal(0, 6))
        pause = float(self.pick((0.0, 0.0, 0.25, 0.5)))
        first = (len(self.melody), len(self.accompaniment))
        for phrase in range(2):
            for bar, degree in enumerate(self.chords(bars, closing=phrase == 1)):
                chord = self.pitch_classes(degree)
                rhythm = motifs[bar % 2] if self.rng.random() < 0.7 else self.rhythm(self.bar_length)
                if bar == bars - 1:
                    rhythm = self.rhythm(self.bar_length / 2) if self.bar_length > 2 else []
                    rhythm = [*rhythm, self.bar_length - sum(rhythm)]
                self.melody_bar(start, chord, rhythm, rest_chance)
                if bar == bars - 1 and pause:
                    last = self.melody[-1]
                    self.melody[-1] = replace(last, length=max(0.25, last.length * (1 - pause)))
                if self.rng.random() > 0.02:
                    self.accompaniment_bar(start, chord, texture, thickness)
                start += self.bar_length
        for part, since in zip((self.melody, self.accompaniment), first, strict=True):
            for i in range(since, len(part)):
                swell = 5 * math.sin(math.pi * (i - since) / max(1, len(part) - since))
                part[i] = replace(part[i], accent=part[i].accent + accent + swell)
        if self.rng.random() < 0.3:
            self.tonic = (self.tonic + int(self.pick((7, 5, -3 if self.minor else 9)))) % 12
        return start


def compose(seed: int, *, duration_s: float) -> Score:
    """Compose a piece.

    The same seed gives the same piece under one version of NumPy; keep the notes (`write_midi`) to have it later.

    Raises
    ------
    PieceError
        The duration is under two seconds.
    """
    if duration_s < 2:
        raise PieceError(f"a piece of {duration_s:g} s is too short to compose, at least 2 s are needed")
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

    def notes(events: Sequence[_Event], length_factor: float, velocity: float) -> list[Note]:
        sounded = []
        for event in events:
            onset_s = max(0.0, event.onset * quarter_s + rng.normal(0, loose_s))
            length_s = max(SHORTEST_S, event.length * quarter_s * length_factor)
            spoken = round(velocity + event.accent + rng.normal(0, 3.5))
            sounded.append(Note(onset_s, length_s, event.key, min(122, max(34, spoken))))
        return sorted(sounded)

    melody = released(fit(monophonic(notes(composer.melody, articulation, loudness)), MELODY_KEYS))
    accompaniment = fit(released(notes(composer.accompaniment, touch, loudness - behind)), ACCOMPANIMENT_KEYS)
    return snapped(Score(melody, released(accompaniment), beat_us).within(duration_s))


def write_midi(path: str | Path, score: Score) -> Path:
    """Write a score as a MIDI file of two named tracks, whole or not at all.

    Raises
    ------
    PieceError
        The `mido` package is not installed.
    """
    mido = _mido()
    path = Path(path)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    for channel, (name, notes) in enumerate(
        (("melody", score.melody), ("accompaniment", score.accompaniment))
    ):
        track = file.add_track(name)
        if channel == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=score.beat_us, time=0))
        events = []
        for note in notes:
            on = round(note.onset_s / _tick_s(score.beat_us))
            off = round((note.onset_s + note.duration_s) / _tick_s(score.beat_us))
            events += [(on, 1, note.key, note.velocity), (max(off, on + 1), 0, note.key, 0)]
        now = 0
        for tick, sounding, key, velocity in sorted(events):
            kind = "note_on" if sounding else "note_off"
            track.append(mido.Message(kind, channel=channel, note=key, velocity=velocity, time=tick - now))
            now = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        file.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_midi(path: str | Path) -> Score:
    """Read a MIDI file as two parts.

    Tracks named "melody" and "accompaniment" are taken as they are (our own files). Otherwise a part is what one
    track plays on one channel, drums left out; the part whose notes lie highest on average is the melody (of its
    chords the top notes), all others together are the accompaniment. A file of a single part is parted by ear: the
    highest note at each onset is the melody, the rest the accompaniment. Parts outside the range that suits all
    four instruments are moved by octaves.

    Raises
    ------
    PieceError
        The file cannot be read as MIDI, or holds no notes for one of the two parts.
    """
    mido = _mido()
    path = Path(path)
    try:
        file = mido.MidiFile(path)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise PieceError(f"{path.name}: not readable as MIDI ({type(error).__name__}: {error})") from error
    if file.ticks_per_beat <= 0:
        raise PieceError(f"{path.name}: times in SMPTE frames are not read, expected ticks per quarter note")
    tempi = _tempo_map(file)
    parts: dict[tuple[int, int], list[Note]] = defaultdict(list)
    names: dict[str, int] = {}
    for index, track in enumerate(file.tracks):
        names[track.name.strip().lower()] = index
        for channel, note in _track_notes(track, tempi, file.ticks_per_beat):
            if channel != DRUM_CHANNEL:
                parts[index, channel].append(note)
    beat_us = tempi[0][2]
    if {"melody", "accompaniment"} <= names.keys():
        melody, rest = (
            [n for (index, _), notes in parts.items() if index == names[name] for n in notes]
            for name in ("melody", "accompaniment")
        )
        own = Score(tuple(sorted(melody)), tuple(sorted(rest)), beat_us)
        return _require_both(own, path)
    if len(parts) == 1:
        (notes,) = parts.values()
        line = set(monophonic(_top_notes(notes)))
        tops = {(n.onset_s, n.key) for n in line}
        melody, rest = sorted(line), [n for n in notes if (n.onset_s, n.key) not in tops]
    else:
        highest = max(parts, key=lambda part: float(np.mean([n.key for n in parts[part]])), default=None)
        melody = parts[highest] if highest is not None else []
        rest = [n for part, notes in parts.items() if part != highest for n in notes]
    score = Score(
        released(fit(monophonic(melody), MELODY_KEYS)),
        released(fit(released(rest), ACCOMPANIMENT_KEYS)),
        beat_us,
    )
    return _require_both(score, path)


def _require_both(score: Score, path: Path) -> Score:
    """Refuse a score with an empty part."""
    if not score.melody or not score.accompaniment:
        missing = "melody" if not score.melody else "accompaniment"
        raise PieceError(
            f"{path.name}: no notes for the {missing}; expected two parts, a melody and an accompaniment"
        )
    return score


def _top_notes(notes: Sequence[Note]) -> list[Note]:
    """Of notes struck together, the highest."""
    top: dict[float, Note] = {}
    for note in notes:
        if note.onset_s not in top or note.key > top[note.onset_s].key:
            top[note.onset_s] = note
    return list(top.values())


def _mido() -> Any:
    """The MIDI package, or a sentence that says how to get it."""
    try:
        import mido
    except ImportError as error:
        raise PieceError("MIDI files need the mido package: pip install 'musicstar[render]'") from error
    return mido


def _tempo_map(file: Any) -> list[tuple[int, float, int]]:
    """(tick, second, microseconds per quarter note) of every tempo change, the first at tick 0."""
    changes = {0: 500_000}
    for track in file.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                changes[tick] = message.tempo
    tempi: list[tuple[int, float, int]] = []
    for tick in sorted(changes):
        second = 0.0
        if tempi:
            last_tick, last_s, last_us = tempi[-1]
            second = last_s + (tick - last_tick) * _tick_s(last_us, file.ticks_per_beat)
        tempi.append((tick, second, changes[tick]))
    return tempi


def _track_notes(
    track: Any, tempi: Sequence[tuple[int, float, int]], ticks_per_beat: int
) -> list[tuple[int, Note]]:
    """(channel, note) of one track; a note struck again while it sounds ends there, one never released is dropped."""
    ticks = [tick for tick, _, _ in tempi]

    def second(tick: int) -> float:
        base_tick, base_s, beat_us = tempi[bisect_right(ticks, tick) - 1]
        return base_s + (tick - base_tick) * _tick_s(beat_us, ticks_per_beat)

    sounding: dict[tuple[int, int], tuple[int, int]] = {}
    notes: list[tuple[int, Note]] = []
    tick = 0
    for message in track:
        tick += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        place = (message.channel, message.note)
        if place in sounding:
            on, velocity = sounding.pop(place)
            if tick > on:
                onset_s = second(on)
                notes.append((message.channel, Note(onset_s, second(tick) - onset_s, message.note, velocity)))
        if message.type == "note_on" and message.velocity > 0:
            sounding[place] = (tick, message.velocity)
    return notes
