"""A PostgreSQL server of the tests' own, where the programs for one are installed: a socket, no port, no trace left."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")
OWNER = "survey"


def programs() -> Path | None:
    """The folder of initdb, on the PATH or in Debian's place."""
    # A link on the PATH leads to where the other programs are too.
    found = [Path(path).resolve().parent] if (path := shutil.which("initdb")) else []
    found += sorted(DEBIAN.glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    for folder in found:
        if all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    return None


def other_user() -> str | None:
    """Whom the server runs as where the tests run as root, which it refuses to; "" is ourselves, None nobody."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    return user if shutil.which("runuser") or shutil.which("su") else None


def missing() -> str:
    """Why no server can be run here, "" where one can."""
    if programs() is None:
        return "no PostgreSQL: there is no initdb on the PATH or in /usr/lib/postgresql/*/bin"
    return "PostgreSQL does not run as root, and there is no other user for it" if other_user() is None else ""


def command(user: str, *words: str) -> list[str]:
    if not user:
        return list(words)
    if shutil.which("runuser"):
        return ["runuser", "-u", user, "--", *words]
    return ["su", "-s", "/bin/sh", user, "-c", 'exec "$0" "$@"', "--", *words]


@dataclass
class Server:
    """A server that is running; each database it gives is new and empty."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    def database(self) -> str:
        """The address of a new database."""
        import psycopg

        name = f"survey{next(self.numbers)}"
        with psycopg.connect(host=str(self.folder), user=OWNER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{OWNER}@/{name}?host={self.folder}"


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server, or skip the test.

    Its folder is in the system's own place for such, as another user cannot reach pytest's.
    """
    if why := missing():
        pytest.skip(why)
    folder, user = programs(), other_user()
    assert folder is not None
    assert user is not None
    with tempfile.TemporaryDirectory(prefix="pg-") as temporary:
        home = Path(temporary)
        if user:
            shutil.chown(home, user)
        data, log = home / "data", home / "log"

        def run(*words: str) -> None:
            subprocess.run(command(user, *words), cwd=home, check=True, stdout=subprocess.DEVNULL, timeout=60)

        how = ("-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        run(str(folder / "initdb"), "-D", str(data), "-U", OWNER, *how)
        options = f"-k {home} -c listen_addresses= -c fsync=off -c max_connections=300"
        run(str(folder / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            yield Server(home)
        finally:
            run(str(folder / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")
