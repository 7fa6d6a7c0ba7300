"""The store on SQLite and on PostgreSQL: migrations, versions, frames, exclusions, and moving a study."""

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy.exc import IntegrityError

from db.models import metadata
from db.records import Export, NotSaved, StoreError
from db.reports import PARTICIPANT_TYPES, RANKING_TYPES
from db.store import Store
from survey.session import SurveyDesk
from tests import postgres
from tests.survey_study import SYSTEMS, Tiny, Visitor, add_version, new_version, tiny, tiny_study

OLD = Path(__file__).parent / "data" / "survey_0001.sql"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def survey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tiny]:
    url = request.getfixturevalue("server").database() if request.param == "postgresql" else ""
    made = tiny(tmp_path, url=url)
    yield made
    made.store.close()


def counts(store: Store) -> dict[str, int]:
    with store.reading() as connection:
        return {
            name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in metadata.tables
        }


def test_the_migrations_make_what_the_models_say(survey: Tiny) -> None:
    assert survey.store.differences() == []
    before = counts(survey.store)
    survey.store.upgrade()
    assert counts(survey.store) == before


def test_a_difference_between_models_and_database_is_found(survey: Tiny) -> None:
    with survey.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE audit ADD COLUMN mood TEXT")
        connection.exec_driver_sql("DROP INDEX uq_playback_event")
    found = str(survey.store.differences())
    assert "mood" in found
    assert "uq_playback_event" in found


def test_an_old_file_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    connection.close()
    store = Store(f"sqlite:///{path}")
    store.upgrade("0002")
    old_audit = (
        ("export", "old as .zip", 1),
        ("export", "old: rankings.csv", 1),
        ("simulate", "2 participants of old: a 1", 1),
        ("import", "old", 1),
        ("exclude", "s_d14ec40be5971bff: no", 1),
        ("find", "older: nobody", None),
        ("login", "old", None),
    )
    with store.writing() as writer:
        for action, detail, _ in old_audit:
            row = ("x", "ada", action, detail)
            writer.exec_driver_sql("INSERT INTO audit (created_at, actor, action, detail) VALUES (?, ?, ?, ?)", row)
        writer.exec_driver_sql(
            "INSERT INTO playback_event (session_id, trial_id, item_id, kind, at_ms, position_s, created_at) "
            "SELECT session_id, trial_id, item_id, kind, at_ms, position_s, 'later' FROM playback_event"
        )
    before = counts(store) | {"playback_event": 8}
    assert "trigger" not in OLD.read_text(encoding="utf-8").lower()
    store.upgrade()
    assert store.differences() == []
    assert counts(store) == before
    assert before["response"] == 4
    with store.reading() as reader:
        studies = reader.exec_driver_sql("SELECT study_id FROM audit ORDER BY id").scalars().all()
    assert studies == [study for *_, study in old_audit]
    rankings = store.rankings("old")
    assert len(rankings) == 6
    reversed_style = rankings[rankings.criterion == "style"].sort_values("position")
    assert list(reversed_style["rank"]) == [3, 2, 1]
    for table in ("response", "playback_event"):
        with pytest.raises(IntegrityError, match="never deleted"), store.writing() as writer:
            writer.exec_driver_sql(f"DELETE FROM {table}")
    with pytest.raises(IntegrityError, match="never changed"), store.writing() as writer:
        writer.exec_driver_sql("UPDATE audit SET study_id = NULL")
    # The session that was under way goes on: what was left is asked, and an end comes of it.
    visitor = Tiny(store, SurveyDesk(store, tmp_path), tiny_study(), store.versions("old")[0]).visitor()
    visitor.open("OLD-1", study="old")
    assert [trial["answered"] for trial in visitor.state["trials"]][1:] == [
        {"content": True, "style": True},
        {"content": False, "style": False},
    ]
    last = visitor.state["trials"][2]
    visitor.hear(last)
    for criterion in last["criteria"]:
        visitor.done("answers", visitor.body(last, criterion))
    assert visitor.finish()["code"] == "DONE"
    store.close()


def test_the_same_study_is_the_same_version_and_writes_nothing(survey: Tiny) -> None:
    before = counts(survey.store)
    again = add_version(survey.store, survey.study, survey.desk.media)
    assert again == survey.version
    assert counts(survey.store) == before
    other = add_version(survey.store, tiny_study(seed=8), survey.desk.media)
    assert (other.number, other.study) == (2, "tiny")
    assert survey.store.latest("tiny") == other
    assert survey.store.find_version("tiny", survey.version.config_json) == survey.version
    assert survey.store.find_version("tiny", "{}") is None
    assert survey.store.latest("none") is None
    assert survey.store.studies() == ("tiny",)
    assert [version.number for version in survey.store.versions("tiny")] == [1, 2]


def test_what_was_stored_of_a_version_is_read_back(survey: Tiny) -> None:
    stimuli = survey.store.stimuli(survey.version.id)
    assert {(one.piece, one.direction, one.system, one.sha256) for one in stimuli} == {
        (one.piece, one.direction, one.system, one.sha256) for one in survey.study.stimuli
    }
    assert len({one.media for one in stimuli}) == len(stimuli) == 36
    slots = survey.store.slots(survey.version.id)
    assert [slot.number for slot in slots] == list(range(6))
    assert all(sorted(trial.order) == sorted(SYSTEMS) for slot in slots for trial in slot.trials)


def test_a_version_that_does_not_fit_together_is_refused_whole(survey: Tiny, tmp_path: Path) -> None:
    whole = new_version(tiny_study("other"), tmp_path / "media")
    slot = whole.slots[0]
    trial = dataclasses.replace(slot.trials[0], order=(*SYSTEMS[:2], SYSTEMS[0]))
    before = counts(survey.store)
    wrong: dict[str, dict[str, Any]] = {
        "of no direction or system": {"systems": whole.systems[:2]},
        "there twice": {"stimuli": (*whole.stimuli, whole.stimuli[0])},
        "at least one design slot": {"slots": ()},
        "does not order each system once": {"slots": (dataclasses.replace(slot, trials=(trial,)),)},
        "has no stimulus of gold": {"stimuli": tuple(one for one in whole.stimuli if one.system != "gold")},
    }
    for said, changes in wrong.items():
        with pytest.raises(StoreError, match=said):
            survey.store.add_version(dataclasses.replace(whole, **changes))
    assert counts(survey.store) == before
    survey.store.add_version(whole)
    assert survey.store.studies() == ("other", "tiny")


def fill(survey: Tiny) -> list[Visitor]:
    """One who is through, one who has answered the practice and half a trial, one who looks, and a preview."""
    through = survey.visitor().open("through").prepare().rank_all()
    through.finish()
    half = survey.visitor().open("half").prepare()
    for trial in half.state["trials"][:2]:
        half.hear(trial)
        half.done("answers", half.body(trial, "content"))
    draft = {"trial": half.state["trials"][1]["id"], "criterion": "style", "ranks": {}, "sequence": 3}
    half.done("draft", draft)
    looks = survey.visitor().open("looks")
    preview = survey.visitor().open("tries", preview=True).prepare().rank_all()
    return [through, half, looks, preview]


def test_the_frame_of_rankings(survey: Tiny) -> None:
    empty = survey.store.rankings("tiny")
    assert list(empty.columns) == list(RANKING_TYPES)
    through = fill(survey)[0]
    frame = survey.store.rankings("tiny")
    assert dict(frame.dtypes.astype(str)) == dict(empty.dtypes.astype(str)) == RANKING_TYPES
    # Four rankings of the one who is through and one of the other, three systems each; neither practice nor preview.
    assert len(frame) == 15
    assert len(survey.store.rankings("tiny", live_only=False)) == 27
    assert frame.session.nunique() == 2
    assert set(frame.k) == {3}
    assert (frame.groupby(["trial", "criterion"])["rank"].agg(["min", "max", "nunique"]) == [1, 3, 3]).all(axis=None)
    # They ranked by the letters, so rank and position tell the same.
    assert (frame["rank"] == frame.position + 1).all()
    mine = frame[frame.trial == through.state["trials"][1]["id"]]
    assert (set(mine.order), set(mine.experience), set(mine.headphones), set(mine.device)) == (
        {1},
        {"long"},
        {"pass"},
        {""},
    )
    slot = survey.store.slots(survey.version.id)[0]
    by_letter = mine[mine.criterion == "style"].sort_values("position")
    assert tuple(by_letter.system) == slot.trials[0].order
    assert set(zip(mine.piece, mine.direction, strict=True)) == {(slot.trials[0].piece, slot.trials[0].direction)}
    assert not frame.excluded.any()
    assert not frame.late.any()
    assert len(survey.store.rankings("tiny", version=1)) == 15
    assert survey.store.rankings("tiny", version=2).empty
    assert survey.store.rankings("none").empty


def test_only_the_current_revision_is_read_and_none_is_lost(survey: Tiny) -> None:
    visitor = fill(survey)[1]
    trial = visitor.state["trials"][1]
    receipt = visitor.done("answers", visitor.body(trial, "content", [c["item"] for c in reversed(trial["clips"])]))
    assert receipt["revision"] == 2
    frame = survey.store.rankings("tiny")
    mine = frame[frame.trial == trial["id"]].sort_values("position")
    assert list(mine["rank"]) == [3, 2, 1]
    kept = survey.store.history("tiny").tables
    responses = [row for row in kept["response"] if row["revision"] == 2 or row["is_current"] is False]
    assert [row["is_current"] for row in responses] == [False, True]
    assert sum(row["response_id"] in {one["id"] for one in responses} for row in kept["rank_item"]) == 6


def test_the_frame_of_participants_and_the_funnel(survey: Tiny) -> None:
    assert dict(survey.store.participants("tiny").dtypes.astype(str)) == PARTICIPANT_TYPES
    assert survey.store.funnel("tiny") == dict.fromkeys(
        ("opened", "consented", "background", "sound", "practice", "first trial", "complete"), 0
    )
    fill(survey)
    frame = survey.store.participants("tiny")
    assert dict(frame.dtypes.astype(str)) == PARTICIPANT_TYPES
    assert list(frame["mode"]) == ["live", "live", "live", "preview"]
    assert list(frame.status) == ["complete", "open", "open", "open"]
    assert list(frame.slot)[:3] == [0, 1, 2]
    assert pd.isna(frame.slot[3])
    assert frame.background[0] == {"experience": "long", "age": 30}
    assert frame.screening[0] == {"volume": 0.5, "headphones": "pass", "answers": [1, 2, 3]}
    assert (frame.background[2], frame.screening[2]) == ({}, {})
    # Two criteria of four seconds each make eight seconds a trial; one that is answered in part has no time yet.
    assert frame.median_trial_s[0] == 8.0
    assert frame.median_trial_s[1:3].isna().all()
    assert list(frame.answers) == [4, 1, 0, 4]
    assert [survey.store.details(session).events for session in frame.session] == [12, 8, 0, 12]
    assert not frame.participant.str.contains("through|half|looks|tries").any()
    assert survey.store.funnel("tiny") == {
        "opened": 3,
        "consented": 2,
        "background": 2,
        "sound": 2,
        "practice": 2,
        "first trial": 1,
        "complete": 1,
    }


def test_an_exclusion_is_a_decision_that_can_be_taken_back_and_is_never_lost(survey: Tiny) -> None:
    fill(survey)
    session = survey.store.participants("tiny").session[0]
    survey.store.exclude(session, reason="Asked us to.", author="ada")
    row = survey.store.participants("tiny").iloc[0]
    assert (row.excluded, row.reason, row.author) == (True, "Asked us to.", "ada")
    frame = survey.store.rankings("tiny")
    assert set(frame[frame.excluded].session) == {session}
    assert len(frame) == 15
    survey.store.include(session, reason="Changed their mind.", author="bea")
    row = survey.store.participants("tiny").iloc[0]
    assert (row.excluded, row.reason, row.author) == (False, "", "")
    kept = survey.store.history("tiny").tables["exclusion"]
    assert [(one["excluded"], one["author"]) for one in kept] == [(True, "ada"), (False, "bea")]
    assert [(one.actor, one.action) for one in survey.store.audits()] == [("bea", "include"), ("ada", "exclude")]
    survey.store.audit("cyd", "export", "tiny as CSV")
    assert survey.store.audits(most=1)[0].detail == "tiny as CSV"
    for session_id, reason, author in (("s_none", "x", "ada"), (session, " ", "ada"), (session, "x", "")):
        with pytest.raises(StoreError):
            survey.store.exclude(session_id, reason=reason, author=author)


def test_a_study_moves_to_another_database_and_goes_on_there(
    survey: Tiny, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    half = fill(survey)[1]
    survey.store.exclude(survey.store.participants("tiny").session[0], reason="A test.", author="ada")
    export = survey.store.history("tiny")
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    if survey.store.is_sqlite and not postgres.missing():
        url = request.getfixturevalue("server").database()
    moved = Tiny(Store(url), SurveyDesk(Store(url), survey.desk.media), survey.study, survey.version)
    moved.store.upgrade()
    told = moved.store.restore(export)
    assert told == {name: len(rows) for name, rows in export.tables.items()}
    assert moved.store.history("tiny") == export
    pd.testing.assert_frame_equal(moved.store.rankings("tiny"), survey.store.rankings("tiny"))
    pd.testing.assert_frame_equal(moved.store.participants("tiny"), survey.store.participants("tiny"))
    # The one who was under way goes on with the same link, in the same order, with the draft.
    there = moved.visitor().open("half")
    assert there.state["trials"] == half.client.get("/survey/api/state").json()["trials"]
    assert moved.visitor().open("new").state["generation"] == 0
    with pytest.raises(StoreError, match="here already"):
        moved.store.restore(export)
    for store in (moved.store, moved.desk.store):
        store.close()


def test_studies_move_beside_others(survey: Tiny, tmp_path: Path) -> None:
    fill(survey)
    other = tiny(tmp_path / "other", study=tiny_study("second", seed=3))
    other.visitor().open("x", study="second").prepare().rank_all()
    survey.store.restore(other.store.history("second"))
    expected = other.store.rankings("second")
    pd.testing.assert_frame_equal(survey.store.rankings("second"), expected)
    assert len(survey.store.rankings("tiny")) == 15
    other.store.close()


def test_an_export_that_does_not_fit_is_refused_whole(survey: Tiny, tmp_path: Path) -> None:
    fill(survey)
    export = survey.store.history("tiny")
    other = Store(f"sqlite:///{tmp_path / 'new.sqlite'}")
    other.upgrade()

    def without(name: str, place: int) -> Export:
        rows = export.tables[name]
        return Export("tiny", {**export.tables, name: (*rows[:place], *rows[place + 1 :])})

    def changed(name: str, **values: Any) -> Export:
        first, *rest = export.tables[name]
        return Export("tiny", {**export.tables, name: ({**first, **values}, *rest)})

    for wrong, said in (
        (Export("tiny", {**export.tables, "secrets": ()}), "no such table"),
        (Export("other", export.tables), "not the one study"),
        (changed("rank_item", rank=True), "rank is True"),
        (changed("rank_item", rank=2), "rank_item: a row breaks a rule"),
        (changed("stimulus", media="../../etc/passwd"), "media is"),
        (changed("session", public=None), "public is None"),
        (changed("session", mood="good"), "expected the columns"),
        (changed("response", receipt_json="{"), "receipt_json is"),
        (without("rank_item", 0), "full ranking"),
        (without("trial_item", 0), "a row breaks a rule"),
    ):
        with pytest.raises(StoreError, match=said):
            other.restore(wrong)
        assert set(counts(other).values()) == {0}
    with pytest.raises(StoreError, match="no study"):
        other.history("tiny")
    other.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "is a file"),
        ("sqlite:///:memory:", "is a file"),
        ("survey.sqlite", "no address"),
        ("mysql://localhost/survey", "not mysql"),
    ],
)
def test_an_address_that_is_of_no_database_is_a_sentence(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Store(url)


def test_any_name_of_postgresql_is_understood() -> None:
    for url in ("postgres://ada@/survey", "postgresql://ada@/survey", "postgresql+psycopg://ada@/survey"):
        assert Store(url).url.drivername == "postgresql+psycopg"


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("This is not a database. " * 100)
    for path in ("text.sqlite", "missing/survey.sqlite", "."):
        store = Store(f"sqlite:///{tmp_path / path}")
        with pytest.raises(NotSaved):
            store.studies()
        with pytest.raises(NotSaved):
            store.audit("ada", "look", "at nothing")


def test_a_database_of_a_newer_studio_is_left_alone(survey: Tiny) -> None:
    with survey.store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = counts(survey.store)
    with pytest.raises(StoreError, match="does not fit"):
        survey.store.upgrade()
    assert counts(survey.store) == before
