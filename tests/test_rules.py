"""The rules of exclusion: each one on sessions that fall under it and on sessions that do not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from survey.definition import ExclusionRule
from survey.rules import expected_rankings, hits
from tests.survey_study import tiny, tiny_study

STUDY = tiny_study(
    exclusions=(
        ExclusionRule("failed_headphones"),
        ExclusionRule("fast_trials", 30.0),
        ExclusionRule("incomplete"),
        ExclusionRule("same_order"),
    )
)


def found(orders: list[str], **changes: Any) -> list[str]:
    """The kinds of rules that one session falls under, which ranked the letters in these orders, two a trial."""
    session = {"session": "s", "status": "complete", "screening": {"headphones": "pass"}, "median_trial_s": 60.0}
    rows = [
        {"session": "s", "trial": f"t{n // 2}", "criterion": f"c{n % 2}", "position": "ABC".index(letter), "rank": rank}
        for n, order in enumerate(orders)
        for rank, letter in enumerate(order, 1)
    ]
    columns = ["session", "trial", "criterion", "position", "rank"]
    rankings = pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=1)
    under = hits(STUDY, pd.DataFrame([{**session, **changes}]), rankings)
    return [rule.kind for rule in under.get("s", ())]


def test_a_sound_session_falls_under_none() -> None:
    assert found(["ABC", "ABC", "ABC", "BAC"]) == []
    assert expected_rankings(STUDY) == 4


@pytest.mark.parametrize(
    ("kind", "orders", "changes"),
    [
        ("failed_headphones", ["ABC", "BAC"], {"screening": {"headphones": "fail"}}),
        ("fast_trials", ["ABC", "BAC"], {"median_trial_s": 29.9}),
        ("incomplete", ["ABC", "BAC", "CAB"], {"status": "abandoned"}),
        ("same_order", ["BCA"] * 4, {}),
    ],
)
def test_each_rule_by_itself(kind: str, orders: list[str], changes: dict[str, Any]) -> None:
    assert found(orders, **changes) == [kind]


def test_who_is_not_judged_yet() -> None:
    for under in ({"screening": {"headphones": "fail"}}, {"median_trial_s": 9.0}, {}):
        assert found(["ABC"] * 4, status="open", **under) == [], "may still go on"
    assert found(["ABC", "BAC", "ABC", "ABC"], status="abandoned") == [], "all is there"
    assert found([], median_trial_s=float("nan"), screening={}) == []
    assert found(["ABC", "ABC"]) == [], "one trial says nothing of the letters"
    assert found(["ABC", "BAC"], screening={"headphones": "unavailable"}, median_trial_s=30.0) == []


def test_time_is_taken_of_whole_trials_and_at_the_end_alone(tmp_path: Path) -> None:
    """Six seconds on the first of two screens are no fast trial, whatever the rule's threshold."""
    now = datetime(2026, 1, 5, tzinfo=UTC)
    survey = tiny(tmp_path, study=STUDY, clock=lambda: now)
    visitor = survey.visitor().open("ranking").prepare()
    practice, first, second = visitor.state["trials"]

    def fast() -> list[str]:
        sessions, rankings = survey.store.participants("tiny"), survey.store.rankings("tiny")
        return [rule.kind for rule in hits(STUDY, sessions, rankings).get(sessions.session[0], ())]

    def rank(trial: dict[str, Any], criterion: str, elapsed_ms: int) -> None:
        body = visitor.body(trial, criterion)
        visitor.done("answers", {**body, "elapsed_ms": elapsed_ms})

    visitor.hear(practice)
    rank(practice, "content", 1)
    visitor.hear(first)
    rank(first, "content", 20_000)
    assert fast() == []
    rank(first, "style", 20_000)
    visitor.hear(second)
    rank(second, "content", 6_000)
    assert survey.store.participants("tiny").median_trial_s[0] == 40.0
    now += timedelta(days=1)
    assert survey.store.participants("tiny").status[0] == "abandoned"
    assert fast() == ["incomplete", "same_order"]
    rank(second, "style", 6_000)
    assert survey.store.participants("tiny").median_trial_s[0] == 26.0, "of two trials the mean"
    assert fast() == []
    visitor.finish()
    assert fast() == ["fast_trials", "same_order"]
