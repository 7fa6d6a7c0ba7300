"""Clips: what is read and what refused, resampling, mu-law, loudness, and writing whole or not at all."""

import math
import re
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from musicstar import audio
from musicstar.audio import AudioError, Clip, mulaw_decode, mulaw_encode, read, require_sound, write

RATES = (22_050, 44_100, 48_000)


def tone(frequency_hz: float, *, sample_rate: int = 16_000, duration_s: float = 1.0, peak: float = 0.5) -> Clip:
    time_s = np.arange(round(sample_rate * duration_s)) / sample_rate
    return Clip((peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32), sample_rate)


def level_of_middle_dbfs(clip: Clip) -> float:
    quarter = len(clip.wav) // 4
    return Clip(clip.wav[quarter:-quarter], clip.sample_rate).rms_dbfs()


# Reading


@pytest.mark.parametrize(("suffix", "error"), [(".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.02), (".mp3", 0.02)])
def test_every_format_gives_back_what_was_written(tmp_path: Path, suffix: str, error: float) -> None:
    clip = tone(440)
    back = read(write(tmp_path / f"a{suffix}", clip))
    assert back.sample_rate == 16_000
    assert back.wav.dtype == np.float32
    assert len(back.wav) == len(clip.wav)
    middle = slice(2000, -2000)
    assert np.abs(back.wav[middle] - clip.wav[middle]).max() < error


def test_float_wav_is_exact(tmp_path: Path) -> None:
    clip = tone(440)
    np.testing.assert_array_equal(read(write(tmp_path / "a.wav", clip, subtype="FLOAT")).wav, clip.wav)


def test_what_a_file_holds_decides_not_its_name(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", tone(440))
    for name in ("a.wav", "a.raw", "a.txt", "a"):
        assert len(read(flac.rename(flac := tmp_path / name)).wav) == 16_000


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(440, peak=0.4).wav, tone(660, peak=0.2).wav
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav").wav, (left + right) / 2, atol=1e-7)


def test_a_file_is_resampled_unless_its_own_rate_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440, sample_rate=44_100))
    assert (read(path).sample_rate, len(read(path).wav)) == (16_000, 16_000)
    own = read(path, sample_rate=None)
    assert (own.sample_rate, len(own.wav)) == (44_100, 44_100)


def refusal(path: Path, **limits: Any) -> str:
    with pytest.raises(AudioError) as caught:
        read(path, **limits)
    return str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    assert refusal(tmp_path / "gone.wav") == "gone.wav: there is no such file"
    assert refusal(tmp_path) == f"{tmp_path.name}: there is no such file"
    assert refusal(tmp_path / "empty.wav") == "empty.wav: the file is empty (0 bytes)"
    assert refusal(tmp_path / "none.wav") == "none.wav: the file holds no samples"


def test_limits_name_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440, duration_s=2.5))
    assert refusal(path, max_bytes=50_000) == "a.wav: 0.1 MB, the limit is 0 MB"
    assert refusal(path, max_duration_s=2) == "a.wav: 2.5 s long, the limit is 2 s"
    assert len(read(path, max_bytes=path.stat().st_size, max_duration_s=2.5).wav) == 40_000


def test_a_stream_of_unstated_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(440))
    data = bytearray(path.read_bytes())
    # The last 36 bits of these five bytes of STREAMINFO count the samples; 0 leaves the length open.
    assert int.from_bytes(data[21:26]) & (2**36 - 1) == 16_000
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert refusal(path) == "a.flac: its header leaves the length open; expected one that states it"


def test_what_is_not_audio(tmp_path: Path) -> None:
    for name, content in {"a.wav": b"not audio at all" * 50, "a.raw": bytes(1000), "a.mp3": b"\0"}.items():
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path / name)
        assert message.startswith(f"{name}: not readable as audio (")
        assert message.endswith("); expected WAV, FLAC, OGG or MP3")
        assert str(tmp_path) not in message


@pytest.mark.parametrize(("suffix", "share"), [(suffix, share) for suffix in audio.SUFFIXES for share in (0.3, 0.95)])
def test_a_file_that_was_cut_off(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    path = write(tmp_path / f"a{suffix}", Clip(noise))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError, match=r"cut off|lost sync"):
        read(path)


@pytest.mark.parametrize("kind", ["RF64", "AIFF", "AU", "W64", "CAF"])
def test_other_kinds_are_refused_and_long_wav_files_read_where_they_are_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 80_000), 16_000, format=kind)
    if kind == "RF64":
        assert read(path).duration_s == 5
        path.write_bytes(path.read_bytes()[:80_000])
    assert re.match(r"a.wav: (cut off after|not readable \((AIFF|AU|W64|CAF)\))", refusal(path))


@pytest.mark.parametrize("tag_bytes", [0, 100_000])
def test_an_mp3_of_constant_rate_that_was_cut_off(tmp_path: Path, tag_bytes: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise, 16_000, bitrate_mode="CONSTANT")
    content = path.read_bytes()
    size = bytes((tag_bytes >> 7 * place) & 127 for place in (3, 2, 1, 0))
    tag = b"ID3\x03\x00\x00" + size + bytes(tag_bytes) if tag_bytes else b""
    path.write_bytes(tag + content)
    assert read(path).duration_s == pytest.approx(10, abs=0.1)
    path.write_bytes(tag + content[: len(content) // 2])
    with pytest.raises(AudioError, match="cut off"):
        read(path)


def test_an_mp3_that_does_not_count_its_frames_is_read_to_its_end(tmp_path: Path) -> None:
    """Its first half is quiet and takes few bytes, from which libsndfile guesses a length that is far off."""
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    noise[:80_000] = 0
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise, 16_000, bitrate_mode="VARIABLE", compression_level=0.0)
    content = path.read_bytes()
    assert content.count(b"Xing") == 1
    path.write_bytes(content.replace(b"Xing", bytes(4)))
    assert read(path).duration_s == pytest.approx(10, abs=0.2)
    with pytest.raises(AudioError, match=r"10\.\d s long, the limit is 9 s"):
        read(path, max_duration_s=9)


def test_a_format_that_cannot_be_sought_in_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, sample_rate=8_000).wav, 8_000, subtype="GSM610")
    assert read(tmp_path / "a.wav").duration_s == pytest.approx(1, abs=0.05)


def test_a_wav_that_does_not_state_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440))
    content = bytearray(path.read_bytes())
    start = content.index(b"data") + 4
    for size in (0xFFFFFFFF, 0x7FFFF000):
        content[start : start + 4] = size.to_bytes(4, "little")
        path.write_bytes(content)
        assert len(read(path).wav) == 16_000


def test_a_wav_that_lacks_a_sample_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440))
    path.write_bytes(path.read_bytes()[:-2])
    assert len(read(path).wav) == 15_999


def test_a_quiet_channel_beside_a_silent_one_is_not_cancelled(tmp_path: Path) -> None:
    left = tone(440, peak=2e-4).wav
    soundfile.write(tmp_path / "a.wav", np.stack([left, 0 * left], axis=1), 16_000, subtype="FLOAT")
    assert read(tmp_path / "a.wav").rms_dbfs() == pytest.approx(-83, abs=0.1)


def test_channels_that_cancel_each_other_out(tmp_path: Path) -> None:
    left = tone(440).wav
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="its 2 channels cancel each other out"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers(tmp_path: Path, value: float) -> None:
    wav = tone(440).wav.copy()
    wav[1000] = value
    soundfile.write(tmp_path / "a.wav", wav, 16_000, subtype="FLOAT")
    assert refusal(tmp_path / "a.wav") == "a.wav: the file holds values that are not numbers (NaN or infinity)"


def test_values_far_out_of_range(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((100, 2), 3e38, np.float32), 16_000, subtype="FLOAT")
    assert refusal(tmp_path / "a.wav") == "a.wav: the file holds values up to 3e+38, expected -1 to 1"


def test_sample_rates_and_channels_out_of_range(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 100)
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 17)), 16_000)
    assert refusal(tmp_path / "slow.wav") == "slow.wav: a sample rate of 100 Hz; expected 4000 to 384000 Hz"
    assert refusal(tmp_path / "many.wav") == "many.wav: 17 channels, at most 16 are read"


@pytest.mark.parametrize("suffix", audio.SUFFIXES)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    whole = np.frombuffer(write(tmp_path / f"a{suffix}", tone(440)).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    damaged = tmp_path / f"b{suffix}"
    refusals = []
    for trial in range(60):
        data = whole.copy()
        places = rng.integers(0, (60, len(data))[trial % 2], size=5)
        data[places] = rng.integers(0, 256, size=5)
        damaged.write_bytes(data[: rng.integers(1, len(data))].tobytes() if trial % 5 == 0 else data.tobytes())
        try:
            clip = read(damaged, max_duration_s=30)
        except AudioError as error:
            refusals.append(str(error))
        else:
            assert np.isfinite(clip.wav).all()
    assert refusals
    assert all(message.startswith(f"b{suffix}: ") for message in refusals)


# Clips


def test_a_clip_is_one_dimension_of_float32_at_a_sensible_rate() -> None:
    with pytest.raises(AudioError, match="float32 samples in one dimension, not float64 in 1"):
        Clip(np.zeros(10))
    with pytest.raises(AudioError, match="not float32 in 2"):
        Clip(np.zeros((2, 10), np.float32))
    with pytest.raises(AudioError, match="a sample rate of 0 Hz; expected 4000 to 384000 Hz"):
        Clip(np.zeros(10, np.float32), 0)


def test_duration_and_level() -> None:
    assert tone(440, sample_rate=44_100, duration_s=0.5).duration_s == 0.5
    assert tone(440, peak=1.0).rms_dbfs() == pytest.approx(-3.01, abs=0.01)
    assert tone(440, peak=0.1).amplified(6.0).rms_dbfs() == pytest.approx(-17.01, abs=0.01)
    assert Clip(np.zeros(10, np.float32)).rms_dbfs() == -math.inf
    assert Clip(np.zeros(0, np.float32)).rms_dbfs() == -math.inf


def test_silent_and_short_clips_are_refused_for_translation() -> None:
    with pytest.raises(AudioError, match=r"^a: the clip is silent \(level -inf dBFS, expected above -80\)$"):
        require_sound(Clip(np.zeros(16_000, np.float32)), "a")
    with pytest.raises(AudioError, match=r"^a: the clip is silent \(level -103 dBFS"):
        require_sound(tone(440, peak=1e-5), "a")
    with pytest.raises(AudioError, match=r"^a: 0\.050 s long, at least 0\.1 s is needed$"):
        require_sound(tone(440, duration_s=0.05), "a")
    with pytest.raises(AudioError, match=r"^a: 0\.099 s long, at least 0\.1 s is needed$"):
        require_sound(tone(440, duration_s=0.09994), "a")
    clip = tone(440, duration_s=0.1)
    assert require_sound(clip, "a") is clip


# Resampling


def test_every_code_comes_back() -> None:
    codes = torch.arange(256)
    torch.testing.assert_close(mulaw_encode(mulaw_decode(codes)), codes, rtol=0, atol=0)


def test_mulaw_is_monotone_and_its_middle_is_zero() -> None:
    decoded = mulaw_decode(torch.arange(256))
    assert (decoded.diff() > 0).all()
    assert decoded[128] == 0
    assert decoded[0] == -1
    assert mulaw_encode(torch.zeros(3)).tolist() == [128] * 3
    encoded = mulaw_encode(torch.linspace(-1, 1, 10_001))
    assert (encoded.diff() >= 0).all()
    assert encoded.unique().tolist() == list(range(256))


def test_mulaw_worked_by_hand() -> None:
    # sign(x) ln(1 + 255 |x|) / ln 256: at 1/255 ln 2 / ln 256 = 1/8, at 15/255 ln 16 / ln 256 = 1/2.
    assert mulaw_encode(torch.tensor([1 / 255, -15 / 255, 15 / 255])).tolist() == [144, 64, 192]
    torch.testing.assert_close(mulaw_decode(torch.tensor([144, 64])), torch.tensor([1 / 255, -15 / 255]))


def test_mulaw_limits_what_is_out_of_range() -> None:
    assert mulaw_encode(torch.tensor([-3.0, 3.0, 1.0])).tolist() == [0, 255, 255]
    assert mulaw_encode(torch.tensor([0.5], dtype=torch.float64)).dtype == torch.int64


# Loudness


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_loudness_of_a_known_signal(rate: int) -> None:
    """By ITU-R BS.1770 a 997 Hz sine of full scale in one channel has -3.01 LUFS; meters may be 0.1 off."""
    clip = tone(997, sample_rate=rate, duration_s=5, peak=10 ** (-20 / 20))
    assert clip.loudness_lufs() == pytest.approx(-23.01, abs=0.1)


@pytest.mark.parametrize("gain_db", [-20.0, -3.5, 6.0])
def test_gain_moves_loudness_by_as_much(two_voices: tuple[Clip, Clip], gain_db: float) -> None:
    clip = two_voices[0]
    moved = clip.amplified(gain_db).loudness_lufs() - clip.loudness_lufs()
    assert moved == pytest.approx(gain_db, abs=1e-3)


def test_loudness_of_silence_and_of_short_clips() -> None:
    assert Clip(np.zeros(16_000, np.float32)).loudness_lufs() == -math.inf
    assert Clip(np.zeros(0, np.float32)).loudness_lufs() == -math.inf
    assert tone(997, peak=1e-5).loudness_lufs() == -math.inf
    short, long = tone(1000, duration_s=0.1), tone(1000, duration_s=2)
    assert short.loudness_lufs() == pytest.approx(long.loudness_lufs(), abs=0.5)


# Writing


def test_writing_makes_folders_and_limits_to_full_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "folder" / "a.wav", tone(440, peak=3.0))
    assert sorted(path.parent.iterdir()) == [path]
    assert np.abs(read(path).wav).max() == pytest.approx(1.0, abs=1e-4)


def test_a_long_clip_is_written_as_ogg(tmp_path: Path) -> None:
    clip = Clip(np.tile(tone(440).wav, 300))
    assert read(write(tmp_path / "a.ogg", clip)).duration_s == 300


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440))
    before = path.read_bytes()
    # A limit on the size of files fails a write half-way, as a full disk does.
    ours, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path, tone(880))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ours, most))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    clip = tone(440)
    with pytest.raises(AudioError, match=r"^a\.txt: cannot write \.txt; expected \.wav, \.flac, \.ogg, \.mp3$"):
        write(tmp_path / "a.txt", clip)
    with pytest.raises(AudioError, match=r"^a: cannot write a file without suffix; expected"):
        write(tmp_path / "a", clip)
    with pytest.raises(AudioError, match=r"^a\.mp3: not written at 96000 Hz \(.*MPEG"):
        write(tmp_path / "a.mp3", tone(440, sample_rate=96_000))
    with pytest.raises(AudioError, match=r"^a\.flac: not written at 16000 Hz \("):
        write(tmp_path / "a.flac", clip, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"^a\.wav: not written, the clip holds values that are not finite$"):
        write(tmp_path / "a.wav", Clip(np.full(10, np.nan, np.float32)))
    assert list(tmp_path.iterdir()) == []
