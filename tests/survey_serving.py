"""The survey served for real, in a process of its own, and what its browser tests do there.

`python -m tests.survey_serving FOLDER PORT` serves the shipped study with short tones in the place of music.
"""

import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from db.records import GOLD, Named, NewStimulus, NewVersion
from db.store import Store
from survey.definition import Study, load, shipped, to_json
from survey.design import block, layout_of
from tests.browsing import ROOT, free_port

RATE = 16_000
CLIP_S = 1.2


def study() -> Study:
    """The shipped study, with two of its criteria."""
    whole = load(shipped("music-star"))
    hashed = tuple(replace(one, sha256=f"{place:064x}") for place, one in enumerate(whole.stimuli))
    return replace(whole, criteria=whole.criteria[:2], stimuli=hashed)


def add_tones(store: Store, media: Path, made: Study) -> None:
    """Store the study with a tone for every stimulus, the gold standard's the lowest."""
    media.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(CLIP_S * RATE)) / RATE
    pitches = [GOLD, *(system.key for system in made.systems)]
    stimuli = []
    for one in made.stimuli:
        name = secrets.token_hex(16)
        pitch_hz = 220 * 2 ** (pitches.index(one.system) / 6)
        soundfile.write(media / f"{name}.wav", 0.1 * np.sin(2 * np.pi * pitch_hz * time_s), RATE, "PCM_16")
        stimuli.append(NewStimulus(one.piece, one.direction, one.system, one.sha256, name, CLIP_S))
    store.add_version(
        NewVersion(
            study=made.name,
            config_json=to_json(made),
            systems=tuple(Named(one.key, one.title) for one in made.systems),
            pieces=tuple(Named(one.key, one.title) for one in made.pieces),
            directions=tuple(Named(one.key, one.title) for one in made.directions),
            criteria=tuple(Named(one.key, one.title["en"]) for one in made.criteria),
            stimuli=tuple(stimuli),
            slots=block(layout_of(made), 0),
        )
    )


def compose(folder: Path) -> Any:
    """The survey alone, as the app serves it."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.staticfiles import StaticFiles

    import app as studio
    from musicstar.ui import theme
    from survey.routes import router
    from survey.session import SurveyDesk
    from survey.ui import participant

    store = Store(f"sqlite:///{folder / 'survey.sqlite'}")
    store.upgrade()
    made = study()
    if store.latest(made.name) is None:
        add_tones(store, folder / "media", made)
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    styles = "".join(f'<link rel="stylesheet" href="{style}">' for style in participant.STYLES)
    head = f"<title>{participant.TITLE}</title><style>{theme.tokens()}</style>{styles}"
    served.add_middleware(studio.Dress, head=head)
    served.add_middleware(studio.Guard)
    served.mount("/ui", StaticFiles(directory=studio.STATIC))
    # Gradio's page looks for a script of its own there too.
    static = StaticFiles(directory=participant.STATIC, packages=[("gradio", "templates/frontend/static")])
    served.mount("/survey/static", static)
    served.include_router(router(SurveyDesk(store, folder / "media")))
    page = participant.build(study=made.name)
    page.queue(api_open=False)
    gr.mount_gradio_app(
        served,
        page,
        "/survey",
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
    return served


@dataclass
class Served:
    """The survey under test; it can be killed and started again at the same address, with the same data."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/survey/"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.survey_serving", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT)
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(self.url):
                    return
            except OSError:
                assert self.process.poll() is None, "the survey ended at its start"
                assert time.monotonic() - began < 90, "the survey did not answer"
                time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder / 'survey.sqlite'}")


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder, free_port())
    served.start()
    try:
        yield served
    finally:
        served.kill()


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(compose(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
