"""Measures of outputs: cases worked by hand, what must not change them, what an output equal to its gold has."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from musicstar import audio
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.domains import Direction, Domain
from musicstar.evaluation import bootstrap, notes, quality, salience, separation
from musicstar.evaluation.measures import FINDERS, MEASURES, Ear, Heard, measure
from musicstar.evaluation.multipitch import Semitones, compare
from musicstar.evaluation.notes import Note
from musicstar.evaluation.outputs import collect
from musicstar.evaluation.spectra import FLOOR_DB, levelled, mel_levels, without_tail
from musicstar.methods.base import Source

SILENCE: Semitones = frozenset()
C = frozenset({60})


@pytest.fixture(scope="module")
def music(two_voices: tuple[Clip, Clip]) -> Clip:
    return levelled(Clip(two_voices[0].wav + two_voices[1].wav))


@pytest.fixture(scope="module")
def silent(music: Clip) -> Clip:
    return Clip(np.zeros_like(music.wav))


def heard(clip: Clip) -> Heard:
    found = salience.pitches(clip)
    return Heard(levelled(clip), found, notes.notes(found), None, None)


# Notes


def test_short_gaps_are_bridged_and_short_notes_dropped() -> None:
    def frames(*runs: tuple[Semitones, int]) -> list[Semitones]:
        return [pitches for pitches, count in runs for _ in range(count)]

    assert notes.notes(frames((C, 10), (SILENCE, 6), (C, 10))) == [Note(0.0, 0.208, 60)]
    assert notes.notes(frames((C, 10), (SILENCE, 7), (C, 10))) == [Note(0.0, 0.08, 60), Note(0.136, 0.216, 60)]
    assert notes.notes(frames((C, 5), (SILENCE, 20), (C, 6))) == [Note(0.2, 0.248, 60)]
    assert notes.notes(frames((frozenset({60, 64}), 10), (frozenset({64}), 10))) == [
        Note(0.0, 0.08, 60),
        Note(0.0, 0.16, 64),
    ]
    assert notes.notes([]) == []


def test_notes_are_held_against_the_golds() -> None:
    pytest.importorskip("mir_eval", reason="the extra `eval` is not installed")
    gold = [Note(0.0, 0.5, 60), Note(0.5, 1.0, 62), Note(1.0, 1.5, 64)]
    # In time, 48 ms late, 56 ms late, a semitone off: two of four are right, two of three are found.
    played = [Note(0.0, 0.2, 60), Note(0.548, 1.0, 62), Note(1.056, 1.5, 64), Note(1.0, 1.5, 65)]
    score = notes.compare(played, gold)
    assert score.precision == pytest.approx(2 / 4)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(4 / 7)


def test_notes_of_nothing() -> None:
    one = [Note(0.0, 0.5, 60)]
    assert notes.compare([], []) == notes.NoteScore(1.0, 1.0, 1.0)
    assert notes.compare(one, []) == notes.compare([], one) == notes.NoteScore(0.0, 0.0, 0.0)


def test_octave_errors_by_hand() -> None:
    # Two octaves up and one down are slips, a fifth and a semitone are not, right pitches do not count.
    assert notes.octave_errors([frozenset({60, 84, 48, 67, 61})], [C]) == 2 / 4
    assert notes.octave_errors([C, C], [frozenset({72}), frozenset({61})]) == 1 / 2
    # The octave of a pitch that the gold has at another time is no slip.
    assert notes.octave_errors([frozenset({72}), SILENCE], [SILENCE, C]) == 0
    assert notes.octave_errors([C], [C]) == notes.octave_errors([], []) == notes.octave_errors([SILENCE], [C]) == 0
    assert notes.octave_errors([C], []) == 0


# Our own pitch finder


def test_salience_finds_the_notes_that_are_there(two_voices: tuple[Clip, Clip]) -> None:
    frames = salience.pitches(two_voices[0])
    assert len(frames) == 2 * 125
    for note, pitch in enumerate((72, 74, 76, 79)):
        middle = frames[round((0.5 * note + 0.2) * 125) : round((0.5 * note + 0.3) * 125)]
        assert set(middle) == {frozenset({pitch})}


def test_salience_does_not_depend_on_gain(music: Clip) -> None:
    assert compare(salience.pitches(music), salience.pitches(music.amplified(-30))).voiced_only > 0.995


@pytest.mark.parametrize("samples", [0, 1, 2047, 16_000])
def test_salience_of_silence(samples: int) -> None:
    frames = salience.pitches(Clip(np.zeros(samples, np.float32)))
    assert set(frames) <= {SILENCE}


def test_a_semitone_off_shares_nothing(two_voices: tuple[Clip, Clip]) -> None:
    clip = two_voices[0]
    higher = Clip(clip.wav, SAMPLE_RATE * 17 // 16)
    assert compare(salience.pitches(clip), salience.pitches(higher)).voiced_only < 0.05


def test_an_octave_off_is_nothing_but_octave_errors(two_voices: tuple[Clip, Clip]) -> None:
    clip = two_voices[0]
    # Each note twice at double speed: the same melody in time, an octave up.
    notes_twice = np.concatenate([np.tile(note, 2) for note in clip.wav.reshape(4, -1)])
    gold, output = (salience.pitches(played) for played in (clip, Clip(notes_twice, 2 * SAMPLE_RATE)))
    assert compare(output, gold).voiced_only < 0.1
    assert notes.octave_errors(output, gold) > 0.9


# Quality


def test_an_output_equal_to_its_gold_is_best(music: Clip) -> None:
    ear = Ear("salience", None)
    one = heard(music)
    values = ear.compare(one, one, Direction(Domain.SP, Domain.CV))
    expected = {name: MEASURES[name].best for name in values if MEASURES[name].best is not None}
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert set(quality.measure(music, music)) <= set(expected)


def test_silence_on_both_sides_is_best_and_on_one_finite(music: Clip, silent: Clip) -> None:
    for name, value in quality.measure(silent, silent).items():
        assert value == MEASURES[name].best or (name == "attack_sharpness" and math.isnan(value))
    one_side = quality.measure(silent, music)
    assert one_side["attack_sharpness"] == 0
    assert one_side["noise_bursts"] == 0
    assert one_side["mel_distance"] > 10
    assert all(map(math.isfinite, one_side.values()))
    assert all(math.isfinite(value) for name, value in quality.measure(music, silent).items() if name[:6] != "attack")


@pytest.mark.parametrize("gain_db", [-30.0, 12.0])
@pytest.mark.parametrize("sample_rate", [SAMPLE_RATE, 44_100])
def test_gain_and_sample_rate_change_nothing(music: Clip, gain_db: float, sample_rate: int) -> None:
    other = levelled(music.resampled(sample_rate).amplified(gain_db))
    blunt = Clip(np.convolve(music.wav, np.hanning(64) / 32, "same").astype(np.float32))
    values, again = quality.measure(levelled(blunt), music), quality.measure(levelled(blunt), other)
    for name, value in values.items():
        assert again[name] == pytest.approx(value, abs=0.02 if name != "noise_bursts" else 0)


def test_a_silent_gold_standard_is_named(tmp_path: Path, music: Clip, silent: Clip) -> None:
    for name, clip in (("1.cv.gold", silent), ("1.cv.a", music), ("2.cv.gold", music), ("2.cv.a", music)):
        audio.write(tmp_path / f"{name}.wav", clip)
    found, faults = measure(collect(tmp_path), Ear("salience", None))
    assert {(row.piece, row.system) for row in found} == {("2", "a"), ("2", "gold")}
    assert faults == ["1.cv.gold.wav: silent; nothing of 1.cv can be measured without its gold standard"]


def test_silence_behind_an_output_changes_nothing(tmp_path: Path, music: Clip) -> None:
    blunt = Clip(np.convolve(music.wav, np.ones(8) / 8, mode="same").astype(np.float32))
    longer = Clip(np.concatenate([blunt.wav, 1e-5 * np.ones(len(blunt.wav), np.float32)]))
    for name, clip in (("1.cv.gold", music), ("1.cv.a", blunt), ("1.cv.b", longer)):
        audio.write(tmp_path / f"{name}.wav", clip)
    measured, _ = measure(collect(tmp_path), Ear("salience", None))
    values = {one.system: one.values for one in measured}
    assert values["b"] == pytest.approx(values["a"], nan_ok=True)
    assert values["a"]["mel_distance"] > 0.1
    # What sounds after the gold standard has ended is heard.
    ringing = Clip(np.concatenate([blunt.wav, 0.1 * music.wav]))
    assert len(without_tail(ringing, len(music.wav)).wav) > 1.9 * len(music.wav)


def test_a_sine_has_its_level_and_silence_the_floor() -> None:
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sine = Clip((0.1 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32))
    assert levelled(sine).rms_dbfs() == pytest.approx(20 * math.log10(0.05))
    levels = mel_levels(Clip(np.zeros(1000, np.float32)), window_samples=512, hop_samples=128, bands=40)
    assert levels == pytest.approx(FLOOR_DB)


def test_mel_distance_is_a_gain_of_all_bands() -> None:
    loud = Clip(np.random.default_rng(0).normal(0, 0.2, SAMPLE_RATE).astype(np.float32))
    assert quality.mel_distance(loud, loud.amplified(-6.0)) == pytest.approx(6.0, abs=0.01)


def test_a_burst_is_counted_once_and_where_the_gold_has_one_not_at_all(music: Clip) -> None:
    wav = music.wav.copy()
    rng = np.random.default_rng(1)
    for start_s in (0.3, 1.2):
        start = round(start_s * SAMPLE_RATE)
        wav[start : start + 320] += rng.normal(0, 0.15, 320).astype(np.float32)
    bursting = Clip(wav)
    assert quality.noise_bursts(bursting, music) == pytest.approx(2 / music.duration_s)
    assert quality.noise_bursts(bursting, bursting) == 0
    assert quality.noise_bursts(music, bursting) == 0


def test_noise_between_the_harmonics_is_buzz(music: Clip) -> None:
    noisy = Clip(music.wav + np.random.default_rng(2).normal(0, 0.003, len(music.wav)).astype(np.float32))
    assert quality.measure(noisy, music)["buzz"] > 3
    assert quality.measure(music, noisy)["buzz"] < -3


def test_slow_attacks_are_blunt(two_voices: tuple[Clip, Clip]) -> None:
    melody = two_voices[0]
    swell = np.tile(np.minimum(1, np.arange(SAMPLE_RATE // 2) / 4000), 4).astype(np.float32)
    assert 0 < quality.attack_sharpness(levelled(Clip(melody.wav * swell)), levelled(melody)) < 0.7


def test_smear_lowers_the_modulations(music: Clip) -> None:
    rng = np.random.default_rng(3)
    tail = rng.normal(0, 1, 8000) * np.exp(-np.arange(8000) / 2500)
    smeared = levelled(Clip(np.convolve(music.wav, tail)[: len(music.wav)].astype(np.float32)))
    values = quality.measure(smeared, music)
    assert values["modulation_level"] < -0.5
    assert values["modulation_distance"] > 0.5


def test_a_low_pass_takes_the_upper_harmonics(music: Clip) -> None:
    spectrum = np.fft.rfft(music.wav)
    spectrum[round(len(music.wav) * 2000 / SAMPLE_RATE) :] *= 0.1
    dull = Clip(np.fft.irfft(spectrum, len(music.wav)).astype(np.float32))
    assert quality.measure(dull, music)["upper_harmonics"] == pytest.approx(-20, abs=3)


# Separation


def test_sdr_by_hand() -> None:
    stem = np.ones(3 * SAMPLE_RATE)
    # 20, 6.02 and -6.02 dB in three seconds: the median counts, not the mean.
    estimate = stem.copy()
    for second, error in enumerate((0.1, 0.5, 2.0)):
        estimate[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE] += error
    assert separation.sdr(stem, estimate) == pytest.approx(20 * math.log10(2))
    assert separation.sdr(stem, stem) == 100
    assert separation.sdr(10 * stem, 10 * estimate) == pytest.approx(separation.sdr(stem, estimate))


def test_sdr_of_swapped_stems(two_voices: tuple[Clip, Clip]) -> None:
    melody, accompaniment = (clip.wav for clip in two_voices)
    swapped = separation.sdr(melody, accompaniment)
    assert swapped < 0 < separation.sdr(melody, melody + 0.1 * accompaniment)


def test_sdr_leaves_silent_seconds_out() -> None:
    stem = np.concatenate([np.zeros(SAMPLE_RATE), np.ones(SAMPLE_RATE)])
    assert separation.sdr(stem, stem + 0.1) == pytest.approx(20)
    assert math.isnan(separation.sdr(np.zeros(SAMPLE_RATE), np.ones(SAMPLE_RATE)))


def test_each_stem_has_its_own_estimate(two_voices: tuple[Clip, Clip]) -> None:
    melody, accompaniment = (clip.wav for clip in two_voices)
    mixture = melody + accompaniment
    rms = float(np.sqrt(np.square(mixture).mean()))

    class Leaky(torch.nn.Module):
        """Gives each stem with a tenth of the other, at the level of what it is given."""

        def forward(self, heard: torch.Tensor) -> torch.Tensor:
            stems = torch.from_numpy(np.stack([melody, accompaniment]))
            return (stems + 0.1 * stems.flip(0))[None] * heard.square().mean().sqrt() / rms

    found = separation.measure(Source(Domain.SP, Clip(mixture), two_voices), Leaky())
    assert list(found) == ["strings", "piano"]
    assert found["strings"] == pytest.approx(separation.sdr(melody, melody + 0.1 * accompaniment), abs=1e-2)
    assert found["piano"] == pytest.approx(separation.sdr(accompaniment, accompaniment + 0.1 * melody), abs=1e-2)


# Intervals


def test_bootstrap_of_two_pieces_by_hand() -> None:
    """The mean of two draws is each value a quarter of the time, so both lie within 95 %."""
    assert bootstrap.estimate({"b": 1.0, "a": 0.5}) == bootstrap.Estimate(0.75, 0.5, 1.0)


def test_bootstrap_does_not_depend_on_order_and_needs_two_pieces() -> None:
    values = {"a": 0.1, "b": 0.7, "c": 0.4, "d": math.nan}
    assert bootstrap.estimate(values) == bootstrap.estimate(dict(reversed(values.items())))
    assert bootstrap.estimate(values).mean == pytest.approx(0.4)
    alone = bootstrap.estimate({"a": 0.3})
    assert (alone.mean, math.isnan(alone.low), math.isnan(alone.high)) == (0.3, True, True)
    assert math.isnan(bootstrap.estimate({}).mean)


def test_intervals_of_ten_pieces_hold_what_they_promise() -> None:
    """Percentiles alone would hold 90 % of means of ten normal values."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        found = bootstrap.estimate({str(piece): value for piece, value in enumerate(rng.normal(size=10))})
        held += found.low <= 0 <= found.high
    assert 925 <= held <= 965


def test_a_gain_is_paired() -> None:
    """Pieces differ by far more than the systems; taken piece by piece the gain is sure."""
    ours = {"a": 0.1 + 0.05, "b": 0.9 + 0.05, "c": 0.3}
    gain = bootstrap.gain(ours, {"a": 0.1, "b": 0.9})
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.05, 0.05, 0.05))


# Real music


def test_salience_goes_with_essentia_on_real_music(excerpts: Path) -> None:
    """Frame by frame, on five seconds of one piece in both domains."""
    pytest.importorskip("essentia", reason="the extra `eval` is not installed")
    from musicstar.audio import read

    for name in ("001.0.wav", "001.3.wav"):
        clip = read(excerpts / name)
        clip = Clip(clip.wav[: 5 * SAMPLE_RATE])
        assert compare(FINDERS["salience"](clip), FINDERS["essentia"](clip)).silent_one > 0.7
