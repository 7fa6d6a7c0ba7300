"""The audit on SQLite and on PostgreSQL: which study a row is about, and what of it leaves with a study."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import Store
from tests import postgres
from tests.survey_study import Tiny, add_version, tiny, tiny_study


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def survey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tiny]:
    url = request.getfixturevalue("server").database() if request.param == "postgresql" else ""
    made = tiny(tmp_path, url=url)
    yield made
    made.store.close()


def test_the_audit_of_a_study_goes_with_it_and_no_other(survey: Tiny, tmp_path: Path) -> None:
    survey.visitor().open("x")
    add_version(survey.store, tiny_study("second"), survey.desk.media)
    session = survey.store.participants("tiny").session[0]
    survey.store.exclude(session, reason="second: no", author="ada")
    for action, detail, study in (
        ("find", session, "tiny"),
        ("find", "nobody", "tiny"),
        ("import", "second", "tiny"),
        ("export", "all.zip", "second"),
        ("login", "tiny", ""),
        ("login refused", "second", ""),
        ("look", "elsewhere", "nowhere"),
    ):
        survey.store.audit("ada", action, detail, study=study)
    told = {name: survey.store.history(name).tables["audit"] for name in ("tiny", "second")}
    assert [row["action"] for row in told["tiny"]] == ["exclude", "find", "find", "import"]
    assert [row["action"] for row in told["second"]] == ["export"]
    other = Store(f"sqlite:///{tmp_path / 'new.sqlite'}")
    other.upgrade()
    for name, rows in told.items():
        other.restore(survey.store.history(name))
        # Rows are numbered on, and stay with their study.
        assert [row["action"] for row in other.history(name).tables["audit"]] == [row["action"] for row in rows]
    assert len(other.audits()) == 5
    other.close()
