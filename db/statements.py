"""The statements that participants cause, built once: building them anew each time takes longer than running them."""

from sqlalchemy import BindParameter, bindparam, exists, func, insert, select, update

from db.models import (
    Background,
    Consent,
    Draft,
    Participant,
    PlaybackEvent,
    RankItem,
    Response,
    Screening,
    Session,
    Stimulus,
    Study,
    Trial,
    TrialItem,
    Version,
)

TOKEN: BindParameter[str] = bindparam("token")
SESSION: BindParameter[int] = bindparam("session")
TRIAL: BindParameter[int] = bindparam("trial")
CRITERION: BindParameter[int] = bindparam("criterion")

# One session, to be changed: of :token.
MINE = (
    select(
        Session.id,
        Session.version_id,
        Session.generation,
        Session.status,
        Session.lease_s,
        exists().where(Consent.session_id == Session.id).label("consented"),
    )
    .where(Session.token_hash == TOKEN)
    .with_for_update()
)
SESSION_OF_TOKEN = select(Session.id).where(Session.token_hash == TOKEN)
RENEW = update(Session).where(Session.id == SESSION).values(leased_until=bindparam("until"))
MOVE_ON = (
    update(Session).where(Session.id == SESSION).values(generation=bindparam("next"), leased_until=bindparam("until"))
)
MAY_HEAR = select(
    exists().where(
        Session.token_hash == TOKEN,
        Trial.session_id == Session.id,
        Stimulus.version_id == Trial.version_id,
        Stimulus.piece_id == Trial.piece_id,
        Stimulus.direction_id == Trial.direction_id,
        Stimulus.media == bindparam("media"),
    )
)

# All there is to tell of one :session.
FACTS = (
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
    .where(Session.id == SESSION)
)
BACKGROUND = (
    select(Background.answers_json).where(Background.session_id == SESSION).order_by(Background.id.desc()).limit(1)
)
TRIALS = (
    select(Trial.id, Trial.public, Trial.number, Trial.piece_id, Trial.direction_id)
    .where(Trial.session_id == SESSION)
    .order_by(Trial.number)
)
ITEMS = (
    select(TrialItem.id, TrialItem.trial_id, TrialItem.public, TrialItem.position, TrialItem.stimulus_id)
    .join(Trial, Trial.id == TrialItem.trial_id)
    .where(Trial.session_id == SESSION)
    .order_by(TrialItem.position)
)
ANSWERED = select(Response.trial_id, Response.criterion_id).where(Response.session_id == SESSION, Response.is_current)
DRAFTS = (
    select(Draft.trial_id, Draft.criterion_id, Draft.ranks_json, Draft.sequence)
    .join(Trial, Trial.id == Draft.trial_id)
    .where(Trial.session_id == SESSION)
)
HEARD = (
    select(PlaybackEvent.trial_id, PlaybackEvent.item_id)
    .join(Trial, Trial.id == PlaybackEvent.trial_id)
    .where(Trial.session_id == SESSION, PlaybackEvent.kind == "heard")
    .distinct()
)
COUNT_EVENTS = select(func.count(PlaybackEvent.id)).where(PlaybackEvent.session_id == SESSION)

# A ranking of a :trial by a :criterion.
SENT_BEFORE = select(Response.digest, Response.receipt_json).where(
    Response.session_id == SESSION, Response.submission == bindparam("submission")
)
QUESTION = (
    select(Trial.id, Trial.practice, TrialItem.id.label("item"), TrialItem.public)
    .join(TrialItem, TrialItem.trial_id == Trial.id)
    .where(Trial.public == bindparam("trial"), Trial.session_id == SESSION)
)
PROGRESS = select(
    select(func.coalesce(func.max(Response.revision), 0))
    .where(Response.trial_id == TRIAL, Response.criterion_id == CRITERION)
    .scalar_subquery()
    .label("last"),
    select(func.count(Response.id))
    .where(Response.session_id == SESSION, Response.is_current)
    .scalar_subquery()
    .label("answered"),
    select(func.count(Trial.id)).where(Trial.session_id == SESSION).scalar_subquery().label("trials"),
    select(func.min(Trial.number)).where(Trial.session_id == SESSION).scalar_subquery().label("first"),
)
NEW_RESPONSE = insert(Response).returning(Response.id)
NEW_RANKS = insert(RankItem)
RETIRE = (
    update(Response)
    .where(Response.trial_id == TRIAL, Response.criterion_id == CRITERION, Response.is_current)
    .values(is_current=False)
)
MAKE_CURRENT = update(Response).where(Response.id == bindparam("response")).values(is_current=True)

DRAFT_BEFORE = select(Draft.sequence).where(Draft.trial_id == TRIAL, Draft.criterion_id == CRITERION)
NEW_DRAFT = insert(Draft)
CHANGE_DRAFT = (
    update(Draft)
    .where(Draft.trial_id == TRIAL, Draft.criterion_id == CRITERION)
    .values(ranks_json=bindparam("ranks"), sequence=bindparam("place"), updated_at=bindparam("now"))
)
NEW_EVENTS = insert(PlaybackEvent)
NEW_TRIAL = insert(Trial).returning(Trial.id)
NEW_ITEMS = insert(TrialItem)
NEW_SESSION = insert(Session).returning(Session.id)
