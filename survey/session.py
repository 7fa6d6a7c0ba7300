"""The flow of the survey: open, consent, background, sound, rank, finish; what the page is told at each step."""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from db.records import (
    Conflict,
    DesignSlot,
    Draft,
    Mode,
    NewAnswer,
    NotSaved,
    Opening,
    PlaybackEvent,
    Receipt,
    Refused,
    Screening,
    Session,
    Stale,
    StoreError,
    Trial,
    Unfinished,
    UnknownSession,
    UnknownStudy,
)
from db.sessions import hash_external
from db.store import Store
from survey.definition import Question, Study, StudyError, Text, from_json
from survey.design import layout_of, slots_after

T = TypeVar("T")

LETTERS = "ABCDEFGH"
MEDIA = re.compile("[0-9a-f]{32}")
MAX_TEXT = 2000
NO_RECORDING = "There is no such recording."

# What the store says, as the web says it: the status, and whether to load the page again.
STATUS: dict[type[StoreError], tuple[int, bool]] = {
    UnknownStudy: (404, False),
    UnknownSession: (401, True),
    Stale: (409, True),
    Conflict: (409, False),
    Unfinished: (409, False),
    Refused: (422, False),
    NotSaved: (503, False),
}


class SurveyError(Exception):
    """A request that is refused; the message is a sentence for the participant.

    Attributes
    ----------
    status : of HTTP
    field : name of what is wrong, or ""
    reload : whether loading the page again helps
    """

    def __init__(self, status: int, message: str, field: str = "", *, reload: bool = False) -> None:
        super().__init__(message)
        self.status, self.field, self.reload = status, field, reload

    @classmethod
    def of(cls, error: StoreError) -> "SurveyError":
        """What a fault of the store means here."""
        status, reload = STATUS.get(type(error), (500, False))
        return cls(status, str(error), getattr(error, "field", ""), reload=reload)


@dataclass(frozen=True)
class Ticket:
    """What a browser keeps to be known again: its token, and the participant's external id."""

    token: str
    external: str

    @property
    def token_hash(self) -> str:
        """What is stored of the token."""
        return hashlib.sha256(self.token.encode()).hexdigest()


class SurveyDesk:
    """Everything a participant can do.

    Parameters
    ----------
    media : folder of the sound files, by their opaque names
    """

    def __init__(self, store: Store, media: Path) -> None:
        self.store = store
        self.media = media

    def open(
        self, study: str, *, external: str, language: str, preview: bool, ticket: Ticket | None
    ) -> tuple[Ticket, dict[str, Any]]:
        """Begin or resume; an empty external id makes a new one.

        Raises
        ------
        SurveyError
            No such study (404), or the database cannot take it (503).
        """
        found = _kept(lambda: self.store.latest_config(study))
        if found is None:
            raise SurveyError(404, "There is no such study.")
        version, config = found
        definition = _definition(config)
        layout = layout_of(definition)
        mode: Mode = "preview" if preview else "live"
        offered = Ticket(secrets.token_urlsafe(24), external or secrets.token_urlsafe(9))
        opening = Opening(
            study=study,
            external=offered.external,
            mode=mode,
            language=language if language in definition.languages else "",
            fallback=definition.languages[0],
            held=ticket.token_hash if ticket else "",
            offered=offered.token_hash,
        )

        def more(last: int) -> tuple[DesignSlot, ...]:
            return slots_after(layout, last)

        opened = _kept(
            lambda: self.store.open_session(opening, version, lease_s=60 * definition.lease_minutes, more=more)
        )
        if ticket is not None and opened.token_hash == opening.held:
            offered = Ticket(ticket.token, offered.external)
        return offered, self._state(opened.session, offered)

    def state(self, ticket: Ticket) -> dict[str, Any]:
        """Where the participant stands."""
        return self._state(_kept(lambda: self.store.session(ticket.token_hash)), ticket)

    def consent(self, ticket: Ticket, *, language: str, generation: int) -> dict[str, Any]:
        """Keep the consent to the text in this language."""
        definition = self._definition(ticket)
        if language not in definition.languages:
            raise SurveyError(422, f"This study speaks {', '.join(definition.languages)}.", "language")
        sha256 = hashlib.sha256(say(definition.consent, language).encode()).hexdigest()
        given = _kept(
            lambda: self.store.give_consent(ticket.token_hash, generation, language=language, text_sha256=sha256)
        )
        return self._state(given, ticket)

    def background(self, ticket: Ticket, answers: Mapping[str, str | int], *, generation: int) -> dict[str, Any]:
        """Keep the answers to the background questions."""
        definition = self._definition(ticket)
        questions = {question.key: question for question in definition.background}
        for key in answers:
            if key not in questions:
                raise SurveyError(422, "There is no such question.", f"answers.{key}")
        for question in definition.background:
            _check_background(question, answers.get(question.key))
        given = _kept(lambda: self.store.give_background(ticket.token_hash, generation, answers))
        return self._state(given, ticket)

    def sound(self, ticket: Ticket, screening: Screening, *, generation: int) -> dict[str, Any]:
        """Keep the volume setting and the headphone check, which flags and never refuses."""
        given = _kept(lambda: self.store.give_screening(ticket.token_hash, generation, screening))
        return self._state(given, ticket)

    def draft(self, ticket: Ticket, *, trial: str, criterion: str, draft: Draft) -> None:
        """Keep a ranking under way."""
        _kept(lambda: self.store.save_draft(ticket.token_hash, trial, criterion, draft))

    def events(self, ticket: Ticket, events: list[PlaybackEvent]) -> int:
        """Keep what was played."""
        return _kept(lambda: self.store.add_events(ticket.token_hash, events))

    def answer(self, ticket: Ticket, new: NewAnswer) -> Receipt:
        """Keep a ranking; it is safe when the receipt comes."""
        return _kept(lambda: self.store.answer(ticket.token_hash, new))

    def finish(self, ticket: Ticket, *, generation: int) -> dict[str, str]:
        """End the survey: code, address and thanks."""
        session = _kept(lambda: self.store.finish(ticket.token_hash, generation))
        return _farewell(_definition(session.config_json), session)

    def find_media(self, ticket: Ticket, name: str) -> Path:
        """The file of a recording of the participant's own trials; raises SurveyError with 404 for every other."""
        path = self.media / f"{name}.wav"
        if (
            not MEDIA.fullmatch(name)
            or not _kept(lambda: self.store.may_hear(ticket.token_hash, name))
            or not path.is_file()
        ):
            raise SurveyError(404, NO_RECORDING)
        return path

    def _definition(self, ticket: Ticket) -> Study:
        return _definition(_kept(lambda: self.store.config_of(ticket.token_hash)))

    def _state(self, session: Session, ticket: Ticket) -> dict[str, Any]:
        definition = _definition(session.config_json)
        # The link may ask for a language that only a later version speaks.
        language = session.language if session.language in definition.languages else definition.languages[0]
        # The cookie is the browser's own; what it says of the id holds only where the stored hash agrees.
        known = hash_external(session.salt, ticket.external) == session.external_hash
        first = session.trials[0]
        return {
            "participant": ticket.external if known else "",
            "generation": session.generation,
            "preview": session.mode == "preview",
            "study": session.study,
            "title": say(definition.title, language),
            "language": language,
            "languages": list(definition.languages),
            "words": {key: say(text, language) for key, text in definition.strings.items()},
            "welcome": say(definition.welcome, language),
            "consent": {"text": say(definition.consent, language), "given": session.consented},
            "background": {
                "questions": [_question(question, language) for question in definition.background],
                "answers": dict(session.background or {}),
                "done": session.background is not None,
            },
            "sound": {
                "volume_src": _src(first.gold),
                "headphone_check": definition.headphone_check,
                "done": session.screened,
            },
            "criteria": [
                {
                    "key": criterion.key,
                    "title": say(criterion.title, language),
                    "question": say(criterion.question, language),
                    "best": say(criterion.best, language),
                    "worst": say(criterion.worst, language),
                }
                for criterion in definition.criteria
            ],
            "trials": [_trial(trial, session.criteria) for trial in session.trials],
            "complete": session.complete,
            "finish": _farewell(definition, session) if session.complete else None,
        }


def _kept(work: Callable[[], T]) -> T:
    """Do something with the store, its faults told as the web tells them."""
    try:
        return work()
    except StoreError as error:
        raise SurveyError.of(error) from error


@lru_cache(maxsize=32)
def _definition(config_json: str) -> Study:
    try:
        return from_json(config_json)
    except StudyError as error:
        raise SurveyError(409, "This survey cannot be opened, because its description cannot be read.") from error


def say(text: Text, language: str) -> str:
    """A text in a language, or in its first one where it is not translated."""
    return text[language] if language in text else next(iter(text.values()), "")


def _src(media: str) -> str:
    return f"/survey/media/{media}"


def _question(question: Question, language: str) -> dict[str, Any]:
    return {
        "key": question.key,
        "text": say(question.text, language),
        "kind": question.kind,
        "options": [{"key": option.key, "text": say(option.text, language)} for option in question.options],
        "required": question.required,
    }


def _trial(trial: Trial, criteria: tuple[str, ...]) -> dict[str, Any]:
    """A trial as the page knows it: nothing here says which system is which."""
    asked = criteria[:1] if trial.practice else criteria
    return {
        "id": trial.id,
        "practice": trial.practice,
        "number": trial.number,
        "duration_s": trial.duration_s,
        "gold": {"src": _src(trial.gold)},
        "clips": [{"item": item.id, "letter": LETTERS[item.position], "src": _src(item.media)} for item in trial.items],
        "criteria": list(asked),
        "answered": {key: key in trial.answered for key in asked},
        "drafts": {
            key: {"ranks": dict(draft.ranks), "sequence": draft.sequence} for key, draft in trial.drafts.items()
        },
        "heard": sorted(trial.heard),
    }


def _farewell(study: Study, session: Session) -> dict[str, str]:
    code, url = study.completion_code, study.completion_url
    if session.mode == "preview":
        # What a panel pays for is not to be had for answers that count nowhere.
        code, url = "PREVIEW" if code else "", ""
    return {"code": code, "url": url, "thanks": say(study.thanks, session.language)}


def _check_background(question: Question, answer: str | int | None) -> None:
    name = f"answers.{question.key}"
    if answer is None or answer == "":
        if question.required:
            raise SurveyError(422, "Please answer this question.", name)
    elif question.kind == "number":
        if type(answer) is not int:
            raise SurveyError(422, "Please answer with a whole number.", name)
    elif type(answer) is not str or len(answer) > MAX_TEXT:
        raise SurveyError(422, f"Please answer with a text of at most {MAX_TEXT} characters.", name)
    elif question.kind == "choice" and answer not in {option.key for option in question.options}:
        raise SurveyError(422, "Please choose one of the answers.", name)
