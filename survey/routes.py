"""The participants' HTTP interface: JSON in and out, one cookie, sound by opaque names."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from db.engine import NOT_SAVED
from db.records import Draft, Headphones, NewAnswer, PlaybackEvent, Screening
from survey.session import MAX_TEXT, NO_RECORDING, SurveyDesk, SurveyError, Ticket
from survey.strict import MAX_BYTES, Fields, Malformed, read

T = TypeVar("T")
Act = Callable[[SurveyDesk, Ticket, Fields], dict[str, Any]]

COOKIE = "ms_survey"
COOKIE_AGE_S = 60 * 24 * 3600
HEX = "[0-9a-f]{32}"
EXTERNAL = r"[\w.@:+-]*"
KEY = "[A-Za-z0-9_.-]+"
MAX_EVENTS = 500
KINDS = ("play", "pause", "heard", "loop", "order")
HEADPHONES: tuple[Headphones, ...] = ("pass", "fail", "unavailable", "skipped")
# SQLite writes one after the other; more threads than these would only keep the event loop from its turn.
WRITERS_SQLITE, WRITERS, READERS = 2, 8, 4
QUEUE_S = 15.0
# Clips are written one system after the other, so the time of a file would tell which system it is.
MEDIA_HEADERS = {"cache-control": "private, max-age=86400", "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"}


class Queue:
    """Work that waits for its turn, and is refused where that takes too long."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # Of each event loop its own, as what waits in one cannot be woken from another.
        self._turns: RunVar[anyio.Semaphore] = RunVar(f"turns of {id(self)}")

    async def do(self, work: Callable[[], T]) -> T:
        """Do something in a thread; raises SurveyError with 503 where nothing else gets done either."""
        try:
            turns = self._turns.get()
        except LookupError:
            turns = anyio.Semaphore(self._threads)
            self._turns.set(turns)
        try:
            with anyio.fail_after(QUEUE_S):
                await turns.acquire()
        except TimeoutError:
            raise SurveyError(503, NOT_SAVED) from None
        try:
            return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
        finally:
            turns.release()


def router(desk: SurveyDesk) -> APIRouter:
    """The routes under /survey/."""
    routes = APIRouter(prefix="/survey")
    writers = Queue(WRITERS_SQLITE if desk.store.is_sqlite else WRITERS)
    readers = Queue(READERS)

    def add(name: str, act: Act) -> None:
        @routes.post(f"/api/{name}", name=name)
        async def step(request: Request) -> Response:
            """Answer what was posted by somebody with a session."""
            try:
                _same_origin(request)
                fields = read(await _body(request))
                ticket = _needed(request)
                return _json(await writers.do(lambda: act(desk, ticket, fields)))
            except (SurveyError, Malformed) as error:
                return _refusal(error)
            except ClientDisconnect:
                return Response(status_code=400)

    for name, act in STEPS.items():
        add(name, act)

    @routes.post("/api/open")
    async def open_(request: Request) -> Response:
        try:
            _same_origin(request)
            fields = read(await _body(request))
            held = _ticket(request)
            ticket, state = await writers.do(lambda: _open(desk, held, fields))
        except (SurveyError, Malformed) as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        response = _json(state)
        name = base64.urlsafe_b64encode(ticket.external.encode()).decode().rstrip("=")
        response.set_cookie(
            COOKIE,
            f"{ticket.token}.{name}",
            max_age=COOKIE_AGE_S,
            path="/survey",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    @routes.get("/api/state")
    async def state(request: Request) -> Response:
        try:
            ticket = _needed(request)
            return _json(await readers.do(lambda: desk.state(ticket)))
        except SurveyError as error:
            return _refusal(error)

    @routes.api_route("/media/{name}", methods=["GET", "HEAD"])
    async def media(request: Request, name: str) -> Response:
        ticket = _ticket(request)
        try:
            # Whether there is such a recording, nobody else learns.
            if ticket is None:
                raise SurveyError(404, NO_RECORDING)
            path = await readers.do(lambda: desk.find_media(ticket, name))
        except SurveyError as error:
            return _refusal(error)
        return FileResponse(path, media_type="audio/wav", headers={**MEDIA_HEADERS, "etag": f'"{name}"'})

    return routes


def _open(desk: SurveyDesk, held: Ticket | None, fields: Fields) -> tuple[Ticket, dict[str, Any]]:
    fields.only("study", "participant", "language", "preview")
    return desk.open(
        fields.text("study", longest=64),
        external=fields.text("participant", longest=128, pattern=EXTERNAL),
        language=fields.text("language", longest=16),
        preview=fields.yes("preview"),
        ticket=held,
    )


def _consent(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    fields.only("agreed", "language", "generation")
    if not fields.yes("agreed"):
        raise Malformed("Without consent there is no survey.", "agreed")
    language = fields.text("language", longest=16)
    return desk.consent(ticket, language=language, generation=fields.whole("generation"))


def _background(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    inner = fields.only("answers", "generation").inner("answers")
    answers = {key: inner.scalar(key, longest=MAX_TEXT) for key in inner.keys()}  # noqa: SIM118 -- not a mapping
    return desk.background(ticket, answers, generation=fields.whole("generation"))


def _sound(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    fields.only("volume", "headphones", "answers", "generation")
    screening = Screening(
        volume=fields.number("volume", most=1.0),
        headphones=fields.one_of("headphones", HEADPHONES),
        answers=fields.scalars("answers", most=64),
    )
    return desk.sound(ticket, screening, generation=fields.whole("generation"))


def _draft(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    fields.only("trial", "criterion", "ranks", "sequence")
    draft = Draft(fields.ranks("ranks"), fields.whole("sequence"))
    trial, criterion = fields.text("trial", pattern=HEX), fields.text("criterion", longest=64, pattern=KEY)
    desk.draft(ticket, trial=trial, criterion=criterion, draft=draft)
    return {"saved": True}


def _events(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    rows = fields.only("events").objects("events", most=MAX_EVENTS)
    return {"kept": desk.events(ticket, [_event(row) for row in rows])}


def _event(row: Fields) -> PlaybackEvent:
    row.only("trial", "item", "kind", "at_ms", "position_s")
    return PlaybackEvent(
        trial=row.text("trial", pattern=HEX),
        item=row.text("item", pattern=f"{HEX}|gold|", default=""),
        kind=row.one_of("kind", KINDS),
        at_ms=row.number("at_ms", most=1e14),
        # A player may tell a moment before the beginning, of a start that it has only scheduled.
        position_s=max(0.0, row.number("position_s", least=-1.0, most=86_400.0)),
    )


def _answers(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    fields.only("submission", "trial", "criterion", "ranks", "generation", "elapsed_ms")
    new = NewAnswer(
        submission=fields.text("submission", pattern=HEX),
        trial=fields.text("trial", pattern=HEX),
        criterion=fields.text("criterion", longest=64, pattern=KEY),
        ranks=fields.ranks("ranks"),
        generation=fields.whole("generation"),
        elapsed_ms=fields.whole("elapsed_ms"),
    )
    return asdict(desk.answer(ticket, new))


def _finish(desk: SurveyDesk, ticket: Ticket, fields: Fields) -> dict[str, Any]:
    return dict(desk.finish(ticket, generation=fields.only("generation").whole("generation")))


STEPS: dict[str, Act] = {
    "consent": _consent,
    "background": _background,
    "sound": _sound,
    "draft": _draft,
    "events": _events,
    "answers": _answers,
    "finish": _finish,
}


async def _body(request: Request) -> bytes:
    """A body, no longer than it may be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise SurveyError(413, f"The request is larger than {MAX_BYTES // 1000} kB.")
    return body


def _same_origin(request: Request) -> None:
    """Refuse what another site's page sends on a participant's behalf."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise SurveyError(403, "Answers are taken from this site's own pages only.")


def _ticket(request: Request) -> Ticket | None:
    """What the cookie says."""
    token, _, external = request.cookies.get(COOKIE, "").partition(".")
    if not token:
        return None
    try:
        name = base64.urlsafe_b64decode(external + "=" * (-len(external) % 4)).decode()
    except (binascii.Error, ValueError):
        name = ""
    return Ticket(token, name)


def _needed(request: Request) -> Ticket:
    ticket = _ticket(request)
    if ticket is None:
        raise SurveyError(401, "Please open the survey by its link.", reload=True)
    return ticket


def _json(value: dict[str, Any]) -> JSONResponse:
    return JSONResponse(value, headers={"cache-control": "no-store"})


def _refusal(error: SurveyError | Malformed) -> JSONResponse:
    status = error.status if isinstance(error, SurveyError) else 422
    reload = isinstance(error, SurveyError) and error.reload
    return JSONResponse(
        {"error": str(error), "field": error.field, "reload": reload},
        status_code=status,
        headers={"cache-control": "no-store"},
    )
