"""Training the backbone: it learns, the same way from the same seed, and goes on where it stopped."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicstar import audio
from musicstar.concepts import embed, sfx, training
from musicstar.concepts.atlas import TRAIN, VALIDATION
from musicstar.concepts.library import Library, LibraryError
from musicstar.concepts.patches import LEVELS, TAGS, Changes, Patches, changed, reduce
from musicstar.concepts.sfx import FrontEnd
from musicstar.concepts.training import Run, Settings
from musicstar.runfolder import RunError
from tests.test_layers import imports, loaded, project

RATE = 16_000
SMALL = FrontEnd(sample_rate=RATE, n_fft=512, hop=256, bands=16, patch=16, patch_hop=8)
QUICK = Settings(width=2, budget_minutes=5, batch_size=8, warmup_steps=1, steps=4)


def library(folder: Path, *, factors: bool = True, clips: int = 40) -> Library:
    """Tones of four pitches, of which every other one wobbles."""
    folder.mkdir()
    paths, time_s = [], np.arange(RATE // 2) / RATE
    for i in range(clips):
        pitch = 200 * 2 ** (i % 4) * (1 + 0.02 * (i // 4))
        wobble = 1 + 0.8 * np.sin(2 * np.pi * 12 * time_s) * (i // 4 % 2)
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.2 * wobble * np.sin(2 * np.pi * pitch * time_s), RATE)
        paths.append(path)
    numbers = np.arange(clips)
    members = np.stack([numbers % 4 == k for k in range(4)] + [numbers // 4 % 2 == k for k in range(2)])
    concepts = ("p0", "p1", "p2", "p3", "steady", "wobbling")
    groups = {"pitch": concepts[:4], "kind": concepts[4:]} if factors else {}
    return Library(tuple(paths), tuple(path.name for path in paths), concepts, members, factors=groups)


@pytest.fixture
def patches(tmp_path: Path) -> Patches:
    return reduce(library(tmp_path / "clips"), tmp_path / "frames", front_end=SMALL)


def losses(run: Run, count: int) -> list[float]:
    return [run.take_step() for _ in range(count)]


def test_clips_are_reduced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = library(tmp_path / "clips")
    (tmp_path / "bad.wav").write_text("no audio")
    paths = (tmp_path / "bad.wav", *found.paths)
    members = np.pad(found.members, ((0, 0), (1, 0)))
    found = replace(found, paths=paths, tracks=("bad", *found.tracks), members=members)
    first = reduce(found, tmp_path / "frames", front_end=SMALL)
    assert first.groups == {"pitch": ("p0", "p1", "p2", "p3"), "kind": ("steady", "wobbling")}
    np.testing.assert_array_equal(first.labels, members[:, 1:].T)
    np.testing.assert_array_equal(first.split, found.splits(0)[1:])
    wav, _ = soundfile.read(paths[6], dtype="float32")
    mel = SMALL.log_mel(wav).numpy()
    np.testing.assert_allclose(first.clip(5) / LEVELS, mel, atol=0.5 / LEVELS + 1e-6)
    decoded: list[str] = []
    original = audio.read

    def read(path: Path, *, sample_rate: int, max_duration_s: float) -> audio.Clip:
        decoded.append(path.name)
        return original(path, sample_rate=sample_rate, max_duration_s=max_duration_s)

    monkeypatch.setattr(audio, "read", read)
    again = reduce(found, tmp_path / "frames", front_end=SMALL)
    # What cannot be read may have been put right.
    assert decoded == ["bad.wav"]
    again.save(tmp_path / "stored.npz")
    stored = Patches.load(tmp_path / "stored.npz")
    for name in ("frames", "ends", "labels", "split"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(first, name))
    assert (stored.groups, stored.front_end, stored.data) == (first.groups, SMALL, first.data)


def test_a_library_without_factors_is_learned_by_its_tags(tmp_path: Path) -> None:
    found = reduce(library(tmp_path / "clips", factors=False), tmp_path / "frames", front_end=SMALL)
    assert found.groups == {TAGS: ("p0", "p1", "p2", "p3", "steady", "wobbling")}
    run = Run(found, tmp_path / "out", QUICK, resume=False)
    # Of the training clips, a quarter has each pitch: three without for each with it.
    share = found.labels[found.split == TRAIN].mean(axis=0)
    np.testing.assert_allclose(run.positive_weight.numpy(), (1 - share) / share, rtol=1e-5)
    run.train()
    card = sfx.load(run.best_path).card
    assert set(card.training["validation_balanced_accuracy"]) == {TAGS}


def test_a_library_that_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    found = library(tmp_path / "clips", clips=8)
    one = replace(found, paths=found.paths[:1], tracks=found.tracks[:1], members=found.members[:, :1])
    with pytest.raises(LibraryError, match="none of the 1 clips that can be used are in the"):
        reduce(one, tmp_path / "frames", front_end=SMALL)
    with pytest.raises(ValueError, match="budget_minutes 0"):
        Settings(budget_minutes=0)


def test_two_steps_then_saved_then_loaded(tmp_path: Path) -> None:
    found, told, reduced = library(tmp_path / "clips"), [], []
    best = training.train(
        found,
        tmp_path / "out",
        width=2,
        budget_minutes=1e-6,
        seed=3,
        front_end=SMALL,
        progress=lambda *done: told.append(done),
        reducing=lambda *done: reduced.append(done),
    )
    assert reduced[-1] == (40, 40)
    assert best == tmp_path / "out" / "concepts-cnn9.safetensors"
    assert told == [(1, 1)]
    trained = sfx.load(best)
    assert trained.front_end == SMALL
    assert trained.card.config["width"] == 2
    figures = trained.card.training
    assert figures["data"] == "40 clips, 6 concepts, split by track with seed 3"
    assert (figures["steps"], figures["seed"]) == (1, 3)
    assert set(figures["validation_macro_f1"]) == {"pitch", "kind"}
    record = json.loads((tmp_path / "out/run/run.json").read_text())
    assert (record["config"]["width"], record["config"]["seed"]) == (2, 3)
    (line,) = (tmp_path / "out/run/metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 1
    rows = embed.embed(found.paths, embed.find(str(best)), tmp_path / "cache").rows
    # 16 channels in the last block.
    assert rows.shape == (40, 16 * embed.BANDS)
    assert np.isfinite(rows).all()


def test_the_best_weights_are_those_validated(patches: Patches, tmp_path: Path) -> None:
    run = Run(patches, tmp_path / "out", replace(QUICK, steps=2), resume=False)
    run.train()
    scores, mel = run.validate(), torch.rand(2, 16, 16)
    trained = sfx.load(run.best_path)
    assert trained.card.training["validation_macro_f1"] == {name: round(value, 4) for name, value in scores.items()}
    with torch.no_grad():
        torch.testing.assert_close(trained.net.backbone(mel), run.net.backbone(mel), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_losses(patches: Patches, tmp_path: Path) -> None:
    def first(seed: int) -> list[float]:
        # Without a number of steps the budget sets the learning rate, but not yet while it is warmed up.
        settings = replace(QUICK, seed=seed, steps=None, warmup_steps=10)
        return losses(Run(patches, tmp_path / "out", settings, resume=False), 3)

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_resumed_run_walks_the_same_curve(patches: Patches, tmp_path: Path) -> None:
    whole = losses(Run(patches, tmp_path / "whole", QUICK, resume=False), 4)
    stopped = Run(patches, tmp_path / "out", QUICK, resume=False)
    assert losses(stopped, 2) == whole[:2]
    stopped._report(0.0)
    losses(stopped, 1)
    resumed = Run(patches, tmp_path / "out", QUICK, resume=True)
    assert (resumed.step, resumed.best) == (2, stopped.best)
    assert losses(resumed, 2) == whole[2:]
    resumed._report(0.0)
    lines = (tmp_path / "out/run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]
    with pytest.raises(RunError, match="other settings: width"):
        Run(patches, tmp_path / "out", replace(QUICK, width=3), resume=True)
    anew = Run(patches, tmp_path / "out", QUICK, resume=False)
    assert anew.step == 0
    assert not (tmp_path / "out/run/metrics.jsonl").exists()
    # Nothing there to go on from.
    assert Run(patches, tmp_path / "new", QUICK, resume=True).step == 0


def test_it_learns(patches: Patches, tmp_path: Path) -> None:
    settings = replace(
        QUICK, width=4, steps=60, warmup_steps=5, learning_rate=1e-2, changes=Changes(time_mask=2, band_mask=1)
    )
    run = Run(patches, tmp_path / "out", settings, resume=False)
    run.train()
    assert run.validate()["pitch"] > 0.9


def test_it_ends_when_nothing_gets_better(patches: Patches, tmp_path: Path) -> None:
    settings = replace(QUICK, steps=50, report_minutes=0, patience=2, learning_rate=0)
    run = Run(patches, tmp_path / "out", settings, resume=False)
    run.best = 2.0
    run.train()
    assert run.step == 2


def test_an_epoch_has_each_training_clip_once(patches: Patches, tmp_path: Path) -> None:
    run = Run(patches, tmp_path / "out", replace(QUICK, batch_size=4), resume=False)
    clips = np.flatnonzero(patches.split == TRAIN)
    heard: list[int] = []
    for step in range(len(clips) // 4):
        run.step = step
        heard += run._batch().tolist()
    assert len(heard) == len(set(heard)) == len(clips) // 4 * 4
    assert set(heard) <= set(clips.tolist())
    assert not set(heard) & set(np.flatnonzero(patches.split == VALIDATION).tolist())


def test_clips_without_a_label_say_nothing_of_its_group(patches: Patches, tmp_path: Path) -> None:
    run = Run(patches, tmp_path / "out", QUICK, resume=False)
    pitch, kind = torch.randn(3, 4), torch.randn(3, 2)
    labels = torch.zeros(3, 6, dtype=torch.bool)
    labels[0, 2] = labels[1, 1] = labels[2, 5] = True
    # A label of the four tells two bits, one of the two tells one.
    by_hand = -(2 * pitch[:2].log_softmax(1)[[0, 1], [2, 1]].mean() + kind.log_softmax(1)[2, 1]) / 3
    torch.testing.assert_close(run._loss([pitch, kind], labels), by_hand)
    assert run._loss([pitch, kind], torch.zeros_like(labels)) == 0


def test_changes_are_of_level_colour_and_gaps() -> None:
    front_end = FrontEnd()
    power = torch.rand(4, 100, 96) * 1e-3
    scale = np.log1p(1e4)
    mel = torch.log1p(power * 1e4) / scale
    still = Changes(gain_db=0, eq_db=0, time_mask=0, band_mask=0)
    torch.testing.assert_close(changed(mel, front_end, still, np.random.default_rng(0)), mel)
    louder = changed(mel, front_end, replace(still, gain_db=6.0), np.random.default_rng(0))
    ratio_db = 10 * np.log10(torch.expm1(louder * scale).numpy() / 1e4 / power.numpy())
    # One change for each window, the same everywhere in it.
    np.testing.assert_allclose(ratio_db, np.broadcast_to(ratio_db[:, :1, :1], ratio_db.shape), atol=0.05)
    assert np.ptp(ratio_db[:, 0, 0]) > 1
    assert np.abs(ratio_db).max() < 6.01
    coloured = changed(mel, front_end, replace(still, eq_db=6.0), np.random.default_rng(0))
    curve_db = 10 * np.log10(torch.expm1(coloured * scale).numpy() / 1e4 / power.numpy())
    assert np.ptp(curve_db, axis=1).max() < 0.05
    assert 1 < np.abs(curve_db).max() < 7.4
    assert np.abs(np.diff(curve_db[:, 0], axis=1)).max() < 0.6
    gaps = changed(
        torch.ones(50, 100, 96), front_end, replace(still, time_mask=20, band_mask=12), np.random.default_rng(0)
    )
    times, bands = (gaps == 0).all(dim=2).sum(1), (gaps == 0).all(dim=1).sum(1)
    assert 15 < times.max() <= 20
    assert 8 < bands.max() <= 12


def test_macro_f1_by_hand() -> None:
    labels = np.eye(4, dtype=bool)[[0, 0, 0, 1, 1, 2]]
    scores = np.eye(4)[[0, 0, 1, 1, 3, 0]]
    # Class 0: 2 of 3 found, 1 wrongly; class 1: 1 of 2, 1 wrongly; class 2: none; class 3 is carried by no clip.
    expected = (2 * 2 / (3 + 3) + 2 * 1 / (2 + 2) + 0) / 3
    assert training.macro_f1(scores, labels) == pytest.approx(expected)
    # Clips without a label do not count.
    more, unlabelled = np.pad(scores, ((0, 2), (0, 0))), np.pad(labels, ((0, 2), (0, 0)))
    assert training.macro_f1(more, unlabelled) == pytest.approx(expected)
    assert training.macro_f1(scores[:0], labels[:0]) == 0


def test_balanced_accuracy_by_hand() -> None:
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    guessed = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    # The first tag: half of those with it, all of those without; all carry the second and none the third.
    assert training.balanced_accuracy(guessed, labels) == pytest.approx((1 / 2 + 1) / 2)
    assert training.balanced_accuracy(guessed[:, 1:], labels[:, 1:]) == 0


def test_training_on_reduced_clips_loads_three_packages() -> None:
    found = imports(*project())
    reached = loaded({"musicstar.concepts.training"}, found)
    packages = {edge.package for edge in found if edge.importer in reached and not edge.lazy}
    assert packages - sys.stdlib_module_names == {"musicstar", "torch", "numpy", "safetensors"}
