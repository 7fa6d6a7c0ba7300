"""What is acknowledged is kept: a locked database, a full disk, a server killed while it writes."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from db.store import Store
from tests import postgres
from tests.survey_study import Tiny, Visitor, tiny

ROOT = Path(__file__).resolve().parent.parent
# A process that answers as fast as it can, and says what was acknowledged only once it was.
ANSWERS = """
import sys
from pathlib import Path
from tests.survey_study import tiny
survey = tiny(Path(sys.argv[1]))
visitor = survey.visitor().open(sys.argv[2]).prepare()
trial = visitor.state["trials"][1]
visitor.hear(trial)
LIMIT
while True:
    body = visitor.body(trial, "content")
    answer = visitor.post("answers", body)
    if answer.status_code != 200:
        print("refused", answer.status_code, answer.json()["error"], flush=True)
        break
    print("kept", body["submission"], flush=True)
    visitor.state["generation"] = answer.json()["generation"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


def submissions(store: Store) -> list[str]:
    """Those whose ranking is whole and current, or was."""
    statement = "SELECT r.submission FROM response r JOIN rank_item i ON i.response_id = r.id GROUP BY r.id HAVING "
    with store.reading() as connection:
        return list(connection.execute(text(statement + "count(*) = 3 AND min(i.rank) = 1")).scalars())


def ready(survey: Tiny) -> tuple[Visitor, list[dict[str, object]]]:
    """A participant who has heard all of the first ranked trial, and two answers to it."""
    visitor = survey.visitor().open("waits").prepare()
    trial = visitor.state["trials"][1]
    visitor.hear(trial)
    return visitor, [visitor.body(trial, criterion) for criterion in trial["criteria"]]


@pytest.mark.parametrize("step", ["answers", "draft", "events", "open", "consent", "finish"])
def test_a_locked_database_takes_nothing_and_says_so(tmp_path: Path, step: str) -> None:
    survey = tiny(tmp_path, patience_s=0.2)
    visitor, (body, _) = ready(survey)
    generation = visitor.state["generation"]
    bodies: dict[str, dict[str, object]] = {
        "answers": body,
        "draft": {"trial": body["trial"], "criterion": "style", "ranks": {}, "sequence": 1},
        "events": {"events": [{"trial": body["trial"], "item": "gold", "kind": "play", "at_ms": 1, "position_s": 0}]},
        "open": {"study": "tiny", "participant": "new", "language": "en", "preview": False},
        "consent": {"agreed": True, "language": "en", "generation": generation},
        "finish": {"generation": generation},
    }
    other = sqlite3.connect(tmp_path / "survey.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = visitor.post(step, bodies[step])
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("Not saved")
    assert answer.json()["reload"] is False
    # Reading goes on meanwhile.
    assert visitor.client.get("/survey/api/state").json()["generation"] == generation
    other.execute("ROLLBACK")
    other.close()
    assert submissions(survey.store) == []
    assert visitor.post("answers", body).status_code == 200
    assert submissions(survey.store) == [body["submission"]]
    survey.store.close()


def test_a_lock_held_on_postgresql_is_not_waited_for_without_end(tmp_path: Path, server: postgres.Server) -> None:
    survey = tiny(tmp_path, url=server.database(), patience_s=0.3)
    visitor, (body, _) = ready(survey)
    with survey.store.writing() as other:
        other.execute(text("SELECT id FROM session FOR UPDATE"))
        answer = visitor.post("answers", body)
    assert (answer.status_code, answer.json()["error"][:9]) == (503, "Not saved")
    assert submissions(survey.store) == []
    assert visitor.post("answers", body).status_code == 200
    survey.store.close()


def test_a_server_that_is_gone_is_said_not_to_have_saved(tmp_path: Path) -> None:
    with postgres.serving() as brief:
        survey = tiny(tmp_path, url=brief.database(), patience_s=0.5)
        visitor, (body, _) = ready(survey)
    for answer in (visitor.post("answers", body), visitor.client.get("/survey/api/state")):
        assert answer.status_code == 503
    survey.store.close()


def test_a_full_database_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    visitor, _ = ready(survey)
    trial = visitor.state["trials"][1]
    with survey.store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    room = [pages + 6]

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={room[0]}").close()

    event.listen(survey.store._engine, "connect", limit)
    survey.store.close()
    kept = []
    for _ in range(2000):
        body = visitor.body(trial, "content")
        answer = visitor.post("answers", body)
        if answer.status_code != 200:
            break
        kept.append(body["submission"])
        visitor.state["generation"] = answer.json()["generation"]
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("Not saved")
    assert len(kept) > 5
    assert sorted(submissions(survey.store)) == sorted(kept)
    # Once there is room the very same answer is taken, as if it were sent for the first time.
    room[0] = 1_000_000
    survey.store.close()
    assert visitor.post("answers", body).json()["revision"] == len(kept) + 1
    assert visitor.post("answers", body).json()["revision"] == len(kept) + 1
    survey.store.close()


def run(folder: Path, name: str, *, limit: str = "") -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", ANSWERS.replace("LIMIT", limit), str(folder), name]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})


def test_a_full_disk_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    limit = (
        "import resource\n"
        "size = (Path(sys.argv[1]) / 'survey.sqlite-wal').stat().st_size + 300_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))"
    )
    with run(tmp_path, "full", limit=limit) as process:
        assert process.stdout is not None
        *lines, last = process.stdout.read().splitlines()
    assert last.startswith("refused 503 Not saved")
    kept = [line.split()[1] for line in lines]
    assert len(kept) > 5
    survey = tiny(tmp_path)
    assert sorted(submissions(survey.store)) == sorted(kept)
    # With room again the participant goes on.
    visitor = survey.visitor().open("full")
    assert visitor.state["generation"] == 3 + len(kept)
    assert visitor.post("answers", visitor.body(visitor.state["trials"][1], "content")).status_code == 200
    survey.store.close()


@pytest.mark.parametrize("patience", [2, 9])
def test_a_server_killed_while_it_writes_keeps_what_it_acknowledged(tmp_path: Path, patience: int) -> None:
    acknowledged: list[str] = []
    for life in range(2):
        with run(tmp_path, f"life{life}") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("kept"):
                    acknowledged.append(line.split()[1])
                if len(acknowledged) >= patience * (life + 1):
                    break
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.split()[1] for line in process.stdout if line.startswith("kept")]
    store = Store(f"sqlite:///{tmp_path / 'survey.sqlite'}")
    kept = submissions(store)
    assert set(acknowledged) <= set(kept)
    # What was written but not acknowledged is at most the one under way in each life.
    assert len(kept) == len(set(kept)) <= len(acknowledged) + 2
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").first() is None
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    store.close()
