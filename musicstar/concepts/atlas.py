"""An atlas: concepts with all that is known of them, from which trees are grown; a folder of three kinds of files.

atlas.json         the concepts in words and figures, and a card: what it was made of, and how
atlas.safetensors  similarities and, where it was learned from audio, the vectors and the features behind them
previews/          short clips to hear
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from musicstar.concepts import hierarchy, truth
from musicstar.concepts.hierarchy import Orientation, Tree
from musicstar.files import write_whole

FORMAT_VERSION = 1
# Whose centralities are kept.
MOST_THRESHOLDS = 64
TRAIN, VALIDATION, TEST = range(3)


class AtlasError(ValueError):
    """An atlas that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Concept:
    """One concept.

    Attributes
    ----------
    name : unique in its atlas
    parents : the broader concepts of the ground truth that it is directly part of
    clips : how many carry it
    accuracy, low, high : balanced accuracy of its vector on held-out clips, with a 95 % interval; None if unknown
    warning : why its vector is not to be relied upon, or empty
    examples : names of files in `previews`
    """

    name: str
    parents: tuple[str, ...] = ()
    clips: int = 0
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    warning: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Vectors:
    """Concept activation vectors: concept n is in features x as much as sigmoid(weights[n] . z + biases[n]).

    Attributes
    ----------
    weights : np.ndarray[N, D], float32
    biases : np.ndarray[N], float32
    mean, scale : np.ndarray[D], float32; z = (x - mean) / scale
    """

    weights: np.ndarray
    biases: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """np.ndarray[P, N], float32 in 0..1: how much each concept is in each row of features [P, D]."""
        logits = ((features.astype(np.float32) - self.mean) / self.scale) @ self.weights.T + self.biases
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Background:
    """The clips that an atlas was learned from, as their features.

    Attributes
    ----------
    features : np.ndarray[P, D], float32
    members : np.ndarray[N, P], bool: which concepts each carries
    split : np.ndarray[P], int8, TRAIN, VALIDATION or TEST
    """

    features: np.ndarray
    members: np.ndarray
    split: np.ndarray


@dataclass(frozen=True)
class Shape:
    """How a tree is grown; see `hierarchy`."""

    orientation: Orientation = Orientation.TRANSPOSED
    threshold: float = hierarchy.THRESHOLD
    least_similarity: float = hierarchy.LEAST_SIMILARITY
    most_children: int = hierarchy.MOST_CHILDREN


@dataclass(frozen=True, eq=False)
class Atlas:
    """Concepts, their similarities, and where they are had the vectors and features behind them.

    Attributes
    ----------
    title : for people
    concepts : N of them
    similarity : np.ndarray[N, N], float32; [i, j] is how much concept j is in the clips of concept i
    vectors, background : None where the concepts were not learned from audio
    embedder : the name of what makes features of audio, which `embed.find` finds; empty where there are no vectors
    card : what it was made of, how, and with what figures
    folder : where it lies, if it does
    sha256 : of its description as it was read, by which one that was built again is told from it
    """

    title: str
    concepts: tuple[Concept, ...]
    similarity: np.ndarray
    vectors: Vectors | None = None
    background: Background | None = None
    embedder: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    sha256: str = ""
    _centralities: dict[float, np.ndarray] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        n = len(self.concepts)
        if len({concept.name for concept in self.concepts}) != n:
            raise AtlasError("two concepts of one name; expected each once")
        if self.similarity.shape != (n, n):
            raise AtlasError(f"similarities of shape {self.similarity.shape} for {n} concepts; expected ({n}, {n})")

    @cached_property
    def index(self) -> dict[str, int]:
        """Where each concept stands."""
        return {concept.name: i for i, concept in enumerate(self.concepts)}

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """Of the ground truth, of each concept; a truth's concepts need not all be in the atlas."""
        return truth.ancestors({concept.name: concept.parents for concept in self.concepts})

    @cached_property
    def clusters(self) -> dict[str, str]:
        """The topmost ancestor of each concept in the ground truth; empty where there is no truth at all."""
        if not any(concept.parents for concept in self.concepts):
            return {}
        found = truth.tops({concept.name: concept.parents for concept in self.concepts})
        return {concept.name: found[concept.name] for concept in self.concepts}

    def centrality(self, threshold: float = hierarchy.THRESHOLD) -> np.ndarray:
        """Betweenness of each concept in the graph of that threshold, float64[N]; the last ones are kept."""
        with self._lock:
            if threshold not in self._centralities:
                edges = hierarchy.neighbours(self.similarity, threshold=threshold)
                self._centralities[threshold] = hierarchy.betweenness(edges)
            found = self._centralities[threshold]
            if len(self._centralities) > MOST_THRESHOLDS:
                del self._centralities[next(key for key in self._centralities if key != hierarchy.THRESHOLD)]
            return found

    def tree(self, shape: Shape | None = None) -> Tree:
        """The concepts as a tree."""
        shape = shape or Shape()
        return hierarchy.grow(
            self.similarity,
            self.centrality(shape.threshold),
            orientation=shape.orientation,
            least_similarity=shape.least_similarity,
            most_children=shape.most_children,
        )

    def towards(self, orientation: Orientation) -> np.ndarray:
        """np.ndarray[N, N]: row n holds the similarities of concept n to its possible parents."""
        return self.similarity.T if orientation is Orientation.PUBLISHED else self.similarity


def save(atlas: Atlas, folder: str | Path) -> Path:
    """Write an atlas, its previews excepted; features are stored in 16 bits, all else as it is."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"similarity": atlas.similarity, "centrality": atlas.centrality()}
    if atlas.vectors is not None:
        tensors |= {f"vectors.{name}": value for name, value in vars(atlas.vectors).items()}
    if atlas.background is not None:
        tensors["background.features"] = atlas.background.features.astype(np.float16)
        tensors["background.members"] = np.packbits(atlas.background.members, axis=1)
        tensors["background.split"] = atlas.background.split.astype(np.int8)
    content = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    words = {
        "format_version": FORMAT_VERSION,
        "title": atlas.title,
        "embedder": atlas.embedder,
        "sha256": hashlib.sha256(content).hexdigest(),
        "card": dict(atlas.card),
        "concepts": [asdict(concept) for concept in atlas.concepts],
    }
    write_whole(folder / "atlas.safetensors", content)
    write_whole(folder / "atlas.json", (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode())
    return folder


def load(folder: str | Path) -> Atlas:
    """Read an atlas, and check that both its files belong together.

    Raises
    ------
    AtlasError
        A file is missing, damaged, of another format or not the one saved.
    """
    folder = Path(folder)
    described, stored = folder / "atlas.json", folder / "atlas.safetensors"
    try:
        written = described.read_bytes()
        words = json.loads(written)
        content = stored.read_bytes()
        if words["format_version"] != FORMAT_VERSION:
            raise AtlasError(f"{described}: format version {words['format_version']!r}, expected {FORMAT_VERSION}")
        if words["sha256"] != hashlib.sha256(content).hexdigest():
            raise AtlasError(f"{stored}: not the file that was saved with atlas.json")
        # Neither NaN nor half a character could be passed on.
        json.dumps(words, ensure_ascii=False, allow_nan=False).encode()
        tensors = safetensors.numpy.load(content)
        concepts = tuple(map(_concept, words["concepts"]))
        atlas = Atlas(
            _text(words["title"], "title"),
            concepts,
            _tensor(tensors, "similarity", len(concepts), len(concepts)),
            _vectors(tensors, len(concepts)),
            _background(tensors, len(concepts)),
            _text(words["embedder"], "embedder"),
            dict(words["card"]),
            folder,
            hashlib.sha256(written).hexdigest(),
            {hierarchy.THRESHOLD: _tensor(tensors, "centrality", len(concepts))},
        )
        _ = atlas.ancestors
    except FileNotFoundError as error:
        raise AtlasError(f"{error.filename}: there is no such file; expected an atlas in {folder}") from None
    except OSError as error:
        raise AtlasError(f"{folder}: not readable ({error.strerror}); expected an atlas there") from error
    except (AtlasError, truth.TruthError):
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, SafetensorError) as error:
        raise AtlasError(f"{folder}: not an atlas ({type(error).__name__}: {error})") from error
    return atlas


def _concept(entry: Mapping[str, Any]) -> Concept:
    """A concept from what is stored of it; raises TypeError where that is something else."""
    listed = {key: tuple(_text(part, key) for part in entry[key]) for key in ("parents", "examples")}
    found = Concept(**{**entry, **listed})
    _text(found.name, "name")
    _text(found.warning, "warning")
    for key, value in (("clips", found.clips), *((key, getattr(found, key)) for key in ("accuracy", "low", "high"))):
        if not isinstance(value, int | float) and (value is not None or key == "clips"):
            raise TypeError(f"{key} of {found.name!r} is {value!r}; expected a number")
    return found


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}; expected a text")
    return value


def _tensor(tensors: Mapping[str, np.ndarray], name: str, *shape: int) -> np.ndarray:
    """One of the numbers' arrays; raises ValueError where its shape or its values are not as expected."""
    found = tensors[name]
    if found.shape != shape:
        raise ValueError(f"{name} of shape {found.shape}; expected {shape}")
    if not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
        raise ValueError(f"{name} holds {found.dtype} or values that are not finite; expected finite numbers")
    return found


def _vectors(tensors: Mapping[str, np.ndarray], n: int) -> Vectors | None:
    if "vectors.weights" not in tensors:
        return None
    d = tensors["vectors.weights"].shape[-1]
    shapes = {"weights": (n, d), "biases": (n,), "mean": (d,), "scale": (d,)}
    return Vectors(*(_tensor(tensors, f"vectors.{name}", *shape) for name, shape in shapes.items()))


def _background(tensors: Mapping[str, np.ndarray], n: int) -> Background | None:
    if "background.features" not in tensors:
        return None
    split, packed = tensors["background.split"], tensors["background.members"]
    clips, width = split.size, tensors["vectors.mean"].size
    if split.ndim != 1 or packed.shape != (n, -(-clips // 8)):
        raise ValueError(f"background.members of shape {packed.shape} for {n} concepts and {clips} clips")
    features = _tensor(tensors, "background.features", clips, width).astype(np.float32)
    return Background(features, np.unpackbits(packed, axis=1, count=clips).astype(bool), split)
