"""The login that the researchers' results are behind.

A session is a signed cookie that names the researcher, ends by itself, and is void once logged out, once the
password has changed, and once the server starts anew. Nothing under /results/ is answered without one, except
the login page itself: `Gate` sees to it before any route does, and each route and event asks again.
"""

import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from itsdangerous import BadData, URLSafeSerializer
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.records import StoreError
from survey.accounts import Accounts, Throttle, address_key

ROOT = "/results"
LOGIN = f"{ROOT}/login"
LOGOUT = f"{ROOT}/logout"
COOKIE = "ms_results"
FORM_COOKIE = "ms_login"
SESSION_S = 12 * 3600.0
MOST_BYTES = 8192
UNKNOWN = "unknown"
KEPT_TYPES = (b"text/javascript", b"application/javascript", b"text/css", b"font/", b"image/")

_log = logging.getLogger(__name__)

Audit = Callable[[str, str, str], None]


def _no_audit(_actor: str, _action: str, _detail: str) -> None:
    """What is told to nobody."""


class Login:
    """Who may read the results.

    Parameters
    ----------
    folder : where the file of accounts lies; None where they come from the environment alone
    head : what the login page has in its head besides its title: colours and a style sheet
    audit : is told actor, action and detail of each login, logout and refusal; the actor of an unknown name is unknown
    clock : seconds since the epoch

    Raises
    ------
    AccountError : an account that cannot be read
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        head: str = "",
        audit: Audit = _no_audit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = Accounts(folder)
        self._head, self._audit, self._clock = head, audit, clock
        self._signer = URLSafeSerializer(secrets.token_bytes(32), salt="results")
        self._ended: dict[str, float] = {}
        # From one address more may be meant to fail: a whole department can share it. To one name the wait stays
        # short, or anybody could keep its owner out.
        self._addresses = Throttle(free=10, longest_s=900.0, clock=clock)
        self._names = Throttle(free=5, longest_s=60.0, clock=clock)

    def researcher(self, request: Request) -> str | None:
        """The name of who is logged in, or None."""
        session = self._session(request)
        return session[0] if session else None

    def router(self) -> APIRouter:
        """The login page, logging in, logging out."""
        router = APIRouter()
        router.add_api_route(LOGIN, self._page, methods=["GET"], include_in_schema=False)
        router.add_api_route(LOGIN, self._log_in, methods=["POST"], include_in_schema=False)
        router.add_api_route(LOGOUT, self._log_out, methods=["POST"], include_in_schema=False)
        return router

    def _session(self, request: Request) -> tuple[str, str, float] | None:
        """Name, id and end of the session that the request's cookie is of."""
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or len(cookie) > 1024:
            return None
        try:
            name, identity, until_s, mark = self._signer.loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        hashed = self._accounts.users().get(name)
        if hashed is None or not hmac.compare_digest(mark, _mark(hashed)):
            return None
        if self._clock() >= until_s or identity in self._ended:
            return None
        return name, identity, until_s

    async def _page(self, request: Request) -> Response:
        goal = _goal(request.query_params.get("next", ""))
        if self.researcher(request) is not None:
            return RedirectResponse(goal, 303)
        return self._form(request, goal)

    async def _log_in(self, request: Request) -> Response:
        fields = await _read_form(request)
        if fields is None:
            return Response(status_code=413)
        goal, name = _goal(fields.get("next", "")), fields.get("name", "").strip()
        held = request.cookies.get(FORM_COOKIE, "")
        if not held or not hmac.compare_digest(held.encode(), fields.get("form", "").encode()):
            return self._form(
                request,
                goal,
                status=403,
                name=name,
                message="Please try again; logging in needs cookies, and this page must have been opened here.",
            )
        if not self._accounts.users():
            return self._form(request, goal, status=403)
        address = address_key(request.client.host if request.client else "")
        known_as = name[:64]
        wait_s = max(self._names.wait_s(known_as), self._addresses.wait_s(address))
        # Taken again in turn, because others may have come in between.
        wait_s = wait_s or self._addresses.take(address) or self._names.take(known_as)
        if wait_s > 0:
            message = f"Too many attempts. Please wait {_words(wait_s)}, then try again."
            answer = self._form(request, goal, status=429, name=name, message=message)
            answer.headers["retry-after"] = str(math.ceil(wait_s))
            return answer
        if not await run_in_threadpool(self._accounts.verify, name, fields.get("password", "")):
            # What else was typed may be a password in the wrong field, or nothing that a database takes.
            await self._tell(name if name in self._accounts.users() else UNKNOWN, "login refused", address)
            return self._form(
                request, goal, status=401, name=name, message="That name and that password do not belong together."
            )
        self._addresses.forgive(address)
        self._names.forgive(known_as)
        await self._tell(name, "login", address)
        return self._admit(request, name, goal)

    async def _tell(self, actor: str, action: str, detail: str) -> None:
        """Keep what happened; a database that cannot take it locks nobody out."""
        try:
            await run_in_threadpool(self._audit, actor, action, detail)
        except StoreError as error:
            _log.warning("%s of %s is not in the audit: %s", action, actor, error)

    def _admit(self, request: Request, name: str, goal: str) -> Response:
        """Begin a session."""
        hashed = self._accounts.users().get(name, "")
        token = self._signer.dumps([name, secrets.token_hex(16), self._clock() + SESSION_S, _mark(hashed)])
        answer = RedirectResponse(goal, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE,
            str(token),
            max_age=int(SESSION_S),
            path=ROOT,
            httponly=True,
            samesite="lax",
            secure=secure,
        )
        answer.delete_cookie(FORM_COOKIE, path=LOGIN, httponly=True, samesite="strict", secure=secure)
        return answer

    async def _log_out(self, request: Request) -> Response:
        session = self._session(request)
        if session is not None:
            name, identity, until_s = session
            now_s = self._clock()
            self._ended = {known: end for known, end in self._ended.items() if end > now_s} | {identity: until_s}
            await self._tell(name, "logout", "")
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(COOKIE, path=ROOT, httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer

    def _form(self, request: Request, goal: str, *, status: int = 200, name: str = "", message: str = "") -> Response:
        """The login page; one value in its form and in a cookie shows that the form was opened in this browser."""
        held = request.cookies.get(FORM_COOKIE, "")
        mark = held if re.fullmatch(r"[0-9a-f]{32}", held) else secrets.token_hex(16)
        if self._accounts.users():
            content = FORM.format(mark=mark, goal=escape(goal), name=escape(name), message=_alert(message))
        else:
            content = NOBODY
        answer = HTMLResponse(PAGE.format(head=self._head, content=content), status)
        answer.set_cookie(
            FORM_COOKIE, mark, path=LOGIN, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer


class Gate:
    """Lets nobody under /results/ who is not logged in, and nothing there into a shared or lasting cache.

    A page that is asked for leads to the login page; anything else is answered 401. What another site's page
    sends on a researcher's behalf is refused.
    """

    def __init__(self, app: ASGIApp, *, login: Login) -> None:
        self._app, self._login = app, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            # Nothing here speaks WebSocket.
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = self._refusal(Request(scope), path)
        if answer is None:
            await self._app(scope, receive, _sparing_caches(send))
        else:
            await answer(scope, receive, _sparing_caches(send))

    def _refusal(self, request: Request, path: str) -> Response | None:
        reads = request.method in {"GET", "HEAD"}
        if not reads and request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return JSONResponse({"error": "This is taken from this site's own page only."}, 403)
        if (path == LOGIN and request.method in {"GET", "POST"}) or self._login.researcher(request) is not None:
            return None
        if path == LOGOUT and request.method == "POST":
            return RedirectResponse(LOGIN, 303)
        if reads and (path in {ROOT, f"{ROOT}/"} or "text/html" in request.headers.get("accept", "")):
            goal = _goal(f"{path}?{request.url.query}" if request.url.query else path)
            return RedirectResponse(f"{LOGIN}?{urlencode({'next': goal})}" if goal != f"{ROOT}/" else LOGIN, 303)
        return JSONResponse({"error": "Please log in first."}, 401)


def _sparing_caches(send: Send) -> Send:
    """Sends on with a header against caches; scripts and styles, which tell nothing, stay as they are."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", []) if pair[0].lower() != b"cache-control"]
            kind = dict(message.get("headers", [])).get(b"content-type", b"")
            if not kind.startswith(KEPT_TYPES):
                message = {**message, "headers": [*headers, (b"cache-control", b"no-store")]}
        await send(message)

    return guarded


def _mark(hashed: str) -> str:
    """What tells one password from the next without giving either away."""
    return hashlib.sha256(hashed.encode()).hexdigest()[:32]


def _goal(wanted: str) -> str:
    """Where to go after logging in: a page of the results, whatever was asked for."""
    try:
        parts = urlsplit(wanted if wanted.isprintable() and "\\" not in wanted else "")
    except ValueError:
        return f"{ROOT}/"
    inside = parts.path.startswith(f"{ROOT}/") and not parts.path.startswith((LOGIN, LOGOUT)) and ".." not in parts.path
    if parts.scheme or parts.netloc or not inside:
        return f"{ROOT}/"
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


async def _read_form(request: Request) -> dict[str, str] | None:
    """The fields of a small form, the first value of each; None where it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=None)
    return {name: values[0] for name, values in fields.items()}


def _words(wait_s: float) -> str:
    """A time to wait, in words.

    Examples
    --------
    >>> _words(0.4), _words(32), _words(900)
    ('1 second', '32 seconds', '15 minutes')
    """
    number, unit = (math.ceil(wait_s), "second") if wait_s < 90 else (math.ceil(wait_s / 60), "minute")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _alert(message: str) -> str:
    return f'<p class="ms-notice" role="alert">{escape(message)}</p>' if message else ""


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · Survey results</title>
<script>if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark");</script>
{head}</head>
<body class="ms-login"><main>
<p class="ms-wordmark"><a href="/">Music-STAR <span>studio</span></a></p>
<h1>Survey results</h1>
{content}
</main></body></html>
"""
FORM = """<p class="ms-lead">For the survey’s researchers.</p>
<form method="post" action="/results/login">
<input type="hidden" name="form" value="{mark}"><input type="hidden" name="next" value="{goal}">
{message}
<label for="name">Name</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="64" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024" required>
<button type="submit">Log in</button>
</form>
"""
NOBODY = """<p class="ms-lead">Nobody can log in yet: no researcher has an account.</p>
<p>Whoever keeps this server makes one with <code>musicstar-survey user NAME</code>, which asks for a password, or
sets <code>MUSICSTAR_RESULTS_USERS</code>. There is no default password.</p>
"""
