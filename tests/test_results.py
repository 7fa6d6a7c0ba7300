"""The results page: nothing of it without a login, the right numbers with one, exclusions that are kept."""

import asyncio
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from db.records import StoreError
from db.store import Store
from survey import accounts, exchange, scoring
from survey.accounts import write_user
from survey.analysis import work_out
from survey.analyst import Analyst, Filters, first_filters, stamp
from survey.codebook import RANKINGS, TABLES
from survey.definition import ExclusionRule
from survey.login import COOKIE, Gate, Login
from survey.simulate import simulate
from survey.ui import downloads, results
from tests.survey_study import Tiny, add_version, tiny, tiny_study

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
    client: TestClient
    page: gr.Blocks

    def event(self, name: str, *data: Any, asked: Any = None, query: str = "", status: int = 200) -> list[Any]:
        """Call one of the page's events as its browser side does."""
        number = next(n for n, fn in self.page.fns.items() if fn.name == name)
        body = {"fn_index": number, "data": list(data), "event_data": asked, "session_hash": "abc"}
        answer = self.client.post(f"/results/gradio_api/run/predict{query}", json=body)
        assert answer.status_code == status, answer.text
        return list(answer.json().get("data", []))


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


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(accounts.VARIABLE, raising=False)
        patch.setattr(accounts, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


def study() -> Any:
    rules = (
        ExclusionRule("same_order", description="One order throughout."),
        ExclusionRule("fast_trials", 10.0, "Too fast."),
    )
    return tiny_study(exclusions=rules)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A survey with a dozen participants, one who is under way, one preview; tests here change nothing of it."""
    folder = tmp_path_factory.mktemp("results")
    survey = tiny(folder, study=study())
    strengths = {"red": 4.0, "green": 2.0, "blue": 1.0}
    simulate(survey.desk, "tiny", participants=PARTICIPANTS, strengths=strengths, rng=np.random.default_rng(5))
    survey.visitor().open("UNDER-WAY").prepare()
    survey.visitor().open("LOOKING", preview=True).prepare().rank_all()
    return build_site(survey, folder)


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """A survey of three participants, to be changed at will; the last ranked by the letters, fast."""
    survey = tiny(tmp_path, study=study())
    strengths = {"red": 4.0, "green": 2.0, "blue": 1.0}
    simulate(survey.desk, "tiny", participants=2, strengths=strengths, rng=np.random.default_rng(7))
    survey.visitor().open("THIRD-3").prepare().rank_all().finish()
    return build_site(survey, tmp_path)


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
    assert {fn.name for fn in site.page.fns.values()} == {
        *("start", "show", "tick", "renew_people", "open_one", "find", "decide", "apply_rules")
    }
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
        assert fn.fn is not None
        nobody = gr.Request(username=None)
        takes_event = fn.name in {"open_one", "find", "decide"}
        data: list[Any] = [{"study": "tiny"}] * len(fn.inputs)
        with pytest.raises(PermissionError, match="log in"):
            fn.fn(*data, *([gr.EventData(None, {})] if takes_event else []), nobody)


def test_the_page_at_first(site: Site) -> None:
    head, filters, strip, listed, progress = site.researcher().event("start", query="?study=tiny")
    assert (head["name"], head["study"]) == ("ada", "tiny")
    counts = {one["title"]: one["count"] for one in strip["counts"]}
    assert counts == {
        "complete": PARTICIPANTS,
        "under way": 1,
        "abandoned": 0,
        "excluded": 0,
        "rankings": 4 * PARTICIPANTS,
    }
    assert filters["value"] == Filters("tiny").to_json()
    offered = {
        one["key"]: {o["key"]: o["count"] for o in one["options"]} for one in filters["props"]["offered"]["groups"]
    }
    assert offered["direction"] == {"there": PARTICIPANTS, "back": PARTICIPANTS}
    assert sum(offered["piece"].values()) == 2 * PARTICIPANTS
    assert len(listed["rows"]) == PARTICIPANTS + 2
    assert progress["funnel"][0]["count"] == PARTICIPANTS + 1
    assert progress["funnel"][-1]["count"] == PARTICIPANTS
    assert [link["href"] for link in progress["links"]] == ["/survey/?study=tiny&preview=1", "/survey/?study=tiny"]


def test_the_scores_are_those_of_the_rankings(site: Site) -> None:
    told = site.researcher().event("show", Filters("tiny").to_json())
    board = told[1]
    expected = scoring.table(site.store.rankings("tiny"), systems=["red", "green", "blue"])
    totals = board["sections"][0]["blocks"][0]
    assert totals["head"] == ["Method", "content", "style"]
    shown = [[int(cell["text"]) for cell in row[1:]] for row in totals["rows"]]
    assert shown == [list(row) for row in expected.totals]
    assert [row[0] for row in totals["rows"]] == ["Red", "Green", "Blue"]
    figures = [b for s in board["sections"] if s.get("of") == "style" for b in _figures(s)]
    counts = {trace["name"]: trace["y"] for trace in figures[2]["drawing"]["light"]["data"]}
    found = scoring.standings(site.store.rankings("tiny"), systems=["red", "green", "blue"])
    pooled = [one for one in found if one.criterion == "style" and one.direction is None]
    assert counts == {str(n + 1): [one.rank_counts[n] for one in pooled] for n in range(3)}
    assert told[3]["stamp"] == told[3]["shown"]


def _figures(section: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for block in section["blocks"]:
        found += block["blocks"] if block["kind"] == "grid" else [block] if block["kind"] == "figure" else []
    return found


def test_tests_are_withheld_under_ten_participants(small: Site) -> None:
    board = small.researcher().event("show", Filters("tiny").to_json())[2]
    words = json.dumps(board)
    assert "A test needs at least 10 participants and has 3" in words
    assert "Critical difference" not in words


def test_filters_let_through_what_they_say(site: Site) -> None:
    rankings = site.store.rankings("tiny", live_only=False)
    sessions = site.store.participants("tiny")
    live = set(site.sessions(mode="live"))
    assert set(Filters("tiny").apply(rankings, sessions)["session"]) <= live
    for name in ("direction", "piece", "experience", "headphones"):
        key = str(rankings[name].iloc[0])
        kept = Filters("tiny", groups={name: (key,)}).apply(rankings, sessions)
        assert len(kept)
        assert set(kept[name]) == {key}
    late = rankings.assign(late=rankings["session"] == rankings["session"].iloc[0])
    kept = Filters("tiny", late=False).apply(late, sessions)
    assert len(kept) == 4 * 3 * (PARTICIPANTS - 1)
    half = sessions.assign(status=["open", *sessions["status"].iloc[1:]])
    assert len(Filters("tiny", incomplete=False).apply(rankings, half)) == 4 * 3 * (PARTICIPANTS - 1)
    assert len(Filters("tiny", version=2).apply(rankings, sessions)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"study": 3},
        {"version": "1"},
        {"version": True},
        {"groups": {"reason": []}},
        {"groups": {"piece": "one"}},
        {"groups": {"piece": [1]}},
        {"late": 1},
        {"more": 1},
    ],
)
def test_filters_made_by_hand_are_refused(site: Site, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        Filters.read({**Filters("tiny").to_json(), **change})
    site.researcher().event("show", {**Filters("tiny").to_json(), **change}, status=500)
    site.researcher().event("show", {**Filters("tiny").to_json(), "study": "other"}, status=500)


def test_a_participants_page_tells_what_was_answered(site: Site) -> None:
    session = site.sessions(mode="live", status="complete")[3]
    told = site.researcher().event("open_one", Filters("tiny").to_json(), asked={"session": session})[0]
    page = told["detail"]
    rankings = site.store.rankings("tiny")
    own = rankings[rankings["session"] == session]
    assert len(page["trials"]) == 2
    for trial, (_, of) in zip(page["trials"], own.groupby("order"), strict=True):
        ranks = {(row.position, row.criterion): row.rank for row in of.itertuples()}
        assert trial["head"] == ["Output", "content", "style"]
        for place, row in enumerate(trial["rows"]):
            assert row[0].startswith("ABC"[place])
            assert row[1:] == [str(ranks[place, "content"]), str(ranks[place, "style"])]
        assert re.fullmatch(r"content in \d+ s; style in \d+ s\.", trial["note"])
    assert dict(page["background"]).keys() == {"How long have you played?", "How old are you?"}
    assert not page["excluded"]


def test_an_exclusion_is_kept_with_its_reason_and_author(small: Site) -> None:
    session = small.sessions()[0]
    value = Filters("tiny").to_json()
    ada, eve = small.researcher("ada"), small.researcher("eve")
    before = ada.event("show", value)[1]["sections"][0]["note"]
    told = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": f"  {EVIL} "})[0]
    assert told["detail"]["excluded"]
    assert told["message"] == ""
    row = small.store.participants("tiny").set_index("session").loc[session]
    assert (row["excluded"], row["reason"], row["author"]) == (True, EVIL, "ada")
    after = ada.event("show", value)[1]["sections"][0]["note"]
    assert before.startswith("3 participants")
    assert after.startswith("2 participants")
    assert "1 participant excluded, left out" in after
    everyone = ada.event("show", {**value, "excluded": True})[1]["sections"][0]["note"]
    assert everyone.startswith("3 participants")

    again = eve.event("decide", value, asked={"session": session, "exclude": True, "reason": "once more"})[0]
    assert "has decided so already" in again["message"]
    told = eve.event("decide", value, asked={"session": session, "exclude": False, "reason": "a mistake"})[0]
    assert [(one["what"], one["reason"], one["author"]) for one in told["detail"]["decisions"]] == [
        ("Excluded", EVIL, "ada"),
        ("Counted in again", "a mistake", "eve"),
    ]
    kept = small.store.history("tiny").tables["exclusion"]
    assert [(one["excluded"], one["reason"], one["author"]) for one in kept] == [
        (True, EVIL, "ada"),
        (False, "a mistake", "eve"),
    ]
    assert [one.action for one in small.store.audits()][:2] == ["include", "exclude"]
    assert len(small.store.rankings("tiny")) == 3 * 4 * 3, "nothing was deleted"


def test_exclusions_that_cannot_be(site: Site, small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    foreign = site.sessions()[0]
    for session in ("s_none", foreign):
        told = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": "x"})[0]
        assert "There is no such session" in told["message"]
    small.survey.visitor().open("LOOKING", preview=True)
    preview = small.sessions(mode="preview")[0]
    told = ada.event("decide", value, asked={"session": preview, "exclude": True, "reason": "x"})[0]
    assert "it is a preview" in told["message"]
    session = small.sessions()[0]
    long = ada.event("decide", value, asked={"session": session, "exclude": True, "reason": "x" * 1001})[0]
    assert "1 to 1000 characters" in long["message"]
    for asked in (
        {"session": session, "exclude": True},
        {"session": session, "exclude": 1, "reason": "x"},
        {"session": [session], "exclude": True, "reason": "x"},
        {"session": session, "exclude": True, "reason": ""},
        None,
    ):
        ada.event("decide", value, asked=asked, status=500)
    assert not small.store.participants("tiny")["excluded"].any()


def test_the_rules_fixed_beforehand_are_applied_once_and_signed(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    under = small.sessions()[2]
    listed = ada.event("renew_people", value)[0]
    assert listed["under_rules"] == 1
    flags = {row["session"]: row["flags"] for row in listed["rows"]}
    assert flags[under] == ["one order throughout", "fast"]
    after = ada.event("apply_rules", value)[0]
    assert after["under_rules"] == 0
    rows = small.store.participants("tiny").set_index("session")
    assert list(rows.index[rows["excluded"]]) == [under]
    assert rows.loc[under, "reason"] == "By the rules fixed beforehand: One order throughout. Too fast."
    ada.event("decide", value, asked={"session": under, "exclude": False, "reason": "I know them"})
    ada.event("apply_rules", value)
    assert not small.store.participants("tiny")["excluded"].any(), "what somebody has decided stays"


def test_a_participant_is_found_by_the_number_in_the_link(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    found = ada.event("find", value, asked={"external": " THIRD-3 "})[0]
    assert found["go"] == found["detail"]["session"] == small.sessions()[2]
    missing = ada.event("find", value, asked={"external": "THIRD-4"})[0]
    assert (missing["detail"], missing["message"]) == (None, "No participant came with that number.")
    assert "THIRD" not in str(small.store.audits())


def test_counts_are_live_and_say_when_the_figures_are_behind(small: Site) -> None:
    ada, value = small.researcher(), Filters("tiny").to_json()
    strip = ada.event("show", value)[3]
    assert ada.event("tick", value, strip)[0] == strip
    small.survey.visitor().open("FOURTH").prepare().rank_all()
    now, progress = ada.event("tick", value, strip)
    assert now["stamp"] != now["shown"] == strip["stamp"]
    assert {one["title"]: one["count"] for one in now["counts"]}["rankings"] == 16
    assert progress["funnel"][0]["count"] == 4
    assert [told["__type__"] for told in ada.event("tick", None, None)] == ["update"] * 2


def test_versions_with_other_systems_are_never_counted_together(small: Site, tmp_path: Path) -> None:
    other = tiny_study()
    fewer = replace(
        other,
        systems=other.systems[:2],
        stimuli=tuple(one for one in other.stimuli if one.system != "blue"),
    )
    add_version(small.store, fewer, tmp_path / "media")
    small.survey.visitor().open("FIFTH").prepare().rank_all()
    chosen = first_filters(small.store, "tiny")
    assert chosen is not None
    assert chosen.version == 2
    ada = small.researcher()
    assert ada.event("show", chosen.to_json())[1]["sections"][0]["note"].startswith("1 participant, 2 rankings")
    all_of_them = ada.event("show", Filters("tiny").to_json())[1]
    assert "scored apart" in json.dumps(all_of_them) or "expected red, green" in json.dumps(all_of_them)


def test_without_a_study_and_without_rankings(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    ada = build_site(survey, tmp_path).researcher()
    board = ada.event("show", Filters("tiny").to_json())[1]
    assert board["sections"][0]["blocks"][0]["text"].startswith("There are no rankings yet")
    assert ada.event("start")[3]["rows"] == []
    empty = Store(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    empty.upgrade()
    nothing = build_site(replace(survey, store=empty), tmp_path).researcher()
    head, *_ = nothing.event("start")
    assert head == {"name": "ada", "study": "", "studies": []}
    assert "No study has been built yet" in json.dumps(nothing.event("show", None))


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
        patch.setattr(sys.modules[__name__], "work_out", lambda *_: (_ for _ in ()).throw(ValueError("not now")))
        with pytest.raises(ValueError, match="not now"):
            analyst.analyse(Filters("tiny"))
    assert analyst.analyse(Filters("tiny")).report.participants == PARTICIPANTS
