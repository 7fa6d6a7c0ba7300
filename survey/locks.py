"""Lock files: the sha256 of every stimulus of a study, as JSON beside it."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from survey.tables import Document

SHA256 = re.compile(r"[0-9a-f]{64}")


def lock_path(path: str | Path) -> Path:
    """The lock file of a study's file."""
    return Path(path).with_suffix(".lock.json")


def read_lock(path: Path, document: Document) -> dict[str, str]:
    """The hashes by file name; none where there is no lock file, and a fault where it is not sound."""
    lock = lock_path(path)
    try:
        table = json.loads(lock.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        document.note((), f"{lock.name} cannot be read ({error}); `musicstar-survey lock` writes it")
        return {}
    if isinstance(table, dict) and all(isinstance(value, str) and SHA256.fullmatch(value) for value in table.values()):
        return table
    document.note((), f"{lock.name} is not a table of hashes; `musicstar-survey lock` writes it")
    return {}


def write_hashes(path: str | Path, hashes: Mapping[str, str]) -> Path:
    """Write the lock file of a study, whole or not at all; raises OSError."""
    lock = lock_path(path)
    temporary = lock.with_name(f".writing-{lock.name}")
    temporary.write_text(json.dumps(hashes, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(lock)
    return lock


def sha256_of(path: Path) -> str:
    """The hash of a file, hexadecimal; raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
