"""The app with a survey of short tones in the place of music, and what participants do there in a browser."""

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from db.records import GOLD, Named, NewStimulus, NewVersion
from db.store import Store
from survey.definition import Study, System, Text, from_json, load, shipped, to_json
from survey.design import block, layout_of
from tests.browsing import PATIENCE_MS, ROOT, free_port

RATE = 16_000
CLIP_S = 1.2
# Half of it is less than the page takes to look again, so that it is heard by then.
BRIEF_S = 0.3
LETTERS = "ABCDEFGH"
RANKINGS = """SELECT criterion.key, response.revision, trial_item.position FROM response
JOIN criterion ON criterion.id = response.criterion_id JOIN trial ON trial.id = response.trial_id
JOIN rank_item ON rank_item.response_id = response.id JOIN trial_item ON trial_item.id = rank_item.item_id
WHERE trial.public = ? ORDER BY response.id, rank_item.rank"""
ELAPSED = """SELECT criterion.key, response.elapsed_ms FROM response
JOIN criterion ON criterion.id = response.criterion_id JOIN trial ON trial.id = response.trial_id
WHERE trial.public = ? AND response.is_current"""
SCREENING = """SELECT screening.volume, screening.headphones, screening.answers_json FROM screening
JOIN trial ON trial.session_id = screening.session_id WHERE trial.public = ? ORDER BY screening.id DESC"""
# What cannot be operated by a finger, and what sticks out.
TOO_SMALL = """() => [...document.querySelectorAll(
    '.sv-survey :is(button, a, summary, select, .sv-option, .ms-check, [role=slider], [type=range])')]
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


def brief_study() -> Study:
    """The same for participants who have other things to show than how they listen."""
    return replace(study(), name="brief")


def large_study() -> Study:
    """One with as many systems as can be, in two languages, of two pieces and without a practice."""
    base = study()

    def both(text: Text) -> Text:
        return {"en": text["en"], "de": f"Auf Deutsch: {text['en']}"}

    content = base.criteria[0]
    systems = tuple(System(f"s{number}", f"System {number}") for number in range(8))
    keys = (GOLD, *(system.key for system in systems))
    stimuli = tuple(
        replace(base.stimuli[0], piece=piece.key, direction=direction.key, system=key)
        for piece in base.pieces[:2]
        for direction in base.directions
        for key in keys
    )
    return replace(
        base,
        name="large",
        languages=("en", "de"),
        title={"en": "A large study", "de": "Eine große Studie"},
        welcome=both(base.welcome),
        consent=both(base.consent),
        thanks=both(base.thanks),
        strings={"agree": {"en": "I agree, and begin", "de": "Ich bin einverstanden"}},
        systems=systems,
        pieces=base.pieces[:2],
        criteria=(
            replace(
                content,
                title=both(content.title),
                question=both(content.question),
                best=both(content.best),
                worst=both(content.worst),
            ),
        ),
        background=(),
        practice=None,
        headphone_check=False,
        completion_url="https://panel.example/done",
        completion_code="",
        stimuli=stimuli,
        objective=None,  # The shipped figures are of the shipped systems.
    )


def add_tones(store: Store, media: Path, made: Study, clip_s: float) -> None:
    """Store the study with a tone for every stimulus, the gold standard's the lowest."""
    config = to_json(made)
    # One that the app cannot read would only leave its pages waiting.
    assert to_json(from_json(config)) == config
    media.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(clip_s * RATE)) / RATE
    pitches = [GOLD, *(system.key for system in made.systems)]
    stimuli = []
    for one in made.stimuli:
        name = secrets.token_hex(16)
        pitch_hz = 220 * 2 ** (pitches.index(one.system) / 6)
        soundfile.write(media / f"{name}.wav", 0.1 * np.sin(2 * np.pi * pitch_hz * time_s), RATE, "PCM_16")
        stimuli.append(NewStimulus(one.piece, one.direction, one.system, one.sha256, name, clip_s))
    store.add_version(
        NewVersion(
            study=made.name,
            config_json=config,
            systems=tuple(Named(one.key, one.title) for one in made.systems),
            pieces=tuple(Named(one.key, one.title) for one in made.pieces),
            directions=tuple(Named(one.key, one.title) for one in made.directions),
            criteria=tuple(Named(one.key, one.title["en"]) for one in made.criteria),
            stimuli=tuple(stimuli),
            slots=block(layout_of(made), 0),
        )
    )


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
        environment = {
            **os.environ,
            "MUSICSTAR_PORT": str(self.port),
            "MUSICSTAR_DATA": str(self.folder / "jobs"),
            "MUSICSTAR_SURVEY": str(self.folder),
        }
        for name in ("MUSICSTAR_HOST", "DATABASE_URL"):
            environment.pop(name, None)
        self.process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(self.url):
                    return
            except OSError:
                assert self.process.poll() is None, "the app ended at its start"
                assert time.monotonic() - began < 90, "the app did not answer"
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

    def elapsed_ms(self, trial: str) -> dict[str, int]:
        """How long each question of a trial took, by criterion."""
        with closing(sqlite3.connect(self.folder / "survey.sqlite")) as database:
            return dict(database.execute(ELAPSED, (trial,)).fetchall())

    def screening(self, trial: str) -> tuple[float, str, list[int]]:
        """Volume, result and answers of the headphone check of the session that has a trial."""
        with closing(sqlite3.connect(self.folder / "survey.sqlite")) as database:
            volume, result, answers = database.execute(SCREENING, (trial,)).fetchone()
        return volume, result, json.loads(answers)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    with closing(Store(f"sqlite:///{folder / 'survey.sqlite'}")) as store:
        store.upgrade()
        for made, clip_s in ((study(), CLIP_S), (brief_study(), BRIEF_S), (large_study(), BRIEF_S)):
            add_tones(store, folder / "media", made, clip_s)
    served = Served(folder, free_port())
    try:
        served.start()
        yield served
    finally:
        served.kill()


Visit = Callable[..., Any]


@contextmanager
def visiting(chrome: Any, served: Served) -> Iterator[Visit]:
    """Gives what opens the survey's link, in a browser of its own or in one that is given."""
    contexts = []

    def open_page(link: str = "", *, context: Any = None, script: str = "", **options: Any) -> Any:
        if context is None:
            context = chrome.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
            context.set_default_timeout(PATIENCE_MS)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"the page threw {error}"))
        if script:
            page.add_init_script(script)
        page.goto(served.url + link)
        page.wait_for_selector(".sv-survey h1")
        return page

    yield open_page
    for context in contexts:
        context.close()


def to_sound(page: Any) -> None:
    """Consent and the questions, by mouse or finger."""
    page.click("text=I agree, and begin")
    page.wait_for_selector(".sv-question")
    for group in page.locator("[role=radiogroup]").all():
        group.locator("label").first.click()
    page.click("text=Continue")
    page.wait_for_selector(".sv-volume")


def set_volume(page: Any) -> None:
    """Play the clip at the volume that is set, and continue."""
    page.click(".ms-play")
    page.wait_for_selector(".ms-play[aria-label='Pause the clip']")
    page.click("text=Continue")


def to_practice(page: Any) -> None:
    """All that comes before the practice, the headphone check skipped."""
    to_sound(page)
    set_volume(page)
    page.click("text=Skip the check")
    page.click("text=Begin the practice")
    page.wait_for_selector(".sv-trial")


def hear_all(page: Any) -> None:
    """Play everything long enough, by key."""
    letters = page.eval_on_selector_all(".sv-tiles .sv-name", "names => names.map((name) => name.textContent)")
    for key in ("0", *letters):
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


def drag(page: Any, start: Any, end: Any) -> None:
    """By mouse, from the middle of one thing to the middle of another."""
    (x0, y0), (x1, y1) = middle(start), middle(end)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2, steps=3)
    page.mouse.move(x1, y1, steps=3)
    page.mouse.up()


def swipe(page: Any, start: Any, end: Any) -> None:
    """The same by a finger; both have to fit on the screen."""
    start.evaluate("(element) => window.scrollBy(0, element.getBoundingClientRect().top - 120)")
    (x0, y0), (x1, y1) = middle(start), middle(end)
    finger = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.0), ("touchMove", 0.3), ("touchMove", 0.7), ("touchMove", 1.0)):
        point = {"x": x0 + share * (x1 - x0), "y": y0 + share * (y1 - y0)}
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        # Faster would be a fling, after which a browser takes the next tap for stopping it.
        page.wait_for_timeout(60)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def middle(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until something has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab never reaches {selector}")


def checked(page: Any) -> None:
    """Every screen: nothing that keeps people out, nothing too small for a finger, nothing that sticks out."""
    assert serious_faults(page) == []
    assert page.evaluate(TOO_SMALL) == []
    assert page.evaluate(STICKING_OUT) == []
