"""Instruments: repeatable, in time, in tune and at one level."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicstar import instruments
from musicstar.domains import STEMS, Voice
from musicstar.instruments import (
    FLUIDR3,
    FLUIDR3_GAINS_DB,
    PITCH_TOLERANCE,
    PROGRAMS,
    Patch,
    SynthesisError,
    active_dbfs,
    canonical_gains,
    find_fonts,
    fundamental_hz,
    out_of_tune,
    pitch_error,
    play,
)
from musicstar.scores import Note

RATE = 32_000
NOTES = [Note(0.1, 0.5, 60, 80), Note(0.7, 0.5, 67, 90), Note(0.7, 0.5, 72, 70)]


def patch_of(font: Path, voice: Voice) -> Patch:
    return Patch(str(font), PROGRAMS[voice][0])


# Playing


@pytest.mark.parametrize("voice", STEMS)
def test_playing_repeats_bit_for_bit(voice: Voice, soundfont: Path) -> None:
    patch = patch_of(soundfont, voice)
    first = play(NOTES, patch, duration_s=1.5, rate=RATE)
    play(NOTES[:1], patch_of(soundfont, Voice.PIANO), duration_s=0.5, rate=RATE)
    assert first.dtype == np.float32
    assert first.shape == (48_000,)
    assert np.array_equal(play(NOTES, patch, duration_s=1.5, rate=RATE), first)


@pytest.mark.parametrize("voice", STEMS)
@pytest.mark.parametrize(
    "change",
    [{}, {"attack": 3600.0, "skip": 1500}, {"tune_cents": -12.0, "release": 900.0}],
    ids=["plain", "short attack", "detuned"],
)
def test_notes_begin_on_their_block(voice: Voice, change: dict[str, Any], soundfont: Path) -> None:
    patch = replace(patch_of(soundfont, voice), **change)
    early = play([Note(3200 / RATE, 0.3, 69, 90)], patch, duration_s=0.6, rate=RATE)
    late = play([Note((3200 + 640) / RATE, 0.3, 69, 90)], patch, duration_s=0.6, rate=RATE)
    assert not early[:3200].any()
    assert early[3200:3840].any()
    assert np.array_equal(early[:-640], late[640:])
    within_a_block = play([Note(3230 / RATE, 0.3, 69, 90)], patch, duration_s=0.6, rate=RATE)
    assert np.array_equal(within_a_block[:9_600], early[:9_600])


def test_the_shortest_note_is_heard_and_ends(soundfont: Path) -> None:
    wav = play([Note(0.0, 0.0, 69, 90)], patch_of(soundfont, Voice.CLARINET), duration_s=1.0, rate=RATE)
    assert wav[:3200].any()
    assert np.abs(wav[16_000:]).max() < 1e-3


def test_no_notes_are_silence(soundfont: Path) -> None:
    assert not play([], patch_of(soundfont, Voice.PIANO), duration_s=0.1, rate=RATE).any()


# What is missing


def test_a_font_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "own.sf2").touch()
    monkeypatch.setattr(instruments, "FONT_FOLDERS", (str(tmp_path / "fonts"),))
    monkeypatch.chdir(tmp_path)
    assert find_fonts(["own.sf2"]) == (tmp_path / "fonts" / "own.sf2",)
    with pytest.raises(SynthesisError, match=r"own\.sf2: there is no such soundfont"):
        find_fonts([tmp_path / "own.sf2"])


def test_a_font_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match=r"no\.sf2: there is no such soundfont"):
        find_fonts([tmp_path / "no.sf2"])


def test_no_font_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(instruments, "FONT_FOLDERS", (str(tmp_path),))
    with pytest.raises(SynthesisError, match="apt-get install fluid-soundfont-gm"):
        find_fonts()


def test_fonts_are_found_canonical_first_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TimGM6mb.sf2", FLUIDR3, "unknown.sf2"):
        (tmp_path / name).touch()
    (tmp_path / "sf_GMbank.sf2").symlink_to(tmp_path / "TimGM6mb.sf2")
    monkeypatch.setattr(instruments, "FONT_FOLDERS", (str(tmp_path), str(tmp_path)))
    assert find_fonts() == (tmp_path / FLUIDR3, tmp_path / "TimGM6mb.sf2")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ModuleNotFoundError("No module named 'fluidsynth'"), r"pip install 'music-star-studio\[render\]'"),
        (ImportError("Couldn't find the FluidSynth library."), "apt-get install libfluidsynth3"),
        (OSError("wrong ELF class"), "apt-get install libfluidsynth3"),
    ],
)
def test_no_library_says_how_to_get_it(fault: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "fluidsynth":
                raise fault

    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(SynthesisError, match=message):
        instruments._library.__wrapped__()


def test_a_file_that_is_no_font(soundfont: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sf2"
    bad.write_bytes(b"RIFF but nothing else")
    with pytest.raises(SynthesisError, match=r"bad\.sf2: cannot be read as a soundfont"):
        play(NOTES, Patch(str(bad), 0), duration_s=0.1, rate=RATE)


def test_a_program_that_is_not_there(soundfont: Path) -> None:
    with pytest.raises(SynthesisError, match="holds no program 128 in bank 0"):
        play(NOTES, Patch(str(soundfont), 128), duration_s=0.1, rate=RATE)


# Pitch


@pytest.mark.parametrize("hertz", [82.4, 196.0, 441.5, 1318.5])
@pytest.mark.parametrize(
    "partials",
    [
        {1: 1.0},
        {1: 0.3, 3: 1.0, 5: 0.8},  # a clarinet's low register
        {1: 1.0, 4: 0.7, 10: 0.2},  # a vibraphone
        {1: 0.05, 2: 1.0, 3: 0.9, 4: 0.5},  # a fundamental 26 dB below
    ],
    ids=["sine", "odd", "bar", "weak"],
)
def test_the_fundamental_of_known_tones(hertz: float, partials: dict[int, float]) -> None:
    time_s = np.arange(round(0.6 * RATE)) / RATE
    wav = sum(a * np.sin(2 * np.pi * n * hertz * time_s) for n, a in partials.items() if n * hertz < 15_000)
    assert abs(12 * np.log2(fundamental_hz(np.asarray(wav), RATE) / hertz)) < 0.1


@pytest.mark.parametrize("voice", STEMS)
def test_the_canonical_instruments_are_in_tune(voice: Voice, soundfont: Path) -> None:
    assert out_of_tune(patch_of(soundfont, voice), voice) is None


@pytest.mark.parametrize("cents", [-1200.0, -60.0, 60.0, 700.0, 1200.0])
@pytest.mark.parametrize("voice", STEMS)
def test_a_detuned_instrument_is_refused(voice: Voice, cents: float, soundfont: Path) -> None:
    patch = replace(patch_of(soundfont, voice), tune_cents=cents)
    problem = out_of_tune(patch, voice)
    assert problem is not None
    assert f"program {patch.program} ({voice.label}) plays key" in problem
    assert f"at most {PITCH_TOLERANCE:g} is accepted" in problem
    assert pitch_error(patch, 60) == pytest.approx(cents / 100, abs=0.3)


def test_a_silent_instrument_is_refused(soundfont: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "play", lambda *_, **__: np.zeros(24_000, np.float32))
    assert pitch_error.__wrapped__(patch_of(soundfont, Voice.PIANO), 60) == np.inf


# Level


def test_active_level_by_hand() -> None:
    wav = np.zeros(16_000)
    assert active_dbfs(wav, 16_000) == -np.inf
    wav[:8_000] = 0.1
    assert active_dbfs(wav, 16_000) == pytest.approx(-20)
    wav[8_000:] = 0.0009  # over 40 dB below
    assert active_dbfs(wav, 16_000) == pytest.approx(-20)
    wav[8_000:] = 0.0011
    assert active_dbfs(wav, 16_000) == pytest.approx(-23, abs=0.05)


def test_the_table_of_gains_is_what_its_command_measures(soundfont: Path) -> None:
    if soundfont.name != FLUIDR3:
        pytest.skip(f"the table is of {FLUIDR3}")
    assert canonical_gains(soundfont) == pytest.approx(FLUIDR3_GAINS_DB, abs=0.1)
