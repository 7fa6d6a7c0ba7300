"""Atlases by HTTP: what concepts there are, the tree they form, who is near whom, previews and exports."""

import asyncio
import gzip
import hashlib
import json
import logging
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from musicstar.concepts import formats, hierarchy
from musicstar.concepts import truth as truths
from musicstar.concepts.atlas import Atlas, AtlasError, Shape, load
from musicstar.concepts.hierarchy import ROOT, Orientation, Tree

LOG = logging.getLogger(__name__)
NEAREST = 8
MOST_CHILDREN = 10_000
KEPT = 64
PACK_FROM_BYTES = 2_000
NO_ATLAS = "There is no atlas of that name here; reload the page for those there are."


class AskError(ValueError):
    """A request that cannot be answered; the message is the sentence for whoever sent it, the status says why."""

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.status = status


class Shelf:
    """The atlases that are offered, read when they are first asked for, and the trees grown of them.

    Parameters
    ----------
    folders : one for each atlas; a name that comes twice is numbered
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._growing = asyncio.Lock()
        self._trees: OrderedDict[tuple[str, Shape], Tree] = OrderedDict()
        # Known here too, as an atlas that is finding others does not give out those it has.
        self._centralities: dict[tuple[str, float], np.ndarray] = {}

    @cached_property
    def _read(self) -> tuple[dict[str, Atlas], dict[str, str]]:
        """Those that can be used, and why the others cannot."""
        atlases: dict[str, Atlas] = {}
        broken: dict[str, str] = {}
        for folder in self._folders:
            base = name = folder.resolve().name
            number = 1
            while name in atlases or name in broken:
                number += 1
                name = f"{base}-{number}"
            try:
                atlases[name] = load(folder)
                self._centralities[name, hierarchy.THRESHOLD] = atlases[name].centrality()
            except (AtlasError, truths.TruthError, OSError) as error:
                LOG.warning("the atlas %s is left out: %s", folder, error)
                # Where things lie on the server is not for its visitors.
                broken[name] = str(error).replace(str(folder), name)
        return atlases, broken

    def _all(self) -> tuple[dict[str, Atlas], dict[str, str]]:
        with self._lock:
            return self._read

    async def all(self) -> tuple[dict[str, Atlas], dict[str, str]]:
        """The atlases by name, and the sentences of those that cannot be read."""
        return await asyncio.to_thread(self._all)

    async def get(self, name: str) -> Atlas:
        """One of them; raises AskError where there is none."""
        atlases, _ = await self.all()
        if name not in atlases:
            raise AskError(NO_ATLAS, 404)
        return atlases[name]

    async def tree(self, name: str, shape: Shape, given_up: Callable[[], Awaitable[bool]] | None = None) -> Tree:
        """The tree of a shape.

        Who is central has to be found anew for each threshold, which takes half a minute where concepts are many:
        one at a time, while every threshold known is served at once.
        """
        atlas = await self.get(name)
        known = self._trees.get((name, shape))
        if known is not None:
            self._trees.move_to_end((name, shape))
            return known
        centrality = await self._centrality(name, atlas, shape.threshold, given_up)
        tree = await asyncio.to_thread(
            hierarchy.grow,
            atlas.similarity,
            centrality,
            orientation=shape.orientation,
            least_similarity=shape.least_similarity,
            most_children=shape.most_children,
        )
        self._trees[name, shape] = tree
        while len(self._trees) > KEPT:
            self._trees.popitem(last=False)
        return tree

    async def _centrality(
        self, name: str, atlas: Atlas, threshold: float, given_up: Callable[[], Awaitable[bool]] | None
    ) -> np.ndarray:
        if (name, threshold) not in self._centralities:
            async with self._growing:
                if given_up is not None and await given_up():
                    raise AskError("Nobody waits for this tree any more.", 499)
                found = await asyncio.to_thread(atlas.centrality, threshold)
                self._centralities[name, threshold] = found
                passing = [key for key in self._centralities if key[1] != hierarchy.THRESHOLD]
                if len(passing) > KEPT:
                    del self._centralities[passing[0]]
                return found
        return self._centralities[name, threshold]


def place(tree: Tree, similarities: np.ndarray, shape: Shape) -> int:
    """Where one more concept would hang if it came last: the index of its parent, or ROOT.

    Parameters
    ----------
    similarities : np.ndarray[N], to each concept of the tree, in the shape's orientation
    """
    children = np.bincount(tree.parents[tree.parents != ROOT], minlength=len(tree.parents))
    candidates = np.where(children < shape.most_children, similarities, -np.inf)
    best = int(np.argmax(candidates)) if len(candidates) else ROOT
    return best if best != ROOT and candidates[best] > shape.least_similarity else ROOT


def shape_of(query: Mapping[str, str]) -> Shape:
    """The shape that a request asks for; raises AskError naming what does not fit."""
    orientation = query.get("orientation", Shape.orientation)
    if orientation not in list(Orientation):
        raise AskError(f"The orientation is {orientation!r}; expected published or transposed.")
    children = _number(query, "children", Shape.most_children)
    if children != int(children) or not 1 <= children <= MOST_CHILDREN:
        raise AskError(f"The most children are {query['children']}; expected a whole number from 1 to {MOST_CHILDREN}.")
    # Rounded, so that one figure written in two ways is not reckoned twice.
    return Shape(
        Orientation(orientation),
        round(_number(query, "threshold", Shape.threshold), 3),
        round(_number(query, "least", Shape.least_similarity), 3),
        int(children),
    )


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AskError(f"The value of {name} is {text!r}; expected a number.")
    return value


def _described(name: str, atlas: Atlas) -> dict[str, Any]:
    """An atlas in columns, a value for each concept."""
    concepts = atlas.concepts
    clusters = sorted(set(atlas.clusters.values()))
    number = {cluster: k for k, cluster in enumerate(clusters)}
    off_diagonal = atlas.similarity[~np.eye(len(concepts), dtype=bool)]
    return {
        "name": name,
        "title": atlas.title,
        "hears": atlas.vectors is not None,
        "learns": atlas.vectors is not None and atlas.background is not None,
        "card": dict(atlas.card),
        "shape": asdict(Shape()),
        "range": [float(off_diagonal.min(initial=0.0)), float(off_diagonal.max(initial=1.0))],
        "clusters": clusters,
        "names": [concept.name for concept in concepts],
        "cluster": [number[atlas.clusters[concept.name]] for concept in concepts] if clusters else [],
        "truth": [concept.parents for concept in concepts],
        "above": [sorted(atlas.ancestors[concept.name]) for concept in concepts],
        "clips": [concept.clips for concept in concepts],
        "accuracy": [concept.accuracy for concept in concepts],
        "low": [concept.low for concept in concepts],
        "high": [concept.high for concept in concepts],
        "warning": {i: concept.warning for i, concept in enumerate(concepts) if concept.warning},
        "examples": [concept.examples for concept in concepts],
    }


def _grown(atlas: Atlas, tree: Tree, shape: Shape) -> dict[str, Any]:
    """A tree in columns: each one's parent, and how similar that is."""
    rows = np.arange(len(tree.parents))
    similarity = np.where(tree.parents == ROOT, 0.0, atlas.towards(shape.orientation)[rows, tree.parents])
    return {"parents": tree.parents.tolist(), "similarity": _rounded(similarity)}


def _nearest(atlas: Atlas, index: int) -> dict[str, Any]:
    """The concepts that are most in the clips of one, and those in whose clips it is most."""

    def most(values: np.ndarray) -> list[tuple[int, float]]:
        values = values.astype(float)
        values[index] = -np.inf
        best = np.argsort(-values, kind="stable")[:NEAREST]
        return [(int(i), round(float(values[i]), 3)) for i in best if i != index]

    return {"within": most(atlas.similarity[index]), "around": most(atlas.similarity[:, index])}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def reply(request: Request, content: Any) -> Response:
    """JSON that a browser keeps and asks after, packed where it is long."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if len(body) >= PACK_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 4)
        headers["content-encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


def refusal(error: AskError) -> Response:
    """A sentence in the place of an answer."""
    return JSONResponse({"error": str(error)}, status_code=error.status)


def router(shelf: Shelf) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/concepts")

    @routes.get("/api/atlases")
    async def atlases(request: Request) -> Response:
        usable, broken = await shelf.all()
        listed = [
            {"name": name, "title": atlas.title, "concepts": len(atlas.concepts)} for name, atlas in usable.items()
        ]
        return reply(request, {"atlases": listed, "broken": broken})

    @routes.get("/api/atlas/{name}")
    async def atlas(request: Request, name: str) -> Response:
        try:
            found = await shelf.get(name)
        except AskError as error:
            return refusal(error)
        return await asyncio.to_thread(lambda: reply(request, _described(name, found)))

    @routes.get("/api/atlas/{name}/tree")
    async def tree(request: Request, name: str) -> Response:
        try:
            shape = shape_of(request.query_params)
            found = await shelf.get(name)
            grown = await shelf.tree(name, shape, request.is_disconnected)
        except AskError as error:
            return refusal(error)
        return await asyncio.to_thread(lambda: reply(request, _grown(found, grown, shape)))

    @routes.get("/api/atlas/{name}/near/{index}")
    async def near(request: Request, name: str, index: str) -> Response:
        try:
            found = await shelf.get(name)
            if not index.isdecimal() or len(index) > 9 or int(index) >= len(found.concepts):
                raise AskError(f"There is no concept {index[:20]}; expected 0 to {len(found.concepts) - 1}.", 404)
        except AskError as error:
            return refusal(error)
        return reply(request, _nearest(found, int(index)))

    @routes.get("/api/atlas/{name}/export/{form}")
    async def export(request: Request, name: str, form: str) -> Response:
        try:
            if form not in formats.FORMATS:
                raise AskError(f"There is no export as {form!r}; expected {', '.join(formats.FORMATS)}.", 404)
            shape = shape_of(request.query_params)
            found = await shelf.get(name)
            grown = await shelf.tree(name, shape)
        except AskError as error:
            return refusal(error)
        content = await asyncio.to_thread(formats.write, found, grown, shape, form)
        kind = formats.FORMATS[form]
        headers = {"content-disposition": f'attachment; filename="{_plain(name)}{kind.suffix}"'}
        return Response(content, media_type=kind.media_type, headers=headers)

    @routes.get("/preview/{name}/{file}")
    @routes.head("/preview/{name}/{file}")
    async def preview(name: str, file: str) -> Response:
        try:
            found = await shelf.get(name)
        except AskError as error:
            return refusal(error)
        known = found.folder is not None and any(file in concept.examples for concept in found.concepts)
        path = (found.folder or Path()) / "previews" / file
        if not known or not path.is_file():
            return refusal(AskError("This example is not kept here.", 404))
        return FileResponse(path, headers={"cache-control": "private, max-age=86400"})

    return routes


def _plain(name: str) -> str:
    """A name that any system takes for a file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
