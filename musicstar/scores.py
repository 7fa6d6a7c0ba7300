"""Scores: the notes of a melody and an accompaniment, and MIDI files of them.

A `Score` holds what all four instruments play: the melody goes to clarinet and strings, the accompaniment to
vibraphone and piano. A score kept by `write_midi` comes back from `read_midi` note for note.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.files import whole

TICKS_PER_BEAT = 960
DEFAULT_BEAT_US = 500_000
# The keys at which all instruments of a part sound well.
MELODY_KEYS = (52, 88)
ACCOMPANIMENT_KEYS = (41, 81)
LEGATO_OVERLAP_S = 0.012
SHORTEST_S = 0.025
RELEASE_S = 0.2
PARTS = ("melody", "accompaniment")

_RESTRIKE_S = 0.004
_DRUM_CHANNEL = 9


class ScoreError(ValueError):
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
    beat_us: int = DEFAULT_BEAT_US

    @property
    def duration_s(self) -> float:
        """When the last note ends, in seconds."""
        return max((n.onset_s + n.duration_s for n in self.melody + self.accompaniment), default=0.0)

    def within(self, duration_s: float) -> "Score":
        """The notes that begin in the first `duration_s` seconds; all end `RELEASE_S` before that."""
        end_s = duration_s - RELEASE_S

        def cut(notes: tuple[Note, ...]) -> tuple[Note, ...]:
            kept = (n for n in notes if n.onset_s < end_s - 2 * SHORTEST_S)
            return tuple(replace(n, duration_s=min(n.duration_s, end_s - n.onset_s)) for n in kept)

        return replace(self, melody=cut(self.melody), accompaniment=cut(self.accompaniment))

    def snapped(self) -> "Score":
        """The score with its notes moved to the ticks of a MIDI file: what `read_midi` gives back."""
        tick_s = _tick_s(self.beat_us)

        def snap(notes: tuple[Note, ...]) -> tuple[Note, ...]:
            moved = []
            for note in notes:
                on = round(note.onset_s / tick_s)
                off = max(on + 1, round((note.onset_s + note.duration_s) / tick_s))
                moved.append(replace(note, onset_s=on * tick_s, duration_s=off * tick_s - on * tick_s))
            return tuple(sorted(moved))

        return replace(self, melody=snap(self.melody), accompaniment=snap(self.accompaniment))


def fit(notes: Sequence[Note], keys: tuple[int, int]) -> tuple[Note, ...]:
    """Move a part by octaves into a range of keys: as a whole first, then every note outside it."""
    if not notes:
        return ()
    low, high = keys
    middle = float(np.median([n.key for n in notes]))
    whole = 0 if low <= middle <= high else 12 * round(((low + high) / 2 - middle) / 12)

    def inside(key: int) -> int:
        key += whole
        key += 12 * math.ceil(max(0, low - key) / 12)
        return key - 12 * math.ceil(max(0, key - high) / 12)

    return tuple(replace(n, key=inside(n.key)) for n in notes)


def monophonic(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The upper line: of notes that begin together the highest, each ending where the next begins.

    An overlap of `LEGATO_OVERLAP_S` is left, as a player who slurs leaves it.
    """
    line: list[Note] = []
    for note in sorted(notes, key=lambda n: (n.onset_s, -n.key)):
        if line:
            since_s = note.onset_s - line[-1].onset_s
            if since_s < SHORTEST_S:
                continue
            limit_s = max(SHORTEST_S, since_s + LEGATO_OVERLAP_S)
            line[-1] = replace(line[-1], duration_s=min(line[-1].duration_s, limit_s))
        line.append(note)
    return tuple(line)


def released(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The same notes, none sounding still when its own key is struck again."""
    following: dict[int, float] = {}
    kept: list[Note] = []
    for note in sorted(notes, reverse=True):
        limit_s = following.get(note.key, math.inf) - note.onset_s - _RESTRIKE_S
        if limit_s >= SHORTEST_S:
            following[note.key] = note.onset_s
            kept.append(replace(note, duration_s=min(note.duration_s, limit_s)))
    return tuple(reversed(kept))


def write_midi(path: str | Path, score: Score, *, origin: str = "") -> Path:
    """Write a score as a MIDI file of two named tracks, whole or not at all.

    Parameters
    ----------
    origin : a text that says where the notes come from; `midi_origin` reads it

    Raises
    ------
    ScoreError
        The mido package is not installed.
    """
    mido = _mido()
    path = Path(path)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    tick_s = _tick_s(score.beat_us)
    for channel, (name, notes) in enumerate(zip(PARTS, (score.melody, score.accompaniment), strict=True)):
        track = file.add_track(name)
        if channel == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=score.beat_us, time=0))
            track.append(mido.MetaMessage("text", text=origin, time=0))
        events = []
        for note in notes:
            on = round(note.onset_s / tick_s)
            off = max(on + 1, round((note.onset_s + note.duration_s) / tick_s))
            events += [(on, 1, note.key, note.velocity), (off, 0, note.key, 0)]
        now = 0
        # At one tick a note ends before another begins, so that a repeated key is not cut off.
        for tick, begins, key, velocity in sorted(events):
            kind = "note_on" if begins else "note_off"
            track.append(mido.Message(kind, channel=channel, note=key, velocity=velocity, time=tick - now))
            now = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        file.save(temporary)
    return path


def read_midi(path: str | Path) -> Score:
    """Read a MIDI file as two parts.

    Tracks named "melody" and "accompaniment" are taken as they are (our own files). Otherwise a part is what
    one track plays on one channel, drums left out. The part whose notes lie highest on average is the melody,
    of its chords the top notes; all other parts together are the accompaniment. A file of a single part is
    divided: its upper line is the melody, the rest the accompaniment. Both are moved by octaves into the keys
    that suit all instruments.

    Raises
    ------
    ScoreError
        The file is not MIDI, counts time in film frames, or holds no notes for one of the two parts.
    """
    path = Path(path)
    file = _midi_file(path)
    tempi = _tempi(file)
    parts: dict[tuple[int, int], list[Note]] = defaultdict(list)
    for number, track in enumerate(file.tracks):
        for channel, note in _track_notes(track, tempi, file.ticks_per_beat):
            parts[number, channel].append(note)
    named = {track.name: number for number, track in enumerate(file.tracks)}
    if set(PARTS) <= named.keys():
        melody, accompaniment = (
            tuple(sorted(n for (number, _), notes in parts.items() if number == named[name] for n in notes))
            for name in PARTS
        )
    else:
        pitched = [notes for (_, channel), notes in parts.items() if channel != _DRUM_CHANNEL]
        melody, accompaniment = _two_parts(pitched)
    for name, notes in zip(PARTS, (melody, accompaniment), strict=True):
        if not notes:
            raise ScoreError(f"{path.name}: no notes for the {name}; expected a melody and an accompaniment")
    return Score(melody, accompaniment, tempi[0][2])


def midi_origin(path: str | Path) -> str:
    """The text that `write_midi` was given; empty where there is none.

    Raises
    ------
    ScoreError
        The file is not MIDI.
    """
    messages = (m for track in _midi_file(Path(path)).tracks for m in track)
    return next((str(m.text) for m in messages if m.type == "text"), "")


def _two_parts(parts: Sequence[list[Note]]) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
    """Melody and accompaniment out of the parts of any file."""
    if not parts:
        return (), ()
    if len(parts) == 1:
        upper = {(n.onset_s, n.key) for n in monophonic(parts[0])}
        melody = [n for n in parts[0] if (n.onset_s, n.key) in upper]
        rest = [n for n in parts[0] if (n.onset_s, n.key) not in upper]
    else:
        melody = max(parts, key=lambda notes: float(np.mean([n.key for n in notes])))
        rest = [n for notes in parts if notes is not melody for n in notes]
    return released(fit(monophonic(melody), MELODY_KEYS)), released(fit(rest, ACCOMPANIMENT_KEYS))


def _mido() -> Any:
    """The MIDI package, or a sentence that says how to get it."""
    try:
        import mido
    except ModuleNotFoundError as error:
        raise ScoreError("MIDI files need the mido package: pip install 'music-star-studio[render]'") from error
    return mido


def _midi_file(path: Path) -> Any:
    """Parse a MIDI file."""
    mido = _mido()
    try:
        file = mido.MidiFile(path)
    except FileNotFoundError as error:
        raise ScoreError(f"{path.name}: there is no such file") from error
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ScoreError(f"{path.name}: not readable as MIDI ({type(error).__name__}: {error})") from error
    # The division of a file in film frames is a negative number.
    if not 0 < file.ticks_per_beat < 1 << 15:
        raise ScoreError(f"{path.name}: counts time in film frames; expected ticks per quarter note")
    return file


def _tick_s(beat_us: int, ticks_per_beat: int = TICKS_PER_BEAT) -> float:
    """Seconds in a MIDI tick."""
    return beat_us / 1e6 / ticks_per_beat


def _tempi(file: Any) -> list[tuple[int, float, int]]:
    """(tick, second, microseconds per quarter note) of every tempo change, the first at tick 0."""
    changes = {0: DEFAULT_BEAT_US}
    for track in file.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                changes[tick] = message.tempo
    tempi = [(0, 0.0, changes[0])]
    for tick in sorted(changes.keys() - {0}):
        last_tick, last_s, last_us = tempi[-1]
        second = last_s + (tick - last_tick) * _tick_s(last_us, file.ticks_per_beat)
        tempi.append((tick, second, changes[tick]))
    return tempi


def _track_notes(track: Any, tempi: Sequence[tuple[int, float, int]], ticks_per_beat: int) -> list[tuple[int, Note]]:
    """(channel, note) of one track; a key struck again ends its note, one never released has none."""
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
