"""Clips: reading, writing, resampling, mu-law companding and loudness."""

import io
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from musicstar import containers
from musicstar.files import whole

SAMPLE_RATE = 16_000
# The level of all that a network hears, -26 dBFS.
LEVEL_RMS = 0.05
SAMPLE_RATES = range(4_000, 384_001)
MAX_CHANNELS = 16
MAX_PEAK = 1e6
BLOCK_SAMPLES = 65_536
RESAMPLED_SAMPLES = 2**20
IN_MEMORY_BYTES = 64 * 2**20
UNKNOWN_FRAMES = 2**62
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
# Of those that libsndfile reads: whether a file of another kind is whole could not be told.
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")
MU = 255
MID_CODE = 128
SILENCE_DBFS = -80.0
CANCELLED_DB = 40.0


class AudioError(ValueError):
    """A clip that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A mono recording.

    Attributes
    ----------
    wav : np.ndarray[T], float32, nominally in [-1, 1]
    sample_rate : int in `SAMPLE_RATES`, in Hz
    """

    wav: np.ndarray
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.wav.ndim != 1 or self.wav.dtype != np.float32:
            raise AudioError(f"a clip holds float32 samples in one dimension, not {self.wav.dtype} in {self.wav.ndim}")
        if self.sample_rate not in SAMPLE_RATES:
            raise AudioError(
                f"a sample rate of {self.sample_rate} Hz; expected {SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1} Hz"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wav) / self.sample_rate

    def resampled(self, sample_rate: int) -> "Clip":
        """The same clip at another rate, of the same duration to the sample.

        Flat within 0.1 dB up to 0.92 of the lower Nyquist frequency and 90 dB down from 1.01 of it.
        """
        if sample_rate == self.sample_rate:
            return self
        from torchaudio.functional import resample

        # The filter bank grows with the terms of the ratio: gigabytes for two rates without a common factor,
        # such as 44,101 and 16,000 Hz. Terms up to 1,000 are exact for usual rates and within a cent for any.
        slower, faster = sorted((self.sample_rate, sample_rate))
        ratio = Fraction(slower, faster).limit_denominator(1000)
        before, after = ratio.numerator, ratio.denominator
        if sample_rate == slower:
            before, after = after, before
        resampled = room(math.ceil(len(self.wav) * sample_rate / self.sample_rate))
        # A filter reaches so many of its slower rate's samples to both sides.
        width, rolloff = 64, 0.96
        context = before * math.ceil((width / rolloff * max(1.0, before / after) + 2) / before)
        block = before * math.ceil(RESAMPLED_SAMPLES / before)
        for start in range(0, len(self.wav), block):
            lead = min(start, context)
            wav = resample(
                torch.from_numpy(self.wav[start - lead : start + block + context]),
                before,
                after,
                lowpass_filter_width=width,
                rolloff=rolloff,
                resampling_method="sinc_interp_kaiser",
                beta=10.0,
            ).numpy()[lead // before * after :]
            place = start // before * after
            count = min(len(wav), len(resampled) - place, block // before * after)
            resampled[place : place + count] = wav[:count]
        return Clip(resampled, sample_rate)

    def amplified(self, gain_db: float) -> "Clip":
        """The same clip `gain_db` louder."""
        return replace(self, wav=self.wav * np.float32(10 ** (gain_db / 20)))

    def rms_dbfs(self) -> float:
        """Root-mean-square level relative to full scale; -inf for digital silence."""
        power = sum(float(np.sum(np.square(block, dtype=np.float64))) for block in blocks(self.wav))
        return 10 * math.log10(power / len(self.wav)) if power > 0 else -math.inf

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
    """Read a WAV, FLAC, OGG or MP3 file as one channel; what it holds decides, not how it is named.

    Parameters
    ----------
    sample_rate : rate to resample to, in Hz; None keeps the file's own.
    max_bytes, max_duration_s : refuse anything larger.

    Raises
    ------
    AudioError
        The file is missing, too large, too long, not audio, corrupt, cut off or empty, or its sample rate, its
        number of channels or its values are out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path.name}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise AudioError(f"{path.name}: the file is empty (0 bytes)")
    if max_bytes is not None and size > max_bytes:
        raise AudioError(f"{path.name}: {size / 1e6:.1f} MB, the limit is {max_bytes / 1e6:.0f} MB")
    clip = _decode(path, max_duration_s=max_duration_s)
    return clip if sample_rate is None else clip.resampled(sample_rate)


def room(*shape: int) -> np.ndarray:
    """Zeros, float32; many lie in a file that vanishes with them, so that memory does not grow with a recording."""
    if 4 * math.prod(shape) <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))


def blocks(wav: np.ndarray) -> Iterator[np.ndarray]:
    """A recording, np.ndarray[T, ...], in stretches that are worked on at once."""
    for start in range(0, len(wav), BLOCK_SAMPLES):
        yield wav[start : start + BLOCK_SAMPLES]


def _mixed_down(path: Path, decoded: Iterable[np.ndarray], *, frames: int, sample_rate: int) -> tuple[Clip, int]:
    """The mean of the channels of blocks, float32 [T, channels], up to `frames` in all; and how many there were."""
    mono, found, powers = room(frames), 0, np.zeros(1)
    for block in decoded:
        if not np.isfinite(block).all():
            raise AudioError(f"{path.name}: the file holds values that are not numbers (NaN or infinity)")
        if (peak := float(np.abs(block).max(initial=0))) > MAX_PEAK:
            raise AudioError(f"{path.name}: the file holds values up to {peak:.1g}, expected -1 to 1")
        mono[found : found + len(block)] = block.mean(axis=1, dtype=np.float32)
        powers = powers + np.square(block, dtype=np.float64).sum(axis=0)
        found += len(block)
    if not found:
        raise AudioError(f"{path.name}: the file holds no samples")
    clip = Clip(mono[:found], sample_rate)
    loudest_dbfs = 10 * math.log10(max(powers.max() / found, 1e-30))
    if loudest_dbfs > max(SILENCE_DBFS, clip.rms_dbfs() + CANCELLED_DB):
        raise AudioError(f"{path.name}: its {len(powers)} channels cancel each other out; expected sound in mono")
    return clip, found


def _decode(path: Path, *, max_duration_s: float | None) -> Clip:
    """A file at its own rate."""
    import soundfile

    def require_length(samples: int, sample_rate: int) -> None:
        if max_duration_s is not None and samples > max_duration_s * sample_rate:
            raise AudioError(f"{path.name}: {samples / sample_rate:.1f} s long, the limit is {max_duration_s:g} s")

    try:
        # Given a path, soundfile takes the suffix for the format and fails in other ways on some.
        with path.open("rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as file:
            if file.format not in FORMATS:
                raise AudioError(f"{path.name}: not readable ({file.format}); expected WAV, FLAC, OGG or MP3")
            if file.samplerate not in SAMPLE_RATES:
                raise AudioError(
                    f"{path.name}: a sample rate of {file.samplerate} Hz; "
                    f"expected {SAMPLE_RATES.start} to {SAMPLE_RATES.stop - 1} Hz"
                )
            if file.channels > MAX_CHANNELS:
                raise AudioError(f"{path.name}: {file.channels} channels, at most {MAX_CHANNELS} are read")
            # libsndfile neither seeks in such a stream nor reads its last block.
            if file.frames >= UNKNOWN_FRAMES:
                raise AudioError(f"{path.name}: its header leaves the length open; expected one that states it")
            if file.format == "MP3" and not containers.counts_frames(path):
                try:
                    frames, sample_rate = containers.decode_mp3(path)
                except ValueError as error:
                    raise AudioError(
                        f"{path.name}: not readable as audio ({error}); expected WAV, FLAC, OGG or MP3"
                    ) from error
                require_length(len(frames), sample_rate)
                return _mixed_down(path, blocks(frames), frames=len(frames), sample_rate=sample_rate)[0]
            require_length(file.frames, file.samplerate)
            # Asked for more than there is, soundfile would end with a block that is not all there.
            decoded = (
                file.read(min(BLOCK_SAMPLES, file.frames - at), dtype="float32", always_2d=True)
                for at in range(0, file.frames, BLOCK_SAMPLES)
            )
            clip, found = _mixed_down(path, decoded, frames=file.frames, sample_rate=file.samplerate)
            if containers.is_cut_off(path, file.format, announced=file.frames, found=found):
                raise AudioError(
                    f"{path.name}: cut off after {found / file.samplerate:.1f} s; expected a file that is whole"
                )
            return clip
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".") or "damaged, or cut off"
        raise AudioError(f"{path.name}: not readable as audio ({reason}); expected WAV, FLAC, OGG or MP3") from error
    except MemoryError as error:
        raise AudioError(f"{path.name}: too long for this machine's memory") from error
    except OSError as error:
        raise AudioError(f"{path.name}: not readable ({error.strerror})") from error


def require_sound(clip: Clip, name: str, *, min_duration_s: float = 0.1) -> Clip:
    """Return the clip, or raise AudioError when it is silent or too short to translate."""
    if clip.duration_s < min_duration_s:
        duration_s = math.floor(clip.duration_s * 1000) / 1000
        raise AudioError(f"{name}: {duration_s:.3f} s long, at least {min_duration_s:g} s is needed")
    level_dbfs = clip.rms_dbfs()
    if level_dbfs < SILENCE_DBFS:
        raise AudioError(f"{name}: the clip is silent (level {level_dbfs:.0f} dBFS, expected above {SILENCE_DBFS:.0f})")
    return clip


def write(path: str | Path, clip: Clip, *, subtype: str = "PCM_16") -> Path:
    """Write a clip in the format its suffix names, whole or not at all; values beyond full scale are limited.

    Parameters
    ----------
    subtype : of WAV and FLAC, as soundfile names them; OGG is Vorbis and MP3 has no choice.

    Raises
    ------
    AudioError
        The clip holds values that are not finite, the suffix names no format that can be written here, or
        that format does not take the clip's sample rate or the subtype.
    OSError
        The folder cannot be written to, or the disk is full.
    """
    import soundfile

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        found = path.suffix or "a file without suffix"
        raise AudioError(f"{path.name}: cannot write {found}; expected {', '.join(SUFFIXES)}")
    if not all(np.isfinite(block).all() for block in blocks(clip.wav)):
        raise AudioError(f"{path.name}: not written, the clip holds values that are not finite")
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = None if suffix in (".ogg", ".mp3") else subtype
    with whole(path) as temporary, temporary.open("w+b") as stream:
        written = _Written(stream)
        try:
            with soundfile.SoundFile(written, "w", clip.sample_rate, 1, chosen, format=suffix[1:].upper()) as file:
                # libsndfile's Vorbis encoder overflows its stack on long blocks.
                for block in blocks(clip.wav):
                    file.write(np.clip(block, -1.0, 1.0))
        except (soundfile.LibsndfileError, ValueError, AssertionError) as error:
            written.require_room()
            reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
            raise AudioError(f"{path.name}: not written at {clip.sample_rate} Hz ({reason})") from error
        written.require_room()
    return path


class _Written(io.RawIOBase):
    """A file that keeps why it could not be written to: libsndfile does not say."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._fault: OSError | None = None

    def require_room(self) -> None:
        """Raise what went wrong, if anything."""
        if self._fault is not None:
            raise self._fault

    def write(self, data: Any, /) -> int:
        try:
            return self._stream.write(data)
        except OSError as fault:
            self._fault = fault
            return 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any, /) -> int:
        return self._stream.readinto(buffer)  # type: ignore[attr-defined, no-any-return]


def mulaw_encode(wav: torch.Tensor) -> torch.Tensor:
    """Compand samples to 8-bit mu-law codes (ITU-T G.711 curve, mu = 255, rounded to the nearest code).

    Parameters
    ----------
    wav : Tensor[...], float, in [-1, 1]; values beyond are limited

    Returns
    -------
    Tensor[...], int64 in 0..255; 0.0 is exactly code 128
    """
    wav = wav.to(torch.float32).clamp(-1.0, 1.0)
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
