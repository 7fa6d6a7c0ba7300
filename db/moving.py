"""Everything stored of a study as plain rows, and back, so that a study can move to another database."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Boolean, Connection, Float, Integer, Table, func, insert, select, text, update
from sqlalchemy.exc import DataError, IntegrityError

from db.models import Response, Study, metadata
from db.records import Export, StoreError
from db.reports import Reports

# In this order each table refers only to those before it.
TABLES = (
    "study",
    "version",
    "system",
    "piece",
    "direction",
    "criterion",
    "stimulus",
    "design_slot",
    "participant",
    "session",
    "consent",
    "background",
    "screening",
    "trial",
    "trial_item",
    "response",
    "rank_item",
    "draft",
    "playback_event",
    "exclusion",
    "audit",
)
REFERRED = {"slot_id": "design_slot", "item_id": "trial_item"}
MEDIA = re.compile("[0-9a-f]{32}")
CHUNK = 1000


class Moving(Reports):
    """The part of the store that moves studies."""

    def history(self, study: str) -> Export:
        """Everything stored of a study, earlier revisions and previews too, and the audit of it, without logins.

        The salt and the hashes of the participants' ids are among it, without which nobody could go on elsewhere.

        Raises
        ------
        StoreError
            There is no such study.
        """
        tables: dict[str, tuple[dict[str, Any], ...]] = {}
        with self.reading() as connection:
            number = connection.execute(select(Study.id).where(Study.name == study)).scalar()
            if number is None:
                raise StoreError(f"There is no study {study!r}.")
            for name in TABLES:
                table = metadata.tables[name]
                statement = select(table).order_by(*table.primary_key.columns)
                if name == "study":
                    statement = statement.where(table.c.id == number)
                else:
                    statement = statement.where(_within(table, number))
                tables[name] = tuple(dict(row) for row in connection.execute(statement).mappings())
        return Export(study, tables)

    def restore(self, export: Export) -> dict[str, int]:
        """Store all rows of an export, all or nothing; gives how many by table.

        Rows keep their numbers in an empty database, and are numbered on in another one.

        Raises
        ------
        StoreError
            The study is there already, or a row does not fit; the message says which.
        """
        for name, rows in export.tables.items():
            if name not in TABLES:
                raise StoreError(f"{name}: there is no such table.")
            for number, row in enumerate(rows, 1):
                _check_row(metadata.tables[name], row, f"{name}, row {number}")
        studies = export.tables.get("study", ())
        if [row["name"] for row in studies] != [export.study]:
            raise StoreError(f"The export has not the one study {export.study!r}.")
        with self.writing() as connection:
            if connection.execute(select(Study.id).where(Study.name == export.study)).scalar() is not None:
                raise StoreError(f"The study {export.study!r} is here already.")
            shift = {name: _last(connection, metadata.tables[name]) for name in TABLES}
            for name in TABLES:
                moved = [_shifted(row, name, shift) for row in export.tables.get(name, ())]
                try:
                    _insert(connection, metadata.tables[name], moved)
                    if name == "rank_item":
                        _make_current(connection, export.tables.get("response", ()), shift["response"])
                except (IntegrityError, DataError) as error:
                    raise StoreError(f"{name}: a row breaks a rule of the database ({error.orig}).") from error
            if not self.is_sqlite:
                _number_on(connection)
        return {name: len(rows) for name, rows in export.tables.items()}


def _within(table: Table, study: int) -> Any:
    """The condition that a row belongs to a study, through the tables it refers to."""
    for column, owner in (("study_id", "study"), ("version_id", "version"), ("session_id", "session")):
        if column in table.c:
            if owner == "study":
                return table.c[column] == study
            other = metadata.tables[owner]
            return table.c[column].in_(select(other.c.id).where(_within(other, study)))
    trial = metadata.tables["trial"]
    return table.c.trial_id.in_(select(trial.c.id).where(_within(trial, study)))


def _check_row(table: Table, row: Mapping[str, Any], where: str) -> None:
    if set(row) != set(table.c.keys()):
        raise StoreError(f"{where}: expected the columns {', '.join(table.c.keys())}.")
    for column in table.c:
        value = row[column.name]
        if value is None and column.nullable:
            continue
        if isinstance(column.type, Boolean):
            fits = type(value) is bool
        elif isinstance(column.type, Integer):
            fits = type(value) is int and abs(value) < 2**31
        elif isinstance(column.type, Float):
            fits = type(value) in (int, float)
        else:
            fits = type(value) is str and "\0" not in value
            length = getattr(column.type, "length", None)
            fits = fits and (length is None or len(value) <= length)
        if fits and column.name.endswith("_json"):
            fits = _is_json(value)
        if fits and column.name == "media":
            fits = MEDIA.fullmatch(value) is not None
        if not fits:
            raise StoreError(f"{where}: {column.name} is {value!r:.80}, which does not fit.")


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _last(connection: Connection, table: Table) -> int:
    if "id" not in table.c:
        return 0
    return connection.execute(select(func.max(table.c.id))).scalar() or 0


def _shifted(row: Mapping[str, Any], name: str, shift: Mapping[str, int]) -> dict[str, Any]:
    """A row with its own number and those it refers to moved beyond what is there."""
    moved = dict(row)
    for column, value in row.items():
        if value is not None and (column == "id" or column.endswith("_id")):
            owner = name if column == "id" else REFERRED.get(column, column.removesuffix("_id"))
            moved[column] = value + shift[owner]
    if name == "response":
        moved["is_current"] = False
    return moved


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), CHUNK):
        connection.execute(insert(table), rows[start : start + CHUNK])


def _make_current(connection: Connection, responses: Iterable[Mapping[str, Any]], shift: int) -> None:
    """Make those current that were, now that their ranks are there."""
    ids = [row["id"] + shift for row in responses if row["is_current"]]
    for start in range(0, len(ids), CHUNK):
        chosen = Response.id.in_(ids[start : start + CHUNK])
        connection.execute(update(Response).where(chosen).values(is_current=True))


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that came with their own numbers."""
    for name in TABLES:
        if "id" in metadata.tables[name].c:
            last = _last(connection, metadata.tables[name])
            statement = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last, :used)")
            connection.execute(statement, {"name": name, "last": max(last, 1), "used": last > 0})
