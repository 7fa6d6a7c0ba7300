"""The tables. What a ranking must be is said here and in the triggers of the migrations, not by the callers alone."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import INSTANT, OPAQUE, Base, flag, identity, to, together, words

MAX_SYSTEMS = 8
metadata = Base.metadata


class Study(Base):
    """A listening test; the salt hashes its participants' external ids."""

    __tablename__ = "study"
    id: Mapped[int] = identity()
    name: Mapped[str] = words(64, unique=True)
    salt: Mapped[str] = words(32)
    created_at: Mapped[str] = words(INSTANT)


class Version(Base):
    """A study as it was at one time; fixed once it has sessions."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        UniqueConstraint("study_id", "sha256"),
        UniqueConstraint("id", "study_id"),
        CheckConstraint("number >= 1", name="number"),
    )
    id: Mapped[int] = identity()
    study_id: Mapped[int] = to("study.id")
    number: Mapped[int]
    config_json: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = words(64)
    created_at: Mapped[str] = words(INSTANT)


class _Part:
    """What systems, pieces, directions and criteria have alike."""

    id: Mapped[int] = identity()
    version_id: Mapped[int] = to("version.id")
    position: Mapped[int]
    key: Mapped[str] = words(64)
    title: Mapped[str] = mapped_column(Text)


class System(_Part, Base):
    """What is compared."""

    __tablename__ = "system"
    __table_args__ = (
        UniqueConstraint("version_id", "key"),
        UniqueConstraint("version_id", "position"),
        UniqueConstraint("id", "version_id"),
        CheckConstraint(f"position BETWEEN 0 AND {MAX_SYSTEMS - 1}", name="position"),
        CheckConstraint("key <> 'gold'", name="key"),
    )


class Piece(_Part, Base):
    """A piece of music."""

    __tablename__ = "piece"
    __table_args__ = (UniqueConstraint("version_id", "key"), UniqueConstraint("id", "version_id"))


class Direction(_Part, Base):
    """A direction of translation."""

    __tablename__ = "direction"
    __table_args__ = (UniqueConstraint("version_id", "key"), UniqueConstraint("id", "version_id"))


class Criterion(_Part, Base):
    """What is ranked by; the practice trial asks the one at position 0."""

    __tablename__ = "criterion"
    __table_args__ = (UniqueConstraint("version_id", "key"), UniqueConstraint("id", "version_id"))


class Stimulus(Base):
    """A clip; the gold standard has no system, so no ranking can refer to it."""

    __tablename__ = "stimulus"
    __table_args__ = (
        together("piece_id", "version_id", table="piece"),
        together("direction_id", "version_id", table="direction"),
        together("system_id", "version_id", table="system"),
        UniqueConstraint("version_id", "piece_id", "direction_id", "system_id"),
        UniqueConstraint("id", "version_id", "piece_id", "direction_id", "system_id"),
        Index(
            "uq_stimulus_gold",
            "version_id",
            "piece_id",
            "direction_id",
            unique=True,
            sqlite_where=text("system_id IS NULL"),
            postgresql_where=text("system_id IS NULL"),
        ),
        CheckConstraint("duration_s > 0", name="duration"),
    )
    id: Mapped[int] = identity()
    version_id: Mapped[int] = to("version.id")
    piece_id: Mapped[int]
    direction_id: Mapped[int]
    system_id: Mapped[int | None]
    sha256: Mapped[str] = words(64)
    media: Mapped[str] = words(32, unique=True)
    duration_s: Mapped[float]
    served_sha256: Mapped[str | None] = mapped_column(String(64))


class Slot(Base):
    """A place of the design; further blocks may be added, none is ever changed."""

    __tablename__ = "design_slot"
    __table_args__ = (
        UniqueConstraint("version_id", "number"),
        UniqueConstraint("id", "version_id"),
        CheckConstraint("number >= 0", name="number"),
    )
    id: Mapped[int] = identity()
    version_id: Mapped[int] = to("version.id")
    number: Mapped[int]
    plan_json: Mapped[str] = mapped_column(Text)


class Participant(Base):
    """Somebody, known by the salted hash of the id they came with."""

    __tablename__ = "participant"
    __table_args__ = (UniqueConstraint("study_id", "external_hash"), UniqueConstraint("id", "study_id"))
    id: Mapped[int] = identity()
    public: Mapped[str] = words(OPAQUE, unique=True)
    study_id: Mapped[int] = to("study.id")
    external_hash: Mapped[str] = words(64)
    created_at: Mapped[str] = words(INSTANT)


class Session(Base):
    """One run of a participant through a version; only one holds a slot."""

    __tablename__ = "session"
    __table_args__ = (
        together("participant_id", "study_id", table="participant"),
        together("version_id", "study_id", table="version"),
        together("slot_id", "version_id", table="design_slot"),
        UniqueConstraint("participant_id", "mode"),
        UniqueConstraint("id", "version_id"),
        Index(
            "uq_session_holder",
            "slot_id",
            unique=True,
            sqlite_where=text("holds_slot"),
            postgresql_where=text("holds_slot"),
        ),
        CheckConstraint("mode IN ('live', 'preview')", name="mode"),
        CheckConstraint("status IN ('open', 'complete')", name="status"),
        CheckConstraint("generation >= 0", name="generation"),
        CheckConstraint("mode = 'live' OR slot_id IS NULL", name="preview"),
        CheckConstraint("slot_id IS NOT NULL OR NOT holds_slot", name="holder"),
        CheckConstraint("(status = 'complete') = (completed_at IS NOT NULL)", name="completed"),
    )
    id: Mapped[int] = identity()
    public: Mapped[str] = words(OPAQUE, unique=True)
    participant_id: Mapped[int]
    study_id: Mapped[int]
    version_id: Mapped[int] = mapped_column(index=True)
    slot_id: Mapped[int | None]
    holds_slot: Mapped[bool] = flag("holds_slot")
    lease_s: Mapped[float]
    leased_until: Mapped[str] = words(INSTANT)
    late: Mapped[bool] = flag("late")
    mode: Mapped[str] = words(8)
    status: Mapped[str] = words(8)
    token_hash: Mapped[str] = words(64, unique=True)
    generation: Mapped[int]
    language: Mapped[str] = words(16)
    created_at: Mapped[str] = words(INSTANT)
    completed_at: Mapped[str | None] = mapped_column(String(INSTANT))


class _Said:
    """What rows have alike that are added to a session and never changed."""

    id: Mapped[int] = identity()
    session_id: Mapped[int] = mapped_column(ForeignKey("session.id"), index=True)
    created_at: Mapped[str] = words(INSTANT)


class Consent(_Said, Base):
    """Consent to a text, by its hash."""

    __tablename__ = "consent"
    __table_args__ = (UniqueConstraint("session_id"),)
    language: Mapped[str] = words(16)
    text_sha256: Mapped[str] = words(64)


class Background(_Said, Base):
    """Answers to the background questions; the latest counts."""

    __tablename__ = "background"
    answers_json: Mapped[str] = mapped_column(Text)


class Screening(_Said, Base):
    """Volume setting and headphone check; the latest counts."""

    __tablename__ = "screening"
    __table_args__ = (
        CheckConstraint("headphones IN ('pass', 'fail', 'unavailable', 'skipped')", name="headphones"),
        CheckConstraint("volume BETWEEN 0 AND 1", name="volume"),
    )
    volume: Mapped[float]
    headphones: Mapped[str] = words(16)
    answers_json: Mapped[str] = mapped_column(Text)


class Trial(Base):
    """A piece in a direction within a session; number 0 is the practice trial."""

    __tablename__ = "trial"
    __table_args__ = (
        together("session_id", "version_id", table="session"),
        together("piece_id", "version_id", table="piece"),
        together("direction_id", "version_id", table="direction"),
        UniqueConstraint("session_id", "number"),
        UniqueConstraint("id", "session_id"),
        UniqueConstraint("id", "version_id"),
        UniqueConstraint("id", "version_id", "piece_id", "direction_id"),
        CheckConstraint("practice = (number = 0)", name="practice"),
        CheckConstraint("number >= 0", name="number"),
    )
    id: Mapped[int] = identity()
    public: Mapped[str] = words(OPAQUE, unique=True)
    session_id: Mapped[int]
    version_id: Mapped[int]
    number: Mapped[int]
    practice: Mapped[bool] = flag("practice")
    piece_id: Mapped[int]
    direction_id: Mapped[int]


class TrialItem(Base):
    """An output in its place (letter) within a trial: of the trial's own piece, direction and version."""

    __tablename__ = "trial_item"
    __table_args__ = (
        together("trial_id", "version_id", "piece_id", "direction_id", table="trial"),
        together("stimulus_id", "version_id", "piece_id", "direction_id", "system_id", table="stimulus"),
        UniqueConstraint("trial_id", "position"),
        UniqueConstraint("trial_id", "system_id"),
        UniqueConstraint("id", "trial_id"),
        CheckConstraint(f"position BETWEEN 0 AND {MAX_SYSTEMS - 1}", name="position"),
    )
    id: Mapped[int] = identity()
    public: Mapped[str] = words(OPAQUE, unique=True)
    trial_id: Mapped[int]
    version_id: Mapped[int]
    piece_id: Mapped[int]
    direction_id: Mapped[int]
    system_id: Mapped[int]
    stimulus_id: Mapped[int]
    position: Mapped[int]


class Response(Base):
    """A ranking of a trial by a criterion; it can become current only when its ranks are a permutation 1..k."""

    __tablename__ = "response"
    __table_args__ = (
        together("trial_id", "session_id", table="trial"),
        together("trial_id", "version_id", table="trial"),
        together("criterion_id", "version_id", table="criterion"),
        UniqueConstraint("session_id", "submission"),
        UniqueConstraint("trial_id", "criterion_id", "revision"),
        UniqueConstraint("id", "trial_id"),
        Index(
            "uq_response_current",
            "trial_id",
            "criterion_id",
            unique=True,
            sqlite_where=text("is_current"),
            postgresql_where=text("is_current"),
        ),
        CheckConstraint("revision >= 1", name="revision"),
        CheckConstraint("elapsed_ms >= 0", name="elapsed"),
    )
    id: Mapped[int] = identity()
    session_id: Mapped[int]
    trial_id: Mapped[int]
    version_id: Mapped[int]
    criterion_id: Mapped[int]
    revision: Mapped[int]
    is_current: Mapped[bool] = flag("is_current")
    submission: Mapped[str] = words(32)
    digest: Mapped[str] = words(64)
    receipt_json: Mapped[str] = mapped_column(Text)
    elapsed_ms: Mapped[int]
    created_at: Mapped[str] = words(INSTANT)


class RankItem(Base):
    """One rank of a response, 1 the best: no tie, no item twice, none of another trial."""

    __tablename__ = "rank_item"
    __table_args__ = (
        together("response_id", "trial_id", table="response"),
        together("item_id", "trial_id", table="trial_item"),
        UniqueConstraint("response_id", "rank"),
        CheckConstraint(f"rank BETWEEN 1 AND {MAX_SYSTEMS} AND rank = CAST(rank AS INTEGER)", name="rank"),
    )
    response_id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int]
    rank: Mapped[int]


class Draft(Base):
    """A ranking under way; the only thing that is overwritten."""

    __tablename__ = "draft"
    __table_args__ = (
        together("trial_id", "version_id", table="trial"),
        together("criterion_id", "version_id", table="criterion"),
    )
    trial_id: Mapped[int] = mapped_column(primary_key=True)
    criterion_id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int]
    ranks_json: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int]
    updated_at: Mapped[str] = words(INSTANT)


class PlaybackEvent(_Said, Base):
    """Something played, once however often it is sent; without an item it is the gold standard's, or the order's."""

    __tablename__ = "playback_event"
    __table_args__ = (
        together("trial_id", "session_id", table="trial"),
        together("item_id", "trial_id", table="trial_item"),
        Index("uq_playback_event", "trial_id", "kind", "at_ms", "position_s", "item_id", unique=True),
        Index(
            "uq_playback_event_without_item",
            "trial_id",
            "kind",
            "at_ms",
            "position_s",
            unique=True,
            sqlite_where=text("item_id IS NULL"),
            postgresql_where=text("item_id IS NULL"),
        ),
        CheckConstraint("kind IN ('play', 'pause', 'heard', 'loop', 'order')", name="kind"),
    )
    trial_id: Mapped[int]
    item_id: Mapped[int | None]
    kind: Mapped[str] = words(8)
    at_ms: Mapped[float]
    position_s: Mapped[float]


class Exclusion(_Said, Base):
    """A session excluded, or taken in again; the latest counts."""

    __tablename__ = "exclusion"
    excluded: Mapped[bool] = flag("excluded")
    reason: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = words(64)


class Audit(Base):
    """Who did what among the researchers, and to which study where it was to one."""

    __tablename__ = "audit"
    id: Mapped[int] = identity()
    created_at: Mapped[str] = words(INSTANT)
    actor: Mapped[str] = words(64)
    action: Mapped[str] = words(64)
    detail: Mapped[str] = mapped_column(Text)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"))
