"""Graph, centrality and tree: the authors' results on their data, networkx on small graphs, and the rules by hand."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from musicstar.concepts import hierarchy
from musicstar.concepts.hierarchy import ROOT, Orientation, betweenness, grow, neighbours
from tests.conftest import ROOT as REPOSITORY

nx = pytest.importorskip("networkx", reason="networkx, which came with torch, is not installed")


def stored(*names: str) -> list[dict[str, np.ndarray]]:
    folder = Path(os.environ.get("MUSICSTAR_CONCEPT_DATA", REPOSITORY.parent / "shared/data"))
    if not all((folder / name).is_file() for name in names):
        pytest.skip(f"no {', '.join(names)} in {folder}; name their folder in MUSICSTAR_CONCEPT_DATA")
    return [dict(np.load(folder / name)) for name in names]


class Playlists:
    """3,369 playlists of Deezer by their collaborative-filtering vectors, and what the authors make of them."""

    def __init__(self) -> None:
        given, self.expected = stored("deezer_cf/cf_inputs.npz", "deezer_cf/cf_expected.npz")
        self.vectors, self.scored = given["emb"], given["total_inter_idx"]
        squares = (self.vectors**2).sum(axis=1)
        self.similarity = 2 * self.vectors @ self.vectors.T - squares - squares[:, None]
        np.fill_diagonal(self.similarity, self.similarity.min() - 0.1)
        nearest = self.similarity == self.similarity.max(axis=1, keepdims=True)
        self.edges = nearest | nearest.T | neighbours(self.similarity, threshold=-0.8)

    def tree(self, centrality: np.ndarray) -> np.ndarray:
        among = self.similarity[np.ix_(self.scored, self.scored)]
        return grow(among, centrality[self.scored], least_similarity=-3).parents


@pytest.fixture(scope="module")
def playlists() -> Playlists:
    return Playlists()


def test_the_authors_playlists_from_their_centralities(playlists: Playlists) -> None:
    parents = playlists.tree(playlists.expected["centrality"])
    assert len(parents) == 3_214
    assert np.array_equal(parents, playlists.expected["parent_total_inter"])
    vectors, hung = playlists.vectors[playlists.scored], parents != ROOT
    distance = np.linalg.norm(vectors[hung] - vectors[parents[hung]], axis=1)
    score = distance.mean(), 1.96 * distance.std() / len(distance) ** 0.5, distance.std()
    assert score == pytest.approx((0.3453, 0.0066, 0.1920), abs=5e-5)
    whole = grow(playlists.similarity, playlists.expected["centrality"], least_similarity=-3)
    assert np.array_equal(whole.parents, playlists.expected["parent_full"])


def test_the_authors_playlists_from_nothing(playlists: Playlists) -> None:
    """The one long test of this file: every shortest path among 703,237 edges."""
    assert playlists.edges.sum() == 2 * 703_237
    centrality = betweenness(playlists.edges)
    assert np.abs(centrality - playlists.expected["centrality"]).max() < 1e-9
    assert (playlists.tree(centrality) == playlists.expected["parent_total_inter"]).mean() >= 0.995


@pytest.mark.parametrize("kind", ["cos", "asym05"])
def test_the_authors_genres(kind: str) -> None:
    [expected] = stored(f"apm_genres/apm_genres_{kind}_expected.npz")
    edges = expected["adjacency"] | expected["adjacency"].T
    np.fill_diagonal(edges, False)
    centrality = betweenness(edges)
    assert np.abs(centrality - expected["centrality"]).max() < 1e-9
    for given in (centrality, expected["centrality"]):
        assert np.array_equal(grow(expected["similarity"], given).parents, expected["parent"])


GRAPHS = {
    "sparse and in pieces": nx.gnp_random_graph(60, 0.03, seed=1),
    "dense": nx.gnp_random_graph(70, 0.4, seed=2),
    "a path": nx.path_graph(40),
    "a star": nx.star_graph(20),
    "a ring": nx.cycle_graph(25),
    "a tree": nx.balanced_tree(3, 3),
    "no edges": nx.empty_graph(5),
    "three": nx.path_graph(3),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("memory_bytes", [hierarchy.MEMORY_BYTES, 60_000, 1])
def test_centrality_is_that_of_networkx(name: str, memory_bytes: int) -> None:
    graph = GRAPHS[name]
    edges = nx.to_numpy_array(graph, dtype=bool)
    expected = nx.betweenness_centrality(graph)
    found = betweenness(edges, memory_bytes=memory_bytes)
    assert found == pytest.approx([expected[node] for node in graph], abs=1e-10)


def test_memory_is_kept_to_and_the_edges_may_lie_in_a_file(tmp_path: Path) -> None:
    graph = nx.gnp_random_graph(300, 0.03, seed=3)
    edges = np.memmap(tmp_path / "edges", dtype=bool, mode="w+", shape=(300, 300))
    edges[:] = nx.to_numpy_array(graph, dtype=bool)
    whole = betweenness(edges)
    for memory_bytes in (2_000_000, 500_000, 150_000):
        shares: list[float] = []
        tracemalloc.start()
        found = betweenness(edges, memory_bytes=memory_bytes, progress=shares.append)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < memory_bytes
        assert found == pytest.approx(whole, abs=1e-12)
        assert shares[-1] == 1
        assert shares == sorted(shares)


def test_pivots_estimate() -> None:
    edges = nx.to_numpy_array(nx.barabasi_albert_graph(400, 3, seed=4), dtype=bool)
    whole = betweenness(edges)
    assert betweenness(edges, pivots=400) == pytest.approx(whole, abs=1e-12)
    found = betweenness(edges, pivots=100, seed=1)
    assert np.corrcoef(found, whole)[0, 1] > 0.97
    assert found.sum() == pytest.approx(whole.sum(), rel=0.1)
    assert np.array_equal(found, betweenness(edges, pivots=100, seed=1))


def test_neighbours_by_hand() -> None:
    similarity = np.array([[0.9, 0.6, 0.5], [0.1, 0.9, 0.2], [0.4, 0.3, 0.9]])
    expected = np.array([[False, True, False], [True, False, False], [False, False, False]])
    assert np.array_equal(neighbours(similarity), expected)
    assert neighbours(similarity, threshold=0.35).sum() == 4


def test_a_tree_by_hand() -> None:
    """Of four concepts the second comes first; each takes the most similar before it, in the given orientation."""
    similarity = np.array([[1, 0.3, 0.9, 0.1], [0.6, 1, 0.5, 0.15], [0.7, 0.8, 1, 0.1], [0.9, 0.9, 0.9, 1]])
    centrality = np.array([0.2, 0.5, 0.1, 0.05])
    tree = grow(similarity, centrality)
    assert tree.order.tolist() == [1, 0, 2, 3]
    assert tree.parents.tolist() == [1, ROOT, 0, ROOT]
    assert tree.depths.tolist() == [2, 1, 3, 1]
    assert tree.parents.dtype == np.int64
    turned = grow(similarity, centrality, orientation=Orientation.TRANSPOSED)
    assert turned.parents.tolist() == [1, ROOT, 1, 0]
    assert np.array_equal(grow(similarity.T, centrality, orientation=Orientation.TRANSPOSED).parents, tree.parents)


def test_ties_limits_and_the_least_similarity() -> None:
    alike = np.full((5, 5), 0.4)
    level = np.zeros(5)
    tree = grow(alike, level)
    assert tree.order.tolist() == [4, 3, 2, 1, 0]
    # Among those before it with equal similarity the lowest index: the one placed last.
    assert tree.parents.tolist() == [1, 2, 3, 4, ROOT]
    star = grow(alike, np.array([5.0, 4, 3, 2, 1]))
    assert star.parents.tolist() == [ROOT, 0, 0, 0, 0]
    two = grow(alike, np.array([5.0, 4, 3, 2, 1]), most_children=2)
    assert two.parents.tolist() == [ROOT, 0, 0, 1, 1]
    assert grow(alike, level, most_children=0).parents.tolist() == [ROOT] * 5
    assert grow(alike, level, least_similarity=0.4).parents.tolist() == [ROOT] * 5
    rounding = level + np.array([1e-16, 0, 3e-16, -1e-16, 0])
    assert np.array_equal(grow(alike, rounding).order, tree.order)


def test_a_library_of_one_concept_and_of_two() -> None:
    for n in (1, 2):
        similarity = np.full((n, n), 0.9)
        tree = grow(similarity, betweenness(neighbours(similarity)))
        assert tree.parents.tolist() == [1, ROOT][-n:]
        assert tree.depths.tolist() == [2, 1][-n:]


def test_similarities_may_lie_in_a_file(tmp_path: Path) -> None:
    similarity = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    np.save(tmp_path / "similarity.npy", similarity)
    mapped = np.load(tmp_path / "similarity.npy", mmap_mode="r")
    centrality = betweenness(neighbours(similarity))
    assert np.array_equal(betweenness(neighbours(mapped)), centrality)
    for orientation in Orientation:
        found, expected = (grow(given, centrality, orientation=orientation) for given in (mapped, similarity))
        assert np.array_equal(found.parents, expected.parents)


def test_what_is_no_similarity_is_said() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected as many rows as columns"):
        neighbours(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="similarities that are not numbers"):
        grow(np.array([[np.nan]]), np.zeros(1))
    with pytest.raises(ValueError, match=r"centralities of shape \(2,\); expected \(1,\)"):
        grow(np.zeros((1, 1)), np.zeros(2))
    with pytest.raises(ValueError, match="centralities that are not numbers"):
        grow(np.zeros((1, 1)), np.full(1, np.inf))
