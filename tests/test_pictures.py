"""The pictures of sound: envelopes, mel bands, colours."""

import base64
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musicstar import pictures
from musicstar.audio import SAMPLE_RATE, Clip
from tests.standin import tone


def test_an_envelope_holds_lowest_and_highest() -> None:
    wav = np.zeros(960, np.float32)
    wav[0], wav[3] = 1.0, -0.5
    values = np.frombuffer(base64.b64decode(pictures.envelope(wav, columns=480)), np.uint8).reshape(480, 2)
    assert values[0].tolist() == [128, 255]
    assert values[1].tolist() == [64, 128]  # -0.5 * 127 + 128 = 64.5, to the even neighbour
    assert (values[2:] == 128).all()
    short = np.frombuffer(base64.b64decode(pictures.envelope(tone(9, seconds=0.01))), np.uint8)
    assert len(short) == 2 * pictures.COLUMNS


def test_a_sine_lights_its_own_band() -> None:
    levels = pictures.log_mel(tone(1000, level=1.0), sample_rate=SAMPLE_RATE)[:, 480]
    corners_hz = pictures.mel_to_hz(
        np.linspace(pictures.hz_to_mel(pictures.LOWEST_HZ), pictures.hz_to_mel(8000.0), pictures.MEL_BANDS + 2)
    )
    band = int(levels.argmax())
    assert corners_hz[band] < 1000 < corners_hz[band + 2]
    assert levels[band] - np.delete(levels, [band - 2, band - 1, band, band + 1, band + 2]).max() > 30
    assert pictures.mel_to_hz(pictures.hz_to_mel(440.0)) == pytest.approx(440.0)


def test_mel_filters_sum_to_one_and_none_is_empty() -> None:
    filters = pictures.mel_filters(sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(filters.sum(axis=1), 1.0)
    assert (filters >= 0).all()


@pytest.mark.parametrize(("colours", "sign"), [(pictures.LIGHT, -1), (pictures.DARK, 1)])
def test_colours_go_evenly_from_the_page_to_the_other_end(colours: tuple[str, ...], sign: int) -> None:
    shades = pictures.colour_map(colours)
    hexadecimal = ["#{:02x}{:02x}{:02x}".format(*shade) for shade in shades]
    assert (hexadecimal[0], hexadecimal[-1]) == (colours[0], colours[-1])
    lab = pictures.oklab(tuple(hexadecimal))
    assert (np.diff(lab[::5, 0]) * sign > 0).all(), "lightness turns round"
    steps = np.linalg.norm(np.diff(lab[::5], axis=0), axis=1)
    assert steps.max() < 2 * steps.min()


def test_known_colours_in_oklab() -> None:
    # Ottosson's definition: white has lightness 1 and no colour; his example for pure red.
    white, red = pictures.oklab(("#ffffff", "#ff0000"))
    np.testing.assert_allclose(white, [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(red, [0.628, 0.225, 0.126], atol=1e-3)


def levels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_pictures_are_relative_to_loudness(tmp_path: Path) -> None:
    drawn = []
    for k, gain in enumerate((1.0, 0.1)):
        wav = tone(700, level=0.5) * np.float32(gain)
        loudness_lufs = Clip(wav).loudness_lufs()
        paths = tmp_path / f"{k}l.png", tmp_path / f"{k}d.png"
        pictures.draw(wav, sample_rate=SAMPLE_RATE, loudness_lufs=loudness_lufs, light=paths[0], dark=paths[1])
        drawn.append([levels_of(path) for path in paths])
    for loud, quiet in zip(*drawn, strict=True):
        assert np.abs(loud - quiet).max() <= 1
        assert loud.max() > 200
    silent = tmp_path / "s.png"
    pictures.draw(
        np.zeros(800, np.float32), sample_rate=SAMPLE_RATE, loudness_lufs=-math.inf, light=silent, dark=silent
    )
    assert levels_of(silent).max() == 0


def test_a_sheet_shows_every_track_at_one_loudness(tmp_path: Path) -> None:
    low, quiet = tone(500), 0.01 * tone(500)
    tracks = [("first", low, -20.0), ("again, quieter", quiet, -60.0), ("silence", 0 * low, -math.inf)]
    pictures.draw_sheet(tracks, tmp_path / "sheet.png", sample_rate=SAMPLE_RATE)
    drawn = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    height = pictures.TITLE_HEIGHT + pictures.MEL_BANDS
    assert drawn.shape == (3 * height, pictures.PICTURE_WIDTH, 3)
    first, again, silence = (drawn[row * height + pictures.TITLE_HEIGHT : (row + 1) * height] for row in range(3))
    assert np.array_equal(first, again)
    assert first.min() < 60
    assert silence.min() > 240
    titles = [drawn[row * height : row * height + pictures.TITLE_HEIGHT, :200].min() for row in range(3)]
    assert max(titles) < 100
