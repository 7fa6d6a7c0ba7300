"""The survey served for real, in a process of its own, and what its browser tests do there.

`python -m tests.survey_serving FOLDER PORT` serves the shipped study with short tones in the place of music.
"""

import json
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
LETTERS = "ABCDE"
RANKINGS = """SELECT criterion.key, response.revision, trial_item.position FROM response
JOIN criterion ON criterion.id = response.criterion_id JOIN trial ON trial.id = response.trial_id
JOIN rank_item ON rank_item.response_id = response.id JOIN trial_item ON trial_item.id = rank_item.item_id
WHERE trial.public = ? ORDER BY response.id, rank_item.rank"""
SCREENING = """SELECT screening.volume, screening.headphones, screening.answers_json FROM screening
JOIN trial ON trial.session_id = screening.session_id WHERE trial.public = ? ORDER BY screening.id DESC"""
# What cannot be operated by a finger, and what sticks out.
TOO_SMALL = """() => [...document.querySelectorAll('.sv-survey :is(button, a, summary, select, .sv-option, .ms-check)')]
  .filter((e) => e.checkVisibility())
  .filter((e) => { const {width, height} = e.getBoundingClientRect(); return height < 43.5 || width < 43.5; })
  .map((e) => e.outerHTML.slice(0, 120))"""
STICKING_OUT = """() => [...document.querySelectorAll('.sv-survey *')].filter((e) => {
    const {left, right, width} = e.getBoundingClientRect();
    return width && e.checkVisibility() && (right > innerWidth + 0.5 || left < -0.5);
  }).map((e) => e.outerHTML.slice(0, 120))"""


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

    def rankings(self, trial: str) -> dict[tuple[str, int], str]:
        """What is stored of a trial: the letters from best to worst by criterion and revision."""
        found: dict[tuple[str, int], str] = {}
        with closing(sqlite3.connect(self.folder / "survey.sqlite")) as database:
            for criterion, revision, position in database.execute(RANKINGS, (trial,)):
                found[criterion, revision] = found.get((criterion, revision), "") + LETTERS[position]
        return found

    def screening(self, trial: str) -> tuple[float, str, list[int]]:
        """Volume, result and answers of the headphone check of the session that has a trial."""
        with closing(sqlite3.connect(self.folder / "survey.sqlite")) as database:
            volume, result, answers = database.execute(SCREENING, (trial,)).fetchone()
        return volume, result, json.loads(answers)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder, free_port())
    served.start()
    try:
        yield served
    finally:
        served.kill()


def to_sound(page: Any) -> None:
    """Consent and the questions, by mouse or finger."""
    page.click("text=I agree, and begin")
    page.wait_for_selector(".sv-question")
    for group in page.locator("[role=radiogroup]").all():
        group.locator("label").first.click()
    page.click("text=Continue")
    page.wait_for_selector(".sv-volume")


def to_practice(page: Any) -> None:
    """All that comes before the practice, the headphone check skipped."""
    to_sound(page)
    page.click(".ms-play")
    page.wait_for_selector(".ms-play[aria-label='Pause the clip']")
    page.click("text=Continue")
    page.click("text=Skip the check")
    page.click("text=Begin the practice")
    page.wait_for_selector(".sv-trial")


def hear_all(page: Any) -> None:
    """Play everything long enough, by key."""
    for key in "0abcde":
        page.keyboard.press(key)
        page.wait_for_selector(f"{tile(key)}.sv-current.sv-heard")


def tile(letter: str) -> str:
    """The selector of an output's button, or with "0" of the gold standard's."""
    return f".sv-tile:has(.sv-name:text-is('{letter.upper()}'))" if letter != "0" else ".sv-gold"


def rank(page: Any, order: str) -> None:
    """Give ranks by key, the letters from best to worst."""
    for place, letter in enumerate(order.lower(), 1):
        page.keyboard.press(letter)
        page.keyboard.press(str(place))
    page.wait_for_function(
        "(order) => [...document.querySelectorAll('.sv-slot .sv-letter')].map((e) => e.textContent).join('') === order",
        arg=order,
    )


def answer(page: Any, order: str) -> None:
    """Hear, rank, continue; waits until the question has gone."""
    page.wait_for_selector(".sv-trial")
    asked = page.inner_text(".sv-step")
    if page.locator(".sv-tile:not(.sv-heard)").count():
        hear_all(page)
    rank(page, order)
    page.click(".sv-continue")
    page.wait_for_function("(asked) => document.querySelector('.sv-trial .sv-step')?.textContent !== asked", arg=asked)


def shown_order(page: Any) -> str:
    """The letters in the ranking from best to worst, a dot for an empty place."""
    slots = page.eval_on_selector_all(
        ".sv-slot", "slots => slots.map((slot) => slot.dataset.item && slot.querySelector('.sv-letter').textContent)"
    )
    return "".join(letter or "." for letter in slots)


def state(page: Any) -> dict[str, Any]:
    """What the server says of this browser's session."""
    told: dict[str, Any] = page.evaluate("fetch('/survey/api/state').then((answer) => answer.json())")
    return told


def serious_faults(page: Any) -> list[str]:
    """What axe-core finds amiss that keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{found['id']}: {found['nodes'][0]['html'][:160]}"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(compose(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
