"""The tables as they were first."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _flag(name: str) -> sa.Boolean:
    return sa.Boolean(create_constraint=True, name=name)


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _uq(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _ck(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _fk(table: str, target: str, first: str, *others: str) -> sa.ForeignKeyConstraint:
    """A reference to `target` by its id, in other columns by their own names."""
    names = [f"{target}.{name}" for name in ("id", *others)]
    return sa.ForeignKeyConstraint([first, *others], names, name=op.f(f"fk_{table}_{'_'.join((first, *others))}"))


def _partial(name: str, table: str, columns: list[str], rule: str) -> None:
    where = sa.text(rule)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        _pk("audit", "id"),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _pk("study", "id"),
        _uq("study", "name"),
    )
    op.create_table(
        "participant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public", sa.String(34), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("external_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _fk("participant", "study", "study_id"),
        _pk("participant", "id"),
        _uq("participant", "id", "study_id"),
        _uq("participant", "public"),
        _uq("participant", "study_id", "external_hash"),
    )
    op.create_table(
        "version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _ck("version", "number", "number >= 1"),
        _fk("version", "study", "study_id"),
        _pk("version", "id"),
        _uq("version", "id", "study_id"),
        _uq("version", "study_id", "number"),
        _uq("version", "study_id", "sha256"),
    )
    op.create_table(
        "criterion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        _fk("criterion", "version", "version_id"),
        _pk("criterion", "id"),
        _uq("criterion", "id", "version_id"),
        _uq("criterion", "version_id", "key"),
    )
    op.create_table(
        "design_slot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("plan_json", sa.Text(), nullable=False),
        _ck("design_slot", "number", "number >= 0"),
        _fk("design_slot", "version", "version_id"),
        _pk("design_slot", "id"),
        _uq("design_slot", "id", "version_id"),
        _uq("design_slot", "version_id", "number"),
    )
    op.create_table(
        "direction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        _fk("direction", "version", "version_id"),
        _pk("direction", "id"),
        _uq("direction", "id", "version_id"),
        _uq("direction", "version_id", "key"),
    )
    op.create_table(
        "piece",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        _fk("piece", "version", "version_id"),
        _pk("piece", "id"),
        _uq("piece", "id", "version_id"),
        _uq("piece", "version_id", "key"),
    )
    op.create_table(
        "system",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        _ck("system", "key", "key <> 'gold'"),
        _ck("system", "position", "position BETWEEN 0 AND 7"),
        _fk("system", "version", "version_id"),
        _pk("system", "id"),
        _uq("system", "id", "version_id"),
        _uq("system", "version_id", "key"),
        _uq("system", "version_id", "position"),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public", sa.String(34), nullable=False),
        sa.Column("participant_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("slot_id", sa.Integer(), nullable=True),
        sa.Column("holds_slot", _flag("holds_slot"), nullable=False),
        sa.Column("lease_s", sa.Double(), nullable=False),
        sa.Column("leased_until", sa.String(27), nullable=False),
        sa.Column("late", _flag("late"), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("completed_at", sa.String(27), nullable=True),
        _ck("session", "completed", "(status = 'complete') = (completed_at IS NOT NULL)"),
        _ck("session", "generation", "generation >= 0"),
        _ck("session", "holder", "slot_id IS NOT NULL OR NOT holds_slot"),
        _ck("session", "mode", "mode IN ('live', 'preview')"),
        _ck("session", "preview", "mode = 'live' OR slot_id IS NULL"),
        _ck("session", "status", "status IN ('open', 'complete')"),
        _fk("session", "participant", "participant_id", "study_id"),
        _fk("session", "design_slot", "slot_id", "version_id"),
        _fk("session", "version", "version_id", "study_id"),
        _pk("session", "id"),
        _uq("session", "id", "version_id"),
        _uq("session", "participant_id", "mode"),
        _uq("session", "public"),
        _uq("session", "token_hash"),
    )
    op.create_index("ix_session_version_id", "session", ["version_id"])
    _partial("uq_session_holder", "session", ["slot_id"], "holds_slot")
    op.create_table(
        "stimulus",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("piece_id", sa.Integer(), nullable=False),
        sa.Column("direction_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("media", sa.String(32), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        _ck("stimulus", "duration", "duration_s > 0"),
        _fk("stimulus", "direction", "direction_id", "version_id"),
        _fk("stimulus", "piece", "piece_id", "version_id"),
        _fk("stimulus", "system", "system_id", "version_id"),
        _fk("stimulus", "version", "version_id"),
        _pk("stimulus", "id"),
        _uq("stimulus", "id", "version_id", "piece_id", "direction_id", "system_id"),
        _uq("stimulus", "media"),
        _uq("stimulus", "version_id", "piece_id", "direction_id", "system_id"),
    )
    _partial("uq_stimulus_gold", "stimulus", ["version_id", "piece_id", "direction_id"], "system_id IS NULL")
    op.create_table(
        "background",
        sa.Column("answers_json", sa.Text(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _fk("background", "session", "session_id"),
        _pk("background", "id"),
    )
    op.create_index("ix_background_session_id", "background", ["session_id"])
    op.create_table(
        "consent",
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("text_sha256", sa.String(64), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _fk("consent", "session", "session_id"),
        _pk("consent", "id"),
        _uq("consent", "session_id"),
    )
    op.create_index("ix_consent_session_id", "consent", ["session_id"])
    op.create_table(
        "exclusion",
        sa.Column("excluded", _flag("excluded"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _fk("exclusion", "session", "session_id"),
        _pk("exclusion", "id"),
    )
    op.create_index("ix_exclusion_session_id", "exclusion", ["session_id"])
    op.create_table(
        "screening",
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("headphones", sa.String(16), nullable=False),
        sa.Column("answers_json", sa.Text(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _ck("screening", "headphones", "headphones IN ('pass', 'fail', 'unavailable', 'skipped')"),
        _ck("screening", "volume", "volume BETWEEN 0 AND 1"),
        _fk("screening", "session", "session_id"),
        _pk("screening", "id"),
    )
    op.create_index("ix_screening_session_id", "screening", ["session_id"])
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public", sa.String(34), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("practice", _flag("practice"), nullable=False),
        sa.Column("piece_id", sa.Integer(), nullable=False),
        sa.Column("direction_id", sa.Integer(), nullable=False),
        _ck("trial", "number", "number >= 0"),
        _ck("trial", "practice", "practice = (number = 0)"),
        _fk("trial", "direction", "direction_id", "version_id"),
        _fk("trial", "piece", "piece_id", "version_id"),
        _fk("trial", "session", "session_id", "version_id"),
        _pk("trial", "id"),
        _uq("trial", "id", "session_id"),
        _uq("trial", "id", "version_id"),
        _uq("trial", "id", "version_id", "piece_id", "direction_id"),
        _uq("trial", "public"),
        _uq("trial", "session_id", "number"),
    )
    op.create_table(
        "draft",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("criterion_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("ranks_json", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.String(27), nullable=False),
        _fk("draft", "criterion", "criterion_id", "version_id"),
        _fk("draft", "trial", "trial_id", "version_id"),
        _pk("draft", "trial_id", "criterion_id"),
    )
    op.create_table(
        "response",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("criterion_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("is_current", _flag("is_current"), nullable=False),
        sa.Column("submission", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("receipt_json", sa.Text(), nullable=False),
        sa.Column("elapsed_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _ck("response", "elapsed", "elapsed_ms >= 0"),
        _ck("response", "revision", "revision >= 1"),
        _fk("response", "criterion", "criterion_id", "version_id"),
        _fk("response", "trial", "trial_id", "session_id"),
        _fk("response", "trial", "trial_id", "version_id"),
        _pk("response", "id"),
        _uq("response", "id", "trial_id"),
        _uq("response", "session_id", "submission"),
        _uq("response", "trial_id", "criterion_id", "revision"),
    )
    _partial("uq_response_current", "response", ["trial_id", "criterion_id"], "is_current")
    op.create_table(
        "trial_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public", sa.String(34), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("piece_id", sa.Integer(), nullable=False),
        sa.Column("direction_id", sa.Integer(), nullable=False),
        sa.Column("system_id", sa.Integer(), nullable=False),
        sa.Column("stimulus_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        _ck("trial_item", "position", "position BETWEEN 0 AND 7"),
        _fk("trial_item", "stimulus", "stimulus_id", "version_id", "piece_id", "direction_id", "system_id"),
        _fk("trial_item", "trial", "trial_id", "version_id", "piece_id", "direction_id"),
        _pk("trial_item", "id"),
        _uq("trial_item", "id", "trial_id"),
        _uq("trial_item", "public"),
        _uq("trial_item", "trial_id", "position"),
        _uq("trial_item", "trial_id", "system_id"),
    )
    op.create_table(
        "playback_event",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("at_ms", sa.Double(), nullable=False),
        sa.Column("position_s", sa.Double(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        _ck("playback_event", "kind", "kind IN ('play', 'pause', 'heard', 'loop', 'order')"),
        _fk("playback_event", "trial_item", "item_id", "trial_id"),
        _fk("playback_event", "session", "session_id"),
        _fk("playback_event", "trial", "trial_id", "session_id"),
        _pk("playback_event", "id"),
    )
    op.create_index("ix_playback_event_session_id", "playback_event", ["session_id"])
    op.create_index("ix_playback_event_trial", "playback_event", ["trial_id", "kind"])
    op.create_table(
        "rank_item",
        sa.Column("response_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        _ck("rank_item", "rank", "rank BETWEEN 1 AND 8 AND rank = CAST(rank AS INTEGER)"),
        _fk("rank_item", "trial_item", "item_id", "trial_id"),
        _fk("rank_item", "response", "response_id", "trial_id"),
        _pk("rank_item", "response_id", "item_id"),
        _uq("rank_item", "response_id", "rank"),
    )
