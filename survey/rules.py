"""Which sessions fall under the rules of exclusion that a study has fixed beforehand.

The rules only point: who is left out, a researcher decides and signs. A session that goes on is judged by what
it already has, and by "incomplete" only once it is abandoned.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from db.records import Export
from survey.definition import ExclusionRule, Study


def expected_rankings(study: Study) -> int:
    """How many rankings a whole session has."""
    return study.trials_per_participant * len(study.criteria)


def hits(
    study: Study, sessions: pd.DataFrame, rankings: pd.DataFrame, unplayed: Mapping[str, int]
) -> dict[str, tuple[ExclusionRule, ...]]:
    """The rules that each session falls under, sessions without any left out.

    Parameters
    ----------
    sessions, rankings : the store's frames of one study; sessions and rankings of previews may be among them
    unplayed : by session, ranked outputs of which there is no record of playing, as `unplayed` counts them
    """
    of = dict(iter(rankings.groupby("session")))
    none = rankings.iloc[:0]
    found = {}
    for row in sessions.to_dict("records"):
        own = of.get(row["session"], none)
        under = tuple(
            rule for rule in study.exclusions if _falls_under(rule, study, row, own, unplayed.get(row["session"], 0))
        )
        if under:
            found[str(row["session"])] = under
    return found


def _falls_under(
    rule: ExclusionRule, study: Study, session: Mapping[str, Any], rankings: pd.DataFrame, unplayed_items: int
) -> bool:
    match rule.kind:
        case "failed_headphones":
            return bool(session["screening"].get("headphones") == "fail")
        case "fast_trials":
            # Missing before the first answer, and then no comparison holds.
            return bool(session["median_trial_s"] < rule.threshold)
        case "unheard":
            return unplayed_items > 0
        case "incomplete":
            given = len(rankings.drop_duplicates(["trial", "criterion"]))
            return session["status"] == "abandoned" and given < expected_rankings(study)
        case "same_order":
            orders = {tuple(one.sort_values("rank")["position"]) for _, one in rankings.groupby(["trial", "criterion"])}
            return len(orders) == 1 and rankings["trial"].nunique() > 1


def unplayed(export: Export) -> dict[str, int]:
    """By session, how many outputs were ranked of which there is no record of playing; zeros left out."""
    public = {row["id"]: str(row["public"]) for row in export.tables["session"]}
    session_of = {row["id"]: public[row["session_id"]] for row in export.tables["trial"] if not row["practice"]}
    answered = {row["trial_id"] for row in export.tables["response"] if row["is_current"]}
    played = {
        row["item_id"] for row in export.tables["playback_event"] if row["kind"] in {"play", "heard"} and row["item_id"]
    }
    counts: dict[str, int] = {}
    for row in export.tables["trial_item"]:
        if row["trial_id"] in answered and row["trial_id"] in session_of and row["id"] not in played:
            session = session_of[row["trial_id"]]
            counts[session] = counts.get(session, 0) + 1
    return counts
