"""Files that are there whole or not at all: written beside their place under another name, then renamed."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_S = 2 * 3600.0
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path to write to; it becomes `path` when the block ends, and is removed where it raises.

    The temporary file lies in the same folder, which must be there, and begins with a dot. It has the same suffix,
    as some writers take their format from it. The file can be read by all (mode 0644).

    Raises
    ------
    OSError
        The folder is missing or cannot be written to, or `path` is a folder; as `open` would.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".writing-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file, whole or not at all; raises OSError as `whole` does."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def clear(folder: Path, names: str = ".writing-*") -> None:
    """Remove what processes that were ended have left behind in a folder: what has such a name and is hours old."""
    for left in folder.glob(names):
        # Others may do the same.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def printable(name: str) -> str:
    r"""A file's name in one line that UTF-8 can hold: control characters and stray bytes are written out, as in Python.

    Examples
    --------
    >>> printable("caf\udce9\n")
    'caf\\xe9\\n'
    """
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
