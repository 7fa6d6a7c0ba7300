"""Embedding many clips: nothing done is done again, nothing bad stops the rest, and no setting changes the rows."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicstar import audio
from musicstar.checkpoint import CheckpointError
from musicstar.concepts import cache, embed, sfx
from musicstar.concepts.embed import Embedder, EmbedderError
from musicstar.concepts.sfx import Classifier, FrontEnd

RATE = 16_000


def clip(path: Path, number: int, *, seconds: float = 0.5, sample_rate: int = RATE) -> Path:
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    wav = 0.3 * np.sin(2 * np.pi * 110 * (number + 1) * time_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, sample_rate)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [clip(tmp_path / "clips" / f"{i}.wav", i, seconds=0.3 + 0.1 * i) for i in range(7)]


class Counting:
    """An embedder of level and zero crossings that counts what it hears."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.fails_at: int | None = None

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.fails_at is not None and len(self.heard) >= self.fails_at:
            raise KeyboardInterrupt
        self.heard += [len(wav) for wav in wavs]
        halves = [np.array_split(wav, 2) for wav in wavs]
        return [
            np.array([[np.abs(half).mean(), (np.diff(np.sign(half)) != 0).mean()] for half in pair], dtype=np.float32)
            for pair in halves
        ]


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def embedder(counting: Counting) -> Embedder:
    return Embedder("counting 1", RATE, 0.25, 0.25, counting)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    original = audio.read

    def read(path: str | Path, **options: float | None) -> audio.Clip:
        names.append(Path(path).name)
        return original(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(audio, "read", read)
    return names


def test_rows_are_means_over_windows(paths: list[Path], embedder: Embedder, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = embed.embed(paths, embedder, tmp_path / "cache", progress=lambda *done: told.append(done), batch=3)
    wavs = [soundfile.read(path, dtype="float32")[0] for path in paths]
    expected = np.stack([rows.mean(0) for rows in Counting()(wavs)])
    np.testing.assert_allclose(found.rows, expected, rtol=1e-6)
    assert found.rows.dtype == np.float32
    assert found.failures == {}
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_nothing_is_done_twice(
    paths: list[Path], embedder: Embedder, counting: Counting, decoded: list[str], tmp_path: Path
) -> None:
    first = embed.embed(paths, embedder, tmp_path / "cache", batch=2)
    assert sorted(decoded) == [path.name for path in paths]
    again = embed.embed([*paths, paths[0]], embedder, tmp_path / "cache")
    assert len(decoded) == len(counting.heard) == 7
    np.testing.assert_array_equal(again.rows, np.concatenate([first.rows, first.rows[:1]]))
    # What each batch left is one shard when all is done.
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    embed.embed(paths, replace(embedder, name="counting 2"), tmp_path / "cache")
    assert len(decoded) == 14


def test_a_file_that_changed_is_done_again(
    paths: list[Path], embedder: Embedder, decoded: list[str], tmp_path: Path
) -> None:
    before = embed.embed(paths, embedder, tmp_path / "cache").rows
    decoded.clear()
    clip(paths[2], 20, seconds=0.5)
    status = paths[4].stat()
    os.utime(paths[4], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after = embed.embed(paths, embedder, tmp_path / "cache").rows
    assert sorted(decoded) == [paths[2].name, paths[4].name]
    assert [i for i in range(7) if not np.array_equal(before[i], after[i])] == [2]


def test_what_was_stopped_half_way_is_gone_on_with(
    paths: list[Path], embedder: Embedder, counting: Counting, tmp_path: Path
) -> None:
    counting.fails_at = 4
    with pytest.raises(KeyboardInterrupt):
        embed.embed(paths, embedder, tmp_path / "cache", batch=2)
    assert len(counting.heard) == 4
    counting.fails_at = None
    found = embed.embed(paths, embedder, tmp_path / "cache", batch=2)
    assert len(counting.heard) == 7
    np.testing.assert_array_equal(found.rows, embed.embed(paths, embedder, tmp_path / "other").rows)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no more", None])
def test_a_damaged_shard_is_done_again(
    paths: list[Path], embedder: Embedder, counting: Counting, damage: bytes | None, tmp_path: Path
) -> None:
    first = embed.embed(paths, embedder, tmp_path / "cache").rows
    (shard,) = (tmp_path / "cache").rglob("*.npz")
    shard.write_bytes(shard.read_bytes()[:-60] if damage is None else damage)
    (shard.parent / ".writing-x.npz").write_bytes(b"half")
    (shard.parent / "empty.npz").touch()
    np.savez(shard.parent / "flat.npz", keys=np.array("x"), lengths=np.array(3), rows=np.zeros(3))
    np.testing.assert_array_equal(embed.embed(paths, embedder, tmp_path / "cache").rows, first)
    assert len(counting.heard) == 14
    embed.embed(paths, embedder, tmp_path / "cache")
    assert len(counting.heard) == 14


def test_bad_files_are_named_and_the_rest_is_done(paths: list[Path], embedder: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    clip(folder / "short.wav", 1, seconds=0.05)
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").touch()
    bad = [folder / f"{name}.wav" for name in ("nan", "silent", "short", "text", "empty", "missing")]
    # Every other one is bad.
    mixed = [path for pair in zip(bad, paths, strict=False) for path in pair]
    found = embed.embed(mixed, embedder, tmp_path / "cache", batch=4)
    assert list(found.failures) == [0, 2, 4, 6, 8, 10]
    for (place, sentence), words in zip(
        found.failures.items(),
        ("not numbers (NaN", "is silent", "0.050 s long", "not readable as audio", "0 bytes", "no such file"),
        strict=True,
    ):
        assert words in sentence
        assert mixed[place].name in sentence
    assert np.isnan(found.rows[::2]).all()
    np.testing.assert_array_equal(found.rows[1::2], embed.embed(paths[:6], embedder, tmp_path / "other").rows)
    only_bad = embed.embed(bad, embedder, tmp_path / "none")
    assert only_bad.rows.shape == (6, 0)
    assert len(only_bad.failures) == 6


def test_an_embedder_that_errs_is_told_so(paths: list[Path], tmp_path: Path) -> None:
    def flat(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros(3, dtype=np.float32) for _ in wavs]

    def not_finite(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.full((1, 2), np.inf if len(wav) == 8000 else 0, dtype=np.float32) for wav in wavs]

    with pytest.raises(EmbedderError, match=r"flat made arrays of shapes \(3,\).* expected \[windows, D\]"):
        embed.embed(paths, Embedder("flat", RATE, 1, 1, flat), tmp_path / "cache")
    found = embed.embed(paths, Embedder("infinite", RATE, 1, 1, not_finite), tmp_path / "cache")
    assert found.failures == {2: "2.wav: its features are not finite numbers"}

    def width(values: int) -> Embedder:
        return Embedder("wide", RATE, 1, 1, lambda wavs: [np.ones((1, values)) for _ in wavs])

    embed.embed(paths[:3], width(2), tmp_path / "cache")
    with pytest.raises(EmbedderError, match="wide made 2 and 3 values"):
        embed.embed(paths, width(3), tmp_path / "cache")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A checkpoint that hears short windows, so that it is quick; its batch norm has seen something."""
    torch.manual_seed(0)
    net = Classifier(2, {"a": ("b", "c")})
    front_end = FrontEnd(sample_rate=RATE, n_fft=512, hop=256, patch=16, patch_hop=8)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    net(torch.rand(32, 16, 96) ** 4)
    sfx.save(tmp_path / "weights" / sfx.SHIPPED, net, front_end, {})
    return tmp_path / "weights" / f"{sfx.SHIPPED}.safetensors"


def test_neither_batches_nor_workers_change_the_rows(paths: list[Path], trained: Path, tmp_path: Path) -> None:
    embedder = embed.find(str(trained))
    first = embed.embed(paths, embedder, tmp_path / "0", batch=1, workers=1).rows
    assert first.shape == (7, 16 * embed.BANDS)
    assert np.ptp(first, axis=0).max() > 1e-3
    for batch, workers in ((16, 3), (3, 2)):
        other = embed.embed(paths, embedder, tmp_path / f"{batch}", batch=batch, workers=workers).rows
        np.testing.assert_allclose(other, first, atol=1e-5)


def test_the_backbone_gives_a_row_for_each_window(trained: Path) -> None:
    embedder = embed.find(str(trained))
    found = sfx.load(trained)
    wavs = [np.random.default_rng(i).standard_normal(3000 * (i + 1)).astype(np.float32) for i in range(3)]
    rows = embedder.run(wavs)
    assert (embedder.window_s, embedder.hop_s) == (found.front_end.window_s, found.front_end.hop_s)
    for wav, row in zip(wavs, rows, strict=True):
        with torch.no_grad():
            block = found.net.backbone.activations(found.front_end.windows(wav), ["block4"])["block4"].numpy()
        # Two neighbouring bands of twelve are joined.
        expected = block.mean(axis=2).reshape(len(row), -1, embed.BANDS, 2).mean(axis=3).reshape(len(row), -1)
        np.testing.assert_allclose(row, expected, atol=1e-5)
    (pooled,) = embed.find(f"{trained}#embedding").run(wavs[-1:])
    with torch.no_grad():
        expected = found.net.backbone(found.front_end.windows(wavs[-1])).numpy()
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_mel_is_means_and_deviations() -> None:
    embedder = embed.find("mel")
    wav = np.random.default_rng(0).standard_normal(4 * 44_100).astype(np.float32)
    (rows,) = embedder.run([wav])
    windows = FrontEnd().windows(wav).numpy()
    np.testing.assert_allclose(rows, np.concatenate([windows.mean(1), windows.std(1)], axis=1), atol=1e-6)
    assert rows.shape == (2, 192)


def test_embedders_are_found_by_name(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICSTAR_WEIGHTS", str(trained.parent))
    (tmp_path / "own_embedder.py").write_text(
        "import numpy as np\n"
        "from musicstar.concepts.embed import Embedder\n"
        "def make(): return Embedder('levels', 16000, 1.0, 1.0, lambda wavs: [np.ones((1, 1)) for _ in wavs])\n"
        "def number(): return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = str(trained)
    odd = tmp_path / "me@home" / "run#2" / trained.name
    odd.parent.mkdir(parents=True)
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(trained.with_suffix(suffix), odd.with_suffix(suffix))
    names = ("", "cnn9", "cnn9#block2", "#block3", "mel", path, path.removesuffix(".safetensors"), "own_embedder:make")
    for name in (*names, str(odd), f"{odd}#block2"):
        found = embed.find(name)
        # Its own name finds it again.
        assert embed.find(found.name).name == found.name
    assert embed.find("own_embedder:make").name == "own_embedder:make@levels"
    with pytest.raises(EmbedderError, match="names the function own_embedder:make, which is not run unasked"):
        embed.find("own_embedder:make@levels", code=False)
    assert embed.find("").name == embed.find("cnn9").name
    with pytest.raises(EmbedderError, match="own_embedder:number returned int"):
        embed.find("own_embedder:number")
    with pytest.raises(EmbedderError, match=r"no layer 'block9' in 'cnn9#block9': expected block1, .+, embedding"):
        embed.find("cnn9#block9")
    for unknown in ("cnn10", "nowhere:make", "own_embedder:nothing", ":", "x:"):
        with pytest.raises(EmbedderError, match="no embedder"):
            embed.find(unknown)
    before = embed.find("cnn9").name
    net = Classifier(2, {"a": ("b", "c")})
    sfx.save(trained, net, FrontEnd(), {})
    assert embed.find("cnn9").name != before
    with pytest.raises(EmbedderError, match="is now cnn9#block4@"):
        embed.find(before)
    trained.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="sha256"):
        embed.find(path)
    sys.modules.pop("own_embedder", None)


def test_long_clips_do_not_share_a_batch(
    paths: list[Path], embedder: Embedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes: list[int] = []

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        sizes.append(len(wavs))
        return Counting()(wavs)

    monkeypatch.setattr(cache, "BATCH_S", 1.0)
    monkeypatch.setattr(cache, "MAX_CLIP_S", 0.85)
    found = embed.embed(paths, replace(embedder, run=run), tmp_path / "cache")
    # 0.3, 0.4, 0.5 s; 0.6, 0.7 s; 0.8 s; and one that is too long.
    assert sizes == [3, 2, 1]
    assert found.failures == {6: "6.wav: 0.9 s long, the limit is 0.85 s"}
