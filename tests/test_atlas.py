"""An atlas on disk: written and read back whole, refused where it is not."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from musicstar.concepts.atlas import MOST_THRESHOLDS, Atlas, AtlasError, Background, Concept, Shape, Vectors, load, save
from musicstar.concepts.hierarchy import ROOT, Orientation
from musicstar.concepts.truth import TruthError

NAMES = ("strings", "violin", "cello", "flute")


def atlas(**other: object) -> Atlas:
    rng = np.random.default_rng(5)
    concepts = (
        Concept("strings", (), 40, 0.9, 0.85, 0.95, "", ("a.mp3",)),
        Concept("violin", ("strings",), 20, 0.8, 0.7, 0.9, "few"),
        Concept("cello", ("strings",)),
        Concept("flute", ("winds",)),
    )
    weights, biases, mean = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3), 4, 3))
    vectors = Vectors(weights, biases, mean, np.ones(3, np.float32))
    background = Background(
        rng.standard_normal((10, 3)).astype(np.float16).astype(np.float32),
        rng.random((4, 10)) > 0.5,
        rng.integers(0, 3, 10).astype(np.int8),
    )
    # The clips of violin and cello are much like strings, those of strings are not like either.
    similarity = np.array(
        [[0.9, 0.1, 0.15, 0.1], [0.8, 0.9, 0.3, 0.1], [0.9, 0.3, 0.9, 0.1], [0.4, 0.1, 0.1, 0.9]], dtype=np.float32
    )
    values = {"vectors": vectors, "background": background, "embedder": "mel", "card": {"seed": 1}, **other}
    return Atlas("Test", concepts, similarity, **values)  # type: ignore[arg-type]


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    made = atlas()
    found = load(save(made, tmp_path / "x"))
    assert (found.title, found.concepts, found.embedder, found.card) == (
        made.title,
        made.concepts,
        made.embedder,
        made.card,
    )
    assert made.vectors is not None
    assert made.background is not None
    for one, other in ((made.vectors, found.vectors), (made.background, found.background)):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(vars(other)[name], value)
    np.testing.assert_array_equal(found.similarity, made.similarity)
    assert found.centrality().tobytes() == made.centrality().tobytes()
    assert found.clusters == {"strings": "strings", "violin": "strings", "cello": "strings", "flute": "winds"}
    bare = load(save(atlas(vectors=None, background=None), tmp_path / "bare"))
    assert bare.vectors is None
    assert bare.background is None


def test_the_orientation_decides_who_hangs_where() -> None:
    made = atlas()
    assert made.centrality().tolist() == pytest.approx([1 / 3, 0, 0, 0])
    assert made.tree(Shape(Orientation.TRANSPOSED)).parents.tolist() == [ROOT, 0, 0, 0]
    assert made.tree(Shape(Orientation.PUBLISHED)).parents.tolist() == [ROOT, 2, ROOT, ROOT]
    narrow = made.tree(Shape(Orientation.TRANSPOSED, most_children=2))
    # Among equally central concepts the last comes first.
    assert narrow.parents.tolist() == [ROOT, 2, 0, 0]
    assert made.towards(Orientation.TRANSPOSED)[1, 0] == made.towards(Orientation.PUBLISHED)[0, 1] == np.float32(0.8)


def test_probabilities_are_those_of_logistic_regression() -> None:
    vectors = Vectors(
        np.array([[2.0, 0.0]], np.float32), np.array([-1.0], np.float32), np.array([1.0, 0.0], np.float32),
        np.array([2.0, 1.0], np.float32),
    )  # fmt: skip
    found = vectors.probabilities(np.array([[3.0, 9.0], [-99.0, 0.0], [1e4, 0.0]]))
    assert found[:, 0] == pytest.approx([1 / (1 + np.exp(-1.0)), 0.0, 1.0], abs=1e-6)


def test_an_atlas_that_is_none_says_why(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"atlas\.json: there is no such file; expected an atlas in"):
        load(tmp_path)
    folder = save(atlas(), tmp_path / "x")
    words = json.loads((folder / "atlas.json").read_text())
    (folder / "atlas.json").write_text(json.dumps({**words, "format_version": 9}))
    with pytest.raises(AtlasError, match="format version 9, expected 1"):
        load(folder)
    (folder / "atlas.json").write_text("{}")
    with pytest.raises(AtlasError, match="not an atlas"):
        load(folder)
    (folder / "atlas.json").write_text(json.dumps(words))
    with (folder / "atlas.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(AtlasError, match=r"not the file that was saved with atlas\.json"):
        load(folder)
    save(atlas(), folder)
    circle = [{**entry, "parents": ["violin"]} if entry["name"] == "strings" else entry for entry in words["concepts"]]
    (folder / "atlas.json").write_text(json.dumps({**words, "concepts": circle}))
    with pytest.raises(TruthError, match="circle"):
        load(folder)


def test_concepts_of_one_name_and_similarities_that_do_not_fit() -> None:
    made = atlas()
    with pytest.raises(AtlasError, match="two concepts of one name"):
        Atlas("x", (made.concepts[0],) * 4, made.similarity)
    with pytest.raises(AtlasError, match=r"shape \(4, 4\) for 3 concepts; expected \(3, 3\)"):
        Atlas("x", made.concepts[:3], made.similarity)


def test_numbers_and_words_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = save(atlas(), tmp_path / "x")
    words, content = json.loads((folder / "atlas.json").read_text()), (folder / "atlas.safetensors").read_bytes()

    def stored(words: object, content: bytes = content) -> Path:
        digest = {"sha256": hashlib.sha256(content).hexdigest()}
        (folder / "atlas.json").write_text(json.dumps({**words, **digest} if isinstance(words, dict) else words))
        (folder / "atlas.safetensors").write_bytes(content)
        return folder

    first, *rest = words["concepts"]
    entries: list[tuple[str, object]] = [
        *(("accuracy", "high"), ("low", float("nan")), ("clips", None), ("name", 7), ("name", "\ud800")),
        *(("parents", 5), ("parents", [["x"]]), ("warning", None)),
    ]
    spoilt: list[object] = [{**words, "concepts": [{**first, key: value}, *rest]} for key, value in entries]
    for bad in [*spoilt, {**words, "title": ["x"]}, {**words, "card": "x"}, {**words, "embedder": 7}, [words]]:
        with pytest.raises(AtlasError, match="not an atlas"):
            load(stored(bad))
    arrays = safetensors.numpy.load(content)
    for name, value in (
        ("similarity", np.full_like(arrays["similarity"], np.nan)),
        ("similarity", arrays["similarity"].astype(np.int64)),
        ("centrality", arrays["centrality"][:2]),
        ("vectors.weights", arrays["vectors.weights"][:, :2].copy()),
        ("vectors.biases", arrays["vectors.biases"][:2]),
        ("background.members", arrays["background.members"].reshape(-1)),
        ("background.split", arrays["background.split"][:4]),
    ):
        with pytest.raises(AtlasError, match="not an atlas"):
            load(stored(words, safetensors.numpy.save({**arrays, name: value})))
    assert len(load(stored(words)).concepts) == 4
    (folder / "atlas.json").unlink()
    (folder / "atlas.json").mkdir()
    with pytest.raises(AtlasError, match="not readable"):
        load(folder)


def test_centralities_are_not_kept_without_end() -> None:
    made = atlas()
    first = made.centrality()
    for number in range(3 * MOST_THRESHOLDS):
        made.centrality(number / 1000)
    assert len(made._centralities) <= MOST_THRESHOLDS
    assert made.centrality() is first
