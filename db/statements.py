"""The statements that participants cause, built once: building them anew each time takes longer than running them."""

from sqlalchemy import BindParameter, and_, bindparam, case, exists, func, insert, not_, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from db.models import (
    Background,
    Consent,
    Criterion,
    Draft,
    Participant,
    PlaybackEvent,
    RankItem,
    Response,
    Screening,
    Session,
    Slot,
    Stimulus,
    Study,
    Trial,
    TrialItem,
    Version,
)

TOKEN: BindParameter[str] = bindparam("token")
VERSION: BindParameter[int] = bindparam("version")
SESSION: BindParameter[int] = bindparam("session")
TRIAL: BindParameter[int] = bindparam("trial")
LANGUAGE: BindParameter[str] = bindparam("language")
CRITERION: BindParameter[int] = bindparam("criterion")

# Somebody comes: to the :study, as the :external, and takes a slot.
STUDY = select(Study.id, Study.salt).where(Study.name == bindparam("study"))
# On PostgreSQL those who come at once are seated one after the other.
LOCK_VERSION = select(Version.id).where(Version.id == VERSION).with_for_update(key_share=True)
PARTICIPANT = select(Participant.id).where(
    Participant.study_id == bindparam("study"), Participant.external_hash == bindparam("external")
)
NEW_PARTICIPANT = insert(Participant).returning(Participant.id)
SESSION_OF_PARTICIPANT = (
    select(Session.id, Session.token_hash, Session.lease_s)
    .where(Session.participant_id == bindparam("participant"), Session.mode == bindparam("mode"))
    .with_for_update()
)
# Consent is given to a text in one language, and is the first thing that a session counts.
RESUME = (
    update(Session)
    .where(Session.id == SESSION)
    .values(
        token_hash=bindparam("token"),
        leased_until=bindparam("until"),
        language=case((and_(Session.generation == 0, LANGUAGE != ""), LANGUAGE), else_=Session.language),
    )
)
# The practice trial is ranked by the first criterion alone.
UNRANKED = exists().where(
    Trial.session_id == Session.id,
    Criterion.version_id == Trial.version_id,
    or_(not_(Trial.practice), Criterion.position == 0),
    ~exists().where(Response.trial_id == Trial.id, Response.criterion_id == Criterion.id, Response.is_current),
)
# Whoever has ranked everything and was only not heard to say so keeps the slot.
ABANDONED = and_(Session.status == "open", Session.leased_until < bindparam("now"), UNRANKED)
FREE_SLOT = (
    select(Slot.id, Slot.number, Slot.plan_json, Session.id.label("holder"))
    # As the index of the holders has it, word for word, without which SQLite would read all sessions.
    .outerjoin(Session, and_(Session.slot_id == Slot.id, text("session.holds_slot")))
    .where(Slot.version_id == VERSION, or_(Session.id.is_(None), ABANDONED))
    .order_by(Slot.number)
    .limit(1)
)
# Unless they have come back this very moment.
LOSE_SLOT = update(Session).where(Session.id == SESSION, ABANDONED).values(holds_slot=False, late=True)
LAST_SLOT = select(func.max(Slot.number)).where(Slot.version_id == VERSION)
COUNT_SLOTS = select(func.count(Slot.id)).where(Slot.version_id == VERSION)
COUNT_PREVIEWS = select(func.count(Session.id)).where(Session.version_id == VERSION, Session.mode == "preview")
SLOT = select(Slot.number, Slot.plan_json).where(Slot.version_id == VERSION, Slot.number == bindparam("place"))
NEW_SESSION = insert(Session).returning(Session.id)
NEW_TRIAL = insert(Trial).returning(Trial.id)
NEW_ITEMS = insert(TrialItem)

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
SESSION_OF_TOKEN = select(Session.id, Session.version_id).where(Session.token_hash == TOKEN)
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
        Session.mode,
        Session.late,
        Session.generation,
        Session.language,
        Session.status,
        exists().where(Consent.session_id == Session.id).label("consented"),
        exists().where(Screening.session_id == Session.id).label("screened"),
    )
    .join(Participant, Participant.id == Session.participant_id)
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
# What was sent before, and came without its receipt being heard of, is passed over.
NEW_EVENTS = {
    name: dialect.insert(PlaybackEvent).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}
