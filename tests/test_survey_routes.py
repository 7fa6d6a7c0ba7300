"""The participants' HTTP interface: the whole way through, what is refused, what is kept, who may hear what."""

import asyncio
import os
import re
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from survey import routes
from tests import postgres
from tests.bad_payloads import attack
from tests.survey_study import RATE, Tiny, Visitor, tiny

EXAMPLES = int(os.environ.get("MUSICSTAR_BAD_PAYLOADS", "1000"))


BOTH = pytest.mark.parametrize("survey", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


@pytest.fixture
def survey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tiny]:
    """The small test on SQLite, or where the test asks for both databases on either."""
    elsewhere = getattr(request, "param", "") == "postgresql"
    made = tiny(tmp_path, url=request.getfixturevalue("server").database() if elsewhere else "")
    yield made
    made.store.close()


@pytest.fixture
def visitor(survey: Tiny) -> Visitor:
    """Through all that comes before the trials, both of which they have heard."""
    one = survey.visitor().open("x").prepare()
    for trial in one.state["trials"]:
        one.hear(trial)
    return one


def responses(survey: Tiny) -> int:
    return len(survey.store.history("tiny").tables["response"])


@BOTH
def test_the_whole_way_through(survey: Tiny) -> None:
    visitor = survey.visitor().open("PANEL-17")
    state = visitor.state
    assert (state["participant"], state["generation"], state["complete"]) == ("PANEL-17", 0, False)
    assert (state["study"], state["language"], state["languages"], state["preview"]) == ("tiny", "en", ["en"], False)
    assert state["consent"] == {"text": "I take part of my own will.", "given": False}
    assert state["background"]["questions"][0] == {
        "key": "experience",
        "text": "How long have you played?",
        "kind": "choice",
        "options": [{"key": "none", "text": "Not at all"}, {"key": "long", "text": "For years"}],
        "required": True,
    }
    assert state["sound"]["headphone_check"] is True
    assert state["words"] == {"next": "On"}
    assert [one["key"] for one in state["criteria"]] == ["content", "style"]
    visitor.prepare()
    state = visitor.state
    assert state["consent"]["given"]
    assert state["background"]["answers"] == {"experience": "long", "age": 30}
    assert state["sound"]["done"]
    visitor.rank_all()
    assert visitor.finish() == {"code": "DONE", "url": "", "thanks": "Thank you."}
    again = visitor.client.get("/survey/api/state").json()
    assert again["complete"]
    assert again["finish"]["code"] == "DONE"
    assert again["participant"] == "PANEL-17"
    assert all(all(trial["answered"].values()) for trial in again["trials"])
    # The end can be asked for again, but nothing more is taken.
    assert visitor.finish()["code"] == "DONE"
    late = visitor.post("answers", visitor.body(state["trials"][1], "content"))
    assert (late.status_code, late.json()["reload"]) == (409, True)


def test_whoever_comes_without_an_id_is_given_one(survey: Tiny) -> None:
    first, second = survey.visitor().open(), survey.visitor().open()
    names = {first.state["participant"], second.state["participant"]}
    assert len(names) == 2
    assert all(re.fullmatch(r"[\w-]{12}", name) for name in names)
    again = survey.visitor().open(first.state["participant"])
    assert again.state["trials"] == first.state["trials"]


@BOTH
def test_a_receipt_comes_again_for_the_same_answer(survey: Tiny, visitor: Visitor) -> None:
    body = visitor.body(visitor.state["trials"][1], "content")
    first = visitor.done("answers", body)
    assert first == {
        "submission": body["submission"],
        "revision": 1,
        "generation": body["generation"] + 1,
        "complete": False,
    }
    assert visitor.done("answers", body) == first
    assert visitor.done("answers", {**body, "generation": body["generation"] + 1}) == first
    assert responses(survey) == 1
    items = list(body["ranks"])
    for changes in (
        {"ranks": dict(zip(items, (2, 1, 3), strict=True))},
        {"criterion": "style"},
        {"elapsed_ms": 1},
        {"trial": visitor.state["trials"][2]["id"]},
    ):
        other = visitor.post("answers", {**body, **changes})
        assert (other.status_code, other.json()["reload"]) == (409, False)
    assert responses(survey) == 1


def test_the_last_answer_says_that_it_is_the_last(visitor: Visitor) -> None:
    receipts = [
        visitor.done("answers", visitor.body(trial, criterion))["complete"]
        for trial in visitor.state["trials"]
        for criterion in trial["criteria"]
    ]
    assert receipts == [False, False, False, False, True]
    again = visitor.done("answers", visitor.body(visitor.state["trials"][1], "style"))
    assert (again["revision"], again["complete"]) == (2, True)


def test_a_stale_tab_is_told_to_reload(survey: Tiny, visitor: Visitor) -> None:
    trial = visitor.state["trials"][1]
    old = visitor.body(trial, "style")
    visitor.done("answers", visitor.body(trial, "content"))
    for step, body in (
        ("answers", old),
        ("sound", {"volume": 1, "headphones": "fail", "answers": [], "generation": old["generation"]}),
        ("finish", {"generation": old["generation"]}),
    ):
        answer = visitor.post(step, body)
        assert (answer.status_code, answer.json()["reload"]) == (409, True)
    assert responses(survey) == 1


def test_drafts_keep_the_latest_and_vanish_behind_the_answer(visitor: Visitor) -> None:
    trial = visitor.state["trials"][1]
    first, second, _ = (clip["item"] for clip in trial["clips"])
    base = {"trial": trial["id"], "criterion": "style"}
    for ranks, sequence in (({first: 1}, 5), ({second: 1}, 4), ({first: 3, second: 2}, 6), ({}, 2)):
        assert visitor.done("draft", {**base, "ranks": ranks, "sequence": sequence}) == {"saved": True}
    visitor.open("x")
    assert visitor.state["trials"][1]["drafts"] == {"style": {"ranks": {first: 3, second: 2}, "sequence": 6}}
    visitor.done("answers", visitor.body(trial, "style"))
    visitor.done("draft", {**base, "ranks": {first: 1}, "sequence": 9})
    visitor.open("x")
    assert visitor.state["trials"][1]["drafts"] == {}
    assert "ranks" not in str(visitor.state["trials"][1])


@BOTH
def test_what_was_not_heard_is_not_ranked(survey: Tiny) -> None:
    visitor = survey.visitor().open("x").prepare()
    one, other = visitor.state["trials"][1:]
    heard = [clip["item"] for clip in one["clips"]]
    event = {"trial": one["id"], "at_ms": 1, "position_s": 0}
    visitor.done("events", {"events": [{**event, "item": heard[0], "kind": "heard"}]})
    visitor.done("events", {"events": [{**event, "item": heard[1], "kind": "play"}]})
    visitor.hear(other)
    answer = visitor.post("answers", visitor.body(one, "content"))
    assert (answer.status_code, answer.json()["field"]) == (422, f"ranks.{heard[1]}")
    assert responses(survey) == 0
    later = [{**event, "item": item, "kind": "heard"} for item in heard]
    # What was heard before is not kept twice.
    assert visitor.done("events", {"events": later}) == {"kept": 2}
    visitor.done("answers", visitor.body(one, "content"))


def test_events_without_a_clip_are_kept(visitor: Visitor) -> None:
    event = {"trial": visitor.state["trials"][1]["id"], "at_ms": 1.5, "position_s": 0}
    rows = [
        {**event, "kind": "order"},
        {**event, "kind": "loop", "item": ""},
        {**event, "kind": "pause", "item": "gold", "position_s": -0.02},
    ]
    assert visitor.done("events", {"events": rows}) == {"kept": 3}
    assert visitor.done("events", {"events": []}) == {"kept": 0}


def test_answers_to_other_peoples_trials_are_refused(survey: Tiny, visitor: Visitor) -> None:
    other = survey.visitor().open("other").prepare()
    theirs = other.state["trials"][1]
    mine = visitor.state["trials"][1]
    wrong: list[tuple[dict[str, Any], str]] = [
        (visitor.body(theirs, "content"), "trial"),
        ({**visitor.body(mine, "content"), "ranks": visitor.body(theirs, "content")["ranks"]}, "ranks"),
        (visitor.body(visitor.state["trials"][0], "style"), "criterion"),
        (visitor.body(mine, "mood"), "criterion"),
    ]
    for body, field in wrong:
        answer = visitor.post("answers", body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    event = {"trial": theirs["id"], "item": "gold", "kind": "heard", "at_ms": 1, "position_s": 0}
    assert visitor.post("events", {"events": [event]}).json()["field"] == "events.0.trial"
    draft = {"trial": theirs["id"], "criterion": "style", "ranks": {}, "sequence": 1}
    assert visitor.post("draft", draft).json()["field"] == "trial"
    assert responses(survey) == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda first, second: {first: 1, second: 1}, "second"),
        (lambda first, second: {first: 4}, "first"),
        (lambda first, second: {first: 0}, "first"),
        (lambda first, second: {first: True}, "first"),
        (lambda first, second: {first: "1"}, "first"),
        (lambda first, second: {first: 1.0}, "first"),
        (lambda first, second: {first: None}, "first"),
    ],
)
def test_a_ranking_with_a_fault_is_refused_with_its_item(
    survey: Tiny, visitor: Visitor, change: Any, field: str
) -> None:
    trial = visitor.state["trials"][1]
    first, second, _ = (clip["item"] for clip in trial["clips"])
    body = visitor.body(trial, "content")
    answer = visitor.post("answers", {**body, "ranks": {**body["ranks"], **change(first, second)}})
    named = {"first": first, "second": second}[field]
    assert (answer.status_code, answer.json()["field"]) == (422, f"ranks.{named}")
    short = visitor.post("answers", {**body, "ranks": {first: 1, second: 2}})
    assert (short.status_code, short.json()["field"][:6]) == (422, "ranks.")
    assert responses(survey) == 0


def test_recordings_are_heard_only_by_those_whose_trials_have_them(survey: Tiny) -> None:
    visitor = survey.visitor().open("x")
    trials = visitor.state["trials"]
    mine = {trial["gold"]["src"] for trial in trials} | {clip["src"] for trial in trials for clip in trial["clips"]}
    assert visitor.state["sound"]["volume_src"] in mine
    for src in mine:
        answer = visitor.client.get(src)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
        assert answer.headers["cache-control"].startswith("private")
        assert "content-disposition" not in answer.headers
        assert len(answer.content) == 44 + RATE // 4 * 2
    part = visitor.client.get(src, headers={"range": "bytes=44-143"})
    assert (part.status_code, len(part.content)) == (206, 100)
    assert visitor.client.head(src).headers["content-length"] == str(44 + RATE // 4 * 2)
    everything = {f"/survey/media/{one.media}" for one in survey.store.stimuli(survey.version.id)}
    stranger = TestClient(survey.app)
    for src in everything - mine:
        assert visitor.client.get(src).status_code == 404
    for src in mine:
        refusal = stranger.get(src)
        assert (refusal.status_code, refusal.json()["error"]) == (404, "There is no such recording.")
    for name in ("0" * 32, "x", "..%2f..%2fsurvey.sqlite", "A" * 32):
        assert visitor.client.get(f"/survey/media/{name}").status_code == 404


def test_the_cookie(survey: Tiny) -> None:
    client = TestClient(survey.app, base_url="https://survey")
    Visitor(client).open("x")
    body = b'{"study": "tiny", "participant": "y", "language": "", "preview": false}'
    header = client.post("/survey/api/open", content=body).headers["set-cookie"]
    for part in ("ms_survey=", "HttpOnly", "Path=/survey", "SameSite=lax", "Secure"):
        assert part in header
    plain = TestClient(survey.app, base_url="http://survey").post("/survey/api/open", content=body)
    assert "Secure" not in plain.headers["set-cookie"]


@pytest.mark.parametrize("cookie", ["", "x", "x.y", ".", "\xff.\xff", "a" * 3000, "x.PLAIN"])
def test_without_a_token_that_is_known_there_is_nothing(survey: Tiny, cookie: str) -> None:
    survey.visitor().open("x")
    headers = {b"cookie": f"ms_survey={cookie}".encode("latin-1")} if cookie else {}
    stranger = TestClient(survey.app)
    answer = stranger.get("/survey/api/state", headers=headers)
    assert (answer.status_code, answer.json()["reload"]) == (401, True)
    bodies: dict[str, dict[str, Any]] = {
        "consent": {"agreed": True, "language": "en", "generation": 0},
        "background": {"answers": {}, "generation": 0},
        "sound": {"volume": 1, "headphones": "pass", "answers": [], "generation": 0},
        "draft": {"trial": "0" * 32, "criterion": "style", "ranks": {}, "sequence": 0},
        "events": {"events": []},
        "answers": {
            "submission": uuid.uuid4().hex,
            "trial": "0" * 32,
            "criterion": "style",
            "ranks": {},
            "generation": 0,
            "elapsed_ms": 0,
        },
        "finish": {"generation": 0},
    }
    for step, body in bodies.items():
        answer = stranger.post(f"/survey/api/{step}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["reload"]) == (401, True), step


def test_the_name_in_a_cookie_is_believed_only_where_it_is_right(survey: Tiny) -> None:
    visitor = survey.visitor().open("x")
    token = visitor.client.cookies["ms_survey"].partition(".")[0]
    forged = TestClient(survey.app).get("/survey/api/state", headers={"cookie": f"ms_survey={token}.ZXZpbA"})
    assert (forged.status_code, forged.json()["participant"]) == (200, "")


def test_other_sites_and_large_bodies_are_refused(visitor: Visitor) -> None:
    body = visitor.body(visitor.state["trials"][1], "content")
    foreign = visitor.client.post("/survey/api/answers", json=body, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    large = visitor.post("answers", b" " * 64_001)
    assert (large.status_code, large.json()["error"]) == (413, "The request is larger than 64 kB.")
    assert visitor.client.get("/survey/api/answers").status_code == 405


def test_work_that_waits_too_long_is_refused(
    survey: Tiny, visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "QUEUE_S", 0.2)
    cookies = dict(visitor.client.cookies)
    bodies = [visitor.body(visitor.state["trials"][1], "content") for _ in range(6)]
    other = sqlite3.connect(tmp_path / "survey.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def send_all() -> tuple[int, list[int], list[int]]:
        transport = httpx.ASGITransport(app=survey.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://survey", cookies=cookies) as client:
            answers = [asyncio.create_task(client.post("/survey/api/answers", json=body)) for body in bodies]
            state = await client.get("/survey/api/state")
            early, _ = await asyncio.wait(answers, timeout=1.0)
            other.execute("ROLLBACK")
            late = await asyncio.gather(*(answer for answer in answers if answer not in early))
            codes = [one.result().status_code for one in early]
            return state.status_code, codes, sorted(one.status_code for one in late)

    # Two are let through, of which one is taken and the other is then behind it; four have waited long enough. What
    # only reads goes past them all.
    assert asyncio.run(send_all()) == (200, [503] * 4, [200, 409])
    other.close()
    assert responses(survey) == 1


def test_the_same_answer_twice_at_once_is_kept_once(survey: Tiny, visitor: Visitor) -> None:
    cookies = dict(visitor.client.cookies)
    body = visitor.body(visitor.state["trials"][1], "content")

    async def send_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=survey.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://survey", cookies=cookies) as client:
            return await asyncio.gather(*(client.post("/survey/api/answers", json=body) for _ in range(20)))

    answers = asyncio.run(send_all())
    assert {one.status_code for one in answers} == {200}
    assert len({one.text for one in answers}) == 1
    assert responses(survey) == 1


def test_bad_requests_write_nothing_and_break_nothing(survey: Tiny, visitor: Visitor, tmp_path: Path) -> None:
    told = attack(visitor, tmp_path / "survey.sqlite", examples=EXAMPLES)
    assert sum(told.values()) >= EXAMPLES
    assert {409, 422} <= set(told)
    # After all of that the participant goes on as if nothing had been.
    visitor.done("answers", visitor.body(visitor.state["trials"][1], "content"))
