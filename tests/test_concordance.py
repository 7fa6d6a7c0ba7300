"""Tests of survey/concordance.py: cases worked by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from survey.concordance import concordance, concordances, weakness
from tests.objective_file import objective

LEVEL = [float("nan")] * 3


@pytest.mark.parametrize(
    ("merits", "scores", "expected"),
    [
        # One of the six orders is the same and one is reversed.
        ([[1, 2, 3]], [[10, 20, 30]], (1, 2 / 6, 1)),
        ([[1, 2, 3]], [[30, 20, 10]], (-1, 2 / 6, 1)),
        # Two orders of two systems: nothing is ever shown.
        ([[1, 2]], [[1, 2]], (1, 1, 1)),
        # Of the pairs two agree and one does not; all orders are as far from 0.
        ([[1, 2, 3]], [[1, 3, 2]], (1 / 3, 1, 1)),
        # Perfect in two directions whose orders differ: no other relabelling is perfect or reversed in both.
        ([[1, 2, 3], [1, 3, 2]], [[1, 2, 3], [1, 3, 2]], (1, 1 / 6, 2)),
        # What agrees in one direction and is reversed in the other comes to nothing.
        ([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]], (0, 1, 2)),
        # A tie in the scores: two of three pairs count there, tau-b is 2 / sqrt(3 * 2), in 2 orders of 6, or reversed.
        ([[1, 2, 3]], [[1, 1, 2]], (2 / 6**0.5, 4 / 6, 1)),
        # Where nobody has ranked, or all are level, there is nothing to compare.
        ([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], LEVEL], (1, 2 / 6, 1)),
        ([[1, 2, 3], [2, 2, 2]], [[1, 2, 3], [1, 2, 3]], (1, 2 / 6, 1)),
    ],
)
def test_cases_worked_by_hand(
    merits: list[list[float]], scores: list[list[float]], expected: tuple[float, ...]
) -> None:
    assert concordance(np.array(merits, float), np.array(scores, float)) == pytest.approx(expected)


def test_it_is_kendalls_tau_and_needs_something_to_compare() -> None:
    merits, scores = np.random.default_rng(1).normal(size=(2, 2, 6)).round(1)
    tau, p, _ = concordance(merits, scores)
    assert tau == pytest.approx(np.mean([kendalltau(*pair).statistic for pair in zip(merits, scores, strict=True)]))
    assert p * 720 == pytest.approx(round(p * 720))
    assert np.isnan(concordance(np.ones((1, 3)), np.array([[1.0, 2, 3]]))[:2]).all()


def test_a_distance_counts_the_other_way_round() -> None:
    figures = {"a": [0.1, 0.2, 0.15], "b": [0.3, 0.5, 0.4]}
    found = concordances(
        objective({"content": figures, "distance": figures}, ["x", "y"]),
        {"style": np.array([[2.5, 1.5], [3.0, 2.0]])},
        (["x", "y"], ["a", "b"]),
    )
    assert [(one.measure, one.criterion, one.systems, one.directions, one.tau) for one in found] == [
        ("content", "style", 2, 2, -1),
        ("distance", "style", 2, 2, 1),
    ]
    assert "with 2 systems there are 2 orders, so p is never below 0.5" in weakness(found)
