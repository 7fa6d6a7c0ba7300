"""The results page of a small survey, with researchers who have logged in."""

import asyncio
import re
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.testclient import TestClient

from db.store import Store
from survey.accounts import write_user
from survey.analysis import work_out
from survey.analyst import Analyst
from survey.definition import ExclusionRule
from survey.login import Gate, Login
from survey.ui import downloads, results
from tests.survey_study import Tiny, tiny_study

PASSWORD = "correct horse battery"
PARTICIPANTS = 12
EVIL = "<img src=x onerror=alert(1)> ${1+1} =1+1"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Inline(Analyst):
    """Works out everything in this process, which is what most tests are about."""

    def _submit(self, *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(work_out(*arguments))
        except ValueError as error:
            future.set_exception(error)
        return future


@dataclass
class Site:
    survey: Tiny
    app: FastAPI
    page: gr.Blocks
    login: Login

    @property
    def store(self) -> Store:
        return self.survey.store

    def visitor(self) -> TestClient:
        return TestClient(self.app, base_url="http://survey", follow_redirects=False)

    def researcher(self, name: str = "ada") -> "Researcher":
        client = self.visitor()
        mark = re.search(r'name="form" value="(\w+)"', client.get("/results/login").text)
        assert mark
        answer = client.post("/results/login", data={"name": name, "password": PASSWORD, "form": mark[1]})
        assert answer.status_code == 303
        return Researcher(client, self.page)

    def sessions(self, **wanted: Any) -> list[str]:
        rows = self.store.participants("tiny")
        for name, value in wanted.items():
            rows = rows[rows[name] == value]
        return list(rows["session"])


@dataclass
class Researcher:
    """A researcher's browser; `trouble` is what the page said of the database after the latest event."""

    client: TestClient
    page: gr.Blocks
    trouble: str = ""

    def event(self, name: str, *data: Any, asked: Any = None, query: str = "", status: int = 200) -> list[Any]:
        """Call one of the page's events as its browser side does."""
        number = next(n for n, fn in self.page.fns.items() if fn.name == name)
        body = {"fn_index": number, "data": list(data), "event_data": asked, "session_hash": "abc"}
        answer = self.client.post(f"/results/gradio_api/run/predict{query}", json=body)
        assert answer.status_code == status, answer.text
        if status != 200:
            return []
        *told, trouble = answer.json()["data"]
        self.trouble = trouble
        return list(told)


def build_site(survey: Tiny, folder: Path) -> Site:
    async def build() -> Site:
        return compose(survey, folder)

    # Where no loop runs, Gradio makes loops that nobody closes.
    return asyncio.run(build())


def compose(survey: Tiny, folder: Path) -> Site:
    write_user(folder, "ada", PASSWORD)
    write_user(folder, "eve", PASSWORD)
    login = Login(folder, audit=survey.store.audit)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(login.router())
    app.include_router(downloads.router(survey.store, researcher=login.researcher))
    page = results.build(survey.store, Inline(survey.store))
    page.queue(api_open=False)
    gr.mount_gradio_app(app, page, "/results", auth_dependency=login.researcher, show_error=False, ssr_mode=False)
    app.add_middleware(Gate, login=login)
    return Site(survey, app, page, login)


def study() -> Any:
    rules = (
        ExclusionRule("same_order", description="One order throughout."),
        ExclusionRule("fast_trials", 10.0, "Too fast."),
    )
    return tiny_study(exclusions=rules)
