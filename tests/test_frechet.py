"""The Frechet distance, by cases worked by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from musicstar.evaluation.frechet import Gaussian, distance, gaussian


def normal(mean: list[float], covariance: list[list[float]]) -> Gaussian:
    return Gaussian(np.array(mean), np.array(covariance))


def test_one_dimension() -> None:
    """(3 - 0)^2 + (2 - 1)^2."""
    assert distance(normal([0], [[4]]), normal([3], [[1]])) == pytest.approx(10)


def test_two_dimensions_on_their_own() -> None:
    """(1 + 4) + (3 - 1)^2 + (2 - 5)^2."""
    one, other = normal([0, 0], [[9, 0], [0, 4]]), normal([1, -2], [[1, 0], [0, 25]])
    assert distance(one, other) == pytest.approx(18)
    assert distance(other, one) == pytest.approx(18)


def test_dimensions_that_hang_together() -> None:
    """[[2, 1], [1, 2]] has the eigenvalues 3 and 1, in the axes of which the unit matrix is itself."""
    expected = (np.sqrt(3) - 1) ** 2
    assert distance(normal([0, 0], [[2, 1], [1, 2]]), normal([0, 0], [[1, 0], [0, 1]])) == pytest.approx(expected)


def test_against_a_matrix_root() -> None:
    rng = np.random.default_rng(0)
    one, other = (gaussian(rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5))) for _ in range(2))
    root = sqrtm(one.covariance @ other.covariance).real
    expected = np.sum((one.mean - other.mean) ** 2) + np.trace(one.covariance + other.covariance - 2 * root)
    assert distance(one, other) == pytest.approx(expected)


def test_equal_sets_are_nowhere_apart() -> None:
    """Fewer rows than columns, too, and in another order."""
    rows = np.random.default_rng(1).random((10, 64))
    assert distance(gaussian(rows), gaussian(rows)) == pytest.approx(0, abs=1e-9)
    assert distance(gaussian(rows), gaussian(rows[::-1])) == pytest.approx(0, abs=1e-9)


def test_a_shift_counts_its_square() -> None:
    rows = np.random.default_rng(2).random((10, 4))
    assert distance(gaussian(rows), gaussian(rows + np.array([1, 0, 2, 0]))) == pytest.approx(5)


def test_covariances_are_shrunk() -> None:
    """Two columns, two rows: half of what lies beside the diagonal stays."""
    found = gaussian(np.array([[-1.0, -1.0], [1.0, 1.0]]))
    assert found.mean.tolist() == [0, 0]
    assert found.covariance.tolist() == [[1, 0.5], [0.5, 1]]


def test_shrinking_brings_samples_of_one_distribution_closer() -> None:
    rng = np.random.default_rng(3)
    mix = rng.standard_normal((32, 32))
    one, other = (rng.standard_normal((16, 32)) @ mix for _ in range(2))
    plain = [Gaussian(rows.mean(axis=0), np.cov(rows.T, bias=True)) for rows in (one, other)]
    assert distance(gaussian(one), gaussian(other)) < distance(*plain)


def test_one_segment_has_no_spread() -> None:
    assert distance(gaussian(np.array([[1.0, 2.0]])), gaussian(np.array([[1.0, 4.0]]))) == pytest.approx(4)


@pytest.mark.parametrize("shape", [(0, 3), (3,)])
def test_no_embeddings_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected one row or more"):
        gaussian(np.zeros(shape))
