"""From similarities of concepts to a tree: the graph, how central each concept is, and what hangs where.

Conventions
-----------
- `similarity[i, j]` says how much concept j is in the clips of concept i; higher is closer. It need not be symmetric.
- Two concepts are neighbours where either similarity is above the threshold; edges have no weight and no direction.
- Centrality is the betweenness of Freeman (1977), found as Brandes (2001) does, divided by (N - 1)(N - 2) / 2: the
  mean share of the shortest paths between two other concepts that lead through this one. 0 for fewer than three.
- The tree is that of Heymann and Garcia-Molina (2006): concepts come by falling centrality, and each hangs under the
  most similar one of those that came before and have room, or under the root where none is similar enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

ROOT = -1
THRESHOLD = 0.5
LEAST_SIMILARITY = 0.2
MOST_CHILDREN = 20
MEMORY_BYTES = 2 * 2**30
# More at once make the products no quicker, and leave the processor's cache.
MOST_SOURCES = 512
# Centralities that are equal but for rounding have to tie.
DECIMALS = 12


class Orientation(StrEnum):
    """Which similarity of a possible parent m and a concept n decides.

    Published: S[m, n], the parent's clips by the concept's vector. Transposed: S[n, m], the concept's clips by the
    parent's vector, which finds families of what they contain.
    """

    PUBLISHED = "published"
    TRANSPOSED = "transposed"


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree of N concepts.

    Attributes
    ----------
    parents : np.ndarray[N], int64, the parent of each or ROOT
    order : np.ndarray[N], int64, the concepts as they were placed
    """

    parents: np.ndarray
    order: np.ndarray

    @property
    def depths(self) -> np.ndarray:
        """np.ndarray[N], int64: 1 under the root."""
        depths = np.ones(len(self.parents), dtype=np.int64)
        for node in self.order:
            if self.parents[node] != ROOT:
                depths[node] = depths[self.parents[node]] + 1
        return depths


def neighbours(similarity: np.ndarray, *, threshold: float = THRESHOLD) -> np.ndarray:
    """np.ndarray[N, N], bool, symmetric, false on its diagonal: who is beside whom.

    Raises
    ------
    ValueError
        The similarity is not square, or holds values that are not numbers.
    """
    _check(similarity)
    edges = similarity > threshold
    edges |= edges.T
    np.fill_diagonal(edges, False)
    return edges


def betweenness(
    edges: np.ndarray,
    *,
    memory_bytes: int = MEMORY_BYTES,
    pivots: int | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> np.ndarray:
    """Centrality of each node of an undirected graph, float64[N].

    Brandes' two passes for many sources at once are products of matrices: forwards the counts of shortest paths are
    multiplied by the edges level by level, backwards the dependencies are.

    Parameters
    ----------
    edges : np.ndarray[N, N], bool, symmetric, false on its diagonal; it may lie in a file (np.memmap)
    memory_bytes : what is used besides it, at most, if a source and a column need no more; less takes longer
    pivots : an estimate from so many sources drawn at random (Brandes and Pich 2007) in that share of the time; None
        takes them all
    seed : of that draw
    progress : called with the share that is done
    """
    n = len(edges)
    if n < 3:
        return np.zeros(n)
    taken = np.arange(n) if pivots is None else np.random.default_rng(seed).choice(n, min(n, pivots), replace=False)
    # Nodes of like degree see the rest at like distances, which makes what a level has to look at small.
    taken = taken[np.argsort(edges.sum(axis=1)[taken], kind="stable")]
    sources, columns = _blocks(n, memory_bytes)
    total = np.zeros(n)
    for first in range(0, len(taken), sources):
        total += _dependencies(edges, taken[first : first + sources], columns)
        progress(min(1.0, (first + sources) / len(taken)))
    return total * (n / len(taken)) / ((n - 1) * (n - 2))


def _blocks(n: int, memory_bytes: int) -> tuple[int, int]:
    """How many sources are followed and how many columns of the edges are multiplied at once.

    A column is taken in two copies and once as numbers; a source has five rows of numbers, its distances, its masks and
    its part of a product.
    """
    columns = max(1, min(n, MOST_SOURCES, memory_bytes // 2 // (10 * n)))
    return max(1, min(n, MOST_SOURCES, memory_bytes // 2 // (46 * n + 8 * columns))), columns


def _spread(values: np.ndarray, edges: np.ndarray, into: np.ndarray, columns: int) -> np.ndarray:
    """The sum of the neighbours' values for the nodes where any source wants it, and 0 for the others."""
    found = np.zeros_like(values)
    wanted, given = np.flatnonzero(into.any(axis=0)), np.flatnonzero(values.any(axis=0))
    values = values[:, given]
    for first in range(0, len(wanted), columns):
        block = wanted[first : first + columns]
        # Columns are rows too, and those lie together.
        found[:, block] = values @ edges[block][:, given].astype(np.float64).T
    return found


def _dependencies(edges: np.ndarray, sources: np.ndarray, columns: int) -> np.ndarray:
    """The sum over these sources of how much every other node lies between them and the rest."""
    rows = np.arange(len(sources))
    distance = np.where(edges[sources], 1, -1).astype(np.int16)
    distance[rows, sources] = 0
    paths = (distance >= 0).astype(np.float64)
    front, level = (distance == 1).astype(np.float64), 1
    while True:
        unseen = distance < 0
        front = _spread(front, edges, unseen, columns)
        front *= unseen
        if not front.any():
            break
        level += 1
        distance[front > 0] = level
        paths += front
    del front
    dependency = np.zeros_like(paths)
    # What the first level hands back is the sources' own, which does not count.
    for at in range(level, 1, -1):
        here, before = distance == at, distance == at - 1
        share = 1.0 + dependency
        np.divide(share, paths, out=share, where=here)
        share *= here
        share = _spread(share, edges, before, columns)
        share *= paths
        share *= before
        dependency += share
    return np.asarray(dependency.sum(axis=0))


def grow(
    similarity: np.ndarray,
    centrality: np.ndarray,
    *,
    orientation: Orientation = Orientation.PUBLISHED,
    least_similarity: float = LEAST_SIMILARITY,
    most_children: int = MOST_CHILDREN,
) -> Tree:
    """The tree; among equal centralities the higher index comes first, among equal similarities the lower is taken.

    Parameters
    ----------
    similarity : np.ndarray[N, N]
    centrality : np.ndarray[N]
    least_similarity : a parent has to be more similar than this
    most_children : of one parent; the root takes any number

    Raises
    ------
    ValueError
        As `neighbours`; or the centralities do not fit.
    """
    _check(similarity)
    if centrality.shape != (len(similarity),):
        raise ValueError(f"centralities of shape {centrality.shape}; expected ({len(similarity)},)")
    if not np.isfinite(centrality).all():
        raise ValueError("centralities that are not numbers (NaN or infinity)")
    order = np.argsort(np.round(centrality, DECIMALS), kind="stable")[::-1]
    # A row for each possible child, so that what is searched lies together.
    towards = similarity.T if orientation is Orientation.PUBLISHED else similarity
    towards = np.ascontiguousarray(towards)
    parents = np.full(len(order), ROOT)
    children = np.zeros(len(order), dtype=np.int64)
    # Added to what is compared: nothing where a concept is placed and has room.
    room = np.full(len(order), -np.inf)
    for node in order:
        candidates = towards[node] + room
        best = int(np.argmax(candidates))
        if candidates[best] > least_similarity:
            parents[node] = best
            children[best] += 1
            if children[best] >= most_children:
                room[best] = -np.inf
        room[node] = 0.0 if most_children > 0 else -np.inf
    return Tree(parents, order)


def _check(similarity: np.ndarray) -> None:
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ValueError(f"similarities of shape {similarity.shape}; expected as many rows as columns")
    if not np.isfinite(similarity).all():
        raise ValueError("similarities that are not numbers (NaN or infinity)")
