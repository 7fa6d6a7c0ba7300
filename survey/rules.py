"""Which sessions fall under the rules of exclusion that a study has fixed beforehand.

The rules only point: who is left out, a researcher decides and signs. A session is judged at its end: once it is
complete, or abandoned, which is when its lease has run out. Who is still ranking falls under none.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from survey.definition import ExclusionRule, Study


def expected_rankings(study: Study) -> int:
    """How many rankings a whole session has."""
    return study.trials_per_participant * len(study.criteria)


def hits(study: Study, sessions: pd.DataFrame, rankings: pd.DataFrame) -> dict[str, tuple[ExclusionRule, ...]]:
    """The rules that each session falls under, sessions without any left out.

    Parameters
    ----------
    sessions, rankings : the store's frames of one study; sessions and rankings of previews may be among them
    """
    of = dict(iter(rankings.groupby("session")))
    none = rankings.iloc[:0]
    found = {}
    for row in sessions[sessions["status"] != "open"].to_dict("records"):
        own = of.get(row["session"], none)
        under = tuple(rule for rule in study.exclusions if _falls_under(rule, study, row, own))
        if under:
            found[str(row["session"])] = under
    return found


def _falls_under(rule: ExclusionRule, study: Study, session: Mapping[str, Any], rankings: pd.DataFrame) -> bool:
    match rule.kind:
        case "failed_headphones":
            return bool(session["screening"].get("headphones") == "fail")
        case "fast_trials":
            # Missing where no trial was answered in full, and then no comparison holds.
            return bool(session["median_trial_s"] < rule.threshold)
        case "incomplete":
            given = len(rankings.drop_duplicates(["trial", "criterion"]))
            return session["status"] == "abandoned" and given < expected_rankings(study)
        case "same_order":
            orders = {tuple(one.sort_values("rank")["position"]) for _, one in rankings.groupby(["trial", "criterion"])}
            return len(orders) == 1 and rankings["trial"].nunique() > 1
