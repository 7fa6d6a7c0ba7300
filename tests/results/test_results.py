"""The results page: nothing of it without a login, the right numbers with one, exclusions that are kept."""

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.engine import NOT_SAVED
from db.records import NotSaved
from db.store import Store
from survey import scoring
from survey.analysis import work_out
from survey.analyst import Filters, first_filters
from survey.ui import comparisons, scores
from survey.ui.people import BY_RULE
from tests.results.results_site import EVIL, PARTICIPANTS, Site, build_site
from tests.survey_study import add_version, tiny, tiny_study


def _figures(section: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for block in section["blocks"]:
        found += block["blocks"] if block["kind"] == "grid" else [block] if block["kind"] == "figure" else []
    return found


def test_the_page_at_first(site: Site) -> None:
    head, filters, strip, listed, progress = site.researcher().event("start", query="?study=tiny")
    assert (head["name"], head["study"]) == ("ada", "tiny")
    counts = {one["title"]: one["count"] for one in strip["counts"]}
    assert counts == {
        "complete": PARTICIPANTS,
        "under way": 1,
        "abandoned": 0,
        "excluded": 0,
        "rankings": 4 * PARTICIPANTS,
    }
    assert filters["value"] == Filters("tiny").to_json()
    offered = {
        one["key"]: {o["key"]: o["count"] for o in one["options"]} for one in filters["props"]["offered"]["groups"]
    }
    assert offered["direction"] == {"there": PARTICIPANTS, "back": PARTICIPANTS}
    assert sum(offered["piece"].values()) == 2 * PARTICIPANTS
    assert len(listed["rows"]) == PARTICIPANTS + 2
    assert progress["funnel"][0]["count"] == PARTICIPANTS + 1
    assert progress["funnel"][-1]["count"] == PARTICIPANTS
    assert [link["href"] for link in progress["links"]] == ["/survey/?study=tiny&preview=1", "/survey/?study=tiny"]


def test_the_scores_are_those_of_the_rankings(site: Site) -> None:
    told = site.researcher().event("show", Filters("tiny").to_json())
    board = told[1]
    found = scoring.standings(site.store.rankings("tiny"), systems=["red", "green", "blue"])
    pooled = [one for one in found if one.direction is None]
    totals = board["sections"][0]["blocks"][0]
    assert totals["head"] == ["Method", "content", "style"]
    shown = [[int(cell["text"]) for cell in row[1:]] for row in totals["rows"]]
    assert shown == [[one.total for one in pooled if one.system == key] for key in ("red", "green", "blue")]
    assert [row[0] for row in totals["rows"]] == ["Red", "Green", "Blue"]
    figures = [b for s in board["sections"] if s.get("of") == "style" for b in _figures(s)]
    counts = {trace["name"]: trace["y"] for trace in figures[2]["drawing"]["light"]["data"]}
    by_style = [one for one in pooled if one.criterion == "style"]
    assert counts == {str(n + 1): [one.rank_counts[n] for one in by_style] for n in range(3)}
    assert told[3]["stamp"] == told[3]["shown"]


def test_strengths_and_exclusions_show_each_direction_first_and_all_last(small: Site) -> None:
    out, value = small.sessions()[2], Filters("tiny").to_json()
    small.store.exclude(out, reason="Too fast.", author="ada")
    board = small.researcher().event("show", value)[2]
    sections = {one["title"]: one for one in board["sections"] if one.get("of") == "style"}
    scopes = ["There", "Back", "All directions"]
    plot, table = sections["Strengths"]["blocks"]
    assert [trace["name"] for trace in plot["drawing"]["light"]["data"]] == scopes
    assert [one["text"] for one in table["groups"][1:]] == scopes
    shares = [[float(row[column]["text"]) for row in table["rows"]] for column in (1, 3, 5)]
    assert [sum(column) for column in shares] == pytest.approx([100] * 3, abs=0.2)
    (change,) = sections["Before and after exclusions"]["blocks"]
    assert [one["text"] for one in change["groups"][1:]] == scopes
    found = scoring.exclusions(
        small.store.rankings("tiny"), systems=["red", "green", "blue"], directions=["there", "back"]
    )
    pairs = [(was, now) for was, now in found.pairs() if was.criterion == "style"]
    totals = [
        [f"{was.total} → {now.total}" for was, now in pairs if was.system == key] for key in ("red", "green", "blue")
    ]
    assert [row[1::2] for row in change["rows"]] == totals


def test_a_criterion_without_rankings_says_so(small: Site) -> None:
    frame = small.store.rankings("tiny")
    analysis = work_out("now", small.survey.study, frame[frame["criterion"] == "content"], None, False)
    for board in (scores.draw(analysis), comparisons.draw(analysis)):
        words = json.dumps(board)
        assert "NaN" not in words
        assert "nan" not in words
        (only,) = [one for one in board["sections"] if one.get("of") == "style"]
        assert only["blocks"][0]["text"] == "Nobody who is counted in has ranked by this criterion yet."


def test_tests_are_withheld_under_ten_participants(small: Site) -> None:
    board = small.researcher().event("show", Filters("tiny").to_json())[2]
    words = json.dumps(board)
    assert "A test needs at least 10 participants and has 3" in words
    assert "Critical difference" not in words


def test_filters_let_through_what_they_say(site: Site) -> None:
    rankings = site.store.rankings("tiny", live_only=False)
    sessions = site.store.participants("tiny")
    live = set(site.sessions(mode="live"))
    assert set(Filters("tiny").apply(rankings, sessions)["session"]) <= live
    for name in ("direction", "piece", "experience", "headphones"):
        key = str(rankings[name].iloc[0])
        kept = Filters("tiny", groups={name: (key,)}).apply(rankings, sessions)
        assert len(kept)
        assert set(kept[name]) == {key}
    late = rankings.assign(late=rankings["session"] == rankings["session"].iloc[0])
    kept = Filters("tiny", late=False).apply(late, sessions)
    assert len(kept) == 4 * 3 * (PARTICIPANTS - 1)
    half = sessions.assign(status=["open", *sessions["status"].iloc[1:]])
    assert len(Filters("tiny", incomplete=False).apply(rankings, half)) == 4 * 3 * (PARTICIPANTS - 1)
    assert len(Filters("tiny", version=2).apply(rankings, sessions)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"study": 3},
        {"version": "1"},
        {"version": True},
        {"groups": {"reason": []}},
        {"groups": {"piece": "one"}},
        {"groups": {"piece": [1]}},
        {"late": 1},
        {"more": 1},
    ],
)
def test_filters_made_by_hand_are_refused(site: Site, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        Filters.read({**Filters("tiny").to_json(), **change})
    site.researcher().event("show", {**Filters("tiny").to_json(), **change}, status=500)
    site.researcher().event("show", {**Filters("tiny").to_json(), "study": "other"}, status=500)


def test_a_participants_page_tells_what_was_answered(site: Site) -> None:
    session = site.sessions(mode="live", status="complete")[3]
    told = site.researcher().event("open_one", Filters("tiny").to_json(), asked={"session": session})[0]
    page = told["detail"]
    rankings = site.store.rankings("tiny")
    own = rankings[rankings["session"] == session]
    assert len(page["trials"]) == 2
    for trial, (_, of) in zip(page["trials"], own.groupby("order"), strict=True):
        ranks = {(row.position, row.criterion): row.rank for row in of.itertuples()}
        assert trial["head"] == ["Output", "content", "style"]
        for place, row in enumerate(trial["rows"]):
            assert row[0].startswith("ABC"[place])
            assert row[1:] == [str(ranks[place, "content"]), str(ranks[place, "style"])]
        assert re.fullmatch(r"content in \d+ s; style in \d+ s\.", trial["note"])
    assert dict(page["background"]).keys() == {"How long have you played?", "How old are you?"}
    assert not page["excluded"]


def test_an_exclusion_is_kept_with_its_reason_and_author(small: Site) -> None:
    session = small.sessions()[0]
    value = Filters("tiny").to_json()
    ada, eve = small.researcher("ada"), small.researcher("eve")
    before = ada.event("show", value)[1]["sections"][0]["note"]
    told = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": f"  {EVIL} "})[0]
    assert told["detail"]["excluded"]
    assert told["message"] == ""
    row = small.store.participants("tiny").set_index("session").loc[session]
    assert (row["excluded"], row["reason"], row["author"]) == (True, EVIL, "ada")
    after = ada.event("show", value)[1]["sections"][0]["note"]
    assert before.startswith("3 participants")
    assert after.startswith("2 participants")
    assert "1 participant excluded, left out" in after
    everyone = ada.event("show", {**value, "excluded": True})[1]["sections"][0]["note"]
    assert everyone.startswith("3 participants")

    again = eve.event("decide", value, asked={"session": session, "exclude": True, "reason": "once more"})[0]
    assert "has decided so already" in again["message"]
    told = eve.event("decide", value, asked={"session": session, "exclude": False, "reason": "a mistake"})[0]
    assert [(one["what"], one["reason"], one["author"]) for one in told["detail"]["decisions"]] == [
        ("Excluded", EVIL, "ada"),
        ("Counted in again", "a mistake", "eve"),
    ]
    kept = small.store.history("tiny").tables["exclusion"]
    assert [(one["excluded"], one["reason"], one["author"]) for one in kept] == [
        (True, EVIL, "ada"),
        (False, "a mistake", "eve"),
    ]
    assert [one.action for one in small.store.audits()][:2] == ["include", "exclude"]
    assert len(small.store.rankings("tiny")) == 3 * 4 * 3, "nothing was deleted"


def test_exclusions_that_cannot_be(site: Site, small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    foreign = site.sessions()[0]
    for session in ("s_none", foreign):
        told = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": "x"})[0]
        assert "There is no such session" in told["message"]
    small.survey.visitor().open("LOOKING", preview=True)
    preview = small.sessions(mode="preview")[0]
    told = ada.event("decide", value, asked={"session": preview, "exclude": True, "reason": "x"})[0]
    assert "it is a preview" in told["message"]
    session = small.sessions()[0]
    long = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": "x" * 1001})[0]
    assert "1 to 1000 characters" in long["message"]
    for asked in (
        {"session": session, "exclude": True},
        {"session": session, "exclude": 1, "reason": "x"},
        {"session": [session], "exclude": True, "reason": "x"},
        {"session": session, "exclude": True, "reason": ""},
        None,
    ):
        ada.event("decide", value, asked=asked, status=500)
    assert not small.store.participants("tiny")["excluded"].any()


def test_the_rules_fixed_beforehand_are_applied_once_and_signed(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    under = small.sessions()[2]
    listed = ada.event("renew_people", value)[0]
    assert listed["under_rules"] == 1
    flags = {row["session"]: row["flags"] for row in listed["rows"]}
    assert flags[under] == ["one order throughout", "fast"]
    after = ada.event("apply_rules", value)[0]
    assert after["under_rules"] == 0
    rows = small.store.participants("tiny").set_index("session")
    assert list(rows.index[rows["excluded"]]) == [under]
    assert rows.loc[under, "reason"] == "By the rules fixed beforehand: One order throughout. Too fast."
    ada.event("decide", value, asked={"session": under, "exclude": False, "reason": "I know them"})
    ada.event("apply_rules", value)
    assert not small.store.participants("tiny")["excluded"].any(), "what somebody has decided stays"


def test_nobody_is_left_out_who_still_ranks(small: Site) -> None:
    visitor = small.survey.visitor().open("RANKING").prepare().rank_all()
    ada, value = small.researcher(), Filters("tiny").to_json()
    assert ada.event("renew_people", value)[0]["under_rules"] == 1, "the one who has finished"
    ada.event("apply_rules", value)
    under_way = small.sessions()[3]
    assert small.sessions(excluded=True) == [small.sessions()[2]]
    visitor.finish()
    ada.event("apply_rules", value)
    assert small.sessions(excluded=True) == [small.sessions()[2], under_way]


def test_who_was_left_out_by_a_rule_that_holds_no_more_is_pointed_out(small: Site) -> None:
    ada, value, sound = small.researcher(), Filters("tiny").to_json(), small.sessions()[0]
    small.store.exclude_undecided({sound: f"{BY_RULE} Incomplete."}, author="ada")
    rows = ada.event("apply_rules", value)[0]["rows"]
    assert [row["session"] for row in rows if "under no rule any more" in row["flags"]] == [sound]


def test_the_participants_cost_a_few_small_questions(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is stored is never read, and the sessions are read as often for many exclusions as for one."""
    for number in range(3):
        small.survey.visitor().open(f"FAST-{number}").prepare().rank_all().finish()
    ada, value, session = small.researcher(), Filters("tiny").to_json(), small.sessions()[0]
    asked: list[str] = []

    def refuse(*_: Any) -> None:
        raise AssertionError("the page of the participants read everything")

    def counted(store: Store, study: str) -> Any:
        asked.append(study)
        return participants(store, study)

    participants = Store.participants
    monkeypatch.setattr(Store, "history", refuse)
    monkeypatch.setattr(Store, "participants", counted)
    ada.event("renew_people", value)
    ada.event("find", value, asked={"external": "FAST-1"})
    ada.event("decide", value, asked={"session": session, "exclude": True, "reason": "Asked"})
    detail = ada.event("open_one", value, asked={"session": session})[0]["detail"]
    assert dict(detail["facts"])["Things played"] > 0
    assert [one["reason"] for one in detail["decisions"]] == ["Asked"]
    asked.clear()
    assert ada.event("apply_rules", value)[0]["under_rules"] == 0
    assert len(asked) == 2
    assert len(small.sessions(excluded=True)) == 5
    small.store.exclude_undecided({session: "twice"}, author="eve")
    assert len(small.store.details(session).decisions) == 1, "decided on already"


def test_a_participant_is_found_by_the_number_in_the_link(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    found = ada.event("find", value, asked={"external": " THIRD-3 "})[0]
    assert found["go"] == found["detail"]["session"] == small.sessions()[2]
    missing = ada.event("find", value, asked={"external": "THIRD-4"})[0]
    assert (missing["detail"], missing["message"]) == (None, "No participant came with that number.")
    assert "THIRD" not in str(small.store.audits())


def test_counts_are_live_and_say_when_the_figures_are_behind(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    strip = ada.event("show", value)[3]
    assert ada.event("tick", value, strip)[0] == strip
    small.survey.visitor().open("FOURTH").prepare().rank_all()
    now, progress = ada.event("tick", value, strip)
    assert now["stamp"] != now["shown"] == strip["stamp"]
    assert {one["title"]: one["count"] for one in now["counts"]}["rankings"] == 16
    assert progress["funnel"][0]["count"] == 4
    assert [told["__type__"] for told in ada.event("tick", None, None)] == ["update"] * 2


def test_a_database_out_of_reach_is_told_in_a_sentence(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, value, session = small.researcher(), Filters("tiny").to_json(), small.sessions()[0]
    strip = ada.event("show", value)[3]
    assert ada.trouble == ""

    def refuse(*_: Any) -> None:
        raise NotSaved("The database cannot be read at this moment. Please try again.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "reading", refuse)
        for name, data, asked in (
            ("start", (), None),
            ("show", (value,), None),
            ("show", (None,), None),
            ("tick", (value, strip), None),
            ("renew_people", (value,), None),
            ("open_one", (value,), {"session": session}),
            ("find", (value,), {"external": "THIRD-3"}),
            ("decide", (value,), {"session": session, "exclude": True, "reason": "x"}),
            ("apply_rules", (value,), None),
        ):
            told = ada.event(name, *data, asked=asked)
            assert ada.trouble == "The database cannot be read at this moment. Please try again.", name
            boards = [one for one in told if "sections" in one]
            assert len(boards) == (2 if name == "show" else 0)
            assert all(ada.trouble in json.dumps(one) for one in boards)
            assert not any("value" in one for one in told if one not in boards)
    monkeypatch.setattr(small.store, "patience_s", 0.1)
    with small.store.writing():
        assert "value" not in ada.event("apply_rules", value)[0]
        assert ada.trouble == NOT_SAVED
    assert ada.event("show", None)[1]["sections"][0]["blocks"][0]["text"] == "Please load this page again."
    assert ada.event("tick", value, strip)[0] == strip
    assert ada.trouble == ""


def test_versions_with_other_systems_are_never_counted_together(small: Site, tmp_path: Path) -> None:
    other = tiny_study()
    fewer = replace(
        other,
        systems=other.systems[:2],
        stimuli=tuple(one for one in other.stimuli if one.system != "blue"),
    )
    add_version(small.store, fewer, tmp_path / "media")
    small.survey.visitor().open("FIFTH").prepare().rank_all()
    chosen = first_filters(small.store, "tiny")
    assert chosen is not None
    assert chosen.version == 2
    ada = small.researcher()
    assert ada.event("show", chosen.to_json())[1]["sections"][0]["note"].startswith("1 participant, 2 rankings")
    add_version(small.store, replace(other, criteria=other.criteria[:1]), tmp_path / "media")
    assert first_filters(small.store, "tiny") == Filters("tiny", 3)
    all_of_them = ada.event("show", Filters("tiny").to_json())[1]
    assert "scored apart" in json.dumps(all_of_them) or "expected red, green" in json.dumps(all_of_them)


def test_without_a_study_and_without_rankings(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    ada = build_site(survey, tmp_path).researcher()
    board = ada.event("show", Filters("tiny").to_json())[1]
    assert board["sections"][0]["blocks"][0]["text"].startswith("There are no rankings yet")
    assert ada.event("start")[3]["rows"] == []
    empty = Store(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    empty.upgrade()
    nothing = build_site(replace(survey, store=empty), tmp_path).researcher()
    head, *_ = nothing.event("start")
    assert head == {"name": "ada", "study": "", "studies": []}
    assert "No study has been built yet" in json.dumps(nothing.event("show", None))


def test_a_study_that_cannot_be_read_leaves_the_others_alone(small: Site, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "survey.sqlite") as connection:
        connection.execute("INSERT INTO study (name, salt, created_at) VALUES ('broken', 'x', 'x')")
        connection.execute(
            "INSERT INTO version (study_id, number, config_json, sha256, created_at) "
            "SELECT id, 1, '{}', 'x', 'x' FROM study WHERE name = 'broken'"
        )
    ada = small.researcher()
    head, *_ = ada.event("start", query="?study=tiny")
    assert [one["name"] for one in head["studies"]] == ["broken", "tiny"]
    assert not ada.trouble
    ada.event("start", query="?study=broken")
    assert "cannot be read" in str(ada.trouble)
    refused = small.survey.visitor().post(
        "open", {"study": "broken", "participant": "", "language": "en", "preview": False}
    )
    assert refused.status_code == 409
    assert "cannot be read" in refused.json()["error"]
