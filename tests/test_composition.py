"""The whole application: the survey, its results and the studio under one roof."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

import app as program
from app import Settings
from survey.definition import load, write_lock

STUDY = """\
name = "tiny"
title = "Title"
welcome = "Hello"
consent = "Consent"
thanks = "Thanks"
trials_per_participant = 1
slots = 2
seed = 7
systems = [{ key = "a", title = "A" }, { key = "b", title = "B" }]
pieces = [{ key = "p1", title = "First" }]
directions = [{ key = "up", title = "Up" }]
criteria = [{ key = "content", title = "Content", question = "?", best = "best", worst = "worst" }]
[stimuli]
pattern = "{piece}.{direction}.{system}.wav"
"""
Visit = Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]]


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Visit], None]:
    """Visit the application, whose workers are not started."""
    monkeypatch.delenv("MUSICSTAR_RESULTS_USERS", raising=False)

    async def go(what: Visit) -> None:
        served = program.create_app(Settings(data=tmp_path / "data", survey=tmp_path / "survey"))
        try:
            transport = httpx.ASGITransport(app=served)
            async with httpx.AsyncClient(transport=transport, base_url="http://studio") as client:
                await what(client, served)
        finally:
            await served.state.survey.close()
            await served.state.desk.close()

    return lambda what: asyncio.run(go(what))


def paths(routes: list[BaseRoute], above: str = "") -> Iterator[str]:
    """Every path the application answers, with something in the place of its parameters."""
    for route in routes:
        if included := getattr(route, "original_router", None):
            yield from paths(included.routes, above)
            continue
        own = above + str(getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield from paths(list(getattr(route.app, "routes", [])), own)
        else:
            yield re.sub(r"\{[^}]*\}", "x", own)


def a_study(folder: Path) -> Path:
    """The file of a study of three clips."""
    folder.mkdir()
    path = folder / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    for seed, one in enumerate(load(path).stimuli):
        soundfile.write(one.path, np.random.default_rng(seed).normal(0, 0.01, 8_000), 8_000, subtype="PCM_24")
    write_lock(path)
    return path


def test_nothing_of_the_results_is_answered_without_a_login(visit: Callable[[Visit], None]) -> None:
    async def walk(client: httpx.AsyncClient, served: FastAPI) -> None:
        routes = sorted(path for path in paths(served.routes) if path.startswith("/results"))
        assert len(routes) > 20
        assert "/results/gradio_api/queue/join" in routes
        for path in routes:
            for method in ("GET", "POST", "PUT", "DELETE"):
                if path == "/results/login" and method in ("GET", "POST"):
                    continue
                answer = await client.request(method, path, json={})
                assert answer.status_code in (303, 307, 401, 404, 405), f"{method} {path} gave {answer.status_code}"
        (results,) = (r.app for r in served.routes if isinstance(r, Mount) and r.path == "/results")
        events = list(results.get_blocks().fns)  # type: ignore[attr-defined]
        assert len(events) > 5
        for number in events:
            asked = {"fn_index": number, "data": [], "session_hash": "x"}
            for path in ("queue/join", "run/predict", "api/predict"):
                assert (await client.post(f"/results/gradio_api/{path}", json=asked)).status_code in (401, 404)

    visit(walk)


def test_the_pages_keep_their_query_where_the_slash_is_left_out(visit: Callable[[Visit], None]) -> None:
    async def ask(client: httpx.AsyncClient, _: FastAPI) -> None:
        answer = await client.get("/survey?study=a&participant=b")
        assert (answer.status_code, answer.headers["location"]) == (307, "/survey/?study=a&participant=b")
        assert (await client.get("/results")).headers["location"] == "/results/login"

    visit(ask)


def test_each_page_has_its_own_head(visit: Callable[[Visit], None]) -> None:
    async def ask(client: httpx.AsyncClient, _: FastAPI) -> None:
        for path, title in (("/", "Music-STAR studio"), ("/survey/", "Listening survey"), ("/results/login", "Log in")):
            page = await client.get(path)
            assert page.status_code == 200
            assert f"<title>{title}" in page.text
            assert page.headers["content-security-policy"].startswith("default-src 'self'")

    visit(ask)


def test_the_survey_says_that_there_is_no_study_yet(visit: Callable[[Visit], None]) -> None:
    async def ask(client: httpx.AsyncClient, _: FastAPI) -> None:
        body = {"study": "music-star", "participant": "", "language": "en", "preview": False}
        answer = await client.post("/survey/api/open", json=body)
        assert answer.status_code == 404
        assert "no such study" in answer.json()["error"]

    visit(ask)


@pytest.mark.parametrize("database", ["", "sqlite:///answers.sqlite"])
def test_the_study_is_built_into_the_survey_that_is_served(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "BUILD_AFTER_S", 0.0)
    monkeypatch.setattr(program, "STUDY", str(a_study(tmp_path / "study")))
    monkeypatch.setenv("MUSICSTAR_SURVEY", "of another program")
    if database:
        monkeypatch.setenv("DATABASE_URL", database)

    async def build() -> None:
        survey = program._Survey(Path("mine"))
        survey.open()
        assert survey._building is not None
        await survey._building
        built = survey.store.latest("tiny")
        assert built is not None
        names = {f"{one.media}.wav" for one in survey.store.stimuli(built.id)}
        assert names == {path.name for path in (tmp_path / "mine" / "media").iterdir()}
        await survey.close()

    asyncio.run(build())
    assert (tmp_path / ("answers.sqlite" if database else "mine/survey.sqlite")).is_file()
    assert (tmp_path / "mine" / "survey.sqlite").is_file() is not bool(database)
    assert not (tmp_path / "of another program").exists()
