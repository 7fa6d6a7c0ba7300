"""The audit tells which study a row is about; what was played is kept once; served sounds have a hash."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


@contextmanager
def _allowed(table: str, what: str) -> Iterator[None]:
    """Lift the trigger that bars an update or a delete of a table's rows."""
    name = f"{table}_{what}"
    if op.get_bind().dialect.name == "sqlite":
        known = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :name")
        trigger = op.get_bind().execute(known, {"name": name}).scalar_one()
        op.execute(f"DROP TRIGGER {name}")
        yield
        op.execute(trigger)
    else:
        op.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
        yield
        op.execute(f"ALTER TABLE {table} ENABLE TRIGGER {name}")


def upgrade() -> None:
    """Change the three tables."""
    op.add_column("stimulus", sa.Column("served_sha256", sa.String(64)))
    _audit()
    _playback_event()


def _audit() -> None:
    """Add the column, and fill it by what each row begins with: the name of a study, or a session."""
    # Written out, because SQLite takes a foreign key with its column only.
    op.execute("ALTER TABLE audit ADD COLUMN study_id INTEGER CONSTRAINT fk_audit_study_id REFERENCES study (id)")
    with _allowed("audit", "update"):
        op.execute(
            "UPDATE audit SET study_id = coalesce("
            "(SELECT study_id FROM session WHERE detail LIKE session.public || ':%' OR detail = session.public), "
            "(SELECT id FROM study WHERE detail = name OR detail LIKE name || ':%' OR detail LIKE name || ' as .%'"
            " OR (action = 'simulate' AND detail LIKE '%participants of ' || name || ':%'))) "
            "WHERE action NOT LIKE 'log%'"
        )


def _playback_event() -> None:
    """Leave of what was sent twice the first, and let nothing be kept twice."""
    what = ["trial_id", "kind", "at_ms", "position_s"]
    with _allowed("playback_event", "delete"):
        first = f"SELECT min(id) FROM playback_event GROUP BY {', '.join(what)}, item_id"  # noqa: S608 -- only constants
        op.execute(f"DELETE FROM playback_event WHERE id NOT IN ({first})")  # noqa: S608
    op.drop_index("ix_playback_event_trial", "playback_event")
    op.create_index("uq_playback_event", "playback_event", [*what, "item_id"], unique=True)
    bare = sa.text("item_id IS NULL")
    op.create_index(
        "uq_playback_event_without_item",
        "playback_event",
        what,
        unique=True,
        sqlite_where=bare,
        postgresql_where=bare,
    )
