"""Pieces in both domains, and the stimuli made of them."""

from pathlib import Path

import numpy as np
import pytest

from musicstar import audio, stimuli
from musicstar.audio import Clip
from musicstar.domains import STARNET, Domain
from musicstar.methods.catalog import METHODS
from musicstar.pairs import excerpt_pairs, set_pairs
from musicstar.starnet import reduce
from tests.starnet_sets import write_set


def test_pairs_are_each_others_gold(tmp_path: Path, two_voices: tuple[Clip, Clip]) -> None:
    for name, clip in zip(("007.0.wav", "007.3.flac"), two_voices, strict=True):
        audio.write(tmp_path / name, clip)
    audio.write(tmp_path / "007.0.mixture.wav", two_voices[0])
    first, second = excerpt_pairs(tmp_path)
    assert (first.source.domain, second.source.domain) == (Domain.SP, Domain.CV)
    assert second.source.mixture is not None
    assert np.array_equal(first.gold.wav, second.source.mixture.wav)
    with pytest.raises(ValueError, match=r"no NNN\.0\.wav"):
        list(excerpt_pairs(tmp_path / "elsewhere"))
    (tmp_path / "007.3.flac").unlink()
    with pytest.raises(ValueError, match=r"of 007 there is no 007\.3\.wav"):
        list(excerpt_pairs(tmp_path))


def test_stimuli_are_the_gold_and_every_method(tmp_path: Path) -> None:
    data = reduce(write_set(tmp_path / "set"), tmp_path / "reduced")
    with pytest.raises(ValueError, match="there is no piece 999, expected of 001"):
        stimuli.make(set_pairs(data, ["002", "999"], seconds=1.5), tmp_path / "out")
    stimuli.make(set_pairs(data, ["002"], seconds=1.5), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"002.{target}.{system}.flac" for target in STARNET for system in ("gold", *METHODS)}
    clips = {name: audio.read(tmp_path / "out" / name) for name in names}
    assert {len(clip.wav) for clip in clips.values()} == {24_000}
    gold = data.piece("002")[Domain.CV.mixture, :24_000].numpy()
    assert np.abs(clips["002.cv.gold.flac"].wav - gold).max() < 1e-4
