"""What researchers read and decide: frames of rankings and participants, counts, exclusions, the audit."""

import json
import math
import statistics
from collections.abc import Mapping
from typing import Any

import pandas as pd
from sqlalchemy import Connection, RowMapping, Select, and_, func, insert, select

from db import statements
from db.answers import Answers
from db.models import (
    Audit,
    Background,
    Consent,
    Criterion,
    Direction,
    Exclusion,
    Participant,
    Piece,
    PlaybackEvent,
    RankItem,
    Response,
    Screening,
    Session,
    Slot,
    Study,
    System,
    Trial,
    TrialItem,
    Version,
)
from db.records import AuditRecord, Decision, Details, StoreError
from db.sessions import hash_external

RANKING_TYPES = {
    "participant": "str",
    "session": "str",
    "version": "int64",
    "trial": "str",
    "piece": "str",
    "direction": "str",
    "criterion": "str",
    "system": "str",
    "rank": "int64",
    "k": "int64",
    "position": "int64",
    "order": "int64",
    "answered_at": "str",
    "excluded": "bool",
    "late": "bool",
    "experience": "str",
    "device": "str",
    "headphones": "str",
}
PARTICIPANT_TYPES = {
    "participant": "str",
    "session": "str",
    "version": "int64",
    "mode": "str",
    "status": "str",
    "slot": "Int64",
    "late": "bool",
    "language": "str",
    "created_at": "str",
    "completed_at": "str",
    "background": "object",
    "screening": "object",
    "decided": "bool",
    "excluded": "bool",
    "reason": "str",
    "author": "str",
    "answers": "int64",
    "median_trial_s": "float64",
}


class Reports(Answers):
    """The part of the store that researchers use."""

    def rankings(self, study: str, *, version: int | None = None, live_only: bool = True) -> pd.DataFrame:
        """All current rankings but those of practice, one row per ranked item, in the order they were answered.

        Parameters
        ----------
        version : number of the only version wanted
        live_only : leave previews out

        Returns
        -------
        DataFrame
            With the columns of `RANKING_TYPES`; `rank` 1 is the best of `k`, `position` 0 the letter A, `order` the
            trial's place in its session; `experience` and `device` are answers to the background questions of these
            keys, and `headphones` is what the check said; "" where there is none.
        """
        statement = (
            select(
                Participant.public.label("participant"),
                Session.public.label("session"),
                Version.number.label("version"),
                Trial.public.label("trial"),
                Piece.key.label("piece"),
                Direction.key.label("direction"),
                Criterion.key.label("criterion"),
                System.key.label("system"),
                RankItem.rank,
                func.count(RankItem.item_id).over(partition_by=RankItem.response_id).label("k"),
                TrialItem.position,
                Trial.number.label("order"),
                Response.created_at.label("answered_at"),
                Session.late,
                Session.id.label("session_id"),
            )
            .join(Response, Response.id == RankItem.response_id)
            .join(TrialItem, TrialItem.id == RankItem.item_id)
            .join(Trial, Trial.id == Response.trial_id)
            .join(Criterion, Criterion.id == Response.criterion_id)
            .join(Session, Session.id == Response.session_id)
            .join(Participant, Participant.id == Session.participant_id)
            .join(Version, Version.id == Session.version_id)
            .join(Study, Study.id == Session.study_id)
            .join(Piece, Piece.id == Trial.piece_id)
            .join(Direction, Direction.id == Trial.direction_id)
            .join(System, System.id == TrialItem.system_id)
            .where(Study.name == study, Response.is_current, Trial.number > 0)
            .order_by(Response.id, RankItem.rank)
        )
        if live_only:
            statement = statement.where(Session.mode == "live")
        if version is not None:
            statement = statement.where(Version.number == version)
        with self.reading() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
            excluded = _latest(connection, study, Exclusion)
            background = _latest(connection, study, Background)
            screening = _latest(connection, study, Screening)
        for row in rows:
            session = row.pop("session_id")
            said = json.loads(background[session]["answers_json"]) if session in background else {}
            row["excluded"] = session in excluded and bool(excluded[session]["excluded"])
            row["experience"] = str(said.get("experience", ""))
            row["device"] = str(said.get("device", ""))
            row["headphones"] = screening[session]["headphones"] if session in screening else ""
        return _frame(rows, RANKING_TYPES)

    def participants(self, study: str) -> pd.DataFrame:
        """One row per session, previews too, in the order they were opened.

        Returns
        -------
        DataFrame
            With the columns of `PARTICIPANT_TYPES`; `status` is open, complete, or abandoned where nothing was heard of
            the participant for the length of the lease, unless everything was ranked by then; `slot` is missing in a
            preview; `background` and `screening` are dicts, empty before they were answered; `decided` says that the
            session was excluded, be it counted in again since; `reason` and `author` are those of the exclusion;
            `answers` counts all revisions of its rankings; `median_trial_s` is the median over the trials answered in
            full, of two their mean, of the time on all screens of a trial, missing where there is none.
        """
        statement = (
            select(
                Session.id,
                Participant.public.label("participant"),
                Session.public.label("session"),
                Version.number.label("version"),
                Session.mode,
                Session.status,
                Slot.number.label("slot"),
                Session.late,
                Session.language,
                Session.created_at,
                func.coalesce(Session.completed_at, "").label("completed_at"),
                Session.leased_until,
                statements.UNRANKED.label("unranked"),
                select(func.max(Response.created_at))
                .where(Response.session_id == Session.id)
                .scalar_subquery()
                .label("answered_at"),
            )
            .join(Participant, Participant.id == Session.participant_id)
            .join(Version, Version.id == Session.version_id)
            .join(Study, Study.id == Session.study_id)
            .outerjoin(Slot, Slot.id == Session.slot_id)
            .where(Study.name == study)
            .order_by(Session.id)
        )
        with self.reading() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
            excluded = _latest(connection, study, Exclusion)
            background = _latest(connection, study, Background)
            screening = _latest(connection, study, Screening)
            answers = _answers(connection, study)
            times_s = _trial_times_s(connection, study)
        now = self.instant()
        for row in rows:
            session, answered_at = row.pop("id"), row.pop("answered_at")
            row["status"] = _status(row.pop("leased_until"), row.pop("unranked"), row["status"], now)
            if row["status"] == "complete":
                row["completed_at"] = row["completed_at"] or answered_at
            said, heard, out = (latest.get(session) for latest in (background, screening, excluded))
            row["background"] = json.loads(said["answers_json"]) if said else {}
            row["screening"] = _screening(heard) if heard else {}
            row["decided"] = out is not None
            row["excluded"] = bool(out and out["excluded"])
            row["reason"] = out["reason"] if out and out["excluded"] else ""
            row["author"] = out["author"] if out and out["excluded"] else ""
            row["answers"] = answers.get(session, 0)
            row["median_trial_s"] = statistics.median(times_s[session]) if session in times_s else math.nan
        return _frame(rows, PARTICIPANT_TYPES)

    def funnel(self, study: str) -> dict[str, int]:
        """How many live sessions have come how far."""
        with self.reading() as connection:
            unranked = statements.UNRANKED.label("unranked")
            facts = (Session.id, Session.status, Session.version_id, Session.leased_until, unranked)
            live = select(*facts).join(Study, Study.id == Session.study_id)
            sessions = connection.execute(live.where(Study.name == study, Session.mode == "live")).all()
            there = {
                table: set(connection.execute(_of(select(table.session_id), table.session_id, study)).scalars())
                for table in (Consent, Background, Screening)
            }
            counts: dict[tuple[int, int], int] = {}
            ranked = (
                select(Trial.session_id, Trial.number, func.count(Response.id).label("answers"))
                .outerjoin(Response, and_(Response.trial_id == Trial.id, Response.is_current))
                .where(Trial.number < 2)
            )
            for row in connection.execute(_of(ranked, Trial.session_id, study, Trial.number)):
                counts[row.session_id, row.number] = row.answers
            criteria = {
                version: len(self.parts(connection, version).criteria)
                for version in {session.version_id for session in sessions}
            }
        now = self.instant()
        steps = {
            "opened": lambda session: True,
            "consented": lambda session: session.id in there[Consent],
            "background": lambda session: session.id in there[Background],
            "sound": lambda session: session.id in there[Screening],
            # Without a practice trial it is passed along with the sound.
            "practice": lambda session: counts.get((session.id, 0), session.id in there[Screening]) >= 1,
            "first trial": lambda session: counts.get((session.id, 1), 0) == criteria[session.version_id],
            "complete": lambda of: _status(of.leased_until, of.unranked, of.status, now) == "complete",
        }
        return {name: sum(map(passed, sessions)) for name, passed in steps.items()}

    def details(self, session: str) -> Details:
        """What is known of one session beside the frames."""
        decided = select(Exclusion.excluded, Exclusion.reason, Exclusion.author, Exclusion.created_at)
        answered = (
            select(Trial.public, Criterion.key, Response.elapsed_ms, Response.revision)
            .join(Trial, Trial.id == Response.trial_id)
            .join(Criterion, Criterion.id == Response.criterion_id)
        )
        with self.reading() as connection:
            known = select(Session.id).where(Session.public == session).scalar_subquery()
            decisions = connection.execute(decided.where(Exclusion.session_id == known).order_by(Exclusion.id))
            answers = connection.execute(answered.where(Response.session_id == known, Response.is_current))
            played = connection.execute(select(func.count(PlaybackEvent.id)).where(PlaybackEvent.session_id == known))
            return Details(
                decisions=tuple(Decision(**row) for row in decisions.mappings()),
                times={(row.public, row.key): (row.elapsed_ms, row.revision) for row in answers},
                events=played.scalar_one(),
            )

    def session_of(self, study: str, external: str) -> str | None:
        """The session of the participant who came with this id, a live one before a preview; None where nobody did."""
        with self.reading() as connection:
            salt = connection.execute(select(Study.salt).where(Study.name == study)).scalar()
            statement = (
                select(Session.public)
                .join(Participant, Participant.id == Session.participant_id)
                .join(Study, Study.id == Session.study_id)
                .where(Study.name == study, Participant.external_hash == hash_external(salt or "", external))
                .order_by(Session.mode)
            )
            return connection.execute(statement).scalar()

    def exclude(self, session: str, *, reason: str, author: str) -> None:
        """Leave a session out of the results; nothing of it is deleted.

        Raises
        ------
        StoreError
            There is no such session, or no reason.
        """
        self._decide(session, excluded=True, reason=reason, author=author)

    def exclude_undecided(self, reasons: Mapping[str, str], *, author: str) -> None:
        """Leave sessions out by their reasons, all at once, but for those that somebody has decided on."""
        with self.writing() as connection:
            decided = select(Session.public).join(Exclusion, Exclusion.session_id == Session.id)
            done = set(connection.execute(decided).scalars())
            for session, reason in reasons.items():
                if session not in done:
                    self._sign(connection, session, excluded=True, reason=reason, author=author)

    def include(self, session: str, *, reason: str, author: str) -> None:
        """Take a session that was left out in again; raises StoreError as `exclude` does."""
        self._decide(session, excluded=False, reason=reason, author=author)

    def _decide(self, session: str, *, excluded: bool, reason: str, author: str) -> None:
        with self.writing() as connection:
            self._sign(connection, session, excluded=excluded, reason=reason, author=author)

    def _sign(self, connection: Connection, session: str, *, excluded: bool, reason: str, author: str) -> None:
        if not reason.strip() or not author.strip():
            raise StoreError("An exclusion needs a reason and an author.")
        known = connection.execute(select(Session.id, Session.study_id).where(Session.public == session)).first()
        if known is None:
            raise StoreError(f"There is no session {session!r}.")
        values = {
            "session_id": known.id,
            "created_at": self.instant(),
            "excluded": excluded,
            "reason": reason.strip(),
            "author": author.strip(),
        }
        connection.execute(insert(Exclusion).values(values))
        detail = f"{session}: {reason.strip()}"
        self._note(connection, author, "exclude" if excluded else "include", detail, known.study_id)

    def audit(self, actor: str, action: str, detail: str, *, study: str = "") -> None:
        """Keep what somebody did, to the study with a name where it was to one."""
        with self.writing() as connection:
            number = connection.execute(select(Study.id).where(Study.name == study)).scalar()
            self._note(connection, actor, action, detail, number)

    def audits(self, *, most: int = 1000) -> tuple[AuditRecord, ...]:
        """What was done, the latest first."""
        statement = select(Audit.created_at, Audit.actor, Audit.action, Audit.detail).order_by(Audit.id.desc())
        with self.reading() as connection:
            return tuple(AuditRecord(**row) for row in connection.execute(statement.limit(most)).mappings())

    def _note(self, connection: Connection, actor: str, action: str, detail: str, study: int | None) -> None:
        values = {
            "created_at": self.instant(),
            "actor": actor[:64],
            "action": action[:64],
            "detail": detail,
            "study_id": study,
        }
        connection.execute(insert(Audit).values(values))


def _status(leased_until: str, unranked: bool, status: str, now: str) -> str:
    """How a session stands: one whose lease has run out is not going on, and is through where everything is ranked."""
    if status != "open" or leased_until >= now:
        return status
    return "abandoned" if unranked else "complete"


def _of(statement: Select[*tuple[Any, ...]], session: Any, study: str, *groups: Any) -> Select[*tuple[Any, ...]]:
    """A statement about one study's sessions, grouped by session and more where it counts."""
    statement = statement.join(Session, Session.id == session).join(Study, Study.id == Session.study_id)
    statement = statement.where(Study.name == study)
    return statement.group_by(session, *groups)


def _latest(
    connection: Connection, study: str, table: type[Exclusion | Background | Screening]
) -> dict[int, RowMapping]:
    """The latest row of a table by session."""
    last = _of(select(func.max(table.id)), table.session_id, study)
    rows = connection.execute(select(*table.__table__.columns).where(table.id.in_(last))).mappings()
    return {row["session_id"]: row for row in rows}


def _answers(connection: Connection, study: str) -> dict[int, int]:
    statement = select(Trial.session_id, func.count(Response.id).label("answers"))
    statement = statement.join(Response, Response.trial_id == Trial.id).where(Trial.number > 0)
    return {row.session_id: row.answers for row in connection.execute(_of(statement, Trial.session_id, study))}


def _trial_times_s(connection: Connection, study: str) -> dict[int, list[float]]:
    """The times of the trials that a session has answered in full, each over all its screens."""
    asked = select(func.count(Criterion.id)).where(Criterion.version_id == Trial.version_id).scalar_subquery()
    statement = (
        select(Trial.session_id, func.sum(Response.elapsed_ms).label("elapsed_ms"))
        .join(Response, and_(Response.trial_id == Trial.id, Response.is_current))
        .where(Trial.number > 0)
        .having(func.count(Response.id) == asked)
    )
    times: dict[int, list[float]] = {}
    for row in connection.execute(_of(statement, Trial.session_id, study, Trial.id, Trial.version_id)):
        times.setdefault(row.session_id, []).append(float(row.elapsed_ms) / 1000)
    return times


def _screening(row: RowMapping) -> dict[str, Any]:
    return {"volume": row["volume"], "headphones": row["headphones"], "answers": json.loads(row["answers_json"])}


def _frame(rows: list[dict[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    """A frame with the same columns and types whether or not there are rows."""
    return pd.DataFrame(rows, columns=list(types)).astype(types)
