"""What a listening test is: a TOML file read into frozen dataclasses, all of its faults reported at once."""

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast, get_args

from survey import objective
from survey.locks import SHA256, read_lock, sha256_of, write_hashes
from survey.parts import (
    GOLD,
    Criterion,
    Direction,
    ExclusionRule,
    Objective,
    Option,
    Piece,
    Question,
    QuestionKind,
    RuleKind,
    Stimulus,
    Study,
    System,
    Text,
)
from survey.tables import KEY, LANGUAGE, Document, Fault, Section, StudyError, parse_toml

__all__ = [
    "GOLD",
    "Criterion",
    "Direction",
    "ExclusionRule",
    "Objective",
    "Option",
    "Piece",
    "Question",
    "QuestionKind",
    "RuleKind",
    "Stimulus",
    "Study",
    "StudyError",
    "System",
    "Text",
    "check_files",
    "from_json",
    "load",
    "shipped",
    "to_json",
    "untranslated",
    "write_lock",
]

STUDIES = Path(__file__).parent / "study"
WORDS = Path(__file__).parent / "ui" / "static" / "words.toml"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
URL = re.compile(r"https?://\S+")
CONTACT = "{contact}"
SET = ("piece", "direction", "system")
DEFAULT_PATTERN = "{piece}.{direction}.{system}.flac"
MAX_STIMULI = 20_000
# Rules of exclusion that stored versions may name and that no session can fall under.
RETIRED = ("unheard",)


def shipped(name: str) -> Path:
    """The file of a shipped study by its name, "music-star", which need not exist."""
    return STUDIES / f"{name.replace('-', '_')}.toml"


def load(path: str | Path, *, contact: str | None = None, locked: bool = True) -> Study:
    """Read a study from a TOML file and the hashes of its stimuli from the lock file beside it.

    In the texts that participants read, `{contact}` becomes the contact, and a single line break a space: a blank line
    ends a paragraph, and "- " begins a line of its own.

    Parameters
    ----------
    contact : whom participants can turn to, instead of the file's own `contact`
    locked : whether the lock file is read; without it no hash is known

    Raises
    ------
    StudyError
        With file, line and field of every fault found. Whether the stimuli are there, `check_files` says.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(path.name, [Fault("", f"cannot be read ({error.strerror}); expected a study")]) from error
    table, lines = parse_toml(path.name, content)
    whom = contact or table.get("contact", "")
    document = Document(path.name, lines, prepare=lambda text: _flowing(text).replace(CONTACT, str(whom)))
    root = Section(document, table)
    root.string("contact", "")
    study = _read(root)
    if (stimuli := root.section("stimuli")) is None:
        root.note("stimuli", "is missing; expected a table with a folder")
    else:
        study = replace(study, stimuli=_listed(stimuli, study, path, locked=locked))
    study = replace(study, objective=objective.beside(root, path, study))
    _check_overrides(root, study)
    root.close()
    document.finish()
    return study


def _flowing(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n|- )", " ", text.strip())


def untranslated(study: Study) -> dict[str, int]:
    """How many words of the pages a study leaves in English, by its other languages; those that leave none left out."""
    known = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    left = len(known) - len(study.strings)
    return {language: left for language in study.languages if not language.startswith("en") and left}


def to_json(study: Study) -> str:
    """The study as one line of JSON with sorted keys: equal studies give equal lines; paths are left out."""
    table = asdict(study)
    for stimulus in table["stimuli"]:
        del stimulus["path"]
    if study.practice is not None:
        table["practice"] = dict(zip(("piece", "direction"), study.practice, strict=True))
    else:
        del table["practice"]
    if study.objective is None:
        del table["objective"]
    return json.dumps(table, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Study:
    """The study that `to_json` wrote, without paths.

    Raises
    ------
    StudyError
        Not JSON, or not a sound study.
    """
    document = Document("study")
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(document.name, [Fault("", f"not valid JSON ({error})")]) from error
    if not isinstance(table, dict):
        raise StudyError(document.name, [Fault("", "not a table")])
    if isinstance(rules := table.get("exclusions"), list):
        table["exclusions"] = [rule for rule in rules if not (isinstance(rule, dict) and rule.get("kind") in RETIRED)]
    root = Section(document, table)
    study = _read(root)
    found = tuple(
        Stimulus(
            one.string("piece"),
            one.string("direction"),
            one.string("system"),
            Path(),
            one.string("sha256", pattern=SHA256),
        )
        for one in _closed(root.sections("stimuli", 1, MAX_STIMULI))
    )
    if Counter(_wanted(study)) != Counter((one.piece, one.direction, one.system) for one in found):
        root.note("stimuli", "are not those of the pieces, directions and systems")
    study = replace(study, stimuli=found, objective=objective.stored(root, study))
    root.close()
    document.finish()
    return study


def _read(root: Section) -> Study:
    """All of a study but its stimuli."""
    languages = _languages(root)
    systems = tuple(System(key, title) for key, title in _titled(root, "systems", 2, 8))
    if GOLD in (system.key for system in systems):
        root.note("systems", f"the key {GOLD!r} means the gold standard; name the system otherwise")
    pieces = tuple(Piece(key, title) for key, title in _titled(root, "pieces", 1, 200))
    directions = tuple(Direction(key, title) for key, title in _titled(root, "directions", 1, 20))
    trials = root.whole("trials_per_participant", 1, 100)
    if directions and trials % len(directions):
        root.note("trials_per_participant", f"{trials} is not a multiple of the {len(directions)} directions")
    elif directions and pieces and trials // len(directions) > len(pieces):
        each = trials // len(directions)
        root.note("trials_per_participant", f"{trials} are {each} in each direction, of only {len(pieces)} pieces")
    return Study(
        name=root.string("name", pattern=NAME),
        title=root.words("title"),
        languages=languages,
        welcome=root.words("welcome"),
        consent=root.words("consent"),
        background=tuple(_question(key, one) for key, one in _keyed(root, "background", 0, 50)),
        criteria=tuple(_criteria(root)),
        systems=systems,
        pieces=pieces,
        directions=directions,
        trials_per_participant=trials,
        slots=root.whole("slots", 1, 10_000),
        seed=root.whole("seed", 0, 2**53),
        lease_minutes=root.number("lease_minutes", 1, 100_000, 120),
        practice=_practice(root, directions),
        headphone_check=root.flag("headphone_check", default=True),
        exclusions=tuple(_rule(one) for one in _closed(root.sections("exclusions", 0, 20))),
        stimuli=(),
        thanks=root.words("thanks"),
        completion_code=root.string("completion_code", ""),
        completion_url=root.string("completion_url", "", pattern=URL),
        strings=_overrides(root),
    )


def _languages(root: Section) -> tuple[str, ...]:
    found = len(root.document.faults)
    languages = root.strings("languages", ("en",))
    for index, language in enumerate(languages):
        if not LANGUAGE.fullmatch(language):
            root.document.note(("languages", index), f"{language!r} is not a tag such as en or pt-BR")
    if root.document.faults[found:]:
        return ()
    if not languages:
        root.note("languages", "names none; expected one or more")
    root.document.languages[:] = languages
    return languages


def _keyed(root: Section, name: str, least: int, most: int) -> Iterator[tuple[str, Section]]:
    """The tables of an array with their keys, no two the same."""
    seen: set[str] = set()
    for one in _closed(root.sections(name, least, most)):
        key = one.string("key", pattern=KEY)
        if key in seen:
            one.note("key", f"{key!r} is there twice")
        seen.add(key)
        yield key, one


def _titled(root: Section, name: str, least: int, most: int) -> Iterator[tuple[str, str]]:
    """The keys and titles of an array's tables, no two the same: results tell them apart by their titles."""
    seen: set[str] = set()
    for key, one in _keyed(root, name, least, most):
        title = one.string("title")
        _note_twice(one, [title], seen)
        yield key, title


def _criteria(root: Section) -> Iterator[Criterion]:
    """The criteria, no two with the same title in one language."""
    seen: set[str] = set()
    for key, one in _keyed(root, "criteria", 1, 10):
        title, question, best, worst = (one.words(field) for field in ("title", "question", "best", "worst"))
        _note_twice(one, [f"{words} ({language})" for language, words in title.items() if words], seen)
        yield Criterion(key, title, question, best, worst)


def _note_twice(one: Section, titles: Sequence[str], seen: set[str]) -> None:
    """Note the first of a table's titles that another table has too."""
    if twice := [title for title in titles if title and title in seen]:
        one.note("title", f"{twice[0]!r} is there twice; titles tell them apart in the results")
    seen.update(titles)


def _closed(sections: Iterable[Section]) -> Iterator[Section]:
    """Lend each table in turn, and note the keys that nobody asked for afterwards."""
    for one in sections:
        yield one
        one.close()


def _question(key: str, one: Section) -> Question:
    kind = one.one_of("kind", get_args(QuestionKind))
    options = tuple(Option(name, option.words("text")) for name, option in _keyed(one, "options", 0, 100))
    if kind == "choice" and len(options) < 2:
        one.note("options" if one.has("options") else "", "a question of kind 'choice' needs two options or more")
    if kind in ("number", "text") and options:
        one.note("options", f"a question of kind {kind!r} takes no options")
    return Question(key, one.words("text"), cast(QuestionKind, kind), options, one.flag("required", default=True))


def _rule(one: Section) -> ExclusionRule:
    kind = one.one_of("kind", get_args(RuleKind))
    threshold = one.number("threshold", 0, 1e6, 0)
    if kind in get_args(RuleKind) and (kind == "fast_trials") != (threshold != 0):
        wanted = "needs a threshold in seconds" if kind == "fast_trials" else "takes no threshold"
        one.note("threshold" if one.has("threshold") else "", f"a rule of kind {kind!r} {wanted}")
    return ExclusionRule(cast(RuleKind, kind), threshold, one.string("description", ""))


def _practice(root: Section, directions: Iterable[Direction]) -> tuple[str, str] | None:
    if (one := root.section("practice")) is None:
        return None
    piece, direction = one.string("piece", pattern=KEY), one.string("direction", pattern=KEY)
    if direction not in (known := [each.key for each in directions]):
        one.note("direction", f"{direction!r} is not one of the directions {', '.join(known)}")
    one.close()
    return piece, direction


def _overrides(root: Section) -> dict[str, Text]:
    if (strings := root.section("strings")) is None:
        return {}
    return {key: strings.words(key) for key in strings.keys()}  # noqa: SIM118 (a section is no mapping)


def _check_overrides(root: Section, study: Study) -> None:
    """Note the overrides of words that the pages do not have."""
    known = tomllib.loads(WORDS.read_text(encoding="utf-8")) if study.strings else {}
    for key in study.strings.keys() - known.keys():
        root.document.note(("strings", key), f"the pages have no such words; {WORDS.name} lists all that they have")


def _wanted(study: Study) -> Iterator[tuple[str, str, str]]:
    """Piece, direction and system of every stimulus that the study plays."""
    pairs = [(piece.key, direction.key) for piece in study.pieces for direction in study.directions]
    if study.practice is not None and study.practice not in pairs:
        pairs.append(study.practice)
    for piece, direction in pairs:
        for system in (GOLD, *(system.key for system in study.systems)):
            yield piece, direction, system


def _listed(stimuli: Section, study: Study, path: Path, *, locked: bool) -> tuple[Stimulus, ...]:
    """The stimuli by the pattern of their names, and by what is said of single ones."""
    folder, pattern = stimuli.string("folder", "."), stimuli.string("pattern", DEFAULT_PATTERN)
    if missing := [f"{{{part}}}" for part in SET if f"{{{part}}}" not in pattern]:
        stimuli.note("pattern", f"{pattern!r} lacks {' and '.join(missing)}, so that names would be the same")
    wanted = list(_wanted(study))
    names: dict[tuple[str, str, str], str] = {}
    for one in _closed(stimuli.sections("files", 0, MAX_STIMULI)):
        which = (one.string("piece"), one.string("direction"), one.string("system"))
        if which not in wanted:
            one.note("", f"the study plays no {'.'.join(which)}")
        if which in names:
            one.note("", f"{'.'.join(which)} is there twice")
        names[which] = one.string("path")
    stimuli.close()
    hashes = read_lock(path, stimuli.document) if locked else {}
    for which in wanted:
        name = pattern
        for part, key in zip(SET, which, strict=True):
            name = name.replace(f"{{{part}}}", key)
        names.setdefault(which, name)
    paths = {which: path.parent / folder / names[which] for which in wanted}
    return tuple(Stimulus(*which, file, hashes.get(_locked_as(file, path), "")) for which, file in paths.items())


def _locked_as(file: Path, path: Path) -> str:
    """The name of a stimulus in the lock file of the study at `path`."""
    return Path(os.path.relpath(file, path.parent)).as_posix()


def write_lock(path: str | Path) -> Path:
    """Write the hashes of a study's stimuli as they are now into its lock file.

    Raises
    ------
    StudyError
        The study is not sound, or a stimulus cannot be read.
    OSError
        The lock file cannot be written.
    """
    path = Path(path)
    faults: list[Fault] = []
    hashes: dict[str, str] = {}
    for stimulus in load(path, locked=False).stimuli:
        try:
            hashes[_locked_as(stimulus.path, path)] = sha256_of(stimulus.path)
        except OSError as error:
            faults.append(Fault(str(stimulus.path), f"cannot be read ({error.strerror})"))
    if faults:
        raise StudyError(path.name, faults)
    return write_hashes(path, hashes)


def check_files(study: Study) -> None:
    """Check that every stimulus is there with the content that the lock file records.

    Raises
    ------
    StudyError
        With a fault for each that is not.
    """
    faults = []
    for stimulus in study.stimuli:
        try:
            found = sha256_of(stimulus.path)
        except OSError as error:
            faults.append(Fault(str(stimulus.path), f"cannot be read ({error.strerror})"))
            continue
        if not stimulus.sha256:
            faults.append(Fault(str(stimulus.path), "is not in the lock file; `musicstar-survey lock` writes it"))
        elif found != stimulus.sha256:
            faults.append(Fault(str(stimulus.path), f"has sha256 {found[:12]}…, the lock file {stimulus.sha256[:12]}…"))
    if faults:
        raise StudyError(study.name, faults)
