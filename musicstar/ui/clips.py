"""Clips by HTTP: uploads, shipped pieces, and the sounds and pictures of a job by their opaque names."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from musicstar import jobs
from musicstar.desk import Desk
from musicstar.domains import Domain
from musicstar.jobs import Job, JobError, JobGone, Limits, NotReady

LOG = logging.getLogger(__name__)


def router(desk: Desk, examples: tuple[jobs.Example, ...]) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/media/{media}")
    @routes.head("/media/{media}")
    async def media(media: str) -> Response:
        path = jobs.find_media(desk.data, media)
        if path is None:
            return JSONResponse({"error": "This is no longer kept here."}, status_code=404)
        return FileResponse(path, headers={"cache-control": "private, max-age=86400, immutable"})

    @routes.post("/clips")
    async def new_clip(request: Request, name: str, part: str = "mixture", to: str = "") -> Response:
        """Take a file as (a part of) a clip: the body is the file."""

        async def take() -> Response:
            job = Job.find(desk.data, to) if to else Job.create(desk.data)
            with undone(job, new=not to):
                return await _take_file(desk, job, request, name, part)

        return await answer(request, take)

    @routes.get("/clips/{name}")
    async def known_clip(request: Request, name: str) -> Response:
        """What is known of a clip that was taken before."""

        async def take() -> Response:
            job = Job.find(desk.data, name)
            source = job.source()
            if source is None:
                raise JobError("This clip was not taken as a whole.")
            return _accepted(job, source)

        return await answer(request, take)

    @routes.post("/examples/{number}/{domain}")
    async def example_clip(request: Request, number: str, domain: Domain) -> Response:
        """Take a shipped piece as a clip."""
        piece = next((piece for piece in examples if piece.number == number), None)
        if piece is None:
            return JSONResponse({"error": "There is no such example."}, status_code=404)

        async def take() -> Response:
            job = piece.order_clip(desk.data, domain)
            with undone(job, new=True):
                return _accepted(job, await desk.inspect(job))

        return await answer(request, take)

    return routes


@contextlib.contextmanager
def undone(job: Job, *, new: bool) -> Iterator[None]:
    """Take a new job away again if what is done with it fails, whatever the failure; say so if it is gone already."""
    try:
        yield
    except BaseException as error:
        if new:
            job.delete()
        elif isinstance(error, OSError):
            Job.find(job.folder.parent, job.id)
        raise


async def answer(request: Request, take: Callable[[], Awaitable[Response]]) -> Response:
    """The answer to a clip, or the sentence of what was wrong with it."""
    try:
        same_origin(request)
        return await take()
    except JobError as error:
        return JSONResponse({"error": str(error)}, status_code=410 if isinstance(error, JobGone) else 422)
    except ClientDisconnect:
        return Response(status_code=400)
    except OSError as error:
        LOG.exception("a clip could not be stored")
        return JSONResponse({"error": f"The clip could not be stored here ({error.strerror})."}, status_code=507)


def same_origin(request: Request) -> None:
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
        await receive(request, path, shown, desk.limits)
        # Uploads into one clip take turns, so that each is judged, kept or taken back by itself.
        async with desk.turn(job):
            clip: MutableMapping[str, Any] = job.read_json("clip.json") or {"name": shown, "files": {}}
            if clip.get("example"):
                raise JobError("An example has its own stems.")
            if "files" not in clip:
                raise JobError("This clip is for its concepts to be heard: take it anew to translate it.")
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


async def receive(request: Request, path: Path, shown: str, limits: Limits) -> None:
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
