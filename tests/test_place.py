"""Tests of survey/place.py: a survey's folder and database, by option and environment."""

from pathlib import Path

import pytest

from survey.place import place


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSICSTAR_SURVEY", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_the_folder_is_the_one_given_or_the_environments_or_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place().folder == Path("data")
    assert place().url == f"sqlite:///{tmp_path / 'data' / 'survey.sqlite'}"
    assert place().media == Path("data/media")
    monkeypatch.setenv("MUSICSTAR_SURVEY", "elsewhere")
    assert place().folder == Path("elsewhere")
    assert place("here").url == f"sqlite:///{tmp_path / 'here' / 'survey.sqlite'}"


@pytest.mark.parametrize("prefix", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_database_elsewhere(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{prefix}://ada:secret@host/survey")
    assert place("here").url == "postgresql+psycopg://ada:secret@host/survey"
    assert place("here").media == Path("here/media")


def test_the_store_is_made_in_its_folder(tmp_path: Path) -> None:
    store = place("new").store()
    assert store.studies() == ()
    store.close()
    assert (tmp_path / "new" / "survey.sqlite").is_file()
