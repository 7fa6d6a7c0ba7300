"""Checkpoints: what is saved is what is loaded, and a library finds the one that is meant."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from musicstar.checkpoint import Card, CheckpointError, Library, annotate, average, load, save


def card(**changes: Any) -> Card:
    return Card(**{"backbone": "wavenet", "recipe": "stem", "voices": ("strings",), "config": {}} | changes)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(3, 4).t(), "count": torch.tensor(7), "empty": torch.zeros(0)}
    written = save(tmp_path / "new" / "stem.v1", card(training={"steps": 10}), tensors)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "stem.v1.json",
        "stem.v1.safetensors",
    ]
    for suffix in ("", ".json", ".safetensors"):
        found, loaded = load(tmp_path / "new" / f"stem.v1{suffix}")
        assert found == written
        assert found.training == {"steps": 10}
        assert {name: (t.dtype, t.tolist()) for name, t in loaded.items()} == {
            name: (t.dtype, t.tolist()) for name, t in tensors.items()
        }


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    tensors = {"w": torch.randn(1000), "count": torch.tensor(70_000)}
    save(tmp_path / "full", card(), tensors)
    save(tmp_path / "half", card(), tensors, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[1] - sizes[0] == 2000
    _, loaded = load(tmp_path / "half")
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], tensors["w"].half().float())
    assert loaded["count"] == 70_000


def test_a_mean_of_two_worked_by_hand(tmp_path: Path) -> None:
    figures = {"steps": 10, "validation_log": 0.4, "content_similarity": 0.6}
    save(tmp_path / "new", card(training=figures), {"w": torch.tensor([1.0, 5.0]), "count": torch.tensor(9)})
    older = save(tmp_path / "old", card(), {"w": torch.tensor([-3.0, 5.0]), "count": torch.tensor(4)})
    written = average(tmp_path / "new", tmp_path / "old", tmp_path / "mean", share=0.75)
    found, tensors = load(tmp_path / "mean")
    assert (tensors["w"].tolist(), tensors["count"].item()) == ([0.0, 5.0], 9)
    # What was measured was measured of other weights.
    assert found == written
    assert found.training == {"steps": 10, "averaged_with": older.sha256, "share": 0.75}


@pytest.mark.parametrize(
    ("other", "shape", "share", "sentence"),
    [
        ({}, 2, 1.5, "the share of the newer weights is 1.5, expected 0 to 1"),
        ({}, 3, 0.5, "their networks are of different sizes"),
        ({"config": {"sharpen": True}}, 2, 0.5, "their networks are of different sizes"),
        ({"partner": "f" * 64}, 2, 0.5, "they are bound to different checkpoints"),
        ({"voices": ("piano",)}, 2, 0.5, "one is wavenet stem for strings, the other wavenet stem for piano"),
    ],
)
def test_what_has_no_mean(tmp_path: Path, other: dict[str, Any], shape: int, share: float, sentence: str) -> None:
    save(tmp_path / "new", card(), {"w": torch.ones(2)})
    save(tmp_path / "old", card(**other), {"w": torch.ones(shape)})
    with pytest.raises(CheckpointError, match=sentence):
        average(tmp_path / "new", tmp_path / "old", tmp_path / "mean", share=share)
    assert not (tmp_path / "mean.json").exists()


def test_a_mean_replaces_neither_of_its_two_nor_a_folder(tmp_path: Path) -> None:
    for name in ("new", "old"):
        save(tmp_path / name, card(), {"w": torch.ones(2)})
    for name in ("new", "old.safetensors"):
        with pytest.raises(CheckpointError, match="is one of the two, and would be lost"):
            average(tmp_path / "new", tmp_path / "old", tmp_path / name, share=0.5)
    with pytest.raises(CheckpointError, match="is a folder"):
        average(tmp_path / "new", tmp_path / "old", tmp_path, share=0.5)


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (float("inf"), False), (1e6, True)])
def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path, value: float, half: bool) -> None:
    save(tmp_path / "good", card(), {"w": torch.ones(1)})
    with pytest.raises(CheckpointError, match="tensor w holds NaN or infinity"):
        save(tmp_path / "good", card(), {"w": torch.tensor([value])}, half=half)
    assert load(tmp_path / "good")[1]["w"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_numbers_that_are_not_finite_are_not_loaded(tmp_path: Path) -> None:
    save(tmp_path / "a", card(), {"w": torch.ones(1)})
    weights, described = tmp_path / "a.safetensors", tmp_path / "a.json"
    before = weights.read_bytes()
    weights.write_bytes(before[:-4] + torch.tensor(float("nan")).numpy().tobytes())
    was, now = (hashlib.sha256(content).hexdigest() for content in (before, weights.read_bytes()))
    described.write_text(described.read_text().replace(was, now))
    with pytest.raises(CheckpointError, match="tensor w holds NaN or infinity"):
        load(weights)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="sha256"):
        load(weights)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"backbone": "transformer"}, "unknown backbone 'transformer'"),
        ({"recipe": "magic"}, "unknown recipe 'magic'"),
        ({"voices": ["tuba"]}, "unknown voice 'tuba'"),
        ({"format_version": 99}, "format version 99"),
        ({"colour": "red"}, "colour"),
        ({"training": ["fast"]}, "training is \\['fast'\\], expected names with values"),
        ({"config": None}, "config is None, expected names with values"),
        ({"sha256": None}, "sha256 is None, expected a text"),
    ],
)
def test_a_card_that_says_something_unknown_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=complaint):
        load(tmp_path / "a")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.safetensors: there is no such checkpoint"):
        load(tmp_path / "a")
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    for damaged in ("[", "[]", "3", "{}"):
        (tmp_path / "a.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"a\.json: not a checkpoint's card"):
            load(tmp_path / "a")
    (tmp_path / "a.json").unlink()
    with pytest.raises(CheckpointError, match=r"a\.json: there is no such card"):
        load(tmp_path / "a")


def test_the_first_folder_of_a_library_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    save(shipped / "b", card(voices=("strings", "piano")), {})
    save(shipped / "a", card(voices=("piano",)), {})
    save(mine / "z", card(voices=("strings",)), {})
    library = Library([tmp_path / "absent", mine, shipped])
    assert library.find("wavenet", "stem", "strings") == mine / "z.safetensors"
    assert library.find("wavenet", "stem", "piano") == shipped / "a.safetensors"
    assert library.find("wavenet", "stem", "clarinet") is None
    assert library.find("spectral", "stem", "piano") is None
    assert library.find("wavenet", "mixture", "piano") is None
    assert list(library.cards()) == [
        mine / "z.safetensors",
        shipped / "a.safetensors",
        shipped / "b.safetensors",
    ]
    (mine / "z.json").write_text("{}")
    assert library.find("wavenet", "stem", "strings") == shipped / "b.safetensors"
    assert "checkpoint left out" in caplog.text


def test_what_is_being_written_is_no_checkpoint_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "a", card(), {})
    (tmp_path / ".writing-x.safetensors").write_bytes(b"half")
    assert list(Library([tmp_path]).cards()) == [tmp_path / "a.safetensors"]
    assert caplog.text == ""


def made(folder: Path, name: str, configuration: str, *, begun_with: str = "", **changes: Any) -> Card:
    training = {"configuration": configuration} | ({"begun_with": begun_with} if begun_with else {})
    return save(folder / name, card(training=training, **changes), {"w": torch.rand(1)})


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "c", "b"), ("b", "a", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_the_finest_tuned_goes_first_whatever_the_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    first, finer, finest = names
    library = Library([tmp_path / "mine", tmp_path / "shipped"])
    shipped = tmp_path / "shipped"
    made(shipped, first, "base")
    made(shipped, finer, "tuned", begun_with="base")
    assert library.find("wavenet", "stem", "strings") == shipped / f"{finer}.safetensors"
    made(shipped, finest, "tuned-more", begun_with="tuned")
    assert library.find("wavenet", "stem", "strings") == shipped / f"{finest}.safetensors"
    # An earlier folder wins all the same.
    made(tmp_path / "mine", "z", "base")
    assert library.find("wavenet", "stem", "strings") == tmp_path / "mine" / "z.safetensors"


def test_only_what_serves_alike_is_surpassed(tmp_path: Path) -> None:
    library = Library([tmp_path])
    made(tmp_path, "a", "base")
    made(tmp_path, "b", "other-recipe", begun_with="base", recipe="mixture")
    made(tmp_path, "c", "other-voice", begun_with="base", voices=("piano",))
    made(tmp_path, "d", "unrelated", begun_with="elsewhere")
    assert library.find("wavenet", "stem", "strings") == tmp_path / "a.safetensors"
    # One that was begun with its own configuration, or cards that name each other, fall back on names.
    made(tmp_path, "a", "base", begun_with="base")
    assert library.find("wavenet", "stem", "strings") == tmp_path / "a.safetensors"
    made(tmp_path, "a", "base", begun_with="unrelated")
    made(tmp_path, "d", "unrelated", begun_with="base")
    assert library.find("wavenet", "stem", "strings") == tmp_path / "a.safetensors"


def test_a_partner_is_found_by_its_sha256_and_no_other_serves(tmp_path: Path) -> None:
    library = Library([tmp_path / "mine", tmp_path / "shipped"])
    made(tmp_path / "mine", "a", "base")
    base = made(tmp_path / "shipped", "a", "base")
    made(tmp_path / "shipped", "b", "tuned", begun_with="base")
    bound = save(tmp_path / "bound", card(recipe="embedding", partner=base.sha256), {})
    assert load(tmp_path / "bound")[0].partner == bound.partner == base.sha256
    found = library.find("wavenet", "stem", "strings", sha256=bound.partner)
    assert found == tmp_path / "shipped" / "a.safetensors"
    assert library.find("wavenet", "stem", "piano", sha256=bound.partner) is None
    assert library.find("wavenet", "stem", "strings", sha256="0" * 64) is None


def test_a_card_from_before_there_were_partners_is_read(tmp_path: Path) -> None:
    save(tmp_path / "a", card(), {})
    entries = json.loads((tmp_path / "a.json").read_text())
    del entries["partner"]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    assert load(tmp_path / "a")[0].partner == ""


def test_an_annotated_card_keeps_the_rest(tmp_path: Path) -> None:
    before = save(tmp_path / "a", card(training={"steps": 1, "score": 0.1}, partner="b"), {"w": torch.ones(1)})
    after = annotate(tmp_path / "a.safetensors", {"score": 0.5})
    assert load(tmp_path / "a")[0] == after
    assert after.training == {"steps": 1, "score": 0.5}
    assert (after.sha256, after.partner) == (before.sha256, "b")
