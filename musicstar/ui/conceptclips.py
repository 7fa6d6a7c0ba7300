"""Visitors' own clips on the Concepts page by HTTP: what a clip contains, and concepts made of a handful of clips."""

import json
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from musicstar.concepts.atlas import Atlas
from musicstar.concepts.hierarchy import ROOT, Orientation
from musicstar.desk import Desk
from musicstar.domains import Domain
from musicstar.jobs import Example, Job, JobError, plain_name
from musicstar.ui.clips import answer, receive, undone
from musicstar.ui.conceptmap import AskError, Shelf, place, refusal, reply, shape_of

# As `query` has it, which the web process does not import, as it would load PyTorch.
LEAST_CLIPS = 3
MOST_CLIPS = 40
MOST_TITLE = 60
MOST_BODY_BYTES = 10_000


def router(desk: Desk, shelf: Shelf, examples: Sequence[Example]) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/concepts")
    _hearing_routes(routes, desk, shelf, examples)
    _own_routes(routes, desk, shelf)
    return routes


def _hearing_routes(routes: APIRouter, desk: Desk, shelf: Shelf, examples: Sequence[Example]) -> None:
    """What a clip contains."""

    async def hear(request: Request, job: Job, atlas: Atlas) -> Response:
        await desk.ask("hear", job, atlas.folder, atlas.sha256, desk.limits)
        return reply(request, {"job": job.id, **job.read_json("heard.json")})

    @routes.post("/clips")
    async def clip(request: Request, atlas: str, name: str = "") -> Response:
        """Say what concepts a file contains: the body is the file."""

        async def take() -> Response:
            known = await _usable(shelf, atlas)
            job = Job.create(desk.data)
            with undone(job, new=True):
                path, shown = job.new_file(".upload"), plain_name(name)
                await receive(request, path, shown, desk.limits)
                job.write_json("clip.json", {"name": shown, "file": path.name})
                return await hear(request, job, known)

        return await answer(request, take)

    @routes.post("/examples/{number}/{domain}")
    async def example(request: Request, number: str, domain: Domain, atlas: str) -> Response:
        """Say what concepts a shipped piece contains."""
        piece = next((piece for piece in examples if piece.number == number), None)
        if piece is None or domain not in piece.domains:
            return JSONResponse({"error": "There is no such example."}, status_code=404)

        async def take() -> Response:
            known = await _usable(shelf, atlas)
            job = Job.create(desk.data)
            with undone(job, new=True):
                path = job.new_file(".upload")
                shutil.copyfile(piece.voices[domain.mixture.label], path)
                shown = f"{piece.title}, {domain.label}"
                job.write_json("clip.json", {"name": shown, "file": path.name})
                return await hear(request, job, known)

        return await answer(request, take)


def _own_routes(routes: APIRouter, desk: Desk, shelf: Shelf) -> None:
    """A visitor's own concept: its clips, and what becomes of them."""

    @routes.post("/own")
    async def add(request: Request, name: str, to: str = "") -> Response:
        """Add a file to the clips of a visitor's own concept."""

        async def take() -> Response:
            job = Job.find(desk.data, to) if to else Job.create(desk.data)
            with undone(job, new=not to):
                return await _add(desk, job, request, plain_name(name))

        return await answer(request, take)

    @routes.delete("/own/{name}/{file}")
    async def remove(request: Request, name: str, file: str) -> Response:
        """Take one of the files away again; where it is gone already that is no fault."""

        async def take() -> Response:
            job = Job.find(desk.data, name)
            async with desk.turn(job):
                files = _files(job)
                gone = files.pop(file, None)
                job.write_json("own.json", {"files": files})
            if gone is not None:
                (job.folder / gone[0]).unlink(missing_ok=True)
            return JSONResponse({"job": job.id, "clips": len(files)})

        return await answer(request, take)

    @routes.post("/own/{name}/fit")
    async def fit(request: Request, name: str) -> Response:
        """Make a concept of the files: the body is `{"atlas", "title"}`."""

        async def take() -> Response:
            wanted = await _body(request)
            known = await _usable(shelf, str(wanted.get("atlas", "")), learning=True)
            title = " ".join(str(wanted.get("title", "")).split())[:MOST_TITLE]
            if not title:
                raise JobError("Give the concept a name first.")
            job = Job.find(desk.data, name)
            async with desk.turn(job):
                if len(_files(job)) < LEAST_CLIPS:
                    raise JobError(
                        f"{len(_files(job))} clips so far: a concept needs {LEAST_CLIPS}, better five or more."
                    )
                await desk.ask("own", job, known.folder, known.sha256, desk.limits, title)
                made = job.read_json("own_result.json")
                job.write_json("own_made.json", {"sha256": known.sha256, **made})
            return reply(request, {"job": job.id, **made})

        return await answer(request, take)

    @routes.get("/own/{name}/place")
    async def where(request: Request, name: str, atlas: str) -> Response:
        """Where the concept that was made would hang in a tree."""
        try:
            shape = shape_of(request.query_params)
            made = Job.find(desk.data, name).read_json("own_made.json")
            if made is None or made.get("sha256") != (await shelf.get(atlas)).sha256:
                raise AskError("The concept has not been made in this atlas yet.", 404)
            tree = await shelf.tree(atlas, shape)
        except JobError as error:
            return JSONResponse({"error": str(error)}, status_code=410)
        except AskError as error:
            return refusal(error)
        towards = made["from"] if shape.orientation is Orientation.PUBLISHED else made["towards"]
        parent = place(tree, np.array(towards), shape)
        return reply(request, {"parent": parent, "similarity": 0.0 if parent == ROOT else round(towards[parent], 3)})


async def _add(desk: Desk, job: Job, request: Request, shown: str) -> Response:
    """Store an upload as one of the clips of a visitor's own concept; one that is refused is taken back."""
    path = job.new_file(".upload")
    try:
        await receive(request, path, shown, desk.limits)
        if not path.stat().st_size:
            raise JobError(f"{shown}: an empty file; expected WAV, FLAC, OGG or MP3.")
        async with desk.turn(job):
            files = _files(job)
            if len(files) >= MOST_CLIPS:
                raise JobError(f"A concept is made of {MOST_CLIPS} clips at most.")
            files[path.stem] = [path.name, shown]
            job.write_json("own.json", {"files": files})
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    job.touch()
    return JSONResponse({"job": job.id, "clip": path.stem, "clips": len(files)})


def _files(job: Job) -> dict[str, list[str]]:
    """The clips of a visitor's own concept: the stored and the shown name of each."""
    return dict((job.read_json("own.json") or {"files": {}})["files"])


async def _usable(shelf: Shelf, name: str, *, learning: bool = False) -> Atlas:
    """An atlas that audio can be held against; raises JobError where it cannot."""
    try:
        atlas = await shelf.get(name)
    except AskError as error:
        raise JobError(str(error)) from None
    if atlas.vectors is None or atlas.folder is None:
        raise JobError(
            f"The concepts of {atlas.title} were not learned from audio, so no clip can be held against them."
        )
    if learning and atlas.background is None:
        raise JobError(f"{atlas.title} came without the clips behind it, so no concept can be added to it.")
    return atlas


async def _body(request: Request) -> dict[str, Any]:
    """A small JSON object sent with a request."""
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > MOST_BODY_BYTES:
            raise JobError("More was sent than a name and an atlas.")
    try:
        found = json.loads(received)
        # Half a character can be sent, and nothing can be done with it.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise JobError('Expected {"atlas": ..., "title": ...} as JSON.')
    return found
