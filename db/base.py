"""What all tables have alike."""

from typing import Any

from sqlalchemy import Boolean, ForeignKey, ForeignKeyConstraint, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Instants are text in UTC, of one width, so that they sort and read alike everywhere: 2026-01-31T12:00:00.000000Z
INSTANT = 27
OPAQUE = 34


class Base(DeclarativeBase):
    """All tables, their constraints named alike on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def words(length: int, **options: Any) -> Mapped[str]:
    """A text of at most so many characters."""
    return mapped_column(String(length), **options)


def identity() -> Mapped[int]:
    """The number of a row."""
    return mapped_column(Integer, primary_key=True)


def to(target: str) -> Mapped[int]:
    """A reference to a table's id."""
    return mapped_column(ForeignKey(target))


def together(first: str, *others: str, table: str) -> ForeignKeyConstraint:
    """A reference to a table's id, in which the one that refers has other columns in common with its target."""
    return ForeignKeyConstraint([first, *others], [f"{table}.{name}" for name in ("id", *others)])


def flag(name: str) -> Mapped[bool]:
    """Yes or no, which SQLite is told to check."""
    return mapped_column(Boolean(create_constraint=True, name=name))
