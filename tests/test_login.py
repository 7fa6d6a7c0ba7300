"""The login before the results: who gets in, who does not, and how soon they may try again."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from itsdangerous import URLSafeSerializer

from db.records import NotSaved
from db.store import Store
from survey import accounts, exchange, login
from survey.accounts import AccountError, Accounts, write_user
from survey.login import COOKIE, FORM_COOKIE, SESSION_S, Gate, Login
from tests.survey_study import tiny

PASSWORD = "correct horse battery"


@dataclass
class Clock:
    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Site:
    app: FastAPI
    login: Login
    clock: Clock
    folder: Path
    told: list[tuple[str, str, str]] = field(default_factory=list)

    def visitor(self, address: str = "192.0.2.1", url: str = "http://testserver") -> TestClient:
        return TestClient(self.app, base_url=url, follow_redirects=False, client=(address, 4000))


@pytest.fixture(autouse=True)
def no_users_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(accounts.VARIABLE, raising=False)
    monkeypatch.setattr(accounts, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    write_user(tmp_path, "ada", PASSWORD)
    return build_site(tmp_path)


def build_site(folder: Path) -> Site:
    clock = Clock()
    told: list[tuple[str, str, str]] = []
    guard = Login(folder, audit=lambda *words: told.append(words), clock=clock)
    app = FastAPI()
    app.include_router(guard.router())

    @app.get("/results/")
    async def page(request: Request) -> str:
        return f"results for {guard.researcher(request)}"

    @app.api_route("/results/export/all.csv", methods=["GET", "POST", "DELETE"])
    async def export() -> str:
        return "secret"

    @app.get("/elsewhere")
    async def elsewhere(request: Request) -> str:
        return f"seen by {guard.researcher(request)}"

    app.add_middleware(Gate, login=guard)
    return Site(app, guard, clock, folder, told)


def log_in(visitor: TestClient, name: str = "ada", password: str = PASSWORD, goal: str = "") -> int:
    page = visitor.get("/results/login", params={"next": goal} if goal else {})
    mark = re.search(r'name="form" value="(\w+)"', page.text)
    fields = {"name": name, "password": password, "form": mark[1] if mark else "", "next": goal}
    return visitor.post("/results/login", data=fields).status_code


def test_the_right_password_opens_the_results_and_no_other_does(site: Site) -> None:
    visitor = site.visitor()
    assert log_in(visitor, password="wrong horse") == 401
    assert visitor.get("/results/export/all.csv").status_code == 401
    assert log_in(visitor, name="bob") == 401
    assert log_in(visitor) == 303
    assert visitor.get("/results/").json() == "results for ada"
    assert visitor.get("/results/export/all.csv").json() == "secret"
    assert site.told == [
        ("ada", "login refused", "192.0.2.1"),
        ("unknown", "login refused", "192.0.2.1"),
        ("ada", "login", "192.0.2.1"),
    ]
    assert PASSWORD not in str(site.told)


@pytest.mark.parametrize("name", ["\0a", PASSWORD, "ada\0", "ada\n", "\ufffd" * 64, "", "a" * 65])
def test_what_is_typed_for_a_name_is_kept_nowhere(site: Site, name: str) -> None:
    assert log_in(site.visitor(), name=name, password="x" * 12) == 401
    assert {actor for actor, _, _ in site.told} <= {"unknown", "ada"}


def test_what_was_typed_keeps_no_study_from_moving(tmp_path: Path) -> None:
    here = tiny(tmp_path)
    write_user(tmp_path, "ada", PASSWORD)
    site = build_site(tmp_path)
    site.login._audit = here.store.audit
    assert log_in(site.visitor(), name="\0a") == 401
    assert log_in(site.visitor()) == 303
    assert [(one.actor, one.action) for one in here.store.audits()] == [("ada", "login"), ("unknown", "login refused")]
    fresh = Store(f"sqlite:///{tmp_path / 'fresh.sqlite'}")
    fresh.upgrade()
    fresh.restore(exchange.read(exchange.to_json(here.store.history("tiny"))))
    assert fresh.history("tiny") == here.store.history("tiny")
    for store in (here.store, fresh):
        store.close()


def test_the_refusal_is_one_for_a_wrong_name_and_a_wrong_password(site: Site) -> None:
    pages = []
    for name, password in (("ada", "wrong horse"), ("bob", PASSWORD)):
        visitor = site.visitor()
        mark = re.search(r'name="form" value="(\w+)"', visitor.get("/results/login").text)
        assert mark
        answer = visitor.post("/results/login", data={"name": name, "password": password, "form": mark[1]})
        pages.append(answer.text.replace(mark[1], "").replace(f'value="{name}"', ""))
    assert pages[0] == pages[1]
    assert "do not belong together" in pages[0]


def test_without_login_pages_lead_to_the_form_and_the_rest_is_refused(site: Site) -> None:
    visitor = site.visitor()
    for path in ("/results", "/results/"):
        assert visitor.get(path).headers["location"] == "/results/login"
    asked = visitor.get("/results/?study=music-star")
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        "/results/login?next=%2Fresults%2F%3Fstudy%3Dmusic-star",
    )
    assert visitor.get("/results/export/all.csv", headers={"accept": "text/html"}).status_code == 303
    for method in ("GET", "POST", "DELETE"):
        assert visitor.request(method, "/results/export/all.csv").status_code == 401
    for path in ("/results/none", "/results//", "/results/login/", "/results/loginx", "/results/x/%2e%2e/login"):
        assert visitor.get(path).status_code == 401
    assert visitor.put("/results/login").status_code == 401
    assert visitor.get("/elsewhere").json() == "seen by None"


def test_nothing_of_it_is_kept_in_caches(site: Site) -> None:
    visitor = site.visitor()
    log_in(visitor)
    for path in ("/results/", "/results/export/all.csv", "/results/login"):
        assert visitor.get(path).headers["cache-control"] == "no-store"


def test_after_login_the_page_asked_for_and_never_another_site(site: Site) -> None:
    for asked, reached in {
        "/results/?study=x": "/results/?study=x",
        "/results/export/all.csv": "/results/export/all.csv",
        "": "/results/",
        "https://elsewhere.example/results/": "/results/",
        "//elsewhere.example/results/": "/results/",
        "/\\elsewhere.example": "/results/",
        "/results/../": "/results/",
        "/results/\r\nset-cookie: a=b": "/results/",
        "/results/login": "/results/",
        "javascript:alert(1)": "/results/",
        "//[": "/results/",
        "http://[::1": "/results/",
        "//[v1.x]/results/": "/results/",
        "//a\u2100b/results/": "/results/",
        "/results/[": "/results/[",
        "/results/?a=//[": "/results/?a=//[",
        "/results/\ud7ff\ufffe": "/results/",
    }.items():
        visitor = site.visitor()
        log_in(visitor, goal=asked)
        assert visitor.cookies[COOKIE], asked
        again = visitor.get("/results/login", params={"next": asked})
        assert again.headers["location"] == reached


def test_the_cookie_is_out_of_scripts_and_other_sites_reach(site: Site) -> None:
    for url, secure in (("http://testserver", False), ("https://testserver", True)):
        visitor = site.visitor(url=url)
        mark = re.search(r'name="form" value="(\w+)"', visitor.get("/results/login").text)
        assert mark
        answer = visitor.post("/results/login", data={"name": "ada", "password": PASSWORD, "form": mark[1]})
        cookies = {line.partition("=")[0]: line.lower() for line in answer.headers.get_list("set-cookie")}
        assert set(cookies) == {COOKIE, FORM_COOKIE}
        words = cookies[COOKIE].split("; ")
        assert {"httponly", "samesite=lax", "path=/results", f"max-age={int(SESSION_S)}"} <= set(words)
        assert ("secure" in words) is secure
        assert "ada" not in cookies[COOKIE] or PASSWORD not in cookies[COOKIE]


def test_a_session_ends_by_itself(site: Site) -> None:
    visitor = site.visitor()
    log_in(visitor)
    site.clock.now_s += SESSION_S - 1
    assert visitor.get("/results/").status_code == 200
    site.clock.now_s += 1
    assert visitor.get("/results/").status_code == 303


def test_logging_out_ends_the_session_even_for_a_copied_cookie(site: Site) -> None:
    visitor, thief = site.visitor(), site.visitor("198.51.100.9")
    log_in(visitor)
    stolen = {"cookie": f"{COOKIE}={visitor.cookies[COOKIE]}"}
    assert thief.get("/results/", headers=stolen).status_code == 200
    answer = visitor.post("/results/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/results/login")
    assert COOKIE not in visitor.cookies
    assert thief.get("/results/", headers=stolen).status_code == 303
    assert visitor.get("/results/").status_code == 303
    assert visitor.post("/results/logout").headers["location"] == "/results/login"
    assert log_in(visitor) == 303
    assert visitor.get("/results/").status_code == 200


def test_a_forged_or_altered_cookie_is_nothing(site: Site) -> None:
    visitor = site.visitor()
    log_in(visitor)
    genuine = visitor.cookies[COOKIE]
    mark = login._mark(site.login._accounts.users()["ada"])
    forged = URLSafeSerializer(b"guess", salt="results").dumps(["ada", "0" * 32, 9e9, mark])
    another = build_site(site.folder).visitor()
    log_in(another)
    unsigned = genuine.rpartition(".")[0]
    for cookie in (forged, genuine[:-1], genuine + "A", unsigned, "ada", ".", "x" * 5000, another.cookies[COOKIE]):
        fresh = site.visitor()
        assert fresh.get("/results/", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 303, cookie
    assert site.visitor().get("/results/", headers={"cookie": f"{COOKIE}={genuine}"}).status_code == 200


def test_a_new_password_and_a_removed_account_end_sessions(site: Site) -> None:
    visitor = site.visitor()
    log_in(visitor)
    write_user(site.folder, "ada", "another password")
    assert visitor.get("/results/").status_code == 303
    assert log_in(visitor) == 401
    assert log_in(visitor, password="another password") == 303
    (site.folder / "users").unlink()
    assert visitor.get("/results/").status_code == 303


def test_a_login_from_another_sites_form_is_refused(site: Site) -> None:
    victim = site.visitor()
    fields = {"name": "ada", "password": PASSWORD, "form": "0" * 32}
    assert victim.post("/results/login", data=fields).status_code == 403
    victim.get("/results/login")
    assert victim.post("/results/login", data=fields).status_code == 403
    assert COOKIE not in victim.cookies
    log_in(victim)
    for where in ("cross-site", "same-site"):
        answer = victim.post("/results/export/all.csv", headers={"sec-fetch-site": where})
        assert answer.status_code == 403
    assert victim.post("/results/export/all.csv", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_two_tabs_of_the_form_both_work(site: Site) -> None:
    visitor = site.visitor()
    first, second = (visitor.get("/results/login").text for _ in range(2))
    assert re.findall(r'"form" value="(\w+)"', first) == re.findall(r'"form" value="(\w+)"', second)


def test_who_keeps_failing_waits_longer_each_time(site: Site) -> None:
    visitor = site.visitor()
    assert [log_in(visitor, password=f"wrong {k}") for k in range(6)] == [401] * 6
    waits = []
    for _ in range(13):
        mark = re.search(r'name="form" value="(\w+)"', visitor.get("/results/login").text)
        assert mark
        answer = visitor.post("/results/login", data={"name": "ada", "password": PASSWORD, "form": mark[1]})
        assert answer.status_code == 429
        assert "Too many attempts" in answer.text
        waits.append(int(answer.headers["retry-after"]))
        site.clock.now_s += waits[-1]
        assert log_in(visitor, password="wrong") == 401
    assert waits[:3] == [1, 2, 4]
    assert waits == sorted(waits)
    assert max(waits) > 60, "the address waits longer than a name does"


def test_a_name_waits_whatever_address_tries_it_but_never_long(site: Site) -> None:
    for k in range(6):
        assert log_in(site.visitor(f"203.0.113.{k}"), password="wrong") == 401
    other = site.visitor("203.0.113.99")
    assert log_in(other) == 429
    assert log_in(other, name="bob") == 401
    for _ in range(20):
        site.clock.now_s += 60
        assert log_in(site.visitor("203.0.113.77"), name="carl", password="wrong") in {401, 429}
        log_in(site.visitor(f"2001:db8:{_:x}::1"), password="wrong")
    site.clock.now_s += 60
    assert log_in(other) == 303


def test_success_forgives(site: Site) -> None:
    visitor = site.visitor()
    for _ in range(5):
        for _ in range(4):
            assert log_in(visitor, password="wrong") == 401
        assert log_in(visitor) == 303
        visitor.post("/results/logout")


def test_a_database_that_takes_nothing_keeps_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: str) -> None:
        raise NotSaved("locked")

    site = build_site(tmp_path)
    site.login._audit = fail
    write_user(tmp_path, "ada", PASSWORD)
    assert log_in(site.visitor()) == 303
    assert "login of ada is not in the audit: locked" in caplog.text


def test_without_accounts_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    site = build_site(tmp_path / "none")
    visitor = site.visitor()
    page = visitor.get("/results/login")
    assert page.status_code == 200
    assert "musicstar-survey user NAME" in page.text
    assert "<form" not in page.text
    for name, password in (("", ""), ("admin", "admin"), ("ada", PASSWORD)):
        held = visitor.cookies[FORM_COOKIE]
        answer = visitor.post("/results/login", data={"name": name, "password": password, "form": held})
        assert answer.status_code == 403
    assert visitor.get("/results/").status_code == 303
    write_user(tmp_path / "none", "ada", PASSWORD)
    assert log_in(visitor) == 303, "an account made meanwhile needs no new start"


def test_accounts_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_user(tmp_path / "other", "eve", "from environment")
    write_user(tmp_path / "other", "ada", "from environment")
    lines = (tmp_path / "other" / "users").read_text()
    write_user(tmp_path, "ada", PASSWORD)
    for text in (lines, lines.replace("\n", ";"), f"# researchers\n\n {lines}"):
        monkeypatch.setenv(accounts.VARIABLE, text)
        known = Accounts(tmp_path)
        assert set(known.users()) == {"ada", "eve"}
        assert known.verify("eve", "from environment")
        assert known.verify("ada", "from environment")
        assert not known.verify("ada", PASSWORD)
        assert set(Accounts(None).users()) == {"ada", "eve"}


def test_a_file_that_becomes_faulty_keeps_the_accounts_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_user(tmp_path, "ada", PASSWORD)
    known = Accounts(tmp_path)
    (tmp_path / "users").write_text("ada:nonsense\n")
    assert set(known.users()) == {"ada"}
    assert "entry 1" in caplog.text
    with pytest.raises(AccountError, match="entry 1"):
        Accounts(tmp_path)


def test_what_is_typed_comes_back_as_text(site: Site) -> None:
    visitor = site.visitor()
    visitor.get("/results/login")
    name = '"><script>alert(1)</script>'
    fields = {"name": name, "password": "x", "form": visitor.cookies[FORM_COOKIE], "next": name}
    answer = visitor.post("/results/login", data=fields)
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text
    assert visitor.post("/results/login", content=b"x" * 9000).status_code == 413
    assert visitor.post("/results/login", content=b"\xff\x00%zz&&&=").status_code == 403
