"""Clips: reading, writing, resampling, mu-law companding and loudness."""

import math
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample as _resample

SAMPLE_RATE = 16_000
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MU = 255
MID_CODE = 128
SILENCE_DBFS = -80.0


class AudioError(ValueError):
    """A clip that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A mono recording.

    Attributes
    ----------
    wav : np.ndarray[T], float32, nominally in [-1, 1]
    sample_rate : int, in Hz
    """

    wav: np.ndarray
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.wav.ndim != 1 or self.wav.dtype != np.float32:
            raise AudioError(
                f"a clip holds float32 samples in one dimension, not {self.wav.dtype} in {self.wav.ndim}"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wav) / self.sample_rate

    def resampled(self, sample_rate: int) -> "Clip":
        """The same clip at another rate, band-limited below the lower Nyquist frequency."""
        if sample_rate == self.sample_rate:
            return self
        wav = _resample(
            torch.from_numpy(self.wav), self.sample_rate, sample_rate, lowpass_filter_width=32, rolloff=0.97
        )
        return Clip(wav.numpy(), sample_rate)

    def amplified(self, gain_db: float) -> "Clip":
        """The same clip `gain_db` louder."""
        return replace(self, wav=self.wav * np.float32(10 ** (gain_db / 20)))

    def rms_dbfs(self) -> float:
        """Root-mean-square level relative to full scale; -inf for digital silence."""
        power = float(np.mean(np.square(self.wav, dtype=np.float64))) if len(self.wav) else 0.0
        return 10 * math.log10(power) if power > 0 else -math.inf

    def loudness_lufs(self) -> float:
        """Integrated loudness by ITU-R BS.1770-4; -inf for silence.

        A clip shorter than one 0.4 s gating block is measured as if repeated to that length.
        """
        import pyloudnorm

        block_samples = math.ceil(0.4 * self.sample_rate)
        if len(self.wav) == 0:
            return -math.inf
        wav = np.resize(self.wav, block_samples) if len(self.wav) < block_samples else self.wav
        if not np.any(wav):
            return -math.inf
        return float(pyloudnorm.Meter(self.sample_rate).integrated_loudness(wav.astype(np.float64)))


def read(
    path: str | Path,
    *,
    sample_rate: int | None = SAMPLE_RATE,
    max_bytes: int | None = None,
    max_duration_s: float | None = None,
) -> Clip:
    """Read a WAV, FLAC, OGG or MP3 file as one channel.

    Parameters
    ----------
    sample_rate : rate to resample to, in Hz; None keeps the file's own.
    max_bytes, max_duration_s : refuse anything larger.

    Raises
    ------
    AudioError
        The file is missing, too large, too long, not audio, corrupt, empty, or holds values that are not finite.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path.name}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise AudioError(f"{path.name}: the file is empty (0 bytes)")
    if max_bytes is not None and size > max_bytes:
        raise AudioError(f"{path.name}: {size / 1e6:.1f} MB, the limit is {max_bytes / 1e6:.0f} MB")
    try:
        with soundfile.SoundFile(path) as file:
            duration_s = file.frames / file.samplerate
            if max_duration_s is not None and duration_s > max_duration_s:
                raise AudioError(f"{path.name}: {duration_s:.1f} s long, the limit is {max_duration_s:g} s")
            frames = file.read(dtype="float32", always_2d=True)
            file_rate = file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OverflowError, MemoryError) as error:
        raise AudioError(
            f"{path.name}: not readable as audio ({error}); expected WAV, FLAC, OGG or MP3"
        ) from error
    if len(frames) == 0:
        raise AudioError(f"{path.name}: the file holds no samples")
    if not np.isfinite(frames).all():
        raise AudioError(f"{path.name}: the file holds values that are not numbers (NaN or infinity)")
    clip = Clip(np.ascontiguousarray(frames.mean(axis=1, dtype=np.float32)), file_rate)
    return clip if sample_rate is None else clip.resampled(sample_rate)


def require_sound(clip: Clip, name: str, *, min_duration_s: float = 0.1) -> Clip:
    """Return the clip, or raise AudioError when it is silent or too short to translate."""
    if clip.duration_s < min_duration_s:
        raise AudioError(f"{name}: {clip.duration_s:.3f} s long, at least {min_duration_s:g} s is needed")
    level_dbfs = clip.rms_dbfs()
    if level_dbfs < SILENCE_DBFS:
        raise AudioError(
            f"{name}: the clip is silent (level {level_dbfs:.0f} dBFS, expected above {SILENCE_DBFS:.0f})"
        )
    return clip


def write(path: str | Path, clip: Clip, *, subtype: str = "PCM_16") -> Path:
    """Write a clip in the format its suffix names, whole or not at all; samples beyond full scale are limited.

    Raises
    ------
    AudioError
        The suffix names no format that can be written here.
    """
    import soundfile

    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise AudioError(f"{path.name}: cannot write {path.suffix or 'a file without suffix'}; expected {SUFFIXES}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}.", dir=path.parent)
    os.close(handle)
    try:
        wav = np.clip(clip.wav, -1.0, 1.0)
        lossy = path.suffix.lower() in (".ogg", ".mp3")
        soundfile.write(temporary, wav, clip.sample_rate, subtype=None if lossy else subtype)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def mulaw_encode(wav: torch.Tensor) -> torch.Tensor:
    """Compand samples to 8-bit mu-law codes (ITU-T G.711 curve, mu = 255, rounded to the nearest code).

    Parameters
    ----------
    wav : Tensor[...], float, in [-1, 1]; values beyond are limited

    Returns
    -------
    Tensor[...], int64 in 0..255; 0.0 is exactly code 128
    """
    wav = wav.clamp(-1.0, 1.0)
    companded = wav.sign() * torch.log1p(MU * wav.abs()) / math.log1p(MU)
    return (torch.round(companded * MID_CODE) + MID_CODE).clamp(0, MU).long()


def mulaw_decode(codes: torch.Tensor) -> torch.Tensor:
    """Expand mu-law codes; `mulaw_encode` gives every code back.

    Parameters
    ----------
    codes : Tensor[...], integer in 0..255

    Returns
    -------
    Tensor[...], float32 in [-1, 1)
    """
    companded = (codes.to(torch.float32) - MID_CODE) / MID_CODE
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(MU)) / MU
