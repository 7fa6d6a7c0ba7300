"""Totals and counts: cases worked by hand, the published table, decompositions, what must be refused."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.scoring import Standing, as_frame, decompose, exclusions, standings, wide
from tests.rankings import COUNTS, SYSTEMS, TOTALS, listeners, published, shuffled

# Three participants: x y z, y x z, x z y.
HAND = as_frame([[1, 2, 3], [2, 1, 3], [1, 3, 2]], ("x", "y", "z"), criterion="style", direction="cv")


def by_key(found: tuple[Standing, ...]) -> dict[tuple[str, str | None, str], Standing]:
    return {(one.criterion, one.direction, one.system): one for one in found}


def test_worked_by_hand() -> None:
    got = by_key(standings(HAND))
    assert got["style", "cv", "x"] == Standing("style", "cv", "x", 3, 3 + 2 + 3, 4 / 3, 1.0, (2, 1, 0))
    assert got["style", "cv", "y"] == Standing("style", "cv", "y", 3, 2 + 3 + 1, 2.0, 2.0, (1, 1, 1))
    assert got["style", "cv", "z"] == Standing("style", "cv", "z", 3, 1 + 1 + 2, 8 / 3, 3.0, (0, 1, 2))
    assert [got["style", "cv", system].first_places for system in "xyz"] == [2, 1, 0]
    # One direction only: pooled is the same.
    assert [replace(got["style", None, system], direction="cv") for system in "xyz"] == [
        got["style", "cv", system] for system in "xyz"
    ]


def test_the_published_totals_in_all_fifteen_cells() -> None:
    got = by_key(standings(published(), systems=SYSTEMS, criteria=tuple(TOTALS)))
    for criterion, totals in TOTALS.items():
        assert tuple(got[criterion, None, system].total for system in SYSTEMS) == totals
        assert {got[criterion, None, system].rankings for system in SYSTEMS} == {60}
        assert sum(totals) == 60 * 15


def test_the_published_rank_counts_in_all_cells() -> None:
    got = by_key(standings(published()))
    for (criterion, direction), counts in COUNTS.items():
        assert tuple(got[criterion, direction, system].rank_counts for system in SYSTEMS) == counts
    # Per direction the pooled total hides that stem-supervised content is second in one and last in the other.
    assert [got["content", direction, "stem"].total for direction in ("sp", "cv", None)] == [110, 44, 154]
    assert got["content", None, "mixture"].first_places == 18 + 14


def test_directions_come_first_then_pooled() -> None:
    got = standings(published(), systems=SYSTEMS, criteria=("style", "quality", "content"), directions=("sp", "cv"))
    assert [(one.criterion, one.direction) for one in got[:20:5]] == [
        ("style", "sp"),
        ("style", "cv"),
        ("style", None),
        ("quality", "sp"),
    ]


@pytest.mark.parametrize("k", range(2, 9))
def test_any_number_of_systems_and_directions(k: int) -> None:
    frame = listeners(np.random.default_rng(k), 7, [0.0] * k, trials=3, criteria=("one", "two"))
    got = standings(frame)
    assert len(got) == 2 * (3 + 1) * k
    for criterion in ("one", "two"):
        for direction, rankings in (("d0", 7), ("d2", 7), (None, 21)):
            own = [one for one in got if (one.criterion, one.direction) == (criterion, direction)]
            assert sum(one.total for one in own) == rankings * k * (k + 1) // 2
            assert [sum(one.rank_counts) for one in own] == [rankings] * k
            assert all(one.total == pytest.approx(rankings * (k + 1 - one.mean_rank)) for one in own)


def test_neither_the_order_of_rows_nor_of_labels_matters() -> None:
    frame = published()
    assert standings(shuffled(frame)) == standings(frame)
    turned = standings(frame, systems=SYSTEMS[::-1])
    assert by_key(turned) == by_key(standings(frame))


def test_a_participant_with_rankings_missing_counts_with_those_there_are() -> None:
    frame = published()
    gone = (frame["participant"] == "p_004") & (frame["direction"] == "sp") & (frame["criterion"] != "style")
    got = by_key(standings(frame[~gone]))
    for criterion, rankings in (("content", 59), ("style", 60), ("quality", 59)):
        assert {got[criterion, None, system].rankings for system in SYSTEMS} == {rankings}
        assert sum(got[criterion, None, system].total for system in SYSTEMS) == rankings * 15


def test_before_and_after_exclusions() -> None:
    frame = HAND.copy()
    frame.loc[frame["participant"] == "p_002", "excluded"] = True
    got = exclusions(frame)
    assert got.participants == ("p_002",)
    assert got.before == standings(HAND) == standings(frame, with_excluded=True)
    assert got.after == standings(frame)
    assert by_key(got.after)["style", "cv", "x"].rank_counts == (2, 0, 0)
    assert [by_key(got.after)["style", None, system].total for system in "xyz"] == [6, 3, 3]
    assert [(was.system, was.total, now.total) for was, now in got.pairs()][:3] == [
        ("x", 8, 6),
        ("y", 6, 3),
        ("z", 4, 3),
    ]
    assert (len(wide(frame)), len(wide(frame, with_excluded=True))) == (2, 3)


def test_nobody_has_ranked() -> None:
    nothing = HAND.iloc[:0]
    assert standings(nothing) == ()
    got = standings(nothing, systems=("x", "y"), criteria=("style",), directions=("cv",))
    assert [(one.total, one.rankings, one.rank_counts) for one in got] == [(0, 0, (0, 0))] * 4
    assert all(math.isnan(one.mean_rank) and math.isnan(one.median_rank) for one in got)
    assert [one.total for one in standings(HAND.assign(excluded=True))] == [0] * 6


def changed(row: int, column: str, value: object) -> pd.DataFrame:
    frame = HAND.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            changed(1, "rank", 3),
            r"participant p_001, trial t_001\.cv, style: not a permutation of 1 to 3 \(x 1, y 3, z 3",
        ),
        (changed(1, "rank", 4), "not a permutation of 1 to 3"),
        (changed(1, "rank", 2.5), "not a permutation of 1 to 3"),
        (changed(1, "rank", float("nan")), "not a permutation of 1 to 3"),
        (changed(1, "system", "x"), "p_001.*: x is ranked twice"),
        (changed(1, "system", "w"), "versions of a study with other systems are scored apart"),
        (HAND.iloc[1:], "not a permutation of 1 to 3"),
        (HAND.drop(columns=["trial", "excluded"]), "has no column excluded, trial"),
    ],
)
def test_what_is_no_ranking_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wide(frame)


def test_names_that_are_not_expected_are_refused() -> None:
    with pytest.raises(ValueError, match="the frame has the system z; expected x, y"):
        standings(HAND, systems=("x", "y"))
    with pytest.raises(ValueError, match="the frame has the direction cv; expected sp"):
        standings(HAND, directions=("sp",))


@pytest.mark.parametrize("cell", COUNTS)
def test_decomposing_the_published_counts(cell: tuple[str, str]) -> None:
    rankings = decompose(COUNTS[cell])
    assert rankings.shape == (30, 5)
    assert (np.sort(rankings, axis=1) == np.arange(1, 6)).all()
    assert tuple(tuple((rankings[:, s] == r).sum().item() for r in range(1, 6)) for s in range(5)) == COUNTS[cell]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_every_matrix_of_rank_counts_can_be_decomposed(k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(1, k + 1), (n, 1)), axis=1)
    counts = np.array([[(drawn[:, s] == r).sum() for r in range(1, k + 1)] for s in range(k)])
    rankings = decompose(counts)
    assert rankings.shape == (n, k)
    assert (np.sort(rankings, axis=1) == np.arange(1, k + 1)).all()
    assert np.array_equal([[(rankings[:, s] == r).sum() for r in range(1, k + 1)] for s in range(k)], counts)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2], [2, 2]], r"rows sum to \[3, 4\], the columns to \[3, 4\]"),
        ([[1, 1], [2, 0]], r"rows sum to \[2, 2\], the columns to \[3, 1\]"),
        ([[2, -1], [-1, 2]], "whole numbers from 0"),
        ([[0.5, 0.5], [0.5, 0.5]], "whole numbers from 0"),
        ([[1, 2, 3]], r"square matrix.*\(1, 3\)"),
        (np.empty((0, 0), dtype=int), "square matrix"),
    ],
)
def test_counts_that_no_rankings_give_are_refused(counts: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompose(counts)
