"""The rules of exclusion: each one on sessions that fall under it and on sessions that do not."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from survey.definition import ExclusionRule
from survey.rules import expected_rankings, hits, unplayed
from tests.survey_study import tiny, tiny_study

STUDY = tiny_study(
    exclusions=(
        ExclusionRule("failed_headphones"),
        ExclusionRule("fast_trials", 30.0),
        ExclusionRule("unheard"),
        ExclusionRule("incomplete"),
        ExclusionRule("same_order"),
    )
)


def found(orders: list[str], *, unheard: int = 0, **changes: Any) -> list[str]:
    """The kinds of rules that one session falls under, which ranked the letters in these orders, two a trial."""
    session = {"session": "s", "status": "complete", "screening": {"headphones": "pass"}, "median_trial_s": 60.0}
    rows = [
        {"session": "s", "trial": f"t{n // 2}", "criterion": f"c{n % 2}", "position": "ABC".index(letter), "rank": rank}
        for n, order in enumerate(orders)
        for rank, letter in enumerate(order, 1)
    ]
    columns = ["session", "trial", "criterion", "position", "rank"]
    rankings = pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=1)
    under = hits(STUDY, pd.DataFrame([{**session, **changes}]), rankings, {"s": unheard} if unheard else {})
    return [rule.kind for rule in under.get("s", ())]


def test_a_sound_session_falls_under_none() -> None:
    assert found(["ABC", "ABC", "ABC", "BAC"]) == []
    assert expected_rankings(STUDY) == 4


@pytest.mark.parametrize(
    ("kind", "orders", "changes"),
    [
        ("failed_headphones", ["ABC", "BAC"], {"screening": {"headphones": "fail"}}),
        ("fast_trials", ["ABC", "BAC"], {"median_trial_s": 29.9}),
        ("unheard", ["ABC", "BAC"], {"unheard": 1}),
        ("incomplete", ["ABC", "BAC", "CAB"], {"status": "abandoned"}),
        ("same_order", ["BCA"] * 4, {}),
    ],
)
def test_each_rule_by_itself(kind: str, orders: list[str], changes: dict[str, Any]) -> None:
    assert found(orders, **changes) == [kind]


def test_who_is_not_judged_yet() -> None:
    assert found(["ABC"], status="open") == [], "may still go on"
    assert found(["ABC", "BAC", "ABC", "ABC"], status="abandoned") == [], "all is there"
    assert found([], median_trial_s=float("nan"), screening={}) == []
    assert found(["ABC", "ABC"]) == [], "one trial says nothing of the letters"
    assert found(["ABC", "BAC"], screening={"headphones": "unavailable"}, median_trial_s=30.0) == []


def test_what_was_never_played_is_counted(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    for n in range(2):
        survey.visitor().open(f"visitor-{n}").prepare().rank_all()
    export = survey.store.history("tiny")
    assert unplayed(export) == {}
    session = export.tables["session"][1]
    trial = next(row for row in export.tables["trial"] if row["session_id"] == session["id"] and row["number"] == 1)
    silent = tuple(row for row in export.tables["playback_event"] if row["trial_id"] != trial["id"])
    changed = type(export)(export.study, {**export.tables, "playback_event": silent})
    assert unplayed(changed) == {session["public"]: 3}
    paused = tuple({**row, "kind": "pause"} for row in export.tables["playback_event"])
    changed = type(export)(export.study, {**export.tables, "playback_event": paused})
    assert set(unplayed(changed).values()) == {6}
