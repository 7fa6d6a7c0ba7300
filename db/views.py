"""A session as its participant stands in it, read in one go."""

import json
from collections.abc import Callable

from sqlalchemy import Connection

from db import statements
from db.records import GOLD, Item
from db.records import Draft as DraftRecord
from db.records import Session as SessionRecord
from db.records import Trial as TrialRecord
from db.versions import Parts


def view(connection: Connection, parts_of: Callable[[Connection, int], Parts], session: int) -> SessionRecord:
    """A session as its participant stands in it."""
    of = {"session": session}
    row = connection.execute(statements.FACTS, of).mappings().one()
    background = connection.execute(statements.BACKGROUND, of).scalar()
    parts = parts_of(connection, row["version"])
    facts = {name: value for name, value in row.items() if name != "status"}
    return SessionRecord(
        **facts,
        config_json=parts.config_json,
        complete=row["status"] == "complete",
        background=None if background is None else json.loads(background),
        criteria=tuple(parts.criteria),
        trials=_trials(connection, parts, of),
    )


def _trials(connection: Connection, parts: Parts, of: dict[str, int]) -> tuple[TrialRecord, ...]:
    """The trials of a session, in order."""
    found = connection.execute(statements.TRIALS, of).all()
    items: dict[int, list[Item]] = {trial.id: [] for trial in found}
    public: dict[int, str] = {}
    for item in connection.execute(statements.ITEMS, of):
        items[item.trial_id].append(Item(item.public, item.position, parts.clips[item.stimulus_id].media))
        public[item.id] = item.public
    answered: dict[int, set[str]] = {trial: set() for trial in items}
    keys = {identity: key for key, identity in parts.criteria.items()}
    for response in connection.execute(statements.ANSWERED, of):
        answered[response.trial_id].add(keys[response.criterion_id])
    drafts: dict[int, dict[str, DraftRecord]] = {trial: {} for trial in items}
    for draft in connection.execute(statements.DRAFTS, of):
        criterion = keys[draft.criterion_id]
        if criterion not in answered[draft.trial_id]:
            drafts[draft.trial_id][criterion] = DraftRecord(json.loads(draft.ranks_json), draft.sequence)
    heard: dict[int, set[str]] = {trial: set() for trial in items}
    for event in connection.execute(statements.HEARD, of):
        heard[event.trial_id].add(GOLD if event.item_id is None else public[event.item_id])
    trials = []
    piece_names = {identity: key for key, identity in parts.pieces.items()}
    direction_names = {identity: key for key, identity in parts.directions.items()}
    for trial in found:
        gold = parts.by_place[trial.piece_id, trial.direction_id, None]
        trials.append(
            TrialRecord(
                id=trial.public,
                number=trial.number,
                practice=trial.number == 0,
                piece=piece_names[trial.piece_id],
                direction=direction_names[trial.direction_id],
                duration_s=gold.duration_s,
                gold=gold.media,
                items=tuple(items[trial.id]),
                answered=frozenset(answered[trial.id]),
                drafts=drafts[trial.id],
                heard=frozenset(heard[trial.id]),
            )
        )
    return tuple(trials)
