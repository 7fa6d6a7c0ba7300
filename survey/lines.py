"""Where things stand in a TOML or JSON file: their readers give values without lines."""

import json
import re
import tomllib
from bisect import bisect_right

# Where a value stands: ("criteria", 0, "title").
Place = tuple[str | int, ...]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def lines_of(text: str) -> dict[Place, int]:
    r"""The line, from 1, at which each key, table and element of an array stands in a valid TOML text.

    >>> lines_of('a = 1\n[[b]]\nc = [4,\n 5]')[("b", 0, "c", 1)]
    4
    """
    return _Scan(text.replace("\r\n", "\n")).lines


def lines_of_json(text: str) -> dict[Place, int]:
    r"""The line, from 1, at which each key and element stands in a valid JSON text.

    >>> lines_of_json('{"a": 1,\n "b": [{},\n {"c": 2}]}')[("b", 1, "c")]
    3
    """
    lines: dict[Place, int] = {}
    line, seen = 1, 0
    # Of each container around: the place in it, None where a key is due.
    around: list[str | int | None] = []
    for token in JSON_TOKEN.finditer(text):
        line, seen = line + text.count("\n", seen, token.start()), token.start()
        word = token[0]
        if word in ("}", "]"):
            around.pop()
        elif word == ",":
            last = around[-1]
            around[-1] = last + 1 if isinstance(last, int) else None
        elif word != ":":
            if around and around[-1] is None:
                around[-1] = str(json.loads(word))
            elif word in ("{", "["):
                lines.setdefault(_place(around), line)
                around.append(None if word == "{" else 0)
                continue
            lines.setdefault(_place(around), line)
    return lines


def _place(around: list[str | int | None]) -> Place:
    return tuple(step for step in around if step is not None)


class _Scan:
    """A walk through a valid TOML text that reads keys and brackets and skips all else."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.lines: dict[Place, int] = {(): 1}
        self.tables: dict[Place, int] = {}  # how many tables an array has so far
        prefix: Place = ()
        while self._skip(" \t\n") < len(text):
            if text[self.at] == "[":
                prefix = self._header()
            else:
                self._pair(prefix)

    def _skip(self, blank: str) -> int:
        """Go past blanks and comments."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in blank:
                self.at += 1
            else:
                break
        return self.at

    def _mark(self, place: Place, at: int) -> None:
        self.lines.setdefault(place, bisect_right(self.starts, at))

    def _header(self) -> Place:
        start, double = self.at, self.text.startswith("[[", self.at)
        self.at += 1 + double
        names = self._key()
        self.at += 1 + double
        place: Place = ()
        for name in names[:-1]:
            place = self._last((*place, name), start)
        place = (*place, names[-1])
        if double:
            self._mark(place, start)
            self.tables[place] = self.tables.get(place, 0) + 1
        place = self._last(place, start)
        # A table that was only implied so far is said here.
        self.lines[place] = bisect_right(self.starts, start)
        return place

    def _last(self, place: Place, at: int) -> Place:
        """Where a header's name leads: into the last table of an array."""
        self._mark(place, at)
        return (*place, self.tables[place] - 1) if place in self.tables else place

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(" \t")
            start = self.at
            if self.text[self.at] in "\"'":
                self._string()
                names.append(tomllib.loads(f"key = {self.text[start : self.at]}")["key"])
            else:
                found = BARE_KEY.match(self.text, start)
                assert found is not None
                self.at = found.end()
                names.append(found[0])
            self._skip(" \t")
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def _pair(self, prefix: Place) -> None:
        start, place = self.at, prefix
        for name in self._key():
            place = (*place, name)
            self._mark(place, start)
        self.at += 1
        self._skip(" \t")
        self._scan_value(place)

    def _scan_value(self, place: Place) -> None:
        self._mark(place, self.at)
        match self.text[self.at]:
            case '"' | "'":
                self._string()
            case "[":
                self._items("]", place)
            case "{":
                self._items("}", place)
            case _:
                while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                    self.at += 1

    def _items(self, end: str, place: Place) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(" \t\n,")
            if self.text[self.at] == end:
                self.at += 1
                return
            if end == "]":
                self._scan_value((*place, index))
                index += 1
            else:
                self._pair(place)

    def _string(self) -> None:
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(mark)
        while not self.text.startswith(mark, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(mark)
        # Up to two quotes may stand right before the three that close.
        while len(mark) == 3 and self.text.startswith(quote, self.at):
            self.at += 1
