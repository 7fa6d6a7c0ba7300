"""The studio as one program: `python app.py` serves it."""

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from db.records import StoreError
from musicstar import jobs
from musicstar.desk import Desk
from musicstar.jobs import Limits
from musicstar.ui.web import Dress, Guard, import_gradio

if TYPE_CHECKING:
    import gradio as gr

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parent
STATIC = ROOT / "musicstar" / "ui" / "static"
EXAMPLES = ROOT / "musicstar" / "examples"
ATLASES = ROOT / "musicstar" / "atlases"
STUDY = "music-star"
BUILD_AFTER_S = 5.0


@dataclass(frozen=True)
class Settings:
    """What can be set from outside, by environment variables MUSICSTAR_HOST and so on.

    Attributes
    ----------
    data : folder of the job files; None makes one that is deleted at the end
    survey : folder of the survey's clips, accounts and, without DATABASE_URL, answers
    concepts : folders of atlases that are shown besides those shipped
    """

    host: str = "127.0.0.1"
    port: int = 7860
    max_seconds: float = 30.0
    max_mb: float = 20.0
    workers: int = 1
    data: Path | None = None
    survey: Path = Path("data")
    concepts: tuple[Path, ...] = ()

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
            survey=Path(os.environ.get("MUSICSTAR_SURVEY") or cls.survey),
            concepts=tuple(
                Path(folder) for folder in os.environ.get("MUSICSTAR_CONCEPTS", "").split(os.pathsep) if folder
            ),
        )


def create_app(settings: Settings | None = None) -> FastAPI:
    """The whole application.

    Parameters
    ----------
    settings : those of the environment by default

    Raises
    ------
    StoreError, AccountError
        The survey's database, or an account of a researcher, cannot be read.
    """
    settings = settings or Settings.from_environment()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Imported here, because a spawned worker imports this module once more and needs none of it.
    import_gradio()
    from starlette.staticfiles import StaticFiles

    from musicstar.ui import clips, conceptclips, conceptmap, concepts, theme, translate
    from survey.ui import participant

    temporary = None
    if settings.data is None:
        temporary = tempfile.TemporaryDirectory(prefix="musicstar-")
        data = Path(temporary.name)
    else:
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
    limits = Limits(max_duration_s=settings.max_seconds, max_bytes=int(settings.max_mb * 1e6))
    desk = Desk(data=data, limits=limits, workers=settings.workers)
    survey = _Survey(settings.survey)
    examples = jobs.find_examples(EXAMPLES)
    shelf = conceptmap.Shelf([*concepts.shipped(ATLASES), *settings.concepts])

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        survey.open()
        # Read before anybody asks, so that nobody waits for it.
        reading = asyncio.create_task(shelf.all())
        try:
            yield
        finally:
            reading.cancel()
            await survey.close()
            await desk.close()
            if temporary is not None:
                temporary.cleanup()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.desk, app.state.survey = desk, survey
    app.add_middleware(
        Dress,
        head=theme.head(translate.TITLE, translate.DESCRIPTION),
        below={
            "/concepts/": theme.head(concepts.TITLE, concepts.DESCRIPTION, styles=concepts.STYLES),
            **survey.heads,
        },
    )
    survey.guard(app)
    app.add_middleware(Guard, eventless=("/survey", "/concepts"))
    app.mount("/ui", StaticFiles(directory=STATIC))

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"ok": True, "orders": desk.busy}

    app.include_router(clips.router(desk, examples))
    app.include_router(conceptmap.router(shelf))
    app.include_router(conceptclips.router(desk, shelf, examples))
    survey.mount(app)

    @app.get("/concepts")
    @app.get("/survey")
    @app.get("/results")
    async def with_slash(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{request.url.path}/{query}", 307)

    map_ = concepts.build(
        examples=examples,
        max_seconds=settings.max_seconds,
        max_mb=settings.max_mb,
        places={translate.HEADING: "/", participant.TITLE: "/survey/"},
    )
    _mount(app, map_, "/concepts", at_once=8)
    page = translate.build(desk, examples, places={concepts.TITLE: "/concepts/", participant.TITLE: "/survey/"})
    _mount(app, page, "/", at_once=None)
    return app


class _Survey:
    """The listening survey in the application: participants' pages and routes, and results behind a login."""

    def __init__(self, folder: Path) -> None:
        from musicstar.ui import theme
        from survey.analyst import Analyst
        from survey.login import Login
        from survey.place import shared
        from survey.ui import participant, results

        self.place = shared(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.store = self.place.store()
        self.analyst = Analyst(self.store)
        self.heads = {
            "/survey/": theme.head(participant.TITLE, participant.DESCRIPTION, styles=participant.STYLES),
            "/results/": theme.head(results.TITLE, results.DESCRIPTION, styles=results.STYLES),
        }
        self.login = Login(folder, head=theme.head("", "", styles=results.STYLES), audit=self.store.audit)
        self._building: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Build the study that ships with the studio, where there is none yet."""
        if self.store.latest(STUDY) is None:
            self._building = asyncio.create_task(self._build())

    async def _build(self) -> None:
        from survey.place import DATABASE_VARIABLE, FOLDER_VARIABLE

        # In a process of its own, and after the first page: measuring loudness keeps a processor busy for a while.
        await asyncio.sleep(BUILD_AFTER_S)
        # Not by --data, with which the database would be the folder's own, whatever this application's is.
        url = self.store.url.render_as_string(hide_password=False)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "survey", "build", STUDY),
            cwd=ROOT,
            env={**os.environ, FOLDER_VARIABLE: str(self.place.folder), DATABASE_VARIABLE: url},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        if process.returncode:
            LOG.error("the study %s could not be built: %s", STUDY, said.decode(errors="replace").strip())

    async def close(self) -> None:
        """End what runs."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.wait([self._building])
        await asyncio.to_thread(self.analyst.close)
        self.store.close()

    def guard(self, app: FastAPI) -> None:
        """Put the gate before everything under /results/."""
        from survey.login import Gate

        app.add_middleware(Gate, login=self.login)

    def mount(self, app: FastAPI) -> None:
        """Add routes and pages."""
        from starlette.staticfiles import StaticFiles

        from survey.routes import router
        from survey.session import SurveyDesk
        from survey.ui import downloads, participant, results

        # Gradio's page looks for a script of its own there too.
        static = StaticFiles(directory=participant.STATIC, packages=[("gradio", "templates/frontend/static")])
        app.mount("/survey/static", static)
        app.include_router(router(SurveyDesk(self.store, self.place.media)))
        app.include_router(self.login.router())
        app.include_router(downloads.router(self.store, researcher=self.login.researcher))
        for path, page, login in (
            ("/survey", participant.build(study=STUDY), None),
            ("/results", results.build(self.store, self.analyst), self.login.researcher),
        ):
            _mount(app, page, path, at_once=8, auth_dependency=login)


def _mount(app: FastAPI, page: "gr.Blocks", path: str, *, at_once: int | None, **options: Any) -> None:
    """Mount a page of Gradio's with nothing open that it does not need; `at_once` of each event, None for any."""
    import gradio as gr

    from musicstar.ui import theme

    page.queue(api_open=False, default_concurrency_limit=at_once)

    gr.mount_gradio_app(
        app,
        page,
        path,
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
        **options,
    )


def main() -> None:
    """Serve the application until it is interrupted."""
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=2)
    except (ValueError, OSError, OverflowError, StoreError) as error:
        sys.exit(f"Music-STAR studio cannot start: {error}")


if __name__ == "__main__":
    main()
