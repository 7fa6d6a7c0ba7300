"""How good a tree of concepts is, on plain arrays, so that any tree can be judged and not only ours.

Conventions
-----------
A tree is `parents`, np.ndarray[N], the index of each concept's parent or ROOT. The root is no concept: it is nobody's
ancestor. Similarities `towards` are [N, N], row n those of concept n to its possible parents (`Atlas.towards`). A
ground truth is `direct` or `above`, bool[N, N]: [n, m] is true where m is a direct parent, or any ancestor, of n.

attribution   mean over concepts of balanced accuracy; 0..1, higher is better.
generality    mean over edges to a parent of a proxy, a distance (lower is better) or a similarity (higher is better)
              that the tree has not seen; concepts under the root have no such edge.
purity        share of parents that are in their child's cluster, over concepts not under the root; higher is better.
ancestors     pairs of a concept and an ancestor, those of all concepts counted together: precision TP / found, recall
              TP / true, F1 2 TP / (found + true); higher is better.
own family    share of the given concepts whose parent is a true one, those under the root counting as misses; higher is
              better.
overlap       of two trees: share of concepts with the same parent (the root is one), and pairs of a concept and an
              ancestor in both over those in either; higher is better.

An interval of a mean is +- 1.96 standard deviations (of the sample as it is) / sqrt(n). A mean of nothing is NaN, with
a count of 0; ancestors' figures are 0 where nothing is found or nothing is true; two trees without any edges have all
their ancestors (none) in common, an overlap of 1.

Bounds. A random tree keeps the depth of every concept and draws its parent among those one level up. In the list of
nearest neighbours each concept stands beside the most similar one, and takes as ancestors as many of the most similar
ones as it has in the tree; it is no tree, so what it gains is what being a tree costs.

Sources: Afchar, Hennequin and Guigue (2022), Learning unsupervised hierarchies of audio concepts, for attribution and
generality; Manning, Raghavan and Schütze (2008), Introduction to Information Retrieval, 16.3, for purity.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musicstar.concepts import truth as truths
from musicstar.concepts.hierarchy import ROOT

REPEATS = 100


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval; NaN of nothing."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Ancestry:
    """Precision, recall and F1 of pairs of a concept and an ancestor."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Overlap:
    """What two trees have in common: the share of concepts with the same parent, and the Jaccard index of ancestors."""

    parents: float
    ancestors: float


@dataclass(frozen=True, eq=False)
class Truth:
    """A ground truth among N concepts.

    Attributes
    ----------
    direct, above : np.ndarray[N, N], bool: which concepts are direct parents of each, and which ancestors
    clusters : np.ndarray[N], str: the topmost ancestor of each, which need not be among the concepts
    """

    direct: np.ndarray
    above: np.ndarray
    clusters: np.ndarray


def truth(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> Truth:
    """The part of a ground truth that is about some concepts.

    Raises
    ------
    TruthError
        It goes in a circle.

    Examples
    --------
    >>> found = truth(["violin", "strings"], {"violin": ["strings"]})
    >>> found.above.tolist(), found.clusters.tolist()
    ([[False, True], [False, False]], ['strings', 'strings'])
    """
    ancestors, tops = truths.ancestors(parents), truths.tops(parents)
    index = {name: i for i, name in enumerate(names)}
    direct, above = np.zeros((2, len(names), len(names)), dtype=bool)
    for i, name in enumerate(names):
        direct[i, [index[parent] for parent in parents.get(name, ()) if parent in index]] = True
        above[i, [index[ancestor] for ancestor in ancestors.get(name, ()) if ancestor in index]] = True
    return Truth(direct, above, np.array([tops.get(name, name) for name in names]))


def mean(values: np.ndarray) -> Mean:
    """The mean of values [n] with its interval.

    Examples
    --------
    >>> mean(np.array([2.0, 2.0]))
    Mean(value=2.0, low=2.0, high=2.0, count=2)
    """
    if not len(values):
        return Mean(np.nan, np.nan, np.nan, 0)
    value, half = float(np.mean(values)), float(1.96 * np.std(values) / np.sqrt(len(values)))
    return Mean(value, value - half, value + half, len(values))


def attribution(balanced: np.ndarray) -> Mean:
    """Of balanced accuracies [N], one for each concept."""
    return mean(np.asarray(balanced, dtype=np.float64))


def generality(parents: np.ndarray, proxy: np.ndarray) -> Mean:
    """The mean over the edges of a tree of a distance or similarity [N, N], at [concept, parent].

    Examples
    --------
    >>> generality(np.array([-1, 0, 0]), np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])).value
    1.5
    """
    hung = np.flatnonzero(parents != ROOT)
    return mean(np.asarray(proxy[hung, parents[hung]], dtype=np.float64))


def distances(vectors: np.ndarray) -> np.ndarray:
    """Euclidean distances float64[N, N] of vectors [N, D]; lower is closer."""
    exact = np.asarray(vectors, dtype=np.float64)
    squares = (exact**2).sum(axis=1)
    found = np.sqrt(np.maximum(0, squares + squares[:, None] - 2 * exact @ exact.T))
    np.fill_diagonal(found, 0)
    return np.asarray(found)


def centroids(features: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The mean features float64[N, D] of each concept's clips: features [P, D], members bool[N, P]; 0 without clips."""
    total = members.astype(np.float64) @ features
    return np.asarray(total / np.maximum(1, members.sum(axis=1, keepdims=True)))


def purity(parents: np.ndarray, clusters: np.ndarray) -> Mean:
    """Of clusters [N], the cluster of each concept.

    Examples
    --------
    >>> purity(np.array([-1, 0, 1]), np.array(["a", "a", "b"])).value
    0.5
    """
    hung = np.flatnonzero(parents != ROOT)
    return mean(clusters[hung] == clusters[parents[hung]])


def lineage(parents: np.ndarray) -> np.ndarray:
    """np.ndarray[N, N], bool: [n, m] where m is an ancestor of n.

    Raises
    ------
    ValueError
        The tree goes in a circle.

    Examples
    --------
    >>> lineage(np.array([-1, 0, 1])).astype(int).tolist()
    [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    """
    n = len(parents)
    found = np.zeros((n, n), dtype=bool)
    rows, at = np.arange(n), parents.copy()
    for _ in range(n):
        rows, at = rows[at != ROOT], at[at != ROOT]
        if not len(rows):
            break
        found[rows, at] = True
        at = parents[at]
    if found.diagonal().any():
        raise ValueError("the tree goes in a circle; expected none")
    return found


def ancestry(found: np.ndarray, above: np.ndarray) -> Ancestry:
    """Of ancestors that are found against the true ones, both bool[N, N].

    Examples
    --------
    >>> ancestry(np.array([[False, True], [True, False]]), np.array([[False, True], [False, False]]))
    Ancestry(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    both, said, true = (int(pairs.sum()) for pairs in (found & above, found, above))
    return Ancestry(both / max(1, said), both / max(1, true), 2 * both / max(1, said + true))


def own_family(parents: np.ndarray, above: np.ndarray, among: Iterable[int]) -> Mean:
    """How many of some concepts hang under a true parent; give `Truth.above` to count any true ancestor.

    Examples
    --------
    >>> own_family(np.array([-1, 0, -1]), np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=bool), [1, 2]).value
    0.5
    """
    chosen = np.fromiter(among, dtype=np.int64)
    at = parents[chosen]
    return mean(above[chosen, at] & (at != ROOT))


def random_tree(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """np.ndarray[N], a tree in which each concept has its depth and a parent at random."""
    depths = lineage(parents).sum(axis=1)
    drawn = np.full_like(parents, ROOT)
    for depth in range(1, int(depths.max(initial=0)) + 1):
        here = np.flatnonzero(depths == depth)
        drawn[here] = rng.choice(np.flatnonzero(depths == depth - 1), len(here))
    return drawn


def at_random(
    parents: np.ndarray, measure: Callable[[np.ndarray], float], *, repeats: int = REPEATS, seed: int = 0
) -> Mean:
    """A measure of a tree on random trees of its shape; the interval holds 95 % of them, and the count is of them."""
    rng = np.random.default_rng(seed)
    found = [measure(random_tree(parents, rng)) for _ in range(repeats)]
    low, high = np.quantile(found, [0.025, 0.975])
    return Mean(float(np.mean(found)), float(low), float(high), repeats)


def nearest(towards: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """np.ndarray[N], in place of each parent the most similar concept; the root where the tree has the root."""
    return np.where(parents == ROOT, ROOT, _ranked(towards, 1)[:, 0] if len(parents) > 1 else ROOT)


def nearest_ancestors(towards: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """np.ndarray[N, N], bool: of each concept as many of the most similar ones as it has ancestors in the tree."""
    counts = lineage(parents).sum(axis=1)
    most = int(counts.max(initial=0))
    found = np.zeros(towards.shape, dtype=bool)
    if most:
        np.put_along_axis(found, _ranked(towards, most), np.arange(most) < counts[:, None], axis=1)
    return found


def _ranked(towards: np.ndarray, most: int) -> np.ndarray:
    """np.ndarray[N, most]: the most similar other concepts of each, the nearest first, the lower index of equals."""
    others = np.array(towards, dtype=np.float64)
    np.fill_diagonal(others, -np.inf)
    return np.argsort(-others, axis=1, kind="stable")[:, :most]


def common(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where the concepts of two libraries stand that have the same names.

    Examples
    --------
    >>> common(["a", "b", "c"], ["c", "x", "a"])
    (array([0, 2]), array([2, 0]))
    """
    index = {name: i for i, name in enumerate(second)}
    pairs = [(i, index[name]) for i, name in enumerate(first) if name in index]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def restricted(parents: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """A tree of some of its concepts, np.ndarray[len(keep)]: each hangs under its nearest ancestor among them.

    Examples
    --------
    >>> restricted(np.array([-1, 0, 1]), np.array([2, 0])).tolist()
    [1, -1]
    """
    place = np.full(len(parents) + 1, ROOT)
    place[keep] = np.arange(len(keep))
    above = parents[keep]
    while (passed := (above != ROOT) & (place[above] == ROOT)).any():
        above[passed] = parents[above[passed]]
    return np.where(above == ROOT, ROOT, place[above])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's coefficient of two similarities [N, N] of the same concepts, -1..1, higher is more alike.

    The diagonals are left out. NaN for fewer than two concepts, or where all similarities are the same.
    """
    off = ~np.eye(len(first), dtype=bool)
    one, two = (_ranks(values[off]) for values in (first, second))
    if not len(one) or not one.std() or not two.std():
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places in ascending order; equals share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """What two trees of the same concepts have in common; `chance` says how much of it would come by itself.

    Examples
    --------
    >>> overlap(np.array([-1, 0, 0]), np.array([-1, 0, 1]))
    Overlap(parents=0.6666666666666666, ancestors=0.6666666666666666)
    """
    one, two = lineage(first), lineage(second)
    either = int((one | two).sum())
    return Overlap(mean(first == second).value, int((one & two).sum()) / either if either else 1.0)


def chance(first: np.ndarray, second: np.ndarray, *, repeats: int = REPEATS, seed: int = 0) -> tuple[Mean, Mean]:
    """Overlap in parents and in ancestors of a tree with random trees of the other's shape."""
    return (
        at_random(second, lambda tree: overlap(first, tree).parents, repeats=repeats, seed=seed),
        at_random(second, lambda tree: overlap(first, tree).ancestors, repeats=repeats, seed=seed),
    )
