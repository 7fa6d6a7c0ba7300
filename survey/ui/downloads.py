"""The results' files, and Plotly out of its installed package: plain routes under /results/, behind the login."""

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import plotly
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from db.records import StoreError
from db.store import Store
from survey import exchange
from survey.codebook import codebook
from survey.definition import Study, from_json

Researcher = Callable[[Request], str | None]
FILES = {
    "rankings.csv": "text/csv; charset=utf-8",
    "everything.zip": "application/zip",
    "everything.json": "application/json",
    "codebook.md": "text/markdown; charset=utf-8",
}


def router(store: Store, *, researcher: Researcher) -> APIRouter:
    """The routes.

    Parameters
    ----------
    researcher : names who asks, or gives None, and then nothing is answered, whatever stands before these routes
    """
    routes = APIRouter(prefix="/results")

    def known(request: Request) -> str:
        name = researcher(request)
        if name is None:
            raise HTTPException(401, "Please log in first.")
        return name

    @routes.get("/export/{study}/{name}", include_in_schema=False)
    def export(request: Request, study: str, name: str) -> Response:
        who = known(request)
        try:
            versions = store.versions(study)
            if not versions or name not in FILES:
                raise HTTPException(404, "There is no such file.")
            content = _content(store, study, name, [from_json(version.config_json) for version in versions])
            store.audit(who, "export", name, study=study)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        stem, _, suffix = name.rpartition(".")
        file = f"{study}-{stem}-{datetime.now(UTC):%Y-%m-%d}.{suffix}"
        return Response(
            content, media_type=FILES[name], headers={"content-disposition": f'attachment; filename="{file}"'}
        )

    @routes.get("/plotly.js", include_in_schema=False)
    def script(request: Request) -> Response:
        known(request)
        headers = {"cache-control": "private, max-age=86400", "vary": "accept-encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(_plotly().read_bytes(), media_type="text/javascript", headers=headers)
        packed = _packed_plotly()
        return Response(packed, media_type="text/javascript", headers={**headers, "content-encoding": "gzip"})

    return routes


def _content(store: Store, study: str, name: str, versions: Sequence[Study]) -> bytes:
    match name:
        case "rankings.csv":
            return exchange.rankings_csv(store.rankings(study))
        case "everything.zip":
            *earlier, latest = versions
            return exchange.to_zip(store.history(study), latest, store.rankings(study), earlier=earlier)
        case "everything.json":
            return exchange.to_json(store.history(study))
        case _:
            return codebook(*versions).encode()


def _plotly() -> Path:
    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@cache
def _packed_plotly() -> bytes:
    return gzip.compress(_plotly().read_bytes(), 6)
