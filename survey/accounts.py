"""Researchers' accounts: names with Argon2 hashes, and how fast passwords may be tried.

There is no default password. Accounts come from the environment variable `MUSICSTAR_RESULTS_USERS` (entries
`name:hash`, one a line or separated by semicolons) and from the file `users` in the survey's folder, which
`musicstar-survey user NAME` writes; where both have a name, the environment's counts.
"""

import ipaddress
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

VARIABLE = "MUSICSTAR_RESULTS_USERS"
FILE = "users"
SHORTEST, LONGEST = 10, 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
HASH = re.compile(r"\$argon2(id|i|d)\$v=\d+\$[A-Za-z0-9=,]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
HASHER = PasswordHasher()

_log = logging.getLogger(__name__)


class AccountError(ValueError):
    """An account that cannot be made or read; its message is for whoever keeps the server."""


def parse_users(text: str, *, source: str) -> dict[str, str]:
    """Names and hashes of entries `name:hash`, one a line or separated by semicolons.

    Empty entries and those that begin with # are passed over.

    Parameters
    ----------
    source : what the message names when an entry is faulty

    Raises
    ------
    AccountError : naming the entry by its number, and never what it holds
    """
    users = {}
    for number, line in enumerate(re.split(r"[;\n]", text), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, hashed = entry.partition(":")
        if not NAME.fullmatch(name) or not HASH.fullmatch(hashed):
            raise AccountError(
                f"{source}, entry {number}: expected name:hash with a hash by Argon2; "
                "`musicstar-survey user NAME` makes one."
            )
        users[name] = hashed
    return users


def user_line(name: str, password: str) -> str:
    """An entry `name:hash` for the environment variable or the file; raises AccountError where one does not fit."""
    if not NAME.fullmatch(name):
        raise AccountError(f"{name!r}: a name has 1 to 64 letters of A to Z, digits and . _ @ -, the first no sign.")
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccountError(f"The password has {len(password)} characters: expected {SHORTEST} to {LONGEST}.")
    return f"{name}:{HASHER.hash(password)}"


def write_user(folder: Path, name: str, password: str) -> Path:
    """Add an account to a folder's file, or give it a new password.

    Returns
    -------
    Path : the file, which only its owner may read

    Raises
    ------
    AccountError : the name or the password does not fit, or the file there is faulty
    """
    path = folder / FILE
    users = parse_users(path.read_text(encoding="utf-8"), source=str(path)) if path.exists() else {}
    users |= parse_users(user_line(name, password), source=name)
    folder.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{known}:{hashed}\n" for known, hashed in sorted(users.items()))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return path


class Accounts:
    """The accounts as they are now: the file is read again when it has changed.

    Parameters
    ----------
    folder : where the file lies; None for the environment's alone

    Raises
    ------
    AccountError : a faulty entry, at the start. One that appears later is logged, and the accounts known stay.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder is not None else None
        self._fixed = parse_users(os.environ.get(VARIABLE, ""), source=VARIABLE)
        self._stamp: tuple[int, int, int] | None = None
        self._users: Mapping[str, str] = {}
        # What a name that nobody has is measured against, so that it takes as long to be refused.
        self._nobody = HASHER.hash(secrets.token_hex(16))
        self._turn = threading.Lock()
        self._read()

    def users(self) -> Mapping[str, str]:
        """Names and hashes."""
        try:
            self._read()
        except AccountError as error:
            _log.warning("%s", error)
        return self._users

    def verify(self, name: str, password: str) -> bool:
        """Whether this is the password of that name; one check at a time, for each takes 64 MiB."""
        hashed = self.users().get(name)
        with self._turn:
            try:
                HASHER.verify(hashed or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None

    def _read(self) -> None:
        text, stamp = "", (0, 0, 0)
        if self._path is not None:
            try:
                status = self._path.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if stamp == self._stamp:
                    return
                text = self._path.read_text(encoding="utf-8")
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                raise AccountError(f"{self._path} cannot be read: {error}") from error
        if stamp != self._stamp:
            self._stamp = stamp
            self._users = {**parse_users(text, source=str(self._path)), **self._fixed}


@dataclass
class _Tries:
    failures: int = 0
    until_s: float = 0.0
    last_s: float = 0.0


@dataclass(frozen=True)
class Throttle:
    """How long somebody who keeps failing has to wait: twice as long each time.

    A try counts as failed until it is said to have succeeded, so that many at once gain nothing.

    Attributes
    ----------
    free : failures without a wait; the one after them costs a second
    longest_s : the longest wait
    forget_s : after so long without a try all is forgotten
    most : keys remembered; beyond it the oldest go
    """

    free: int = 5
    longest_s: float = 900.0
    forget_s: float = 3600.0
    most: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, _Tries] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def wait_s(self, key: str) -> float:
        """Seconds this key has still to wait, with nothing counted."""
        with self._lock:
            tries = self._known.get(key)
            return max(0.0, tries.until_s - self.clock()) if tries else 0.0

    def take(self, key: str) -> float:
        """Seconds this key has still to wait, or 0, and then the try is counted, as failed for the time being."""
        with self._lock:
            now_s = self.clock()
            tries = self._known.pop(key, None)
            if tries is None or now_s - tries.last_s > self.forget_s:
                tries = _Tries()
            self._known[key] = tries
            if tries.until_s > now_s:
                return tries.until_s - now_s
            tries.failures += 1
            tries.last_s = now_s
            # Bounded before the power is taken, which would outgrow a float after a thousand tries.
            over = min(tries.failures - self.free, 30)
            tries.until_s = now_s + min(2.0 ** (over - 1), self.longest_s) if over > 0 else 0.0
            while len(self._known) > self.most:
                self._known.pop(next(iter(self._known)))
            return 0.0

    def forgive(self, key: str) -> None:
        """Forget the tries of somebody who has succeeded."""
        with self._lock:
            self._known.pop(key, None)


def address_key(host: str) -> str:
    """What stands for a client's address: of IPv6 the network, for one client has all of it.

    Examples
    --------
    >>> address_key("203.0.113.7"), address_key("2001:db8:1:2:3:4:5:6")
    ('203.0.113.7', '2001:db8:1:2::/64')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
