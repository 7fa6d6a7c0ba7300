"""Tests of survey/sound.py: levels against the standards' own cases, fades and plain files."""

import io
import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from survey.sound import Sound, SoundError, read

RATE = 16_000


def tone(hz: float, *, level: float = 1.0, seconds: float = 3.0, phase: float = 0.0, rate: int = RATE) -> Sound:
    """A sine."""
    t = np.arange(int(seconds * rate)) / rate
    return Sound(level * np.sin(2 * np.pi * hz * t + phase), rate)


def save(path: Path, wav: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(path, wav, rate, **options)
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_loudness_of_the_standards_tone(rate: int) -> None:
    # BS.1770-4: a full-scale sine of 997 Hz in one channel reads -3.01 LUFS.
    assert tone(997, rate=rate).loudness_lufs() == pytest.approx(-3.01, abs=0.1)
    assert tone(997, level=0.1, rate=rate).loudness_lufs() == pytest.approx(-23.01, abs=0.1)


def test_loudness_of_silence_is_below_all() -> None:
    assert Sound(np.zeros(RATE), RATE).loudness_lufs() == -math.inf
    assert tone(997, level=1e-4).loudness_lufs() == -math.inf
    assert tone(997, level=1e-6).loudness_lufs() == -math.inf


def test_the_true_peak_lies_between_the_samples() -> None:
    # A quarter of the sample rate, an eighth of a turn off: every sample is at 0.707, and the sine reaches 1.
    sound = tone(RATE / 4, phase=math.pi / 4).faded()
    assert 20 * math.log10(np.abs(sound.wav).max()) == pytest.approx(-3.01, abs=0.01)
    assert sound.true_peak_dbtp() == pytest.approx(0.0, abs=0.2)
    assert Sound(np.zeros(100), RATE).true_peak_dbtp() == -math.inf


def test_the_true_peak_is_no_less_than_the_samples() -> None:
    wav = np.zeros(1000)
    wav[500] = 0.5
    assert Sound(wav, RATE).true_peak_dbtp() == pytest.approx(20 * math.log10(0.5), abs=0.01)


def test_a_gain_moves_loudness_and_peak_alike() -> None:
    rng = np.random.default_rng(3)
    sound = Sound(rng.normal(0, 0.1, 3 * RATE), RATE)
    louder = sound.amplified(7.5)
    assert louder.loudness_lufs() - sound.loudness_lufs() == pytest.approx(7.5, abs=0.01)
    assert louder.true_peak_dbtp() - sound.true_peak_dbtp() == pytest.approx(7.5, abs=1e-6)


def test_fades_are_raised_cosines_of_ten_milliseconds() -> None:
    faded = Sound(np.ones(RATE), RATE).faded().wav
    assert faded[0] == 0
    assert faded[80] == pytest.approx(0.5)  # in the middle, after 5 ms
    assert faded[40] == pytest.approx(0.5 - 0.5 * math.cos(math.pi / 4))
    assert (faded[160:-160] == 1).all()
    assert faded == pytest.approx(faded[::-1])


def test_the_file_holds_the_samples_and_nothing_else() -> None:
    content = tone(440, level=0.5, seconds=1).to_wav()
    assert len(content) == 44 + 2 * RATE
    riff, size, form, _, _, codec, channels, rate, _, _, bits, data, length = struct.unpack(
        "<4sI4s4sIHHIIHH4sI", content[:44]
    )
    assert (riff, size, form, data) == (b"RIFF", 36 + 2 * RATE, b"WAVE", b"data")
    assert (codec, channels, rate, bits, length) == (1, 1, RATE, 16, 2 * RATE)
    codes = np.frombuffer(content[44:], "<i2")
    assert codes == pytest.approx(tone(440, level=0.5, seconds=1).wav * 32_768, abs=0.5)


def test_samples_beyond_full_scale_are_refused() -> None:
    with pytest.raises(SoundError, match="full scale"):
        tone(440, level=1.01).to_wav()


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.ogg"])
def test_two_channels_stay_two(name: str, tmp_path: Path) -> None:
    left, right = tone(440, level=0.4).wav, tone(660, level=0.2).wav
    sound = read(save(tmp_path / name, np.stack([left, right], axis=1)))
    assert (sound.sample_rate, sound.duration_s, sound.channels) == (RATE, 3.0, 2)
    if name != "a.ogg":
        assert sound.wav == pytest.approx(np.stack([left, right], axis=1), abs=1e-4)
        assert sound.true_peak_dbtp() == pytest.approx(tone(440, level=0.4).true_peak_dbtp(), abs=0.01)
    # BS.1770 adds the energies of the channels.
    energies = [10 ** (Sound(wav, RATE).loudness_lufs() / 10) for wav in (left, right)]
    assert sound.loudness_lufs() == pytest.approx(10 * math.log10(sum(energies)), abs=0.05)
    content = sound.faded().amplified(-6).to_wav()
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 3 * RATE)
    codes = np.frombuffer(content[44:], "<i2").reshape(-1, 2)
    assert codes[RATE] == pytest.approx(sound.wav[RATE] * 10 ** (-6 / 20) * 32_768, abs=1)
    assert (codes[0] == 0).all()


def test_what_cannot_be_played_is_one_sentence(tmp_path: Path) -> None:
    wav = tone(440, level=0.3).wav
    cases = {
        "short.wav": (save(tmp_path / "short.wav", wav[:4000]), "0.25 s long; expected 0.5 to 600 s"),
        "slow.wav": (save(tmp_path / "slow.wav", wav, 4000), "sample rate of 4000 Hz; expected 8000 to 96000 Hz"),
        "many.wav": (save(tmp_path / "many.wav", np.stack([wav] * 3, axis=1)), "3 channels"),
        "silent.wav": (save(tmp_path / "silent.wav", 0 * wav), "silent"),
        "nan.wav": (save(tmp_path / "nan.wav", np.where(wav > 0.2, np.nan, wav), subtype="FLOAT"), "not numbers"),
        "absent.wav": (tmp_path / "absent.wav", "No such file"),
        "folder.wav": (tmp_path, "cannot be read|not readable"),
    }
    (tmp_path / "text.wav").write_text("no sound")
    cases["text.wav"] = (tmp_path / "text.wav", "not readable as audio")
    whole = save(tmp_path / "cut.flac", wav).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    cases["cut.flac"] = (tmp_path / "cut.flac", "cut off|not readable")
    for path, problem in cases.values():
        with pytest.raises(SoundError, match=problem) as caught:
            read(path)
        assert "\n" not in str(caught.value)
