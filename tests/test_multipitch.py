"""Content similarity: its arithmetic by hand, what must not change it, its known figures on real music."""

import builtins
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicstar.audio import Clip, read
from musicstar.evaluation.multipitch import (
    ContentSimilarity,
    EssentiaMissingError,
    Semitones,
    compare,
    nearest_semitones,
    pitches,
)

SILENCE: Semitones = frozenset()
C = frozenset({60})
CE = frozenset({60, 64})
EG = frozenset({64, 67})


def similarity(a: Clip, b: Clip) -> ContentSimilarity:
    return compare(pitches(a), pitches(b))


@pytest.fixture
def essentia() -> None:
    pytest.importorskip("essentia", reason="no essentia: the extra `eval` is not installed")


def test_worked_by_hand() -> None:
    # Frame by frame: 1/1, 1/2, 1/3, 0 (one side silent), both silent.
    got = compare([C, C, CE, C, SILENCE], [C, CE, EG, SILENCE, SILENCE])
    shared = 1 + 1 / 2 + 1 / 3
    assert got.silent_one == pytest.approx((shared + 1) / 5)
    assert got.silent_zero == pytest.approx(shared / 5)
    assert got.voiced_only == pytest.approx(shared / 4)


@pytest.mark.parametrize("frames", [0, 3])
def test_nothing_voiced(frames: int) -> None:
    got = compare([SILENCE] * frames, [SILENCE] * frames)
    assert (got.silent_one, got.silent_zero) == (1.0, 0.0)
    assert math.isnan(got.voiced_only)


def test_a_clip_that_breaks_off_is_silent_from_there() -> None:
    assert compare([C] * 4, [C]) == ContentSimilarity(0.25, 0.25, 0.25)
    assert compare([C, SILENCE], [C, SILENCE]) == ContentSimilarity(1.0, 0.5, 1.0)


def test_silence_added_to_a_clip_changes_nothing() -> None:
    """What is silent behind the shorter clip's end is no part of either; what is played there still counts."""
    for padded in ([C, EG] + [SILENCE] * 9, [C, EG]):
        assert compare(padded, [C, C]) == ContentSimilarity(0.5, 0.5, 0.5)
    assert compare([C, SILENCE, C, SILENCE], [C]) == ContentSimilarity(2 / 3, 1 / 3, 0.5)


def test_symmetric_and_bounded() -> None:
    a, b = [C, CE, SILENCE, EG], [EG, CE, SILENCE]
    assert compare(a, b) == compare(b, a)
    got = compare(a, b)
    assert 0 < got.silent_zero < got.voiced_only < got.silent_one < 1


def test_semitones_meet_halfway() -> None:
    quarter_tone = 440 * 2 ** (1 / 24)
    assert nearest_semitones([quarter_tone * 0.999]) == {69}
    assert nearest_semitones([quarter_tone * 1.001]) == {70}
    assert nearest_semitones(np.zeros(3)) == SILENCE


@pytest.mark.usefixtures("essentia")
def test_finds_the_notes_that_are_there(two_voices: tuple[Clip, Clip]) -> None:
    melody = two_voices[0]
    frames = pitches(melody)
    for note, pitch in enumerate((72, 74, 76, 79)):
        middle = frames[round((0.5 * note + 0.2) * 125) : round((0.5 * note + 0.3) * 125)]
        assert set(middle) == {frozenset({pitch})}


@pytest.mark.usefixtures("essentia")
def test_a_clip_is_like_itself_and_unlike_a_transposed_one(two_voices: tuple[Clip, Clip]) -> None:
    clip = two_voices[0]
    assert similarity(clip, clip).voiced_only == 1.0
    # 17/16 is a semitone: the same samples played that much faster share no pitch with themselves.
    higher = Clip(clip.wav, clip.sample_rate * 17 // 16)
    assert similarity(clip, higher).voiced_only < 0.05


@pytest.mark.usefixtures("essentia")
@pytest.mark.parametrize("gain_db", [-40.0, -6.0, 12.0])
def test_gain_changes_nothing(two_voices: tuple[Clip, Clip], gain_db: float) -> None:
    clip = Clip(two_voices[0].wav + two_voices[1].wav)
    assert similarity(clip, clip.amplified(gain_db)).voiced_only > 0.995


@pytest.mark.usefixtures("essentia")
@pytest.mark.parametrize("sample_rate", [22_050, 44_100, 48_000])
def test_sample_rate_changes_nothing(two_voices: tuple[Clip, Clip], sample_rate: int) -> None:
    clip = Clip(two_voices[0].wav + two_voices[1].wav)
    assert similarity(clip, clip.resampled(sample_rate)).voiced_only > 0.995


@pytest.mark.usefixtures("essentia")
@pytest.mark.parametrize("samples", [0, 1, 2047, 16_000])
def test_silence_of_any_length_holds_no_pitch(samples: int) -> None:
    assert set(pitches(Clip(np.zeros(samples, np.float32)))) <= {SILENCE}


@pytest.mark.usefixtures("essentia")
def test_known_figures_on_real_music(excerpts: Path) -> None:
    """The untranslated input against its gold standard, and against the gold standards of other pieces."""
    names = sorted(path.name.split(".")[0] for path in excerpts.glob("*.0.wav"))
    cv = {name: pitches(read(excerpts / f"{name}.0.wav")) for name in names}
    sp = {name: pitches(read(excerpts / f"{name}.3.wav")) for name in names}
    own = [compare(cv[name], sp[name]) for name in names]
    foreign = [compare(cv[one], sp[other]) for one, other in permutations(names, 2)]
    assert np.mean([s.silent_one for s in own]) == pytest.approx(0.509, abs=0.005)
    assert np.mean([s.silent_zero for s in own]) == pytest.approx(0.421, abs=0.005)
    assert np.mean([s.voiced_only for s in own]) == pytest.approx(0.458, abs=0.005)
    assert np.mean([s.silent_one for s in foreign]) == pytest.approx(0.08, abs=0.01)


def test_missing_essentia_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "essentia":
            raise ModuleNotFoundError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EssentiaMissingError, match=r"not installed.*\[eval\]"):
        pitches(Clip(np.zeros(100, np.float32)))
