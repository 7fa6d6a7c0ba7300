"""The connection: what SQLite and PostgreSQL are told, transactions that are all or nothing, and the migrations."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from db.models import metadata
from db.records import NotSaved, StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
# Two programs started at once upgrade one after the other.
UPGRADE_LOCK = 0x6D757369
# SQLite's own, where a connection fails before it has become one of the pool.
OUT_OF_REACH = (OperationalError, InterfaceError, NoConnection, sqlite3.OperationalError)
NOT_SAVED = "Not saved: the database cannot take anything at this moment. Please try again."


class Engine:
    """A database, one writer at a time where it is SQLite.

    Parameters
    ----------
    url : sqlite:///path, or postgresql://...
    patience_s : how long a write waits for others before it is refused
    clock : what tells the time

    Raises
    ------
    StoreError
        The address is none of a database that is known here.
    """

    def __init__(self, url: str, *, patience_s: float = 4.0, clock: Callable[[], datetime] | None = None) -> None:
        self.url = _read_url(url)
        self.patience_s = patience_s
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock or (lambda: datetime.now(UTC))
        self._turn = threading.Lock()
        self._parts: dict[int, Any] = {}
        if self.is_sqlite:
            connect: dict[str, Any] = {"timeout": patience_s, "check_same_thread": False}
        else:
            milliseconds = int(1000 * patience_s)
            connect = {
                "connect_timeout": max(2, int(patience_s)),
                "options": f"-c lock_timeout={milliseconds} -c statement_timeout={10 * milliseconds}",
            }
        try:
            self._engine = create_engine(
                self.url, connect_args=connect, pool_size=12, max_overflow=28, pool_timeout=patience_s
            )
        except ModuleNotFoundError as error:
            raise StoreError(f"PostgreSQL needs the package {error.name}, of the extra `postgres`.") from error
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    def instant(self, after_s: float = 0.0) -> str:
        """Now, or some seconds later, as it is stored."""
        return (self._clock() + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it from one moment; raises NotSaved where that is out of reach."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except OUT_OF_REACH as error:
            raise NotSaved("The database cannot be read at this moment. Please try again.") from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:
                raise
            raise NotSaved(f"The database cannot be read: {error.orig}.") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on the disk, whole, when the block has ended, and leaves nothing where it raises.

        Raises
        ------
        NotSaved
            The database is locked, full, read-only or out of reach.
        """
        if self.is_sqlite and not self._turn.acquire(timeout=self.patience_s):
            raise NotSaved(NOT_SAVED)
        try:
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection
        except OUT_OF_REACH as error:
            raise NotSaved(NOT_SAVED) from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:
                raise
            raise NotSaved(f"Not saved: {error.orig}.") from error
        finally:
            if self.is_sqlite:
                self._turn.release()

    def upgrade(self, revision: str = "head") -> None:
        """Bring the database to a revision of the schema, the newest by default.

        Raises
        ------
        StoreError
            The database is of a newer studio than this one.
        """
        if self.is_sqlite:
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        script = ScriptDirectory.from_config(config)

        def steps(current: Any, _: Any) -> Any:
            return script._upgrade_revs(revision, current)  # noqa: SLF001 -- what alembic's own command calls

        with EnvironmentContext(config, script, fn=steps) as environment, self.writing() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
            environment.configure(connection=connection, target_metadata=metadata)
            try:
                environment.run_migrations()
            except CommandError as error:
                raise StoreError(f"The database does not fit this version of the studio: {error}.") from error

    def differences(self) -> list[Any]:
        """What a database has that the models have not, or the reverse, as `alembic check` finds it."""
        with self.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, metadata))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    """Leave transactions to us; keep what has been acknowledged even where the power fails."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once, so that nothing it has read can change before it writes."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _read_url(url: str) -> URL:
    try:
        read = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"{url!r} is no address of a database; expected sqlite:///path or postgresql://...") from error
    backend = read.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return read.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(f"The survey's database is SQLite or PostgreSQL, not {backend}.")
    if read.database in (None, "", ":memory:"):
        raise StoreError("The survey's database is a file: expected sqlite:///path.")
    return read.set(database=str(Path(read.database).absolute()))
