"""The whole application: the survey, its results and the studio under one roof."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

import app as program
from app import Settings

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
