"""Stimuli as sound: reading, loudness, true peak, fades, and the plain WAV files that browsers get.

Loudness is that of ITU-R BS.1770-4 through pyloudnorm, in LUFS; the true peak that of its annex 2, by four-fold
oversampling, in dBTP. Both are -inf for silence.
"""

import io
import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATES = range(8_000, 96_001)
MAX_CHANNELS = 2
# A gating block of BS.1770 has 0.4 s.
MIN_DURATION_S = 0.5
MAX_DURATION_S = 600.0
FADE_S = 0.010
OVERSAMPLING = 4


class SoundError(ValueError):
    """A stimulus that cannot be played to participants; the message says what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording of one channel or two.

    Attributes
    ----------
    wav : np.ndarray[T] or np.ndarray[T, 2], float64, nominally in [-1, 1]
    sample_rate : in Hz
    """

    wav: np.ndarray
    sample_rate: int

    @property
    def channels(self) -> int:
        """1 or 2."""
        return 1 if self.wav.ndim == 1 else self.wav.shape[1]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wav) / self.sample_rate

    def loudness_lufs(self) -> float:
        """Integrated loudness; -inf where no block is above the absolute gate of -70 LUFS."""
        import pyloudnorm

        # Where no block passes a gate, pyloudnorm averages nothing.
        with np.errstate(divide="ignore", invalid="ignore"):
            if np.abs(self.wav).max(initial=0.0) < 1e-5:
                return -math.inf
            return float(pyloudnorm.Meter(self.sample_rate).integrated_loudness(self.wav))

    def true_peak_dbtp(self) -> float:
        """The largest value between the samples as well."""
        from scipy.signal import resample_poly

        between = resample_poly(self.wav, OVERSAMPLING, 1)
        peak = max(float(np.abs(self.wav).max(initial=0.0)), float(np.abs(between).max(initial=0.0)))
        return 20 * math.log10(peak) if peak > 0 else -math.inf

    def faded(self) -> "Sound":
        """The same sound with a raised-cosine fade of 10 ms at either edge."""
        samples = min(round(FADE_S * self.sample_rate), len(self.wav) // 2)
        rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(samples) / samples)
        rise = rise if self.channels == 1 else rise[:, np.newaxis]
        wav = self.wav.copy()
        wav[:samples] *= rise
        wav[len(wav) - samples :] *= rise[::-1]
        return Sound(wav, self.sample_rate)

    def amplified(self, gain_db: float) -> "Sound":
        """The same sound `gain_db` louder."""
        return Sound(self.wav * 10 ** (gain_db / 20), self.sample_rate)

    def to_wav(self) -> bytes:
        """A WAV file of 16 bits with nothing in it but a header of 44 bytes and the samples.

        Raises
        ------
        SoundError
            A sample is beyond full scale.
        """
        codes = np.round(self.wav * 32_768)
        if np.abs(codes).max(initial=0.0) > 32_767:
            raise SoundError("samples beyond full scale")
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setparams((self.channels, 2, self.sample_rate, len(codes), "NONE", ""))
            file.writeframes(codes.astype("<i2").tobytes())
        return content.getvalue()


def read(path: Path) -> Sound:
    """Read a file that libsndfile knows.

    Raises
    ------
    SoundError
        It cannot be read, is too short or too long, silent, has too many channels or an unusual sample rate, or holds
        values that are not finite.
    """
    import soundfile

    try:
        with path.open("rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as file:
            if file.samplerate not in SAMPLE_RATES:
                limits = f"{SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1} Hz"
                raise SoundError(f"a sample rate of {file.samplerate} Hz; expected {limits}")
            if file.channels > MAX_CHANNELS:
                raise SoundError(f"{file.channels} channels; expected one or two")
            duration_s = file.frames / file.samplerate
            if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
                raise SoundError(f"{duration_s:.3g} s long; expected {MIN_DURATION_S:g} to {MAX_DURATION_S:g} s")
            announced = file.frames
            frames = file.read(dtype="float64", always_2d=True)
            sample_rate = file.samplerate
    except soundfile.LibsndfileError as error:
        raise SoundError(f"not readable as audio ({error.error_string.strip().rstrip('.')})") from error
    except OSError as error:
        raise SoundError(f"cannot be read ({error.strerror})") from error
    if len(frames) != announced:
        raise SoundError(f"cut off after {len(frames)} of {announced} samples")
    if not np.isfinite(frames).all():
        raise SoundError("holds values that are not numbers (NaN or infinity)")
    sound = Sound(frames if frames.shape[1] > 1 else frames[:, 0], sample_rate)
    if sound.loudness_lufs() == -math.inf:
        raise SoundError("silent; expected sound above -70 LUFS")
    return sound
