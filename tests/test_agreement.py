"""Agreement between criteria: by hand, by scipy, and what must not change it."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy

from survey.agreement import Agreement, agreement
from survey.scoring import as_frame
from tests.rankings import listeners, published, shuffled


def two(style: list[list[int]], content: list[list[int]]) -> pd.DataFrame:
    return pd.concat(
        [
            as_frame(style, "xyz", criterion="style", direction="cv"),
            as_frame(content, "xyz", criterion="content", direction="cv"),
        ],
        ignore_index=True,
    )


def only(found: tuple[Agreement, ...]) -> Agreement:
    assert len(found) == 1
    return found[0]


def test_worked_by_hand() -> None:
    # The same; one of three pairs turned; reversed: (1 + 1/3 - 1) / 3.
    got = only(agreement(two([[1, 2, 3], [1, 2, 3], [1, 2, 3]], [[1, 2, 3], [2, 1, 3], [3, 2, 1]])))
    assert (got.a, got.b, got.participants, got.trials) == ("content", "style", 3, 3)
    assert got.tau.value == pytest.approx(1 / 9)
    assert got.tau.low < got.tau.value < got.tau.high


def test_participants_weigh_alike_however_many_trials_they_did() -> None:
    once = two([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
    more = once[once["participant"] == "p_001"]
    frame = pd.concat([once, *(more.assign(trial=f"more {n}") for n in range(3))], ignore_index=True)
    got = only(agreement(frame))
    assert (got.participants, got.trials) == (2, 5)
    assert got.tau.value == pytest.approx(0)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_agrees_with_scipy(k: int) -> None:
    rng = np.random.default_rng(k)
    frame = listeners(rng, 12, np.linspace(1, -1, k).tolist(), trials=2, taste=1.0, criteria=("one", "two"))
    ranks = frame.pivot(index=["participant", "trial"], columns=["criterion", "system"], values="rank")
    rows = zip(ranks["one"].to_numpy(), ranks["two"].to_numpy(), strict=True)
    expected = np.mean([scipy.stats.kendalltau(a, b).statistic for a, b in rows])
    assert only(agreement(frame)).tau.value == pytest.approx(expected)


def test_every_two_criteria_per_direction_and_in_any_order_of_rows() -> None:
    frame = published()
    got = agreement(frame, direction="sp", criteria=("style", "content", "quality"))
    assert [(one.a, one.b, one.trials) for one in got] == [
        ("style", "content", 30),
        ("style", "quality", 30),
        ("content", "quality", 30),
    ]
    assert agreement(shuffled(frame)) == agreement(frame)


def test_what_is_ranked_on_one_criterion_alone_or_excluded_is_left_out() -> None:
    frame = two([[1, 2, 3], [1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1], [3, 2, 1]])
    frame.loc[frame["participant"] == "p_003", "excluded"] = True
    assert only(agreement(frame)).tau.value == pytest.approx(0)
    assert only(agreement(frame, with_excluded=True)).tau.value == pytest.approx(-1 / 3)
    unanswered = frame[(frame["participant"] != "p_002") | (frame["criterion"] != "style")]
    got = only(agreement(unanswered))
    assert (got.participants, got.tau.value) == (1, 1.0)
    assert math.isnan(got.tau.low)


def test_nothing_in_common() -> None:
    frame = two([[1, 2, 3]], [[1, 2, 3]])
    got = only(agreement(frame[(frame["criterion"] == "style")], criteria=("style", "content")))
    assert (got.participants, got.trials) == (0, 0)
    assert math.isnan(got.tau.value)
    assert agreement(frame.iloc[:0]) == ()
