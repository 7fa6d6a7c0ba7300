"""The results' files where the database is out of reach, and of a study that has had several versions."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from db.records import NotSaved
from survey.ui import downloads
from tests.survey_study import add_version, tiny, tiny_study


@pytest.mark.parametrize("reads", ["versions", "rankings"])
def test_a_database_out_of_reach_is_a_sentence(reads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = tiny(tmp_path)
    app = FastAPI()
    app.include_router(downloads.router(survey.store, researcher=lambda _: "ada"))

    def fail(*_: object) -> None:
        raise NotSaved("The database cannot be read.")

    monkeypatch.setattr(survey.store, reads, fail)
    answer = TestClient(app).get("/results/export/tiny/rankings.csv")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The database cannot be read.")
    survey.store.close()


def test_the_codebook_is_of_all_versions(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    add_version(survey.store, tiny_study(background=()), tmp_path / "media")
    app = FastAPI()
    app.include_router(downloads.router(survey.store, researcher=lambda _: "ada"))
    client = TestClient(app)
    told = client.get("/results/export/tiny/codebook.md").text.split("\n## Version ")
    assert ["### Question `experience`" in version for version in told[1:]] == [True, False]
    assert client.get("/results/export/tiny/everything.zip").status_code == 200
    survey.store.close()
