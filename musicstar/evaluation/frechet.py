"""The Frechet distance between two sets of embeddings, each taken for a Gaussian.

Conventions. What is given is the distance squared, as FAD and FID are reported:
|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), with means m and covariances C. It is a distance, lower is better: 0 for
equal sets, in the embeddings' own unit squared. It is of sets and not of pairs: 0 says that the sets spread alike, not
that each output is like its own gold standard. Sets here are of tens of segments where an embedding has 64 values, so
each covariance (divisor N) is shrunk towards its diagonal by the share D / (D + N), for D above 1. What is left between
two samples of one distribution is smaller so, yet not 0: only figures of as many segments compare.

Source: Dowson and Landau 1982; for sound Kilgour et al. 2019, section 3.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean np.ndarray[D] and a covariance np.ndarray[D, D], float64."""

    mean: np.ndarray
    covariance: np.ndarray


def gaussian(embeddings: np.ndarray) -> Gaussian:
    """The Gaussian that stands for a set of embeddings [N, D]; raises ValueError where there are none.

    >>> gaussian(np.array([[-1.0], [1.0]])).covariance
    array([[1.]])
    """
    if embeddings.ndim != 2 or not len(embeddings):
        raise ValueError(f"embeddings of shape {embeddings.shape}; expected one row or more for each segment")
    rows = np.asarray(embeddings, np.float64)
    mean = rows.mean(axis=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    share = rows.shape[1] / (rows.shape[1] + len(rows)) if rows.shape[1] > 1 else 0.0
    return Gaussian(mean, (1 - share) * covariance + share * np.diag(np.diag(covariance)))


def distance(one: Gaussian, other: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians, 0 or more.

    >>> distance(Gaussian(np.array([0.0]), np.array([[4.0]])), Gaussian(np.array([3.0]), np.array([[1.0]])))
    10.0
    """
    apart = float(((one.mean - other.mean) ** 2).sum())
    root = _root(one.covariance)
    # The eigenvalues of C1 C2 are those of this symmetric product.
    shared = np.linalg.eigvalsh(root @ other.covariance @ root).clip(min=0)
    spread = float(np.trace(one.covariance) + np.trace(other.covariance) - 2 * np.sqrt(shared).sum())
    return apart + max(0.0, spread)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance [D, D]."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(min=0))) @ vectors.T)
