"""Pictures of sound: the envelope a waveform is drawn from, and a log-mel spectrogram as a PNG.

Both are drawn at matched loudness, so that two tracks of one piece can be compared by eye as they are by ear.
The colours are interpolated in OKLab (Ottosson 2020), where equal steps look equal: lightness falls evenly on
the light ground and rises evenly on the dark one, and the quiet end of either map is the page's background.
"""

import base64
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 480
PICTURE_WIDTH = 960
TITLE_HEIGHT = 22
MEL_BANDS = 128
LOWEST_HZ = 50.0
FFT_SAMPLES = 2048
RANGE_DB = 66.0
TOP_OVER_LOUDNESS_DB = 4.0
LIGHT = ("#fbfaf7", "#dfe3da", "#8fb5b0", "#3f7f86", "#1f4a5c", "#1b1f2e")
DARK = ("#16191c", "#1b3038", "#24606a", "#5a9a8c", "#d3b877", "#fdf3dc")

FloatArray = NDArray[np.float64]


def envelope(wav: NDArray[np.float32], *, columns: int = COLUMNS) -> str:
    """The lowest and highest sample of each column, as base64 of bytes.

    Parameters
    ----------
    wav : np.ndarray[T], float32 in [-1, 1]

    Returns
    -------
    str : base64 of `2 * columns` unsigned bytes, lowest and highest in turn; 128 is zero, one step is 1/127
    """
    edges = np.linspace(0, len(wav), columns + 1).astype(np.int64)
    padded = np.append(wav, np.float32(0.0))
    lowest = np.minimum.reduceat(padded, edges[:-1])
    highest = np.maximum.reduceat(padded, edges[:-1])
    steps = np.stack([lowest, highest], axis=1).clip(-1.0, 1.0) * 127 + 128
    return base64.b64encode(np.rint(steps).astype(np.uint8).tobytes()).decode("ascii")


def hz_to_mel(frequency_hz: FloatArray | float) -> FloatArray:
    """Mel scale of O'Shaughnessy (1987), as HTK uses it."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(frequency_hz) / 700.0))


def mel_to_hz(mel: FloatArray | float) -> FloatArray:
    """The inverse of `hz_to_mel`."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0))


def mel_filters(*, sample_rate: int, bands: int = MEL_BANDS, fft_samples: int = FFT_SAMPLES) -> FloatArray:
    """Triangles of unit sum, evenly spaced in mel from `LOWEST_HZ` to the Nyquist frequency.

    Returns
    -------
    np.ndarray[bands, fft_samples // 2 + 1], float64
    """
    corners_hz = mel_to_hz(np.linspace(hz_to_mel(LOWEST_HZ), hz_to_mel(sample_rate / 2), bands + 2))
    bins_hz = np.arange(fft_samples // 2 + 1) * sample_rate / fft_samples
    rising = (bins_hz - corners_hz[:-2, None]) / (corners_hz[1:-1] - corners_hz[:-2])[:, None]
    falling = (corners_hz[2:, None] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    # The lowest triangles are narrower than a bin: each keeps at least its nearest one.
    nearest = np.rint(corners_hz[1:-1] * fft_samples / sample_rate).astype(np.int64)
    empty = filters.sum(axis=1) == 0
    filters[empty, nearest[empty]] = 1.0
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))


def log_mel(wav: NDArray[np.float32], *, sample_rate: int, columns: int = PICTURE_WIDTH) -> FloatArray:
    """Mel-band levels at evenly spaced moments.

    Parameters
    ----------
    wav : np.ndarray[T], float32 in [-1, 1]

    Returns
    -------
    np.ndarray[MEL_BANDS, columns], float64, dB relative to a full-scale sine in one bin, never below -200
    """
    half = FFT_SAMPLES // 2
    padded = np.pad(wav.astype(np.float64), half)
    centres = np.linspace(0, max(len(wav) - 1, 0), columns).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[centres]
    window = np.hanning(FFT_SAMPLES)
    power = np.abs(np.fft.rfft(frames * window, axis=1) / (window.sum() / 2)) ** 2
    bands = mel_filters(sample_rate=sample_rate) @ power.T
    return np.asarray(10 * np.log10(np.maximum(bands, 1e-20)))


def oklab(colours: tuple[str, ...]) -> FloatArray:
    """Hexadecimal sRGB colours in OKLab.

    Returns
    -------
    np.ndarray[len(colours), 3], float64: lightness in [0, 1], green-red, blue-yellow
    """
    srgb = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _LINEAR_TO_CONES.T) @ _CONES_TO_OKLAB.T)


def colour_map(colours: tuple[str, ...]) -> NDArray[np.uint8]:
    """256 colours through the control points, in equal steps of OKLab distance.

    Returns
    -------
    np.ndarray[256, 3], uint8 sRGB
    """
    points = oklab(colours)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    position = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    at = np.linspace(0.0, 1.0, 256)
    lab = np.stack([np.interp(at, position, points[:, axis]) for axis in range(3)], axis=1)
    linear = ((lab @ np.linalg.inv(_CONES_TO_OKLAB).T) ** 3) @ np.linalg.inv(_LINEAR_TO_CONES).T
    linear = linear.clip(0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(srgb * 255).astype(np.uint8))


def draw(wav: NDArray[np.float32], *, sample_rate: int, loudness_lufs: float, light: Path, dark: Path) -> None:
    """Write the log-mel picture of a track, once for a light page and once for a dark one.

    Parameters
    ----------
    wav : np.ndarray[T], float32 in [-1, 1]
    loudness_lufs : the track's own loudness, to which the colours are relative; -inf for silence
    """
    levels = _levels(wav, sample_rate=sample_rate, loudness_lufs=loudness_lufs)
    for path, colours in ((light, LIGHT), (dark, DARK)):
        picture = Image.fromarray(levels, mode=None)
        picture.putpalette(colour_map(colours).tobytes())
        picture.save(path, format="PNG", optimize=False)


def draw_sheet(tracks: Sequence[tuple[str, NDArray[np.float32], float]], path: Path, *, sample_rate: int) -> None:
    """Write the log-mel pictures of several tracks as one PNG, one below the other, on a light ground.

    Parameters
    ----------
    tracks : title, sound np.ndarray[T] and loudness in LUFS of each
    """
    height = TITLE_HEIGHT + MEL_BANDS
    sheet = Image.new("RGB", (PICTURE_WIDTH, height * len(tracks)), LIGHT[0])
    pen = ImageDraw.Draw(sheet)
    for row, (title, wav, loudness_lufs) in enumerate(tracks):
        picture = Image.fromarray(_levels(wav, sample_rate=sample_rate, loudness_lufs=loudness_lufs), mode=None)
        picture.putpalette(colour_map(LIGHT).tobytes())
        pen.text((2, row * height + 3), title, fill=LIGHT[-1], font=ImageFont.load_default(TITLE_HEIGHT - 8))
        sheet.paste(picture.convert("RGB"), (0, row * height + TITLE_HEIGHT))
    # A palette of so many shades of one map looks the same and takes a third.
    sheet.quantize(64).save(path, format="PNG", optimize=True)


def _levels(wav: NDArray[np.float32], *, sample_rate: int, loudness_lufs: float) -> NDArray[np.uint8]:
    """A log-mel spectrogram as places in a colour map, high bands first: np.ndarray[MEL_BANDS, PICTURE_WIDTH]."""
    top_db = (loudness_lufs if math.isfinite(loudness_lufs) else -70.0) + TOP_OVER_LOUDNESS_DB
    share = (log_mel(wav, sample_rate=sample_rate) - top_db) / RANGE_DB + 1.0
    return np.ascontiguousarray(np.rint(share.clip(0.0, 1.0) * 255).astype(np.uint8)[::-1])


_LINEAR_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
