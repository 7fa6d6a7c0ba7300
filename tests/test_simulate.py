"""Tests of survey/simulate.py: participants who finish, and rankings as the strengths say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from survey.simulate import SimulationError, simulate
from tests.survey_study import Tiny, tiny

STRENGTHS = {"red": 1.0, "green": 3.0, "blue": 9.0}


@pytest.fixture
def test(tmp_path: Path) -> Iterator[Tiny]:
    test = tiny(tmp_path)
    yield test
    test.store.close()


def test_all_participants_finish_and_the_stronger_is_ranked_better(test: Tiny) -> None:
    told: list[int] = []
    simulate(
        test.desk, "tiny", participants=12, strengths=STRENGTHS, rng=np.random.default_rng(1), progress=told.append
    )
    assert told == list(range(1, 13))
    frame = test.store.rankings("tiny")
    # Two trials of two criteria with three systems each; the practice trial is left out.
    assert len(frame) == 12 * 2 * 2 * 3
    assert frame["participant"].nunique() == 12
    ranks = frame.groupby("system")["rank"].mean()
    assert ranks["blue"] < ranks["green"] < ranks["red"]
    assert test.store.funnel("tiny")["complete"] == 12
    assert (frame.groupby(["session", "trial", "criterion"])["rank"].sum() == 6).all()


def test_the_same_seed_gives_the_same_rankings(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        test = tiny(tmp_path / name)
        simulate(test.desk, "tiny", participants=3, strengths=STRENGTHS, rng=np.random.default_rng(8))
        frame = test.store.rankings("tiny")
        found.append(frame[["piece", "direction", "criterion", "system", "rank"]].to_dict("list"))
        test.store.close()
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("study", "strengths", "problem"),
    [
        ("other", STRENGTHS, "not in the database"),
        ("tiny", {"red": 1.0, "green": 1.0}, "expected red, green, blue"),
        ("tiny", {**STRENGTHS, "blue": 0.0}, "above 0"),
        ("tiny", {**STRENGTHS, "blue": float("nan")}, "above 0"),
        ("tiny", {**STRENGTHS, "blue": float("inf")}, "above 0"),
    ],
)
def test_what_cannot_be_simulated(study: str, strengths: dict[str, float], problem: str, test: Tiny) -> None:
    with pytest.raises(SimulationError, match=problem):
        simulate(test.desk, study, participants=1, strengths=strengths, rng=np.random.default_rng(0))
    assert test.store.funnel("tiny")["opened"] == 0
