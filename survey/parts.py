"""What a study consists of, in frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# What participants read: by language.
Text = Mapping[str, str]
QuestionKind = Literal["choice", "number", "text"]
RuleKind = Literal["failed_headphones", "fast_trials", "incomplete", "same_order"]
Better = Literal["higher", "lower", "nearest"]
# What found the pitches: essentia's multi-pitch Melodia, as in the paper, or the studio's own salience.
ContentBy = Literal["essentia", "salience"]

GOLD = "gold"
POOLED = "pooled"


@dataclass(frozen=True)
class Option:
    """One answer of a question with choices."""

    key: str
    text: Text


@dataclass(frozen=True)
class Question:
    """One question about the participant; options belong to kind "choice" alone."""

    key: str
    text: Text
    kind: QuestionKind
    options: tuple[Option, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Criterion:
    """What the outputs are ranked by; `best` and `worst` say what the ends of the ranking mean."""

    key: str
    title: Text
    question: Text
    best: Text
    worst: Text


@dataclass(frozen=True)
class System:
    """One of what is compared; participants never read of it."""

    key: str
    title: str


@dataclass(frozen=True)
class Piece:
    """A piece of music that all systems were given."""

    key: str
    title: str


@dataclass(frozen=True)
class Direction:
    """A task of the systems, such as into clarinet and vibraphone."""

    key: str
    title: str


@dataclass(frozen=True)
class Stimulus:
    """A recording: what a system made of a piece in a direction, or the gold standard, system "gold".

    Attributes
    ----------
    sha256 : of the file, hexadecimal; "" where the lock file does not have it
    """

    piece: str
    direction: str
    system: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class ExclusionRule:
    """Who is left out of the second analysis, fixed before the first participant.

    Attributes
    ----------
    kind :
        "failed_headphones": failed the headphone check; "fast_trials": the median time of the trials answered in full,
        of two their mean, is below `threshold` seconds; "incomplete": left before all rankings were given;
        "same_order": all rankings put the letters in one and the same order
    threshold : of "fast_trials" alone
    """

    kind: RuleKind
    threshold: float = 0.0
    description: str = ""


@dataclass(frozen=True)
class Measure:
    """What is measured of the outputs by a program.

    Attributes
    ----------
    unit : may be empty
    better : which way is better; "nearest" to `best`
    best : of an output that equals its gold standard; None where there is no such value
    """

    title: str
    unit: str
    better: Better
    best: float | None


@dataclass(frozen=True)
class Estimate:
    """A mean over pieces and the ends of its interval of 95 %, which are None where there is none."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measured:
    """The figures of one system.

    Attributes
    ----------
    direction : "pooled" for all
    pieces : how many it was measured on
    values : by measure
    """

    system: str
    direction: str
    pieces: int
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Objective:
    """What `musicstar evaluate` has measured of a study's stimuli.

    Attributes
    ----------
    shown : keys of the measures, in their order
    measures : those shown, by key
    rows : of every system of the study and of the references there are, in every direction and pooled
    """

    content_by: ContentBy
    shown: tuple[str, ...]
    measures: Mapping[str, Measure]
    rows: tuple[Measured, ...]

    def value(self, measure: str, system: str, direction: str | None) -> Estimate | None:
        """A figure in one direction or, with None, of all; None where there is none."""
        which = (system, direction or POOLED)
        return next((row.values.get(measure) for row in self.rows if (row.system, row.direction) == which), None)


@dataclass(frozen=True)
class Study:
    """A ranked listening test.

    Attributes
    ----------
    trials_per_participant : a multiple of the number of directions
    slots : how many participants the design is made for; it goes on in further blocks of as many
    seed : of the design
    lease_minutes : after which an abandoned place goes to another participant
    practice : piece and direction of the practice trial; its piece may be one that nobody ranks
    stimuli : of every piece in every direction, the gold standard and each system, those of the practice trial too
    completion_code, completion_url : either may be empty
    strings : words of the pages that this study puts differently, by their key
    objective : measures that stand beside the rankings in the results; None where there are none
    """

    name: str
    title: Text
    languages: tuple[str, ...]
    welcome: Text
    consent: Text
    background: tuple[Question, ...]
    criteria: tuple[Criterion, ...]
    systems: tuple[System, ...]
    pieces: tuple[Piece, ...]
    directions: tuple[Direction, ...]
    trials_per_participant: int
    slots: int
    seed: int
    lease_minutes: float
    practice: tuple[str, str] | None
    headphone_check: bool
    exclusions: tuple[ExclusionRule, ...]
    stimuli: tuple[Stimulus, ...]
    thanks: Text
    completion_code: str
    completion_url: str
    strings: Mapping[str, Text]
    objective: Objective | None = None
