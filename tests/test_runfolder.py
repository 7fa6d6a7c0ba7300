"""What a run keeps: nothing of anybody else's is lost, and what is damaged is named."""

import json
import shutil
from pathlib import Path

import pytest

from musicstar import checkpoint, training
from musicstar.runfolder import RunError, RunFolder
from musicstar.train import Run
from tests.small_runs import logging_each, metrics, shrink


def test_resuming_with_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    path = shrink("spectral-mixture", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    path.write_text(path.read_text().replace("batch_size = 4", "batch_size = 2"))
    with pytest.raises(RunError, match="other settings: batch_size"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)


def test_a_run_of_an_older_version_goes_on(data: Path, tmp_path: Path) -> None:
    """What its configuration did not know of yet was as it is by default."""
    path = shrink("spectral-mixture", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    described = tmp_path / "spectral-mixture" / "run.json"
    record = json.loads(described.read_text())
    assert record["config"].pop("decoders_from") == ""
    described.write_text(json.dumps(record))
    training.train([str(path)], data=data, out=tmp_path, resume=True)
    described.unlink()
    with pytest.raises(RunError, match="files that are of no run"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)


def test_a_new_run_clears_away_the_old(data: Path, tmp_path: Path) -> None:
    path = logging_each(shrink("spectral-mixture", tmp_path))
    for _ in range(2):
        training.train([str(path)], data=data, out=tmp_path)
    assert [row[0] for row in metrics(tmp_path / "spectral-mixture")] == [1, 2]


def test_weights_stay_until_there_are_new_ones(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    monkeypatch.setattr(Run, "_take_step", lambda self: (_ for _ in ()).throw(FloatingPointError("not finite")))
    with pytest.raises(FloatingPointError):
        training.train([str(path)], data=data, out=tmp_path)
    card, _ = checkpoint.load(tmp_path / "guess-domain" / "guess-domain")
    assert card.training["steps"] == 2


def test_a_run_that_is_done_keeps_its_weights_and_what_was_measured(data: Path, tmp_path: Path) -> None:
    path = shrink("spectral-mixture", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    checkpoint.annotate(tmp_path / "spectral-mixture/spectral-mixture.json", {checkpoint.SIMILARITY: 0.31})
    before = {path: path.read_bytes() for path in (tmp_path / "spectral-mixture").glob("spectral-mixture.*")}
    assert len(before) == 2
    training.train([str(path)], data=data, out=tmp_path, resume=True)
    assert {path: path.read_bytes() for path in before} == before
    for lost in before:
        lost.unlink()
        training.train([str(path)], data=data, out=tmp_path, resume=True)
        assert all(path.is_file() for path in before)


def test_resuming_on_another_set_is_refused(data: Path, tmp_path: Path) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    for file in other.glob("003.*"):
        file.rename(file.with_name(file.name.replace("003", "007")))
    with pytest.raises(RunError, match="cannot resume on another set"):
        training.train([str(path)], data=other, out=tmp_path, resume=True)


def test_a_budget_that_ends_before_the_first_step_loses_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    monkeypatch.setattr(Run, "_agree", lambda self, stop: True)
    with pytest.raises(RunError, match="nothing was trained"):
        training.train([str(path)], data=data, out=tmp_path, budget_minutes=5.0)
    assert RunFolder(tmp_path / "guess-domain").step() == 2


def test_an_encoder_goes_on_with_the_weights_it_was_begun_with(data: Path, tmp_path: Path) -> None:
    universal, embedding = shrink("spectral-universal", tmp_path), shrink("spectral-embedding", tmp_path)
    training.train([str(universal), str(embedding)], data=data, out=tmp_path)
    card = checkpoint.Card.read(tmp_path / "spectral-embedding/spectral-embedding.json")
    assert card.partner == checkpoint.Card.read(tmp_path / "spectral-universal/spectral-universal.json").sha256
    # Trained on, they are others: the encoder is begun anew with these, and what comes behind it is trained.
    universal.write_text(universal.read_text().replace("batch_size = 4", "batch_size = 3"))
    training.train([str(universal)], data=data, out=tmp_path)
    told: list[str] = []
    names = [str(path) for path in (universal, embedding, shrink("guess-domain", tmp_path))]
    training.train(names, data=data, out=tmp_path, resume=True, progress=told.append)
    assert told[0].startswith("spectral-embedding: begun anew")
    again = checkpoint.Card.read(tmp_path / "spectral-embedding/spectral-embedding.json")
    assert again.partner == checkpoint.Card.read(tmp_path / "spectral-universal/spectral-universal.json").sha256
    assert again.partner != card.partner
    assert (tmp_path / "guess-domain/guess-domain.safetensors").is_file()


def test_what_is_no_run_is_left_alone(data: Path, tmp_path: Path) -> None:
    path = shrink("guess-domain", tmp_path)
    (tmp_path / "guess-domain").mkdir()
    (tmp_path / "guess-domain" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="files that are of no run"):
        training.train([str(path)], data=data, out=tmp_path)
    assert (tmp_path / "guess-domain" / "thesis.txt").read_text() == "mine"
    (tmp_path / "elsewhere").mkdir()
    other = shrink("guess-domain", tmp_path / "elsewhere")
    with pytest.raises(RunError, match="two configurations are named guess-domain"):
        training.train([str(path), str(other)], data=data, out=tmp_path / "out")
    with pytest.raises(RunError, match="cannot be named 'reduced'"):
        training.train([str(path.rename(tmp_path / "reduced.toml"))], data=data, out=tmp_path / "out")


def test_a_damaged_state_is_named(data: Path, tmp_path: Path) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    (state,) = (tmp_path / "guess-domain" / "state").glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(RunError, match="guess-domain: what an earlier run left is damaged"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)
    (tmp_path / "guess-domain" / "state.json").write_text("[]")
    with pytest.raises(RunError, match="damaged"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)
