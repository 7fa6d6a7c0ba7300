"""The results from outside: nothing without a login, the files that leave, and the work behind them."""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from db.records import StoreError
from db.store import Store
from survey import exchange
from survey.analyst import Analyst, Filters, first_filters, stamp
from survey.codebook import RANKINGS, TABLES
from survey.login import COOKIE
from survey.ui import downloads
from tests.results import results_site
from tests.results.results_site import (
    EVIL,
    METHODS,
    PARTICIPANTS,
    Inline,
    Site,
)


def addresses(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every address of an app with its methods, those of mounted apps included, parameters filled in."""
    for route in iter_route_contexts(routes):
        path = prefix + re.sub(r"\{[^}]*\}", "x", route.path or "")
        if isinstance(route.route, Mount):
            yield from addresses(route.route.routes, path)
            yield f"{path}/anything", set(METHODS)
        else:
            yield path, set(route.methods or METHODS)


def test_no_route_under_results_answers_without_a_login(site: Site) -> None:
    under = [(path, methods) for path, methods in addresses(site.app.routes) if path.startswith("/results")]
    assert len(under) > 40, "Gradio's own routes are among them"
    assert any("queue/join" in path for path, _ in under)
    assert any("export" in path for path, _ in under)
    stranger = site.visitor()
    forged = {"cookie": f"{COOKIE}=eyJ1IjoiYWRhIn0.abc"}
    for path, methods in under:
        for method in {*methods, "GET", "POST"}:
            if path in {"/results/login", "/results/logout"}:
                continue
            for headers in ({}, forged):
                answer = stranger.request(method, path, headers=headers)
                assert answer.status_code in {303, 401}, f"{method} {path}: {answer.status_code}"
                if answer.status_code == 303:
                    assert answer.headers["location"].startswith("/results/login")
                assert "tiny" not in answer.text


def test_no_event_answers_without_a_login_and_each_does_with_one(site: Site) -> None:
    at_the_server = {fn.name for fn in site.page.fns.values() if fn.fn is not None}
    assert at_the_server == {"start", "show", "tick", "renew_people", "open_one", "find", "decide", "apply_rules"}
    stranger, ada = site.visitor(), site.researcher()
    for number, fn in site.page.fns.items():
        body = {"fn_index": number, "data": [None] * len(fn.inputs), "session_hash": "abc"}
        for path in ("run/predict", "api/predict", "queue/join", f"call/{fn.api_name}", f"call/v2/{fn.api_name}"):
            answer = stranger.post(f"/results/gradio_api/{path}", json=body)
            assert (answer.status_code, answer.json()) == (401, {"error": "Please log in first."}), (fn.name, path)
        assert ada.client.post("/results/gradio_api/run/predict", json=body).status_code in {200, 500}
    assert ada.event("show", first_filters(site.store, "").to_json())  # type: ignore[union-attr]


def test_behind_the_gate_gradio_the_files_and_each_event_ask_again(site: Site) -> None:
    bare, page = FastAPI(), site.page
    bare.include_router(downloads.router(site.store, researcher=site.login.researcher))
    bare.router.routes += [route for route in site.app.routes if isinstance(route, Mount)]
    stranger = TestClient(bare, follow_redirects=False)
    for path in ("/results/config", "/results/export/tiny/rankings.csv", "/results/plotly.js"):
        assert stranger.get(path).status_code == 401, path
    for number in page.fns:
        body = {"fn_index": number, "data": [], "session_hash": "abc"}
        assert stranger.post("/results/gradio_api/run/predict", json=body).status_code == 401
    for fn in page.fns.values():
        if fn.fn is None:
            continue  # the page's own business, in the browser
        nobody = gr.Request(username=None)
        takes_event = fn.name in {"open_one", "find", "decide"}
        data: list[Any] = [{"study": "tiny"}] * len(fn.inputs)
        with pytest.raises(PermissionError, match="log in"):
            fn.fn(*data, *([gr.EventData(None, {})] if takes_event else []), nobody)


def test_files(site: Site) -> None:
    ada = site.researcher().client
    rankings = ada.get("/results/export/tiny/rankings.csv")
    assert rankings.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.search(r'filename="tiny-rankings-\d{4}-\d\d-\d\d.csv"', rankings.headers["content-disposition"])
    assert len(rankings.text.splitlines()) == 1 + PARTICIPANTS * 4 * 3
    for name in ("everything.zip", "everything.json"):
        export = exchange.read(ada.get(f"/results/export/tiny/{name}").content)
        # What was written since, the downloads themselves among it, is in the audit.
        assert {**export.tables, "audit": ()} == {**site.store.history("tiny").tables, "audit": ()}
    with zipfile.ZipFile(io.BytesIO(ada.get("/results/export/tiny/everything.zip").content)) as archive:
        assert archive.read("rankings.csv").decode() == rankings.text
    assert ada.get("/results/export/tiny/codebook.md").text.startswith("# Codebook of A small test")
    for path in ("other/rankings.csv", "tiny/secrets.csv", "tiny/..%2Fusers"):
        assert ada.get(f"/results/export/{path}").status_code == 404
    assert site.store.audits(most=1)[0].action == "export"
    script = ada.get("/results/plotly.js")
    assert script.headers["content-encoding"] == "gzip"
    assert "Plotly" in ada.get("/results/plotly.js", headers={"accept-encoding": "identity"}).text[:20_000]


def test_the_columns_are_those_of_the_codebook(site: Site) -> None:
    tables = site.store.history("tiny").tables
    assert tables.keys() == TABLES.keys()
    for name, rows in tables.items():
        for row in rows[:1]:
            assert row.keys() == {column.name for column in TABLES[name]}, name
    assert list(site.store.rankings("tiny").columns) == [column.name for column in RANKINGS]


def test_a_study_moves_to_another_database_by_either_file(small: Site, tmp_path: Path) -> None:
    store = small.store
    store.exclude(small.sessions()[1], reason=EVIL, author="ada")
    history = store.history("tiny")
    frames = {name: getattr(store, name)("tiny") for name in ("rankings", "participants")}
    for form, content in {
        "json": exchange.to_json(history),
        "zip": exchange.to_zip(history, small.survey.study, frames["rankings"]),
    }.items():
        other = Store(f"sqlite:///{tmp_path / form}.sqlite")
        other.upgrade()
        other.restore(exchange.read(content))
        assert other.history("tiny") == history
        for name, frame in frames.items():
            assert getattr(other, name)("tiny").equals(frame), name
        with pytest.raises(StoreError, match="here already"):
            other.restore(exchange.read(content))


def test_the_work_is_done_in_another_process_and_once(site: Site) -> None:
    analyst = Analyst(site.store)
    try:
        analysis = analyst.analyse(Filters("tiny"))
        assert analysis is analyst.analyse(Filters("tiny"))
        assert analysis is not analyst.analyse(Filters("tiny", excluded=True))
        here = Inline(site.store).analyse(Filters("tiny"))
        assert analysis.report.findings == here.report.findings
        assert analysis.stamp == stamp(site.store.participants("tiny"), site.store.versions("tiny"))
        with pytest.raises(StoreError):
            analyst.analyse(Filters("other"))
    finally:
        analyst.close()


def test_an_error_of_the_work_is_not_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    analyst = Inline(site.store)
    with monkeypatch.context() as patch:
        patch.setattr(results_site, "work_out", lambda *_: (_ for _ in ()).throw(ValueError("not now")))
        with pytest.raises(ValueError, match="not now"):
            analyst.analyse(Filters("tiny"))
    assert analyst.analyse(Filters("tiny")).report.participants == PARTICIPANTS
