"""Tests of survey/place.py: a survey's folder and database, by option and environment."""

from pathlib import Path

import pytest

from db.store import Store
from survey.place import place, shared


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSICSTAR_SURVEY", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_the_folder_is_the_one_given_or_the_environments_or_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place().folder == tmp_path / "data"
    assert place().url == f"sqlite:///{tmp_path / 'data' / 'survey.sqlite'}"
    assert place().media == tmp_path / "data" / "media"
    monkeypatch.setenv("MUSICSTAR_SURVEY", "elsewhere")
    assert place().folder == tmp_path / "elsewhere"
    assert place("here").url == f"sqlite:///{tmp_path / 'here' / 'survey.sqlite'}"


def test_a_database_elsewhere_is_that_of_the_environments_folder_and_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://ada:secret@host/survey")
    assert place().url == shared("here").url == "postgres://ada:secret@host/survey"
    assert shared("here").media == tmp_path / "here" / "media"
    assert place("here").url == f"sqlite:///{tmp_path / 'here' / 'survey.sqlite'}"


def test_the_working_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    places = [place("data"), shared("data")]
    store = Store("sqlite:///survey.sqlite")
    monkeypatch.chdir("other")
    assert [one.folder for one in places] == [tmp_path / "data"] * 2
    assert store.url.database == str(tmp_path / "survey.sqlite")


def test_the_store_is_made_in_its_folder(tmp_path: Path) -> None:
    store = place("new").store()
    assert store.studies() == ()
    store.close()
    assert (tmp_path / "new" / "survey.sqlite").is_file()
