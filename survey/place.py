"""Where a survey is kept: a folder with its clips and accounts, and its database."""

import os
from dataclasses import dataclass
from pathlib import Path

from db.store import Store

FOLDER_VARIABLE = "MUSICSTAR_SURVEY"
DATABASE_VARIABLE = "DATABASE_URL"
DEFAULT_FOLDER = "data"
# What hosts name the same thing; SQLAlchemy takes the driver from the name.
POSTGRES = ("postgres://", "postgresql://")


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
    """The place in a folder, or else in the one that the environment names, or else `data`.

    The database is the one that `DATABASE_URL` names, or else a file in the folder.
    """
    chosen = Path(folder or os.environ.get(FOLDER_VARIABLE, "") or DEFAULT_FOLDER)
    url = os.environ.get(DATABASE_VARIABLE, "") or f"sqlite:///{(chosen / 'survey.sqlite').absolute()}"
    for prefix in POSTGRES:
        if url.startswith(prefix):
            url = f"postgresql+psycopg://{url.removeprefix(prefix)}"
    return Place(chosen, url)
