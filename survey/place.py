"""Where a survey is kept: a folder with its clips and accounts, and its database."""

import os
from dataclasses import dataclass
from pathlib import Path

from db.store import Store

FOLDER_VARIABLE = "MUSICSTAR_SURVEY"
DATABASE_VARIABLE = "DATABASE_URL"
DEFAULT_FOLDER = "data"


@dataclass(frozen=True)
class Place:
    """A survey's folder and the address of its database."""

    folder: Path
    url: str

    @property
    def media(self) -> Path:
        """The folder of the clips that participants get."""
        return self.folder / "media"

    def store(self) -> Store:
        """The database, brought to the newest schema; raises StoreError."""
        store = Store(self.url)
        store.upgrade()
        return store


def place(folder: str | Path | None = None) -> Place:
    """The place in a folder, its database a file there; without a folder the one that the environment names."""
    if folder:
        return _place(folder, "")
    return shared(os.environ.get(FOLDER_VARIABLE, "") or DEFAULT_FOLDER)


def shared(folder: str | Path) -> Place:
    """The place in a folder with the database that `DATABASE_URL` names, or else a file there."""
    return _place(folder, os.environ.get(DATABASE_VARIABLE, ""))


def _place(folder: str | Path, url: str) -> Place:
    # A process that this one starts can have another working folder.
    absolute = Path(folder).absolute()
    return Place(absolute, url or f"sqlite:///{absolute / 'survey.sqlite'}")
