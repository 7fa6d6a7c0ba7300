"""Measures of trees: worked by hand, against SciPy, and on the authors' genres."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from musicstar.concepts import judge
from musicstar.concepts.hierarchy import ROOT, betweenness, grow, neighbours
from musicstar.concepts.truth import TruthError
from tests.test_hierarchy import stored

#     0 strings          3 winds
#     1 violin  2 cello  4 flute      5 hangs wrongly under 4: a viola
PARENTS = np.array([ROOT, 0, 0, ROOT, 3, 4])
NAMES = ("strings", "violin", "cello", "winds", "flute", "viola")
TRUE = {"violin": ("strings",), "cello": ("strings",), "viola": ("strings",), "flute": ("winds",)}


def grown(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    similarity = np.random.default_rng(seed).random((n, n))
    return similarity, grow(similarity, betweenness(neighbours(similarity, threshold=0.9))).parents


def test_the_truth_among_some_concepts() -> None:
    deep = {**TRUE, "strings": ("instruments",), "winds": ("instruments",), "unheard": ("winds",)}
    found = judge.truth(NAMES, deep)
    assert np.argwhere(found.direct).tolist() == [[1, 0], [2, 0], [4, 3], [5, 0]]
    assert np.array_equal(found.above, found.direct)
    assert set(found.clusters) == {"instruments"}
    with_all = judge.truth((*NAMES, "instruments"), deep)
    assert with_all.above.sum() == 10
    assert with_all.direct.sum() == 6
    with pytest.raises(TruthError, match="circle"):
        judge.truth(["a"], {"a": ("b",), "b": ("a",)})


def test_means_and_their_intervals() -> None:
    values = np.array([0.5, 0.7, 0.9])
    found = judge.attribution(values)
    half = 1.96 * np.sqrt(0.08 / 3) / np.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half))
    nothing = judge.mean(np.array([]))
    assert nothing.count == 0
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_generality_purity_and_ancestors_by_hand() -> None:
    truth = judge.truth(NAMES, TRUE)
    positions = np.array([[0.0, 0], [3, 4], [6, 8], [100, 0], [100, 1], [100, 3]])
    proxy = judge.distances(positions)
    assert proxy[0, :3] == pytest.approx([0, 5, 10])
    found = judge.generality(PARENTS, proxy)
    assert found.value == pytest.approx((5 + 10 + 1 + 2) / 4)
    assert found.count == 4
    purity = judge.purity(PARENTS, truth.clusters)
    assert (purity.value, purity.count) == (0.75, 4)
    # Found: violin, cello < strings; flute, viola < winds; viola < flute. True: three of these and viola < strings.
    measured = judge.ancestry(judge.lineage(PARENTS), truth.above)
    assert (measured.precision, measured.recall, measured.f1) == pytest.approx((3 / 5, 3 / 4, 6 / 9))
    none = np.zeros((6, 6), dtype=bool)
    assert judge.ancestry(none, truth.above) == judge.Ancestry(0, 0, 0)
    assert judge.ancestry(none, none) == judge.Ancestry(0, 0, 0)
    leaves = [NAMES.index(name) for name in ("violin", "cello", "flute", "viola")]
    assert judge.own_family(PARENTS, truth.direct, leaves).value == 0.75
    assert judge.own_family(np.full(6, ROOT), truth.direct, leaves).value == 0
    assert judge.own_family(PARENTS, truth.direct, []).count == 0


def test_own_family_by_any_ancestor_takes_in_the_direct_one_and_more() -> None:
    chain = judge.truth(["a", "b", "c"], {"c": ("b",), "b": ("a",)})
    tree = np.array([ROOT, 0, 0])
    assert judge.own_family(tree, chain.direct, [1, 2]).value == 0.5
    assert judge.own_family(tree, chain.above, [1, 2]).value == 1


def test_centroids() -> None:
    features = np.array([[1.0, 2], [3, 4], [5, 9]])
    members = np.array([[True, True, False], [False, False, True], [False, False, False]])
    assert judge.centroids(features, members).tolist() == [[2, 3], [5, 9], [0, 0]]


def test_a_random_tree_keeps_every_depth() -> None:
    _, parents = grown()
    depths = judge.lineage(parents).sum(axis=1)
    assert depths.max() > 2
    rng = np.random.default_rng(0)
    drawn = [judge.random_tree(parents, rng) for _ in range(200)]
    for tree in drawn:
        assert np.array_equal(judge.lineage(tree).sum(axis=1), depths)
    # A concept of the second level is under each of the first as often.
    [child, *_] = np.flatnonzero(depths == 1)
    heads = np.flatnonzero(depths == 0)
    often = np.bincount([int(tree[child]) for tree in drawn], minlength=len(depths))[heads]
    assert often.sum() == 200
    assert np.abs(often / 200 - 1 / len(heads)).max() < 0.15


def test_random_trees_have_the_purity_that_chance_gives() -> None:
    """Two levels, half of either in each cluster: a parent drawn at random is in the right one every other time."""
    parents = np.array([ROOT] * 10 + [0] * 40)
    clusters = np.array(["a", "b"] * 25)
    found = judge.at_random(parents, lambda tree: judge.purity(tree, clusters).value, repeats=300)
    assert found.value == pytest.approx(0.5, abs=0.02)
    assert found.low == pytest.approx(0.5 - 1.96 * (0.25 / 40) ** 0.5, abs=0.05)
    assert found.count == 300
    assert found == judge.at_random(parents, lambda tree: judge.purity(tree, clusters).value, repeats=300)


def test_nearest_neighbours_as_parents_and_as_ancestors() -> None:
    towards = np.array([[9.0, 1, 2, 3], [5, 9, 5, 1], [1, 2, 9, 3], [3, 2, 1, 9]])
    parents = np.array([ROOT, 0, 1, 2])
    assert judge.nearest(towards, parents).tolist() == [ROOT, 0, 3, 0]
    # Depths 1, 2, 3, 4: none, one, two and three ancestors, of equals the lower index.
    found = judge.nearest_ancestors(towards, parents)
    assert [np.flatnonzero(row).tolist() for row in found] == [[], [0], [1, 3], [0, 1, 2]]
    assert judge.nearest_ancestors(towards, np.full(4, ROOT)).sum() == 0
    assert judge.nearest(np.ones((1, 1)), np.array([ROOT])).tolist() == [ROOT]


def test_no_tree_beats_the_nearest_neighbours_on_its_own_similarity() -> None:
    similarity, parents = grown()
    towards = similarity.T
    tree, nearest = (judge.generality(chosen, towards) for chosen in (parents, judge.nearest(towards, parents)))
    lot = judge.at_random(parents, lambda drawn: judge.generality(drawn, towards).value)
    assert lot.high < tree.value < nearest.value
    assert tree.count == nearest.count


def test_trees_that_go_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        judge.lineage(np.array([1, 0, ROOT]))


def test_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.random((12, 12)).round(1), rng.random((12, 12)).round(1)
    off = ~np.eye(12, dtype=bool)
    assert judge.rank_correlation(one, two) == pytest.approx(spearmanr(one[off], two[off]).statistic, abs=1e-12)
    assert judge.rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert np.isnan(judge.rank_correlation(one, np.ones((12, 12))))
    assert np.isnan(judge.rank_correlation(one[:1, :1], one[:1, :1]))


def test_trees_of_two_libraries_are_compared_on_what_they_share() -> None:
    here, there = ("a", "b", "c", "d"), ("d", "x", "c", "a")
    one, two = judge.common(here, there)
    # a > b > c, d without b; and d, x > c, a under the root without x.
    first = judge.restricted(np.array([ROOT, 0, 1, ROOT]), one)
    second = judge.restricted(np.array([ROOT, 3, 1, ROOT]), two)
    assert first.tolist() == [ROOT, 0, ROOT]
    assert second.tolist() == [ROOT, 0, ROOT]
    assert judge.overlap(first, second) == judge.Overlap(1, 1)
    assert judge.overlap(np.full(3, ROOT), np.full(3, ROOT)) == judge.Overlap(1, 1)
    alone = judge.common(here, ("z",))
    assert np.isnan(judge.overlap(*(np.array([ROOT] * 4)[side] for side in alone)).parents)


def test_a_tree_has_more_in_common_with_itself_than_with_chance() -> None:
    _, parents = grown()
    same, by_chance = judge.overlap(parents, parents), judge.chance(parents, parents)
    assert (same.parents, same.ancestors) == (1, 1)
    assert by_chance[0].high < 0.7
    assert by_chance[1].high < 0.7


@pytest.mark.parametrize(("kind", "share", "random"), [("cos", 0.583, 0.13), ("asym05", 0.413, 0.12)])
def test_purity_of_the_authors_genres(kind: str, share: float, random: float) -> None:
    """Against the clusters that people made of these genres, the trees are far purer than chance."""
    given, expected = stored("apm_genres/apm_genres_inputs.npz", f"apm_genres/apm_genres_{kind}_expected.npz")
    parents, clusters = expected["parent"], given["cluster"]
    own = judge.purity(parents, clusters)
    same = [clusters[child] == clusters[parent] for child, parent in enumerate(parents) if parent >= 0]
    assert own.value == pytest.approx(sum(same) / len(same))
    by_chance = judge.at_random(parents, lambda tree: judge.purity(tree, clusters).value)
    assert by_chance.high < own.low
    assert own.value == pytest.approx(share, abs=5e-4)
    assert by_chance.value == pytest.approx(random, abs=0.01)
