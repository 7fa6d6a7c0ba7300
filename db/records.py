"""What goes into the store and what comes out of it: plain values, never a row or an object of the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GOLD = "gold"
Mode = Literal["live", "preview"]
Headphones = Literal["pass", "fail", "unavailable", "skipped"]


class StoreError(Exception):
    """What the store cannot do; the message is a sentence for the one who asked."""


class UnknownStudy(StoreError):
    """No such study, or none with a version."""


class UnknownSession(StoreError):
    """The token belongs to no session, or no longer to this browser."""


class Stale(StoreError):
    """The session has moved on since the page was loaded."""


class Conflict(StoreError):
    """The same submission was sent with something else in it."""


class Refused(StoreError):
    """An answer that breaks a rule; `field` names what does."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.field = name


class Unfinished(StoreError):
    """The session cannot end: something is unanswered."""


class NotSaved(StoreError):
    """The database could not take it (locked, full, out of reach): nothing was written."""


@dataclass(frozen=True)
class Named:
    """A system, piece, direction or criterion: the key the study knows it by, and a title for researchers."""

    key: str
    title: str


@dataclass(frozen=True)
class NewStimulus:
    """A clip as participants hear it.

    Attributes
    ----------
    system : key of a system, or "gold"
    sha256 : of the study's own file, before loudness and fades
    media : opaque name of the file that is served, 32 hex digits
    duration_s : length
    served_sha256 : of the file that is served; None where it was stored before such hashes were
    """

    piece: str
    direction: str
    system: str
    sha256: str
    media: str
    duration_s: float
    served_sha256: str | None = None


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of a design slot: a piece in a direction, and all systems in the order of their letters."""

    piece: str
    direction: str
    order: tuple[str, ...]


@dataclass(frozen=True)
class DesignSlot:
    """What one participant will hear; `number` counts from 0 through all blocks of a version."""

    number: int
    trials: tuple[PlannedTrial, ...]
    practice: PlannedTrial | None = None


@dataclass(frozen=True)
class NewVersion:
    """A version to be stored: the study's canonical configuration and all that is built of it.

    Attributes
    ----------
    study : name of the study
    config_json : canonical text; two versions of a study never have the same one
    criteria : in the order of the screens; the practice trial asks the first
    """

    study: str
    config_json: str
    systems: tuple[Named, ...]
    pieces: tuple[Named, ...]
    directions: tuple[Named, ...]
    criteria: tuple[Named, ...]
    stimuli: tuple[NewStimulus, ...]
    slots: tuple[DesignSlot, ...]


@dataclass(frozen=True)
class VersionRecord:
    """A stored version; `answers` counts the current live ones, practice left out."""

    id: int
    study: str
    number: int
    config_json: str
    sha256: str
    created_at: str
    answers: int


@dataclass(frozen=True)
class Item:
    """An output within a trial: its opaque id, its place (letter) and its opaque file."""

    id: str
    position: int
    media: str


@dataclass(frozen=True)
class Draft:
    """A ranking under way."""

    ranks: Mapping[str, int]
    sequence: int


@dataclass(frozen=True)
class Trial:
    """A trial of a session.

    Attributes
    ----------
    id : opaque
    number : place in the session, from 1; the practice trial is 0
    gold : opaque file of the gold standard
    items : in the order of their letters
    answered : keys of the criteria with a ranking
    drafts : by key of the criterion
    heard : ids of the items heard, "gold" for the gold standard
    """

    id: str
    number: int
    practice: bool
    piece: str
    direction: str
    duration_s: float
    gold: str
    items: tuple[Item, ...]
    answered: frozenset[str] = frozenset()
    drafts: Mapping[str, Draft] = field(default_factory=dict)
    heard: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Session:
    """A session as its participant stands in it.

    Attributes
    ----------
    id, participant : opaque, as researchers see them
    external_hash : salted hash of the participant's external id
    consented, background, screened : what has been done of what comes before the trials
    """

    id: str
    participant: str
    external_hash: str
    salt: str
    study: str
    version: int
    config_json: str
    mode: Mode
    complete: bool
    late: bool
    generation: int
    language: str
    consented: bool
    background: Mapping[str, str | int] | None
    screened: bool
    criteria: tuple[str, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Opening:
    """Somebody who comes to a study.

    Attributes
    ----------
    study : name
    external : the id they come with
    mode : a preview takes no slot and counts nowhere
    language : the one they ask for, "" for none; before consent a later choice holds
    fallback : the language of a new session where they ask for none
    held : hash of the token their browser has, "" without one
    offered : hash of the token they are given where the session is new or another browser had it
    """

    study: str
    external: str
    mode: Mode
    language: str
    fallback: str
    held: str
    offered: str


@dataclass(frozen=True)
class Opened:
    """An opened session; `token_hash` is the one held, or the one offered where the session is now this browser's."""

    session: Session
    token_hash: str


@dataclass(frozen=True)
class Screening:
    """The volume setting and what became of the headphone check."""

    volume: float
    headphones: Headphones
    answers: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class PlaybackEvent:
    """Something played; `item` is an item's id, "gold", or "" where no single clip is meant."""

    trial: str
    item: str
    kind: str
    at_ms: float
    position_s: float


@dataclass(frozen=True)
class NewAnswer:
    """A ranking handed in.

    Attributes
    ----------
    submission : the browser's own id of it, 32 hex digits; the same one twice is the same answer
    ranks : 1 (best) to k by item
    generation : of the session as the page knew it
    elapsed_ms : time on the screen
    """

    submission: str
    trial: str
    criterion: str
    ranks: Mapping[str, int]
    generation: int
    elapsed_ms: int


@dataclass(frozen=True)
class Receipt:
    """What an answer is acknowledged with; `complete` says that no ranking of the session is missing."""

    submission: str
    revision: int
    generation: int
    complete: bool


@dataclass(frozen=True)
class Decision:
    """That a session was excluded, or counted in again."""

    excluded: bool
    reason: str
    author: str
    created_at: str


@dataclass(frozen=True)
class Details:
    """What the page of one participant tells beside the frames.

    Attributes
    ----------
    decisions : the oldest first
    times : milliseconds on the screen and revision of each current ranking, by opaque trial and key of the criterion
    events : how many things were played
    """

    decisions: tuple[Decision, ...]
    times: Mapping[tuple[str, str], tuple[int, int]]
    events: int


@dataclass(frozen=True)
class AuditRecord:
    """Something a researcher did."""

    created_at: str
    actor: str
    action: str
    detail: str


@dataclass(frozen=True)
class Export:
    """Everything stored of a study: rows by table, values as JSON knows them."""

    study: str
    tables: Mapping[str, tuple[Mapping[str, Any], ...]]
