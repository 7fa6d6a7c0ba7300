"""A small listening test in a folder: its definition, its sound files, its store, and a participant who answers."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from fastapi import FastAPI
from starlette.testclient import TestClient

from db.records import GOLD, Named, NewStimulus, NewVersion, VersionRecord
from db.store import Store
from survey.definition import (
    Criterion,
    Direction,
    Option,
    Piece,
    Question,
    Stimulus,
    Study,
    System,
    to_json,
)
from survey.design import block, layout_of
from survey.routes import router
from survey.session import SurveyDesk

RATE = 16_000
SYSTEMS = ("red", "green", "blue")
PIECES = ("one", "two", "three", "four")
DIRECTIONS = ("there", "back")


def english(text: str) -> dict[str, str]:
    return {"en": text}


def tiny_study(name: str = "tiny", *, slots: int = 6, lease_minutes: float = 30.0, **changes: Any) -> Study:
    """Three systems, four pieces and one for practice, two directions, two criteria."""
    stimuli = [
        Stimulus(piece, direction, system, Path(f"{piece}.{direction}.{system}.wav"), _sha256(piece, direction, system))
        for piece in (*PIECES, "warm-up")
        for direction in (DIRECTIONS if piece != "warm-up" else DIRECTIONS[:1])
        for system in (GOLD, *SYSTEMS)
    ]
    values: dict[str, Any] = {
        "name": name,
        "title": english("A small test"),
        "languages": ("en",),
        "welcome": english("Welcome."),
        "consent": english("I take part of my own will."),
        "background": (
            Question(
                "experience",
                english("How long have you played?"),
                "choice",
                (Option("none", english("Not at all")), Option("long", english("For years"))),
            ),
            Question("age", english("How old are you?"), "number", required=False),
        ),
        "criteria": tuple(
            Criterion(key, english(key), english(f"Which is best in {key}?"), english("best"), english("worst"))
            for key in ("content", "style")
        ),
        "systems": tuple(System(key, key.title()) for key in SYSTEMS),
        "pieces": tuple(Piece(key, key.title()) for key in PIECES),
        "directions": tuple(Direction(key, key.title()) for key in DIRECTIONS),
        "trials_per_participant": 2,
        "slots": slots,
        "seed": 7,
        "lease_minutes": lease_minutes,
        "practice": ("warm-up", "there"),
        "headphone_check": True,
        "exclusions": (),
        "stimuli": tuple(stimuli),
        "thanks": english("Thank you."),
        "completion_code": "DONE",
        "completion_url": "",
        "strings": {"next": english("On")},
    }
    return Study(**{**values, **changes})


def _sha256(*parts: str) -> str:
    return hashlib.sha256(".".join(parts).encode()).hexdigest()


def new_version(study: Study, media: Path) -> NewVersion:
    """What building a study would store, at once, with a tone for every stimulus."""
    media.mkdir(parents=True, exist_ok=True)
    stimuli = []
    for place, stimulus in enumerate(study.stimuli):
        name = uuid.uuid4().hex
        time_s = np.arange(RATE // 4) / RATE
        soundfile.write(media / f"{name}.wav", 0.1 * np.sin(2 * np.pi * (200 + 10 * place) * time_s), RATE, "PCM_16")
        stimuli.append(
            NewStimulus(stimulus.piece, stimulus.direction, stimulus.system, stimulus.sha256, name, len(time_s) / RATE)
        )
    return NewVersion(
        study=study.name,
        config_json=to_json(study),
        systems=tuple(Named(system.key, system.title) for system in study.systems),
        pieces=tuple(Named(piece.key, piece.title) for piece in study.pieces),
        directions=tuple(Named(direction.key, direction.title) for direction in study.directions),
        criteria=tuple(Named(one.key, one.title["en"]) for one in study.criteria),
        stimuli=tuple(stimuli),
        slots=block(layout_of(study), 0),
    )


def add_version(store: Store, study: Study, media: Path) -> VersionRecord:
    """Store a study and its tones."""
    return store.add_version(new_version(study, media))


@dataclass
class Tiny:
    """The small test, ready to be taken."""

    store: Store
    desk: SurveyDesk
    study: Study
    version: VersionRecord
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.include_router(router(self.desk))

    def visitor(self) -> "Visitor":
        return Visitor(TestClient(self.app, base_url="http://survey"))


def tiny(folder: Path, *, url: str = "", study: Study | None = None, **options: Any) -> Tiny:
    """The small test in a folder, or in another database; options are the store's."""
    store = Store(url or f"sqlite:///{folder / 'survey.sqlite'}", **options)
    store.upgrade()
    study = study or tiny_study()
    version = add_version(store, study, folder / "media")
    return Tiny(store, SurveyDesk(store, folder / "media"), study, version)


@dataclass
class Visitor:
    """A participant's browser; `state` is the last it was told."""

    client: TestClient | httpx.Client
    state: dict[str, Any] = field(default_factory=dict)

    def post(self, step: str, body: Mapping[str, Any] | bytes) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"/survey/api/{step}", content=content)

    def done(self, step: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.post(step, body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        if "trials" in told:
            self.state = told
        elif "generation" in told:
            self.state["generation"] = told["generation"]
        return told

    def open(self, participant: str = "", *, study: str = "tiny", preview: bool = False) -> "Visitor":
        self.done("open", {"study": study, "participant": participant, "language": "en", "preview": preview})
        return self

    def prepare(self) -> "Visitor":
        """Consent, background and sound."""
        generation = self.state["generation"]
        self.done("consent", {"agreed": True, "language": "en", "generation": generation})
        self.done("background", {"answers": {"experience": "long", "age": 30}, "generation": generation + 1})
        sound = {"volume": 0.5, "headphones": "pass", "answers": [1, 2, 3], "generation": generation + 2}
        self.done("sound", sound)
        return self

    def hear(self, trial: Mapping[str, Any]) -> None:
        items = ["gold", *(clip["item"] for clip in trial["clips"])]
        events = [
            {"trial": trial["id"], "item": item, "kind": "heard", "at_ms": 10.5, "position_s": 0.2} for item in items
        ]
        self.done("events", {"events": events})

    def body(self, trial: Mapping[str, Any], criterion: str, order: list[str] | None = None) -> dict[str, Any]:
        """An answer ready to be sent; the letters' order is the ranking where none is given."""
        order = order or [clip["item"] for clip in trial["clips"]]
        return {
            "submission": uuid.uuid4().hex,
            "trial": trial["id"],
            "criterion": criterion,
            "ranks": {item: rank for rank, item in enumerate(order, 1)},
            "generation": self.state["generation"],
            "elapsed_ms": 4000,
        }

    def rank_all(self) -> "Visitor":
        for trial in self.state["trials"]:
            self.hear(trial)
            for criterion in trial["criteria"]:
                self.done("answers", self.body(trial, criterion))
        return self

    def finish(self) -> dict[str, Any]:
        return self.done("finish", {"generation": self.state["generation"]})
