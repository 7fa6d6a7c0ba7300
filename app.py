"""The studio as one program: `python app.py` serves it."""

import asyncio
import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musicstar import jobs
from musicstar.desk import Desk
from musicstar.domains import Domain
from musicstar.jobs import Job, JobError, JobGone, Limits, NotReady

LOG = logging.getLogger(__name__)
PACKAGE = Path(__file__).parent / "musicstar"
STATIC = PACKAGE / "ui" / "static"
EXAMPLES = PACKAGE / "examples"
# Gradio compiles its templates in the browser, hence the two 'unsafe'; no other host is ever involved.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
# Of Gradio's routes only those its pages need; not its file server, uploads, proxy, run history or API pages.
GRADIO_ROUTES = re.compile(
    r"^(queue/(join|data)|run/predict|cancel|reset|startup-events|app_id|theme\.css|heartbeat/\w+)/?$"
)


@dataclass(frozen=True)
class Settings:
    """What can be set from outside, by environment variables MUSICSTAR_HOST and so on.

    Attributes
    ----------
    data : folder of the job files; None makes one that is deleted at the end
    """

    host: str = "127.0.0.1"
    port: int = 7860
    max_seconds: float = 30.0
    max_mb: float = 20.0
    workers: int = 1
    data: Path | None = None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the variables; raises ValueError naming one that does not fit."""

        def number(name: str, default: float, *, least: float) -> float:
            text = os.environ.get(f"MUSICSTAR_{name}", "")
            try:
                value = float(text) if text else default
            except ValueError:
                value = least - 1
            if not value >= least:
                raise ValueError(f"MUSICSTAR_{name} is {text!r}: expected a number, {least:g} or more")
            return value

        data = os.environ.get("MUSICSTAR_DATA")
        return cls(
            host=os.environ.get("MUSICSTAR_HOST") or cls.host,
            port=int(number("PORT", cls.port, least=0)),
            max_seconds=number("MAX_SECONDS", cls.max_seconds, least=1),
            max_mb=number("MAX_MB", cls.max_mb, least=0.1),
            workers=int(number("WORKERS", cls.workers, least=1)),
            data=Path(data) if data else None,
        )


class Guard:
    """Adds the security headers, and answers 404 to what Gradio serves but the pages do not need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in known)]
            await send(message)

        _, inner, rest = scope["path"].partition("/gradio_api/")
        blocked = bool(inner) and not GRADIO_ROUTES.match(rest)
        app = Response(status_code=404) if blocked else self._app
        await app(scope, receive, send_guarded)


class Dress:
    """Gives Gradio's pages our title, icon and style before any script has run, and takes its advertising out."""

    def __init__(self, app: ASGIApp, *, head: str) -> None:
        self._app, self._head = app, head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].endswith("/"):
            await self._app(scope, receive, send)
            return
        # What is to be changed has to come uncompressed.
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message | None = None
        page = b""

        async def send_dressed(message: Message) -> None:
            nonlocal start, page
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
            elif message["type"] != "http.response.body" or start is None:
                await send(message)
            else:
                page += message.get("body", b"")
                if message.get("more_body"):
                    return
                page = re.sub(rb"""<meta\s+(property="og:|name="twitter:)[^>]*>""", b"", page)
                page = page.replace(b"<head>", b"<head>" + self._head, 1)
                known = [pair for pair in start["headers"] if pair[0] != b"content-length"]
                await send({**start, "headers": [*known, (b"content-length", str(len(page)).encode())]})
                await send({"type": "http.response.body", "body": page})

        await self._app({**scope, "headers": headers}, receive, send_dressed)


def _is_html(start: Message) -> bool:
    return bool(dict(start["headers"]).get(b"content-type", b"").startswith(b"text/html"))


def create_app(settings: Settings | None = None) -> FastAPI:
    """The whole application.

    Parameters
    ----------
    settings : those of the environment by default
    """
    settings = settings or Settings.from_environment()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Imported here, because a spawned worker imports this module once more and needs none of it.
    import gradio as gr
    from starlette.staticfiles import StaticFiles

    from musicstar.ui import theme, translate

    temporary = None
    if settings.data is None:
        temporary = tempfile.TemporaryDirectory(prefix="musicstar-")
        data = Path(temporary.name)
    else:
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
    limits = Limits(max_duration_s=settings.max_seconds, max_bytes=int(settings.max_mb * 1e6))
    desk = Desk(data=data, limits=limits, workers=settings.workers)
    examples = jobs.find_examples(EXAMPLES)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        try:
            yield
        finally:
            await desk.close()
            if temporary is not None:
                temporary.cleanup()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.desk = desk
    head = (
        f'<title>{translate.TITLE}</title><meta name="description" content="{translate.DESCRIPTION}">'
        f'<link rel="icon" href="/ui/icon.svg" type="image/svg+xml"><style>{theme.tokens()}</style>'
        '<link rel="stylesheet" href="/ui/studio.css">'
    )
    app.add_middleware(Dress, head=head)
    app.add_middleware(Guard)
    app.mount("/ui", StaticFiles(directory=STATIC))
    _add_routes(app, desk, examples)
    page = translate.build(desk, examples)
    page.queue(api_open=False, default_concurrency_limit=None)
    gr.mount_gradio_app(
        app,
        page,
        "/",
        theme=theme.theme(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        allowed_paths=[],
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    return app


def _add_routes(app: FastAPI, desk: Desk, examples: tuple[jobs.Example, ...]) -> None:
    """The routes that are not Gradio's."""

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"ok": True, "orders": desk.busy}

    @app.get("/media/{media}")
    @app.head("/media/{media}")
    async def media(media: str) -> Response:
        path = jobs.find_media(desk.data, media)
        if path is None:
            return JSONResponse({"error": "This is no longer kept here."}, status_code=404)
        return FileResponse(path, headers={"cache-control": "private, max-age=86400, immutable"})

    @app.post("/clips")
    async def new_clip(request: Request, name: str, part: str = "mixture", to: str = "") -> Response:
        """Take a file as (a part of) a clip: the body is the file."""

        async def take() -> Response:
            job = Job.find(desk.data, to) if to else Job.create(desk.data)
            with _undone(job, new=not to):
                return await _take_file(desk, job, request, name, part)

        return await _answer(request, take)

    @app.post("/examples/{number}/{domain}")
    async def example_clip(request: Request, number: str, domain: Domain) -> Response:
        """Take a shipped piece as a clip."""
        piece = next((piece for piece in examples if piece.number == number), None)
        if piece is None:
            return JSONResponse({"error": "There is no such example."}, status_code=404)

        async def take() -> Response:
            job = piece.order_clip(desk.data, domain)
            with _undone(job, new=True):
                return _accepted(job, await desk.inspect(job))

        return await _answer(request, take)


@contextlib.contextmanager
def _undone(job: Job, *, new: bool) -> Iterator[None]:
    """Take a new job away again if what is done with it fails, whatever the failure; say so if it is gone already."""
    try:
        yield
    except BaseException as error:
        if new:
            job.delete()
        elif isinstance(error, OSError):
            Job.find(job.folder.parent, job.id)
        raise


async def _answer(request: Request, take: Callable[[], Awaitable[Response]]) -> Response:
    """The answer to a clip, or the sentence of what was wrong with it."""
    try:
        _same_origin(request)
        return await take()
    except JobError as error:
        return JSONResponse({"error": str(error)}, status_code=410 if isinstance(error, JobGone) else 422)
    except ClientDisconnect:
        return Response(status_code=400)
    except OSError as error:
        LOG.exception("a clip could not be stored")
        return JSONResponse({"error": f"The clip could not be stored here ({error.strerror})."}, status_code=507)


def _same_origin(request: Request) -> None:
    """Refuse what another site's page sends on a visitor's behalf."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise JobError("Clips are taken from this site's own page only.")


async def _take_file(desk: Desk, job: Job, request: Request, name: str, part: str) -> Response:
    """Store an upload as a part of a job and have it checked; a part that is refused is taken back."""
    if part not in jobs.PARTS:
        raise JobError(f"A clip has the parts {', '.join(jobs.PARTS)}, not {part!r}.")
    shown = jobs.plain_name(name)
    path = job.new_file(".upload")
    kept = False
    try:
        await _receive(request, path, shown, desk.limits)
        # Uploads into one clip take turns, so that each is judged, kept or taken back by itself.
        async with desk.turn(job):
            clip: MutableMapping[str, Any] = job.read_json("clip.json") or {"name": shown, "files": {}}
            if clip.get("example"):
                raise JobError("An example has its own stems.")
            job.write_json("clip.json", {**clip, "files": {**clip["files"], part: [path.name, shown]}})
            try:
                source = await desk.inspect(job)
                kept = True
                return _accepted(job, source)
            except NotReady as error:
                kept = True
                parts = sorted({*clip["files"], part})
                return JSONResponse({"job": job.id, "ready": False, "stems": False, "parts": parts, "note": str(error)})
            except JobError:
                job.write_json("clip.json", clip)
                raise
    finally:
        if not kept:
            path.unlink(missing_ok=True)


async def _receive(request: Request, path: Path, shown: str, limits: Limits) -> None:
    """Store an upload's body."""
    received = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limits.max_bytes:
                raise JobError(f"{shown}: larger than {limits.max_bytes / 1e6:g} MB, the most that is taken here.")
            await asyncio.to_thread(file.write, chunk)


def _accepted(job: Job, source: jobs.Source) -> Response:
    return JSONResponse(
        {
            "job": job.id,
            "ready": True,
            "name": source.name,
            "seconds": round(source.input.duration_s, 2),
            "stems": source.has_stems,
            "example": source.example,
            "parts": sorted((job.read_json("clip.json") or {}).get("files", {})),
        }
    )


def main() -> None:
    """Serve the application until it is interrupted."""
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=2)
    except (ValueError, OSError, OverflowError) as error:
        sys.exit(f"Music-STAR studio cannot start: {error}")


if __name__ == "__main__":
    main()
