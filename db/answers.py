"""Rankings: handed in once however often they are sent, revised without losing what was there, drafts and playing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from db import statements
from db.records import GOLD, Conflict, NewAnswer, Receipt, Refused, Stale, Unfinished
from db.records import Draft as DraftRecord
from db.records import PlaybackEvent as EventRecord
from db.sessions import CONSENT_FIRST, MOVED_ON, Mine, Sessions

# Of what is played this much is kept of one session; that something was heard is always kept.
MAX_EVENTS = 20_000


class Answers(Sessions):
    """The part of the store that keeps rankings, drafts and playback events."""

    def save_draft(self, token_hash: str, trial: str, criterion: str, draft: DraftRecord) -> None:
        """Keep a ranking under way, unless a later one is kept already."""
        with self.writing() as connection:
            session = self._mine(connection, token_hash, None)
            if not session.consented:
                raise Unfinished(CONSENT_FIRST)
            trial_id, criterion_id, items = self._question(connection, session, trial, criterion)
            _check_ranks(draft.ranks, items, whole=False)
            place = {"trial": trial_id, "criterion": criterion_id}
            known = connection.execute(statements.DRAFT_BEFORE, place).scalar()
            ranks, now = json.dumps(dict(draft.ranks)), self.instant()
            if known is None:
                values = {
                    "trial_id": trial_id,
                    "criterion_id": criterion_id,
                    "version_id": session.version_id,
                    "ranks_json": ranks,
                    "sequence": draft.sequence,
                    "updated_at": now,
                }
                connection.execute(statements.NEW_DRAFT, values)
            elif draft.sequence >= known:
                change = {**place, "ranks": ranks, "place": draft.sequence, "now": now}
                connection.execute(statements.CHANGE_DRAFT, change)
            self._renew(connection, session)

    def add_events(self, token_hash: str, events: Sequence[EventRecord]) -> int:
        """Keep what was played, all or nothing; gives how many are kept.

        An event that is kept already is passed over, and so is what was heard before.
        """
        with self.writing() as connection:
            session = self._mine(connection, token_hash, None)
            if not session.consented:
                raise Unfinished(CONSENT_FIRST)
            trials = self._trials_with_items(connection, session.id)
            heard = self._heard(connection, session.id)
            room = MAX_EVENTS - connection.execute(statements.COUNT_EVENTS, {"session": session.id}).scalar_one()
            rows: list[dict[str, Any]] = []
            now = self.instant()
            for place, event in enumerate(events):
                if event.trial not in trials:
                    raise Refused("This trial is not one of yours.", f"events.{place}.trial")
                trial_id, items = trials[event.trial]
                item_id = items.get(event.item)
                if item_id is None and event.item not in ("", GOLD):
                    raise Refused("This recording is not one of this trial.", f"events.{place}.item")
                if event.kind == "heard":
                    if event.item == "" or (trial_id, item_id) in heard:
                        continue
                    heard.add((trial_id, item_id))
                elif room <= 0:
                    continue
                room -= 1
                rows.append(
                    {
                        "session_id": session.id,
                        "trial_id": trial_id,
                        "item_id": item_id,
                        "kind": event.kind,
                        "at_ms": event.at_ms,
                        "position_s": event.position_s,
                        "created_at": now,
                    }
                )
            if not rows:
                return 0
            kept = connection.execute(statements.NEW_EVENTS[connection.dialect.name], rows).rowcount
            self._renew(connection, session)
        return kept

    def answer(self, token_hash: str, new: NewAnswer) -> Receipt:
        """Keep a ranking; it is on the disk when the receipt comes.

        Raises
        ------
        UnknownSession
            The token is of no session.
        Conflict
            The same submission was sent with something else in it.
        Stale
            The session has moved on, or has ended.
        Unfinished
            There is no consent yet.
        Refused
            The ranking breaks a rule; `field` names what does.
        """
        digest = _digest(new)
        with self.writing() as connection:
            session = self._mine(connection, token_hash, None)
            sent = {"session": session.id, "submission": new.submission}
            if (known := connection.execute(statements.SENT_BEFORE, sent).first()) is not None:
                if known.digest != digest:
                    raise Conflict("This answer was sent before with something else in it.")
                return Receipt(**json.loads(known.receipt_json))
            if session.status == "complete":
                raise Stale("This survey has been completed. Please reload the page.")
            if session.generation != new.generation:
                raise Stale(MOVED_ON)
            if not session.consented:
                raise Unfinished(CONSENT_FIRST)
            trial, criterion, items = self._question(connection, session, new.trial, new.criterion)
            _check_ranks(new.ranks, items, whole=True)
            heard = {item for heard_in, item in self._heard(connection, session.id) if heard_in == trial}
            for item, identity in items.items():
                if identity not in heard:
                    raise Refused("Every recording has to be heard before it is ranked.", f"ranks.{item}")
            return self._keep(connection, session, new, digest, (trial, criterion), items)

    def _keep(
        self,
        connection: Connection,
        session: Mine,
        new: NewAnswer,
        digest: str,
        place: tuple[int, int],
        items: Mapping[str, int],
    ) -> Receipt:
        trial, criterion = place
        here = {"trial": trial, "criterion": criterion}
        facts = connection.execute(statements.PROGRESS, {"session": session.id, **here}).one()
        revision = facts.last + 1
        criteria = len(self.parts(connection, session.version_id).criteria)
        # The practice trial, number 0, asks one question only.
        asked = facts.trials * criteria if facts.first else (facts.trials - 1) * criteria + 1
        receipt = Receipt(
            submission=new.submission,
            revision=revision,
            generation=self._move_on(connection, session),
            complete=facts.answered + (revision == 1) == asked,
        )
        values = {
            "session_id": session.id,
            "trial_id": trial,
            "version_id": session.version_id,
            "criterion_id": criterion,
            "revision": revision,
            "is_current": False,
            "submission": new.submission,
            "digest": digest,
            "receipt_json": json.dumps(receipt.__dict__),
            "elapsed_ms": new.elapsed_ms,
            "created_at": self.instant(),
        }
        response = connection.execute(statements.NEW_RESPONSE, values).scalar_one()
        ranks = [
            {"response_id": response, "trial_id": trial, "item_id": items[item], "rank": rank}
            for item, rank in new.ranks.items()
        ]
        connection.execute(statements.NEW_RANKS, ranks)
        if revision > 1:
            connection.execute(statements.RETIRE, here)
        connection.execute(statements.MAKE_CURRENT, {"response": response})
        return receipt

    def _question(
        self, connection: Connection, session: Mine, trial: str, criterion: str
    ) -> tuple[int, int, dict[str, int]]:
        """The ids of a session's trial, of the criterion it is ranked by, and of its items."""
        rows = connection.execute(statements.QUESTION, {"session": session.id, "trial": trial}).all()
        if not rows:
            raise Refused("This trial is not one of yours.", "trial")
        criteria = self.parts(connection, session.version_id).criteria
        asked = list(criteria)[:1] if rows[0].practice else list(criteria)
        if criterion not in asked:
            raise Refused(f"This trial is ranked by {', '.join(asked)}.", "criterion")
        return rows[0].id, criteria[criterion], {row.public: row.item for row in rows}

    def _trials_with_items(self, connection: Connection, session: int) -> dict[str, tuple[int, dict[str, int]]]:
        of = {"session": session}
        names = {trial.id: trial.public for trial in connection.execute(statements.TRIALS, of)}
        found: dict[str, tuple[int, dict[str, int]]] = {public: (trial, {}) for trial, public in names.items()}
        for item in connection.execute(statements.ITEMS, of):
            found[names[item.trial_id]][1][item.public] = item.id
        return found

    def _heard(self, connection: Connection, session: int) -> set[tuple[int, int | None]]:
        rows = connection.execute(statements.HEARD, {"session": session})
        return {(row.trial_id, row.item_id) for row in rows}


def _digest(new: NewAnswer) -> str:
    """What makes two submissions the same; the generation does not, as a page may have reloaded in between."""
    content = [new.trial, new.criterion, sorted(new.ranks.items()), new.elapsed_ms]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_ranks(ranks: Mapping[str, int], items: Mapping[str, int], *, whole: bool) -> None:
    """Refuse what is no ranking of these items, or where it need not be `whole`, no part of one."""
    k = len(items)
    taken: set[int] = set()
    for item, rank in ranks.items():
        name = f"ranks.{item}" if item in items else "ranks"
        if item not in items:
            raise Refused("A ranked recording is not one of this trial.", name)
        if not 1 <= rank <= k:
            raise Refused(f"A rank is a number from 1 to {k}, not {rank}.", name)
        if rank in taken:
            raise Refused(f"The rank {rank} is given twice.", name)
        taken.add(rank)
    if whole and len(ranks) != k:
        missing = next(item for item in items if item not in ranks)
        raise Refused(f"Every recording needs a rank, and {k - len(ranks)} have none.", f"ranks.{missing}")
