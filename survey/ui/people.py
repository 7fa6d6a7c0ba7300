"""What the results show of the participants: a list, a page for each, the funnel and the files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd

from db.records import Details, VersionRecord
from db.store import Store
from survey.definition import ExclusionRule, Study, from_json
from survey.rules import expected_rankings, hits
from survey.session import say

Row = Mapping[str, Any]
STEPS = {
    "opened": "Opened the link",
    "consented": "Gave consent",
    "background": "Answered the questions",
    "sound": "Set the volume",
    "practice": "Practised",
    "first trial": "Ranked the first piece",
    "complete": "Completed",
}
BY_RULE = "By the rules fixed beforehand:"
CHECKS = {"pass": "passed", "fail": "failed", "unavailable": "not possible", "skipped": "skipped"}


@dataclass(frozen=True)
class Sight:
    """A study as it stands at one moment.

    Attributes
    ----------
    versions : the oldest first
    definitions : the study as defined, by number of its version
    sessions, rankings : the store's frames, previews among them
    rules : the rules of exclusion that sessions fall under, by session
    """

    name: str
    versions: tuple[VersionRecord, ...]
    definitions: Mapping[int, Study]
    sessions: pd.DataFrame
    rankings: pd.DataFrame
    rules: Mapping[str, tuple[ExclusionRule, ...]]

    @property
    def study(self) -> Study:
        """The latest version's definition."""
        return self.definitions[self.versions[-1].number]


def look(store: Store, name: str) -> Sight:
    """Read all that the pages show of a study."""
    versions = store.versions(name)
    definitions = {version.number: from_json(version.config_json) for version in versions}
    sessions = store.participants(name)
    rankings = store.rankings(name, live_only=False)
    rules: dict[str, tuple[ExclusionRule, ...]] = {}
    for number, definition in definitions.items():
        of = sessions[sessions["version"] == number]
        rules |= hits(definition, of, rankings[rankings["version"] == number])
    return Sight(name, versions, definitions, sessions, rankings, rules)


def list_rows(sight: Sight) -> list[dict[str, Any]]:
    """The list of participants, a row for each session."""
    given = sight.rankings.groupby("session")[["trial", "criterion"]].apply(lambda of: len(of.drop_duplicates()))
    rows = []
    for session in sight.sessions.to_dict("records"):
        complete = session["status"] == "complete"
        rows.append(
            {
                "session": session["session"],
                "participant": session["participant"],
                "status": "preview" if session["mode"] == "preview" else session["status"],
                "complete": complete,
                "excluded": session["excluded"],
                "started": session["created_at"],
                "opened": moment(session["created_at"]).removesuffix(" UTC"),
                "minutes": _minutes(session) if complete else None,
                "answers": int(given.get(session["session"], 0)),
                "expected": expected_rankings(sight.definitions[session["version"]]),
                "trial_s": None if pd.isna(session["median_trial_s"]) else round(session["median_trial_s"]),
                "headphones": CHECKS.get(session["screening"].get("headphones", ""), ""),
                "flags": list(_flags(session, sight.rules.get(session["session"], ()))),
            }
        )
    return rows


def page(sight: Sight, session: str, details: Details) -> dict[str, Any] | None:
    """The page of one session, or None where there is no such session."""
    found = sight.sessions[sight.sessions["session"] == session]
    if found.empty:
        return None
    row = found.to_dict("records")[0]
    definition = sight.definitions[row["version"]]
    rules = sight.rules.get(session, ())
    return {
        "session": session,
        "participant": row["participant"],
        "excluded": row["excluded"],
        "can_decide": row["mode"] == "live",
        "flags": list(_flags(row, rules)),
        "facts": _facts(row, details),
        "background": list(_background(definition, row["background"])),
        "trials": list(_trials(sight, definition, row, details)),
        "decisions": list(_decisions(details)),
        "suggestions": [] if row["excluded"] else [f"{BY_RULE} {rule.description or rule.kind}" for rule in rules],
    }


def under_rules(sight: Sight) -> dict[str, str]:
    """Reasons to exclude live sessions by the study's rules; those that somebody has decided on are left alone."""
    sessions = sight.sessions
    undecided = set(sessions.loc[(sessions["mode"] == "live") & ~sessions["decided"], "session"])
    return {
        session: f"{BY_RULE} {' '.join(rule.description or rule.kind for rule in rules)}"
        for session, rules in sight.rules.items()
        if session in undecided
    }


def counts(sessions: pd.DataFrame, versions: Sequence[VersionRecord]) -> list[dict[str, Any]]:
    """The numbers above everything."""
    live = sessions[sessions["mode"] == "live"]
    return [
        {"title": "complete", "count": int((live["status"] == "complete").sum())},
        {"title": "under way", "count": int((live["status"] == "open").sum())},
        {"title": "abandoned", "count": int((live["status"] == "abandoned").sum())},
        {"title": "excluded", "count": int(live["excluded"].sum())},
        {"title": "rankings", "count": sum(version.answers for version in versions)},
    ]


def progress(name: str, funnel: Mapping[str, int], versions: Sequence[VersionRecord], slots: int) -> dict[str, Any]:
    """How far participants are, and where to go from here."""
    opened = funnel.get("opened", 0)
    here = f"/survey/?{urlencode({'study': name})}"
    files = f"/results/export/{quote(name)}"
    latest = versions[-1]
    return {
        "note": f"Live sessions, previews left out. Version {latest.number} of the study, made on "
        f"{moment(latest.created_at)}, is designed for {slots} participants at a time.",
        "funnel": [
            {
                "title": STEPS.get(step, step),
                "count": count,
                "share": f"{100 * count / opened:.0f} %" if opened else "",
            }
            for step, count in funnel.items()
        ],
        "links": [
            {"title": "Preview the survey", "href": f"{here}&preview=1", "note": "As a participant; never counted."},
            {
                "title": "Link for participants",
                "href": here,
                "note": "Opens a session that counts. A panel adds its id as participant or PROLIFIC_PID.",
            },
        ],
        "files": [
            {
                "title": "Rankings as CSV",
                "href": f"{files}/rankings.csv",
                "note": "One row for each system in each ranking: what an analysis needs.",
            },
            {
                "title": "Everything as CSV in a ZIP archive",
                "href": f"{files}/everything.zip",
                "note": "All tables with the codebook. Holds the scrambled ids: keep it to yourself.",
            },
            {
                "title": "Everything as JSON",
                "href": f"{files}/everything.json",
                "note": "The same in one file. musicstar-survey import takes either into another database.",
            },
            {"title": "Codebook", "href": f"{files}/codebook.md", "note": "What every column and key means."},
        ],
    }


def moment(instant: str) -> str:
    """An instant for reading.

    Examples
    --------
    >>> moment("2026-01-05T12:03:04.000000Z")
    '5 Jan 2026, 12:03 UTC'
    """
    if not instant:
        return ""
    time = datetime.fromisoformat(instant)
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def _minutes(session: Row) -> int:
    began, ended = (datetime.fromisoformat(session[name]) for name in ("created_at", "completed_at"))
    return round((ended - began).total_seconds() / 60)


def _flags(session: Row, rules: Sequence[ExclusionRule]) -> Iterator[str]:
    if session["mode"] == "preview":
        yield "preview"
    if session["excluded"]:
        yield "excluded"
        if session["reason"].startswith(BY_RULE) and not rules:
            # They came back and went on, or there is another version of the rules.
            yield "under no rule any more"
    if session["late"]:
        yield "slot given away"
    if session["screening"].get("headphones") == "fail":
        yield "failed headphone check"
    names = {
        "fast_trials": "fast",
        "incomplete": "incomplete",
        "same_order": "one order throughout",
    }
    yield from (names[rule.kind] for rule in rules if rule.kind in names)


def _facts(session: Row, details: Details) -> list[tuple[str, Any]]:
    screening = session["screening"]
    facts = [
        ("Session", session["session"]),
        ("Status", session["status"] + (", a preview" if session["mode"] == "preview" else "")),
        ("Opened", moment(session["created_at"])),
        ("Completed", moment(session["completed_at"])),
        ("Version of the study", session["version"]),
        ("Slot of the design", "" if pd.isna(session["slot"]) else int(session["slot"]) + 1),
        ("Language", session["language"]),
        ("Headphone check", CHECKS.get(screening.get("headphones", ""), "")),
        ("Volume", f"{screening['volume']:.0%}" if "volume" in screening else ""),
        ("Things played", details.events),
        ("Median time of a trial", "" if pd.isna(session["median_trial_s"]) else f"{session['median_trial_s']:.0f} s"),
    ]
    if session["excluded"]:
        facts.append(("Excluded by", session["author"]))
    return [(title, text) for title, text in facts if text != ""]


def _background(study: Study, answers: Row) -> Iterator[tuple[str, str]]:
    language = study.languages[0]
    for question in study.background:
        answer = answers.get(question.key)
        if answer is None or answer == "":
            continue
        words = next((say(option.text, language) for option in question.options if option.key == answer), str(answer))
        yield " ".join(say(question.text, language).split()), words


def _trials(sight: Sight, study: Study, session: Row, details: Details) -> Iterator[dict[str, Any]]:
    """A table for each trial: the systems under their letters, and their rank by each criterion."""
    own = sight.rankings[sight.rankings["session"] == session["session"]]
    titles = {one.key: one.title for one in study.systems}
    pieces = {one.key: one.title for one in study.pieces}
    directions = {one.key: one.title for one in study.directions}
    language = study.languages[0]
    for (order, trial), of in own.groupby(["order", "trial"]):
        ranks = of.pivot(index=["position", "system"], columns="criterion", values="rank")
        asked = [one for one in study.criteria if one.key in ranks.columns]
        notes = []
        for one in asked:
            elapsed_ms, revision = details.times[trial, one.key]
            changed = f", changed {revision - 1} times" if revision > 2 else ", changed once" if revision == 2 else ""
            notes.append(f"{say(one.title, language)} in {elapsed_ms / 1000:.0f} s{changed}")
        yield {
            "caption": f"{order}. {pieces[of['piece'].iloc[0]]}, {directions[of['direction'].iloc[0]]}",
            "head": ["Output", *(say(one.title, language) for one in asked)],
            "rows": [
                [f"{'ABCDEFGH'[position]}: {titles[system]}", *(str(row[one.key]) for one in asked)]
                for (position, system), row in ranks.iterrows()
            ],
            "note": "; ".join(notes) + ".",
        }


def _decisions(details: Details) -> Iterator[dict[str, str]]:
    for one in details.decisions:
        yield {
            "what": "Excluded" if one.excluded else "Counted in again",
            "reason": one.reason,
            "author": one.author,
            "at": moment(one.created_at),
        }
