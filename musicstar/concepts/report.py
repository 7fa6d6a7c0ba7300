"""The figures of an atlas: its vectors, its trees in both orientations beside their bounds, and other atlases."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.concepts import judge
from musicstar.concepts.atlas import Atlas, AtlasError, Shape
from musicstar.concepts.judge import Mean

Proxies = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes
    ----------
    about : the tree, or empty where it is about none
    name : what is measured, with the direction that is better
    found, random, nearest : the atlas's figure, that of random trees of the same shape, and that of the list of nearest
        neighbours; None where there is none
    """

    about: str
    name: str
    found: Mean
    random: Mean | None = None
    nearest: Mean | None = None


def report(
    atlas: Atlas, shapes: Mapping[str, Shape], *, proxies: Mapping[str, Path], others: Sequence[Atlas]
) -> list[Measure]:
    """All figures of an atlas.

    Parameters
    ----------
    shapes : how trees are grown, by what they are called
    proxies : CSV files with vectors of the concepts, by what they are called; see `read_proxy`
    others : atlases of the same concepts, by another backbone or of other sound

    Raises
    ------
    AtlasError
        A proxy's file or another atlas has nothing in common with the atlas.
    """
    distances = {name: read_proxy(path, atlas) for name, path in proxies.items()}
    if atlas.background is not None:
        centroids = judge.centroids(atlas.background.features, atlas.background.members)
        distances = {"audio L2": judge.distances(centroids), **distances}
    found = []
    if known := [concept.accuracy for concept in atlas.concepts if concept.accuracy is not None]:
        found.append(Measure("", "attribution: balanced accuracy (higher)", judge.attribution(np.array(known))))
        if dropped := list(atlas.card.get("dropped", {}).values()):
            # Those kept were chosen by the very clips that they are measured on, as published.
            tried = judge.attribution(np.array([*known, *dropped]))
            found.append(Measure("", "attribution with the concepts left out", tried))
    for name, shape in shapes.items():
        found += _of_tree(atlas, name, shape, distances)
    for other in others:
        found += _of_transfer(atlas, other, shapes)
    return found


def _of_tree(atlas: Atlas, name: str, shape: Shape, distances: Proxies) -> Iterator[Measure]:
    parents, towards = atlas.tree(shape).parents, atlas.towards(shape.orientation)
    nearest = judge.nearest(towards, parents)
    if any(concept.parents for concept in atlas.concepts):
        names = [concept.name for concept in atlas.concepts]
        truth = judge.truth(names, {concept.name: concept.parents for concept in atlas.concepts})

        def purity(tree: np.ndarray) -> Mean:
            return judge.purity(tree, truth.clusters)

        at_random = judge.at_random(parents, lambda tree: purity(tree).value)
        yield Measure(name, "purity of parents (higher)", purity(parents), at_random, purity(nearest))
        leaves = list(_leaves(atlas))

        def own(tree: np.ndarray) -> Mean:
            return judge.own_family(tree, truth.direct, leaves)

        at_random = judge.at_random(parents, lambda tree: own(tree).value)
        yield Measure(name, "leaves under their own parent (higher)", own(parents), at_random, own(nearest))
        ours = judge.ancestry(judge.lineage(parents), truth.above)
        bound = judge.ancestry(judge.nearest_ancestors(towards, parents), truth.above)
        for part in ("precision", "recall", "f1"):

            def drawn(tree: np.ndarray, part: str = part) -> float:
                return float(getattr(judge.ancestry(judge.lineage(tree), truth.above), part))

            found, most = (Mean(value, value, value, 1) for value in (getattr(ours, part), getattr(bound, part)))
            at_random = judge.at_random(parents, drawn)
            yield Measure(name, f"ancestors' {part} (higher)".replace("f1", "F1"), found, at_random, most)
    for proxy, distance in distances.items():

        def general(tree: np.ndarray, distance: np.ndarray = distance) -> float:
            return judge.generality(tree, distance).value

        yield Measure(
            name,
            f"generality: {proxy} to the parent (lower)",
            judge.generality(parents, distance),
            judge.at_random(parents, general),
            judge.generality(nearest, distance),
        )


def _leaves(atlas: Atlas) -> Iterator[int]:
    """The concepts of the ground truth that are part of just one and have none below."""
    broad = {parent for concept in atlas.concepts for parent in concept.parents}
    for i, concept in enumerate(atlas.concepts):
        if concept.name not in broad and len(concept.parents) == 1:
            yield i


def _of_transfer(atlas: Atlas, other: Atlas, shapes: Mapping[str, Shape]) -> Iterator[Measure]:
    ours, theirs = judge.common(*([concept.name for concept in some.concepts] for some in (atlas, other)))
    if len(ours) < 2:
        raise AtlasError(f"{other.title}: {len(ours)} concepts in common with {atlas.title}; expected two or more")
    one, two = atlas.similarity[np.ix_(ours, ours)], other.similarity[np.ix_(theirs, theirs)]
    value = judge.rank_correlation(one, two)
    yield Measure("", f"{other.title}: rank correlation of similarities (higher)", Mean(value, value, value, len(ours)))
    for name, shape in shapes.items():
        first = judge.restricted(atlas.tree(shape).parents, ours)
        second = judge.restricted(other.tree(shape).parents, theirs)
        found = judge.overlap(first, second)
        by_chance = judge.chance(first, second)
        for part, value, random in zip(
            ("parents", "ancestors"), (found.parents, found.ancestors), by_chance, strict=True
        ):
            yield Measure(name, f"{other.title}: same {part} (higher)", Mean(value, value, value, len(ours)), random)


def read_proxy(path: Path, atlas: Atlas) -> np.ndarray:
    """Distances of the concepts by vectors of somebody's own, float64[N, N].

    Parameters
    ----------
    path : CSV without header, a row for each concept: its name, then numbers

    Raises
    ------
    AtlasError
        The file cannot be read, lacks a concept, or its rows are not of one length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = {row[0].strip(): [float(cell) for cell in row[1:]] for row in csv.reader(file) if row}
        vectors = np.array([rows[concept.name] for concept in atlas.concepts])
    except KeyError as error:
        raise AtlasError(f"{path}: no row for {error.args[0]!r}; expected one for each of the concepts") from None
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise AtlasError(f"{path}: not rows of a name and equally many numbers ({error})") from error
    # Beyond this, squares are too large to be added.
    if vectors.ndim != 2 or not vectors.size or not (np.abs(vectors) < 1e100).all():
        raise AtlasError(
            f"{path}: rows without numbers, or with NaN or huge ones; expected a name and equally many numbers in each"
        )
    return judge.distances(vectors)


def lines(measures: Iterable[Measure]) -> list[str]:
    """The table as text."""
    head = ("tree", "measure", "found", "random", "nearest neighbours")
    rows = [head, *((m.about, m.name, *(_shown(part) for part in (m.found, m.random, m.nearest))) for m in measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _shown(value: Mean | None) -> str:
    if value is None or np.isnan(value.value):
        return ""
    if value.low == value.high:
        return f"{value.value:.3f}"
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def as_json(measures: Iterable[Measure]) -> list[dict[str, Any]]:
    """The table as plain values; NaN becomes None."""

    def plain(value: Mean | None) -> dict[str, Any] | None:
        if value is None or np.isnan(value.value):
            return None
        return {key: round(number, 6) for key, number in asdict(value).items()}

    return [
        {
            "tree": m.about,
            "measure": m.name,
            "found": plain(m.found),
            "random": plain(m.random),
            "nearest": plain(m.nearest),
        }
        for m in measures
    ]
