"""Sessions: who takes which slot of the design, how far they are, and what comes before the rankings."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, update

from db import statements
from db.models import (
    Background,
    Consent,
    Screening,
    Session,
)
from db.records import (
    DesignSlot,
    Opened,
    Opening,
    PlannedTrial,
    Stale,
    Unfinished,
    UnknownSession,
    UnknownStudy,
)
from db.records import Screening as ScreeningRecord
from db.records import Session as SessionRecord
from db.versions import Parts, Versions, add_slots, read_plan
from db.views import view

MOVED_ON = "This page is no longer up to date. Please reload it."
MOVED_AWAY = "This survey was opened in another place. Reload the page to go on here."
CONSENT_FIRST = "Please give your consent first."


@dataclass(frozen=True)
class Mine:
    """A session that is about to change, locked."""

    id: int
    version_id: int
    generation: int
    status: str
    lease_s: float
    consented: bool


def hash_external(salt: str, external: str) -> str:
    """What is kept of the id a participant comes with."""
    return hmac.new(salt.encode(), external.encode(), hashlib.sha256).hexdigest()


class Sessions(Versions):
    """The part of the store that keeps participants and their sessions."""

    def open_session(
        self,
        opening: Opening,
        version: int,
        *,
        lease_s: float,
        more: Callable[[int], Iterable[DesignSlot]],
    ) -> Opened:
        """Resume somebody's session, or begin one in a free slot, all in one transaction.

        Parameters
        ----------
        version : what a new session takes; one that is resumed stays on its own
        lease_s : after which the slot of somebody who does nothing may go to another
        more : the slots of the design's next block, given how many there are
        """
        with self.writing() as connection:
            study = connection.execute(statements.STUDY, {"study": opening.study}).first()
            if study is None:
                raise UnknownStudy("There is no such study.")
            connection.execute(statements.LOCK_VERSION, {"version": version})
            participant = self._participant(connection, study.id, hash_external(study.salt, opening.external))
            who = {"participant": participant, "mode": opening.mode}
            found = connection.execute(statements.SESSION_OF_PARTICIPANT, who).first()
            if found is None:
                session = self._begin(connection, opening, study.id, participant, version, lease_s, more)
                held = opening.offered
            else:
                session, held = found.id, found.token_hash
                if not hmac.compare_digest(held, opening.held):
                    held = opening.offered
                changes = {
                    "session": session,
                    "token": held,
                    "until": self.instant(found.lease_s),
                    "language": opening.language,
                }
                connection.execute(statements.RESUME, changes)
            return Opened(view(connection, self.parts, session), held)

    def _participant(self, connection: Connection, study: int, external_hash: str) -> int:
        who = {"study": study, "external": external_hash}
        known: int | None = connection.execute(statements.PARTICIPANT, who).scalar()
        if known is not None:
            return known
        values = {
            "public": f"p_{secrets.token_hex(8)}",
            "study_id": study,
            "external_hash": external_hash,
            "created_at": self.instant(),
        }
        return connection.execute(statements.NEW_PARTICIPANT, values).scalar_one()

    def _begin(
        self,
        connection: Connection,
        opening: Opening,
        study: int,
        participant: int,
        version: int,
        lease_s: float,
        more: Callable[[int], Iterable[DesignSlot]],
    ) -> int:
        if opening.mode == "live":
            slot_id, plan = self._take_slot(connection, version, more)
        else:
            slot_id, plan = None, self._preview_plan(connection, version)
        values = {
            "public": f"s_{secrets.token_hex(8)}",
            "participant_id": participant,
            "study_id": study,
            "version_id": version,
            "slot_id": slot_id,
            "holds_slot": slot_id is not None,
            "lease_s": lease_s,
            "leased_until": self.instant(lease_s),
            "late": False,
            "mode": opening.mode,
            "status": "open",
            "token_hash": opening.offered,
            "generation": 0,
            "language": opening.language or opening.fallback,
            "created_at": self.instant(),
        }
        session = connection.execute(statements.NEW_SESSION, values).scalar_one()
        parts = self.parts(connection, version)
        planned = list(enumerate(plan.trials, 1))
        if plan.practice is not None:
            planned.insert(0, (0, plan.practice))
        for number, trial in planned:
            _add_trial(connection, parts, session, version, number, trial)
        return session

    def _take_slot(
        self, connection: Connection, version: int, more: Callable[[int], Iterable[DesignSlot]]
    ) -> tuple[int, DesignSlot]:
        """The first slot that is free, or whose holder has not been seen for the length of the lease."""
        while True:
            now = self.instant()
            slot = connection.execute(statements.FREE_SLOT, {"version": version, "now": now}).first()
            if slot is None:
                last = connection.execute(statements.LAST_SLOT, {"version": version}).scalar()
                add_slots(connection, version, more(-1 if last is None else last))
            elif slot.holder is None or self._loses_slot(connection, slot.holder, now):
                return slot.id, read_plan(slot.number, slot.plan_json)

    def _loses_slot(self, connection: Connection, holder: int, now: str) -> bool:
        return connection.execute(statements.LOSE_SLOT, {"session": holder, "now": now}).rowcount == 1

    def _preview_plan(self, connection: Connection, version: int) -> DesignSlot:
        """The slots in turn, none of them taken."""
        before = connection.execute(statements.COUNT_PREVIEWS, {"version": version}).scalar_one()
        slots = connection.execute(statements.COUNT_SLOTS, {"version": version}).scalar_one()
        row = connection.execute(statements.SLOT, {"version": version, "place": before % slots}).one()
        return read_plan(row.number, row.plan_json)

    def session(self, token_hash: str) -> SessionRecord:
        """A session by the hash of its token; raises UnknownSession."""
        with self.reading() as connection:
            return view(connection, self.parts, _known(connection, token_hash)[0])

    def config_of(self, token_hash: str) -> str:
        """The configuration of the version that a session is on; raises UnknownSession."""
        with self.reading() as connection:
            return self.parts(connection, _known(connection, token_hash)[1]).config_json

    def may_hear(self, token_hash: str, media: str) -> bool:
        """Whether a file belongs to a trial of the session with this token."""
        with self.reading() as connection:
            return bool(connection.execute(statements.MAY_HEAR, {"token": token_hash, "media": media}).scalar())

    def give_consent(self, token_hash: str, generation: int, *, language: str, text_sha256: str) -> SessionRecord:
        """Keep that the text with this hash was agreed to; a second time changes nothing."""
        with self.writing() as connection:
            session = self._mine(connection, token_hash, generation)
            if not session.consented:
                values = {
                    "session_id": session.id,
                    "created_at": self.instant(),
                    "language": language,
                    "text_sha256": text_sha256,
                }
                connection.execute(insert(Consent).values(values))
                self._move_on(connection, session, language=language)
            return view(connection, self.parts, session.id)

    def give_background(self, token_hash: str, generation: int, answers: Mapping[str, str | int]) -> SessionRecord:
        """Keep the answers to the background questions."""
        values = {"answers_json": json.dumps(dict(answers))}
        return self._say(token_hash, generation, Background, values)

    def give_screening(self, token_hash: str, generation: int, screening: ScreeningRecord) -> SessionRecord:
        """Keep the volume setting and the headphone check."""
        values = {
            "volume": screening.volume,
            "headphones": screening.headphones,
            "answers_json": json.dumps(list(screening.answers)),
        }
        return self._say(token_hash, generation, Screening, values)

    def _say(
        self, token_hash: str, generation: int, table: type[Background | Screening], values: dict[str, Any]
    ) -> SessionRecord:
        with self.writing() as connection:
            session = self._mine(connection, token_hash, generation)
            if not session.consented:
                raise Unfinished(CONSENT_FIRST)
            said = {"session_id": session.id, "created_at": self.instant(), **values}
            connection.execute(insert(table).values(said))
            self._move_on(connection, session)
            return view(connection, self.parts, session.id)

    def finish(self, token_hash: str, generation: int) -> SessionRecord:
        """End a session; one that has ended already stays as it is.

        Raises
        ------
        Unfinished
            Something is unanswered; the message names it.
        """
        with self.writing() as connection:
            session = self._mine(connection, token_hash, None)
            record = view(connection, self.parts, session.id)
            if record.complete:
                return record
            if generation != session.generation:
                raise Stale(MOVED_ON)
            if missing := _missing(record):
                raise Unfinished(f"Still to be answered: {', '.join(missing)}.")
            self._move_on(connection, session, status="complete", completed_at=self.instant())
            return view(connection, self.parts, session.id)

    def _mine(self, connection: Connection, token_hash: str, generation: int | None) -> Mine:
        """The session of a token, locked; raises UnknownSession or Stale."""
        row = connection.execute(statements.MINE, {"token": token_hash}).mappings().first()
        if row is None:
            raise UnknownSession(MOVED_AWAY)
        session = Mine(**row)
        if generation is not None:
            if session.status == "complete":
                raise Stale("This survey has been completed. Please reload the page.")
            if session.generation != generation:
                raise Stale(MOVED_ON)
        return session

    def _move_on(self, connection: Connection, session: Mine, **changes: Any) -> int:
        """Count a change of the session and renew its lease; gives the new generation."""
        generation = session.generation + 1
        values = {"session": session.id, "next": generation, "until": self.instant(session.lease_s)}
        connection.execute(statements.MOVE_ON, values)
        if changes:
            connection.execute(update(Session).where(Session.id == session.id).values(changes))
        return generation

    def _renew(self, connection: Connection, session: Mine) -> None:
        """Renew the lease of a session, of which nothing else changes."""
        connection.execute(statements.RENEW, {"session": session.id, "until": self.instant(session.lease_s)})


def _known(connection: Connection, token_hash: str) -> tuple[int, int]:
    """The ids of a session and its version by the token; raises UnknownSession."""
    row = connection.execute(statements.SESSION_OF_TOKEN, {"token": token_hash}).first()
    if row is None:
        raise UnknownSession(MOVED_AWAY)
    return row.id, row.version_id


def _add_trial(
    connection: Connection, parts: Parts, session: int, version: int, number: int, plan: PlannedTrial
) -> None:
    place = {
        "version_id": version,
        "piece_id": parts.pieces[plan.piece],
        "direction_id": parts.directions[plan.direction],
    }
    values = {
        "public": secrets.token_hex(16),
        "session_id": session,
        "number": number,
        "practice": number == 0,
        **place,
    }
    trial = connection.execute(statements.NEW_TRIAL, values).scalar_one()
    items = []
    for position, key in enumerate(plan.order):
        system = parts.systems[key]
        clip = parts.by_place[place["piece_id"], place["direction_id"], system]
        items.append(
            {
                "public": secrets.token_hex(16),
                "trial_id": trial,
                "system_id": system,
                "stimulus_id": clip.id,
                "position": position,
                **place,
            }
        )
    connection.execute(statements.NEW_ITEMS, items)


def _missing(session: SessionRecord) -> list[str]:
    """What a session still asks for."""
    steps = {
        "the consent": session.consented,
        "the background questions": session.background is not None,
        "the sound check": session.screened,
    }
    for trial in session.trials:
        name = f"trial {trial.number}" if trial.number else "the practice trial"
        steps[name] = trial.answered.issuperset(session.criteria[: 1 if trial.practice else None])
    return [name for name, done in steps.items() if not done]
