"""What every column of an export means and holds."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from survey.definition import Study, Text

Kind = Literal["text", "whole", "number", "flag"]
KINDS: Mapping[str, Kind] = {"text": "text", "whole": "whole", "number": "number", "flag": "flag"}


@dataclass(frozen=True)
class Column:
    """A column of a table; `optional` where it can be empty."""

    name: str
    kind: Kind
    meaning: str
    optional: bool = False


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from lines `name kind meaning`, with a ? after a kind that can be empty."""
    found = []
    for line in text.strip().splitlines():
        name, kind, meaning = line.split(None, 2)
        found.append(Column(name, KINDS[kind.removesuffix("?")], meaning, optional=kind.endswith("?")))
    return tuple(found)


_PART = """
id          whole  number of the row
version_id  whole  version it belongs to
position    whole  place in the study's list, from 0
key         text   name in the study's file and in the other files of this export
title       text   name that researchers read
"""
TABLES: Mapping[str, tuple[Column, ...]] = {
    name: _columns(text)
    for name, text in {
        "study": """
            id          whole  number of the row
            name        text   name of the study
            salt        text   salt of the participants' hashes; keep it to yourself
            created_at  text   when it was entered, in UTC
        """,
        "version": """
            id          whole  number of the row
            study_id    whole  study it belongs to
            number      whole  1 for the first version
            config_json text   the whole study as JSON: texts, questions, systems, hashes of the clips
            sha256      text   SHA-256 of config_json
            created_at  text   when it was entered, in UTC
        """,
        "system": _PART,
        "piece": _PART,
        "direction": _PART,
        "criterion": _PART,
        "stimulus": """
            id            whole   number of the row
            version_id    whole   version it belongs to
            piece_id      whole   piece
            direction_id  whole   direction
            system_id     whole?  system; empty for the gold standard
            sha256        text    SHA-256 of the study's own sound file
            media         text    opaque name of the file that participants heard
            duration_s    number  length in seconds
            served_sha256 text?   SHA-256 of the file that participants heard; empty in studies built long ago
        """,
        "design_slot": """
            id         whole  number of the row
            version_id whole  version it belongs to
            number     whole  place in the design, from 0, through all blocks
            plan_json  text   pieces, directions and orders of systems, as JSON
        """,
        "participant": """
            id            whole  number of the row
            public        text   opaque id, the same in every file of this export
            study_id      whole  study
            external_hash text   salted hash of the id the participant came with
            created_at    text   when first seen, in UTC
        """,
        "session": """
            id             whole   number of the row
            public         text    opaque id, the same in every file of this export
            participant_id whole   participant
            study_id       whole   study
            version_id     whole   version that was heard
            slot_id        whole?  slot of the design; empty for a preview
            holds_slot     flag    whether the slot is taken by this session
            lease_s        number  seconds for which a slot was kept without a sign of life
            leased_until   text    until when it is kept, in UTC
            late           flag    whether its slot was given to another, as it was not heard of for the lease
            mode           text    live or preview
            status         text    open or complete
            token_hash     text    SHA-256 of the cookie of the browser
            generation     whole   times the session has moved on
            language       text    language read
            created_at     text    when it was opened, in UTC
            completed_at   text?   when it was completed, in UTC
        """,
        "consent": """
            id          whole  number of the row
            session_id  whole  session
            created_at  text   when consent was given, in UTC
            language    text   language of the text
            text_sha256 text   SHA-256 of the text consented to
        """,
        "background": """
            id           whole  number of the row
            session_id   whole  session
            created_at   text   when it was answered, in UTC
            answers_json text   answers by key of the question, as JSON; the latest row counts
        """,
        "screening": """
            id           whole   number of the row
            session_id   whole   session
            created_at   text    when it was done, in UTC
            volume       number  volume chosen, 0 to 1
            headphones   text    headphone check: pass, fail, unavailable or skipped
            answers_json text    what was answered in the check, as JSON; the latest row counts
        """,
        "trial": """
            id           whole  number of the row
            public       text   opaque id
            session_id   whole  session
            version_id   whole  version
            number       whole  place in the session, from 1; 0 is the practice trial
            practice     flag   whether it is the practice trial
            piece_id     whole  piece
            direction_id whole  direction
        """,
        "trial_item": """
            id           whole  number of the row
            public       text   opaque id
            trial_id     whole  trial
            version_id   whole  version
            piece_id     whole  piece
            direction_id whole  direction
            system_id    whole  system
            stimulus_id  whole  clip
            position     whole  its letter: 0 for A
        """,
        "response": """
            id           whole  number of the row
            session_id   whole  session
            trial_id     whole  trial
            version_id   whole  version
            criterion_id whole  criterion
            revision     whole  1 for the first answer
            is_current   flag   whether it counts; earlier revisions are kept beside it
            submission   text   id that the browser gave it
            digest       text   SHA-256 of what was sent
            receipt_json text   what the browser was told, as JSON
            elapsed_ms   whole  time on the screen in milliseconds
            created_at   text   when it was stored, in UTC
        """,
        "rank_item": """
            response_id whole  response
            item_id     whole  row of trial_item
            trial_id    whole  trial
            rank        whole  1 is the best
        """,
        "draft": """
            trial_id     whole  trial
            criterion_id whole  criterion
            version_id   whole  version
            ranks_json   text   ranks given so far by opaque item, as JSON
            sequence     whole  order in which drafts were sent
            updated_at   text   when it was stored, in UTC
        """,
        "playback_event": """
            id         whole   number of the row
            session_id whole   session
            created_at text    when it was stored, in UTC
            trial_id   whole   trial
            item_id    whole?  row of trial_item; empty for the gold standard and for the order as a whole
            kind       text    play, pause, heard, loop or order
            at_ms      number  time since the page was opened, in milliseconds
            position_s number  place in the clip, in seconds
        """,
        "exclusion": """
            id         whole  number of the row
            session_id whole  session
            created_at text   when it was decided, in UTC
            excluded   flag   whether it was left out; the latest row counts
            reason     text   why
            author     text   researcher who decided
        """,
        "audit": """
            id         whole  number of the row
            created_at text   when it happened, in UTC
            actor      text   who
            action     text   what was done
            detail     text   to what
            study_id   whole? study
        """,
    }.items()
}
RANKINGS = _columns(
    """
    participant text    opaque id
    session     text    opaque id
    version     whole   version of the study
    trial       text    opaque id
    piece       text    key of the piece
    direction   text    key of the direction
    criterion   text    key of the criterion
    system      text    key of the system
    rank        whole   1 is the best
    k           whole   number of systems ranked; the score is k - rank + 1
    position    whole   letter under which it was heard: 0 for A
    order       whole   place of the trial in the session
    answered_at text    when the ranking was stored, in UTC
    excluded    flag    whether the session is left out of the results
    late        flag    whether its slot was given to another, as it was not heard of for the lease
    experience  text?   answer to the question about musical experience
    device      text?   answer to the question about the device
    headphones  text?   headphone check: pass, fail, unavailable or skipped
    """
)

OBJECTIVE = _columns(
    """
    measure   text    key of the measure
    title     text    name that researchers read
    unit      text?   of the figures; empty for shares and similarities
    better    text    higher, lower or nearest, which way is better
    system    text    key of the system; gold, input and unrelated are references
    direction text?   key of the direction; empty for all of them
    pieces    whole   how many it was measured on
    mean      number  over pieces
    low       number? end of the interval of 95 %
    high      number? end of the interval of 95 %
    """
)


def codebook(*versions: Study) -> str:
    """The codebook of a study's exports, in Markdown, of all its versions, the first one first."""
    latest = versions[-1]
    out = io.StringIO()
    out.write(f"# Codebook of {_words(latest.title, latest)}\n\n")
    out.write(
        "Empty cells are missing values. Instants are text in UTC. In the files under `tables/`, text that is empty,\n"
        'begins with one of `" = + - @` or holds a control character is written as a JSON string, in double quotes,\n'
        "so that nothing is lost and no spreadsheet takes it for a formula; elsewhere an apostrophe goes before it.\n\n"
        "`rankings.csv` names nobody and is enough for an analysis. The whole export also holds the salt and the\n"
        "hashes of the participants' own ids: keep it as you would keep the ids.\n"
    )
    out.write("\n## rankings.csv\n\nOne row for each system within each ranking that counts.\n")
    _write_columns(out, RANKINGS)
    if latest.objective is not None:
        out.write("\n## objective.csv\n\nWhat `musicstar evaluate` measured of the latest version's recordings.\n")
        _write_columns(out, OBJECTIVE)
    for number, study in enumerate(versions, 1):
        out.write(f"\n## Version {number}\n")
        _write_version(out, study)
    out.write("\n## The whole export\n\nThe tables of the database, as `tables/NAME.csv` or in one JSON file.\n")
    for name, columns in TABLES.items():
        out.write(f"\n### {name}\n")
        _write_columns(out, columns)
    return out.getvalue()


def _write_version(out: io.StringIO, study: Study) -> None:
    for title, pairs in _keys(study).items():
        out.write(f"\n### Keys: {title}\n\n| key | meaning |\n|---|---|\n")
        out.writelines(f"| `{key}` | {_cell(meaning)} |\n" for key, meaning in pairs)
    for question in study.background:
        out.write(f"\n### Question `{question.key}`\n\n{_words(question.text, study)}\n")
        if question.options:
            out.write("\n| key | answer |\n|---|---|\n")
            out.writelines(f"| `{one.key}` | {_cell(_words(one.text, study))} |\n" for one in question.options)
    if study.exclusions:
        out.write("\n### Rules of exclusion, fixed beforehand\n\n")
        out.writelines(f"- `{rule.kind}` ({rule.threshold:g}): {rule.description}\n" for rule in study.exclusions)


def _keys(study: Study) -> dict[str, Iterable[tuple[str, str]]]:
    return {
        "system": [(one.key, one.title) for one in study.systems],
        "piece": [(one.key, one.title) for one in study.pieces],
        "direction": [(one.key, one.title) for one in study.directions],
        "criterion": [
            (one.key, f"{_words(one.title, study)}: {_words(one.question, study)}") for one in study.criteria
        ],
    }


def _write_columns(out: io.StringIO, columns: Iterable[Column]) -> None:
    out.write("\n| column | kind | meaning |\n|---|---|---|\n")
    for column in columns:
        kind = f"{column.kind}, may be empty" if column.optional else column.kind
        out.write(f"| `{column.name}` | {kind} | {column.meaning} |\n")


def _words(text: Text, study: Study) -> str:
    """A text in the study's first language, on one line."""
    words = text.get(study.languages[0]) or next(iter(text.values()), "")
    return " ".join(words.split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
