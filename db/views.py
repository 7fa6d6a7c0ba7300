"""A session as its participant stands in it, read in one go."""

import json
from collections.abc import Callable

from sqlalchemy import Connection, exists, select

from db.models import (
    Background,
    Consent,
    Draft,
    Participant,
    PlaybackEvent,
    Response,
    Screening,
    Session,
    Study,
    Trial,
    TrialItem,
    Version,
)
from db.records import GOLD, Item
from db.records import Draft as DraftRecord
from db.records import Session as SessionRecord
from db.records import Trial as TrialRecord
from db.versions import Parts


def view(connection: Connection, parts_of: Callable[[Connection, int], Parts], session: int) -> SessionRecord:
    """A session as its participant stands in it."""
    row = (
        connection.execute(
            select(
                Session.public.label("id"),
                Participant.public.label("participant"),
                Participant.external_hash,
                Study.salt,
                Study.name.label("study"),
                Session.version_id.label("version"),
                Version.config_json,
                Session.mode,
                Session.late,
                Session.generation,
                Session.language,
                Session.status,
                exists().where(Consent.session_id == Session.id).label("consented"),
                exists().where(Screening.session_id == Session.id).label("screened"),
            )
            .join(Participant, Participant.id == Session.participant_id)
            .join(Version, Version.id == Session.version_id)
            .join(Study, Study.id == Session.study_id)
            .where(Session.id == session)
        )
        .mappings()
        .one()
    )
    latest = select(Background.answers_json).where(Background.session_id == session).order_by(Background.id.desc())
    background = connection.execute(latest.limit(1)).scalar()
    parts = parts_of(connection, row["version"])
    facts = {name: value for name, value in row.items() if name != "status"}
    return SessionRecord(
        **facts,
        complete=row["status"] == "complete",
        background=None if background is None else json.loads(background),
        criteria=tuple(parts.criteria),
        trials=_trials(connection, parts, session),
    )


def _trials(connection: Connection, parts: Parts, session: int) -> tuple[TrialRecord, ...]:
    """The trials of a session, in order."""
    found = connection.execute(
        select(Trial.id, Trial.public, Trial.number, Trial.piece_id, Trial.direction_id)
        .where(Trial.session_id == session)
        .order_by(Trial.number)
    ).all()
    items: dict[int, list[Item]] = {trial.id: [] for trial in found}
    public: dict[int, str] = {}
    statement = (
        select(TrialItem.id, TrialItem.trial_id, TrialItem.public, TrialItem.position, TrialItem.stimulus_id)
        .where(TrialItem.trial_id.in_(items))
        .order_by(TrialItem.position)
    )
    for item in connection.execute(statement):
        items[item.trial_id].append(Item(item.public, item.position, parts.clips[item.stimulus_id].media))
        public[item.id] = item.public
    answered: dict[int, set[str]] = {trial: set() for trial in items}
    keys = {identity: key for key, identity in parts.criteria.items()}
    current = select(Response.trial_id, Response.criterion_id).where(Response.trial_id.in_(items), Response.is_current)
    for response in connection.execute(current):
        answered[response.trial_id].add(keys[response.criterion_id])
    drafts: dict[int, dict[str, DraftRecord]] = {trial: {} for trial in items}
    kept = select(Draft.trial_id, Draft.criterion_id, Draft.ranks_json, Draft.sequence).where(Draft.trial_id.in_(items))
    for draft in connection.execute(kept):
        criterion = keys[draft.criterion_id]
        if criterion not in answered[draft.trial_id]:
            drafts[draft.trial_id][criterion] = DraftRecord(json.loads(draft.ranks_json), draft.sequence)
    heard: dict[int, set[str]] = {trial: set() for trial in items}
    events = select(PlaybackEvent.trial_id, PlaybackEvent.item_id).where(
        PlaybackEvent.trial_id.in_(items), PlaybackEvent.kind == "heard"
    )
    for event in connection.execute(events.distinct()):
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
