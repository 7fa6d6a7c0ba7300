"""Tables of a file as they are read: every fault is noted with its line and field, and the reading goes on."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from survey.lines import Place, lines_of

MAX_WORDS = 20_000
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
LANGUAGE = re.compile(r"(?=.{2,16}$)[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Fault:
    """What is wrong with one field of a file; the line is None where the file has none."""

    field: str
    problem: str
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.field}: {self.problem}" if self.field else f"{where}{self.problem}"


class StudyError(ValueError):
    """A study that cannot be used: `faults` has all of them, and the message a line for each."""

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self.name = name
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        super().__init__("\n".join(f"{name}, {fault}" for fault in self.faults))


@dataclass(frozen=True)
class Document:
    """A file that is being read.

    Attributes
    ----------
    name : of the file, as messages give it
    lines : of each place in it
    faults : found so far; grows
    prepare : what becomes of a text before participants read it
    languages : every text is wanted in each; none where they are not known
    """

    name: str
    lines: Mapping[Place, int] = field(default_factory=dict)
    prepare: Callable[[str], str] = str
    faults: list[Fault] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)

    def note(self, place: Place, problem: str) -> None:
        """Remember a fault, with the line of the place or of the nearest one around it."""
        known = (self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines)
        self.faults.append(Fault(spelled(place), problem, next(known, None)))

    def finish(self) -> None:
        """Raise StudyError when there are faults."""
        if self.faults:
            raise StudyError(self.name, self.faults)


def spelled(place: Place) -> str:
    """A place as messages give it.

    >>> spelled(("criteria", 0, "title"))
    'criteria[0].title'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


class Section:
    """A table of a document. Each reader returns a value to go on with, also where it has noted a fault."""

    def __init__(self, document: Document, value: Mapping[str, Any], place: Place = ()) -> None:
        self.document = document
        self.place = place
        self._value = value
        self._asked: set[str] = set()

    def note(self, key: str, problem: str) -> None:
        """Remember a fault of one of its keys, or of itself where `key` is empty."""
        self.document.note((*self.place, key) if key else self.place, problem)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._value

    def _take(self, key: str, kind: type, noun: str, *, required: bool) -> Any:
        """The value of a key when it is of the very type, else None, with a fault where one is due."""
        self._asked.add(key)
        if key not in self._value:
            if required:
                self.note(key, f"is missing; expected {noun}")
            return None
        value = self._value[key]
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is kind:
            return value
        self.note(key, f"{_shown(value)} is not {noun}")
        return None

    def string(self, key: str, default: str | None = None, *, pattern: re.Pattern[str] | None = None) -> str:
        """A string that is the same in all languages; empty only where the default is.

        Parameters
        ----------
        pattern : what all of it must match
        """
        value = self._take(key, str, "a string", required=default is None)
        if value is None:
            return default or ""
        if problem := _unfit(value, empty=default == ""):
            self.note(key, problem)
        elif value and pattern is not None and not pattern.fullmatch(value):
            self.note(key, f"{_shown(value)} does not fit the pattern {pattern.pattern}")
        return str(value)

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within limits."""
        value = self._take(key, int, "a whole number", required=default is None)
        if value is not None and not least <= value <= most:
            self.note(key, f"{value} is out of range; expected {least} to {most}")
        chosen = default if value is None else value
        return least if chosen is None else int(chosen)

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        """A finite number within limits."""
        value = self._take(key, float, "a number", required=default is None)
        if value is not None and not least <= value <= most:
            self.note(key, f"{value:g} is out of range; expected {least:g} to {most:g}")
        chosen = default if value is None else value
        return least if chosen is None else float(chosen)

    def number_or_none(self, key: str, least: float, most: float) -> float | None:
        """The same, or None where it is missing or null."""
        if self._value.get(key) is None:
            self._asked.add(key)
            return None
        return self.number(key, least, most)

    def flag(self, key: str, *, default: bool) -> bool:
        """Either true or false."""
        value = self._take(key, bool, "true or false", required=False)
        return default if value is None else bool(value)

    def one_of(self, key: str, names: Sequence[str]) -> str:
        """One of some names; what is there, or nothing, where it is none of them."""
        value = self._take(key, str, f"one of {', '.join(names)}", required=True)
        if value is not None and value not in names:
            self.note(key, f"{_shown(value)} is not one of {', '.join(names)}")
        return value or ""

    def words(self, key: str, default: str | None = None) -> dict[str, str]:
        """A text in every language of the study: one string for all, or a table of one for each."""
        self._asked.add(key)
        value = self._value.get(key, default)
        languages = self.document.languages
        if value is None:
            self.note(key, "is missing; expected a text")
        elif isinstance(value, str):
            if problem := _unfit(value, empty=default == ""):
                self.note(key, problem)
            return dict.fromkeys(languages, self.document.prepare(value))
        elif isinstance(value, Mapping) and languages:
            inner = Section(self.document, value, (*self.place, key))
            texts = {language: self.document.prepare(inner.string(language, default)) for language in languages}
            inner.close(expected="languages of the study")
            return texts
        elif not isinstance(value, Mapping):
            self.note(key, f"{_shown(value)} is neither a text nor a table of one for each language")
        return dict.fromkeys(languages, "")

    def strings(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """An array of strings, none of them empty or there twice."""
        value = self._take(key, list, "an array of strings", required=default is None)
        if value is None:
            return default or ()
        kept: list[str] = []
        for index, item in enumerate(value):
            place = (*self.place, key, index)
            if not isinstance(item, str):
                self.document.note(place, f"{_shown(item)} is not a string")
            elif problem := _unfit(item, empty=False):
                self.document.note(place, problem)
            elif item in kept:
                self.document.note(place, f"{_shown(item)} is there twice")
            else:
                kept.append(item)
        return tuple(kept)

    def section(self, key: str) -> "Section | None":
        """A table below this one, or None where it is not there."""
        value = self._take(key, dict, "a table", required=False)
        return None if value is None else Section(self.document, value, (*self.place, key))

    def sections(self, key: str, least: int = 0, most: int = 1000) -> list["Section"]:
        """The tables of an array."""
        value = self._take(key, list, "an array of tables", required=least > 0)
        if value is None:
            return []
        if not least <= len(value) <= most:
            self.note(key, f"there are {len(value)}; expected {least} to {most}")
            value = value[:most]
        found = []
        for index, item in enumerate(value):
            place = (*self.place, key, index)
            if isinstance(item, Mapping):
                found.append(Section(self.document, item, place))
            else:
                self.document.note(place, f"{_shown(item)} is not a table")
        return found

    def keys(self) -> list[str]:
        """All keys of the table, in the file's order."""
        return list(self._value)

    def close(self, *, expected: str = "keys here") -> None:
        """Note the keys that nobody asked for."""
        for key in self._value:
            if key not in self._asked:
                self.note(key, f"is unknown; {expected} are {', '.join(sorted(self._asked)) or 'none'}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unfit(text: str, *, empty: bool) -> str:
    """What is wrong with a string, or nothing."""
    if not empty and not text.strip():
        return "is empty; expected a text"
    if len(text) > MAX_WORDS:
        return f"has {len(text)} characters; at most {MAX_WORDS} are read"
    if CONTROL.search(text):
        return "holds a control character; expected text"
    return ""


def parse_toml(name: str, content: bytes) -> tuple[dict[str, Any], dict[Place, int]]:
    """Read a TOML file: its table, and the line of everything in it.

    Raises
    ------
    StudyError
        Not UTF-8 or not TOML.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyError(name, [Fault("", f"not UTF-8 text ({error.reason})", line)]) from error
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # besides what is no TOML: numbers and nesting beyond all measure
        reason, _, where = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", where)
        line = int(found[1]) if found else text.count("\n") + 1
        raise StudyError(name, [Fault("", f"not valid TOML: {reason}", line)]) from error
    return table, lines_of(text)
