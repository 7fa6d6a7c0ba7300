"""Composed pieces, what is done with notes, and MIDI files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from musicstar.pieces import TEMPI_BPM, VELOCITIES, compose
from musicstar.scores import (
    ACCOMPANIMENT_KEYS,
    LEGATO_OVERLAP_S,
    MELODY_KEYS,
    RELEASE_S,
    Note,
    Score,
    ScoreError,
    fit,
    midi_origin,
    monophonic,
    read_midi,
    released,
    write_midi,
)

mido = pytest.importorskip("mido", reason="no mido (extra `render`)")
SEEDS = range(24)


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return [compose(seed, duration_s=30.0) for seed in SEEDS]


def overlaps(notes: tuple[Note, ...]) -> list[float]:
    """How long each note goes on after the next has begun, in seconds."""
    return [a.onset_s + a.duration_s - b.onset_s for a, b in pairwise(notes)]


def test_the_same_seed_composes_the_same_piece(scores: list[Score]) -> None:
    assert compose(3, duration_s=30.0) == scores[3]
    assert len(set(scores)) == len(scores)


def test_parts_keep_to_their_registers_and_velocities(scores: list[Score]) -> None:
    for score in scores:
        for notes, (low, high) in (
            (score.melody, MELODY_KEYS),
            (score.accompaniment, ACCOMPANIMENT_KEYS),
        ):
            assert all(low <= n.key <= high for n in notes)
            assert all(VELOCITIES[0] <= n.velocity <= VELOCITIES[1] for n in notes)
            assert list(notes) == sorted(notes)


def test_the_melody_is_one_voice_with_some_legato(scores: list[Score]) -> None:
    found = [overlap for score in scores for overlap in overlaps(score.melody)]
    assert max(found) <= LEGATO_OVERLAP_S + 0.002
    assert max(found) > 0
    assert min(found) < -0.25


def test_no_key_is_struck_while_it_sounds(scores: list[Score]) -> None:
    for score in scores:
        for notes in (score.melody, score.accompaniment):
            for key in {n.key for n in notes}:
                assert max(overlaps(tuple(n for n in notes if n.key == key)), default=-1.0) < 0


def test_a_piece_fills_its_time_and_ends_in_it(scores: list[Score]) -> None:
    for score in scores:
        assert 24.0 < score.duration_s <= 30.0 - RELEASE_S + 1e-3
        assert score.melody[0].onset_s < 1.0


def test_pieces_differ_in_tempo_density_key_and_loudness(scores: list[Score]) -> None:
    tempi = [60e6 / score.beat_us for score in scores]
    assert min(tempi) >= TEMPI_BPM[0] - 0.1
    assert max(tempi) <= TEMPI_BPM[1] + 0.1
    assert np.ptp(tempi) > 40
    densities = [len(score.accompaniment) / 30 for score in scores]
    assert max(densities) > 3 * min(densities)
    assert np.ptp([np.mean([n.velocity for n in score.melody]) for score in scores]) > 15
    struck = [sum(b.onset_s - a.onset_s > 0.05 for a, b in pairwise(s.accompaniment)) for s in scores]
    notes_at_once = [len(s.accompaniment) / count for s, count in zip(scores, struck, strict=True)]
    assert min(notes_at_once) < 1.3
    assert max(notes_at_once) > 2
    classes = {tuple(np.bincount([n.key % 12 for n in s.melody], minlength=12) > 0) for s in scores}
    assert len(classes) > len(scores) / 2


@pytest.mark.parametrize("duration_s", [0.0, 1.9, float("nan")])
def test_too_short_to_compose(duration_s: float) -> None:
    with pytest.raises(ScoreError, match="too short for a piece, at least 2 s"):
        compose(0, duration_s=duration_s)


def test_notes_come_back_from_midi_as_they_went(scores: list[Score], tmp_path: Path) -> None:
    for number, score in enumerate(scores):
        path = write_midi(tmp_path / f"{number}.mid", score, origin=f"seed={number}")
        assert read_midi(path) == score
        assert midi_origin(path) == f"seed={number}"
    assert {path.suffix for path in tmp_path.iterdir()} == {".mid"}


def test_snapping_moves_notes_by_less_than_a_tick(tmp_path: Path) -> None:
    score = Score((Note(0.1234567, 0.5, 60, 80),), (Note(1 / 3, 1 / 7, 50, 70),))
    (note,) = score.snapped().melody
    assert abs(note.onset_s - 0.1234567) < 0.5 / 960
    assert read_midi(write_midi(tmp_path / "a.mid", score)) == score.snapped()


def test_a_repeated_key_comes_back_as_two_notes(tmp_path: Path) -> None:
    twice = (Note(0.0, 0.5, 60, 80), Note(0.5, 0.5, 60, 70))
    assert read_midi(write_midi(tmp_path / "a.mid", Score(twice, twice))) == Score(twice, twice)


def test_monophonic_by_hand() -> None:
    chord = [Note(0.0, 1.0, 60, 80), Note(0.0, 1.0, 67, 80), Note(0.5, 1.0, 62, 80), Note(2.0, 0.1, 64, 80)]
    assert monophonic(chord) == (
        Note(0.0, 0.5 + LEGATO_OVERLAP_S, 67, 80),
        Note(0.5, 1.0, 62, 80),
        Note(2.0, 0.1, 64, 80),
    )


def test_released_by_hand() -> None:
    notes = [Note(0.0, 2.0, 60, 80), Note(1.0, 0.5, 60, 70), Note(0.5, 2.0, 64, 60)]
    first, *others = released(notes)
    assert (first.onset_s, first.key) == (0.0, 60)
    assert first.duration_s == pytest.approx(0.996)
    assert others == [notes[2], notes[1]]


def test_released_drops_a_note_struck_again_at_once() -> None:
    assert released([Note(0.0, 1.0, 60, 80), Note(0.01, 1.0, 60, 70)]) == (Note(0.01, 1.0, 60, 70),)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([60, 64], [60, 64]),  # inside: as it is
        ([20, 24, 27], [68, 72, 75]),  # far below: all by four octaves, to the middle of the range
        ([60, 100], [60, 88]),  # one note above the range
        ([60, 62, 30], [60, 62, 54]),  # one below
        ([], []),
    ],
)
def test_fit_by_hand(keys: list[int], expected: list[int]) -> None:
    assert [n.key for n in fit([Note(0.0, 1.0, k, 80) for k in keys], (52, 88))] == expected


def test_within_cuts_notes_at_the_end() -> None:
    score = Score((Note(0.0, 9.0, 60, 80), Note(4.9, 1.0, 62, 80)), (Note(4.0, 0.5, 50, 80),)).within(5.0)
    assert score.melody == (Note(0.0, 5.0 - RELEASE_S, 60, 80),)
    assert score.accompaniment == (Note(4.0, 0.5, 50, 80),)


def midi(path: Path, *tracks: list[tuple[int, int, int]], channel: int = 0, tempi: tuple[int, ...] = ()) -> Path:
    """A file of tracks of (first tick, last tick, key), 480 ticks a beat; `tempi` change once a beat."""
    file = mido.MidiFile(ticks_per_beat=480)
    if tempi:
        conductor = file.add_track("conductor")
        for number, tempo in enumerate(tempi):
            conductor.append(mido.MetaMessage("set_tempo", tempo=tempo, time=480 if number else 0))
    for notes in tracks:
        track = file.add_track()
        events = [(b, "note_on", k) for b, _, k in notes] + [(e, "note_off", k) for _, e, k in notes]
        now = 0
        for tick, kind, key in sorted(events, key=lambda e: (e[0], e[1] == "note_on")):
            track.append(mido.Message(kind, note=key, velocity=64, time=tick - now, channel=channel))
            now = tick
    file.save(path)
    return path


def keys(notes: tuple[Note, ...]) -> list[int]:
    return [n.key for n in notes]


def test_of_two_parts_the_higher_is_the_melody(tmp_path: Path) -> None:
    score = read_midi(midi(tmp_path / "a.mid", [(0, 480, 50), (480, 960, 53)], [(0, 480, 72), (480, 960, 74)]))
    assert keys(score.melody) == [72, 74]
    assert keys(score.accompaniment) == [50, 53]
    assert [n.onset_s for n in score.melody] == [0.0, 0.5]
    assert [n.duration_s for n in score.melody] == [0.5, 0.5]


def test_more_parts_are_one_accompaniment_and_chords_lose_their_lower_notes(tmp_path: Path) -> None:
    path = midi(tmp_path / "a.mid", [(0, 480, 48)], [(0, 480, 72), (0, 480, 76)], [(0, 480, 64)])
    score = read_midi(path)
    assert keys(score.melody) == [76]
    assert sorted(keys(score.accompaniment)) == [48, 64]


def test_a_single_part_is_divided_by_its_upper_line(tmp_path: Path) -> None:
    score = read_midi(midi(tmp_path / "a.mid", [(0, 960, 48), (0, 480, 72), (480, 960, 74)]))
    assert keys(score.melody) == [72, 74]
    assert keys(score.accompaniment) == [48]


def test_parts_are_moved_into_the_registers_by_octaves(tmp_path: Path) -> None:
    score = read_midi(midi(tmp_path / "a.mid", [(0, 480, 24)], [(0, 480, 100)]))
    assert keys(score.melody) == [76]
    assert keys(score.accompaniment) == [60]


def test_tempo_changes_are_followed(tmp_path: Path) -> None:
    path = midi(tmp_path / "a.mid", [(0, 480, 50)], [(480, 1440, 72)], tempi=(1_000_000, 250_000))
    score = read_midi(path)
    assert score.accompaniment == (Note(0.0, 1.0, 50, 64),)
    assert score.melody == (Note(1.0, 0.5, 72, 64),)
    assert score.beat_us == 1_000_000


def test_drums_are_no_part(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"drums\.mid: no notes for the melody"):
        read_midi(midi(tmp_path / "drums.mid", [(0, 480, 50)], [(0, 480, 72)], channel=9))


def test_a_melody_alone_has_no_accompaniment(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="no notes for the accompaniment"):
        read_midi(midi(tmp_path / "a.mid", [(0, 480, 60), (480, 960, 62)]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF....WAVEfmt ",
        b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\xff\0\x90",
        b"MThd\0\0\0\6\0\1\0\1\xe7\x28MTrk\0\0\0\4\0\xff\x2f\0",
    ],
    ids=["empty", "not MIDI", "cut off", "film frames"],
)
def test_what_is_not_midi(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.mid"
    path.write_bytes(content)
    with pytest.raises(ScoreError, match=r"bad\.mid: "):
        read_midi(path)


def test_no_such_midi_file(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"none\.mid: there is no such file"):
        read_midi(tmp_path / "none.mid")
