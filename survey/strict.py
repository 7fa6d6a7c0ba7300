"""JSON read strictly: what is not exactly as expected is refused with the name of its field.

Python's reader takes NaN, keeps the last of two equal keys, and its numbers compare equal to True and 3.0; none of that
is let through here.
"""

import json
import math
import re
from collections.abc import Collection
from typing import Any, NoReturn, TypeVar

Choice = TypeVar("Choice", bound=str)

MAX_BYTES = 64_000
# Characters that no text of ours has: control characters but line breaks and tabs, halves of a pair.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WORD = re.compile("[A-Za-z0-9_.-]{1,64}")


class Malformed(ValueError):
    """A body that is not as expected; `field` names the place, "" where it is the whole."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.field = name


def read(body: bytes) -> "Fields":
    """Read a body, which is an object.

    Raises
    ------
    Malformed
        Not UTF-8, not JSON, NaN or Infinity, a key twice, nested too deeply, or no object.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_constant, parse_float=_finite, parse_int=_whole
        )
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("The request is not JSON.") from error
    if type(value) is not dict:
        raise Malformed("The request is not a JSON object.")
    return Fields(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Malformed("A key is there twice.", _shown(key))
        found[key] = value
    return found


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is no number of JSON.")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise Malformed("A number is too large.")
    return value


def _whole(text: str) -> int:
    if len(text) > 18:
        raise Malformed("A number is too large.")
    return int(text)


def _shown(key: str) -> str:
    """A key as it can be told again."""
    return _UNPRINTABLE.sub("?", key)[:64]


class Fields:
    """An object, of which every field is asked for by its name and type, and which has no others.

    Parameters
    ----------
    name : where it is within the body, "" for the whole
    """

    def __init__(self, values: dict[str, Any], name: str = "") -> None:
        self._values = values
        self._name = name

    def _at(self, key: str) -> str:
        return f"{self._name}.{_shown(key)}" if self._name else _shown(key)

    def only(self, *keys: str) -> "Fields":
        """Refuse fields that are not among these."""
        for key in self._values:
            if key not in keys:
                raise Malformed("There is a field that is not expected here.", self._at(key))
        return self

    def _get(self, key: str) -> Any:
        if key not in self._values:
            raise Malformed("A field is missing.", self._at(key))
        return self._values[key]

    def keys(self) -> tuple[str, ...]:
        """The names of the fields, each a plain word."""
        for key in self._values:
            if not _WORD.fullmatch(key):
                raise Malformed("This name has not the expected form.", self._at(key))
        return tuple(self._values)

    def text(self, key: str, *, longest: int = 200, pattern: str = "", default: str | None = None) -> str:
        """A text, at most so long, that a pattern fits wholly; where a default is given it can be missing."""
        if default is not None and key not in self._values:
            return default
        value = self._get(key)
        if type(value) is not str:
            raise Malformed("Expected a text.", self._at(key))
        if len(value) > longest:
            raise Malformed(f"Expected at most {longest} characters.", self._at(key))
        if _UNPRINTABLE.search(value) or (pattern and not re.fullmatch(pattern, value)):
            raise Malformed("This text has not the expected form.", self._at(key))
        return value

    def one_of(self, key: str, choices: Collection[Choice]) -> Choice:
        """One of some texts."""
        value = self._get(key)
        if type(value) is str:
            for choice in choices:
                if choice == value:
                    return choice
        raise Malformed(f"Expected one of {', '.join(choices)}.", self._at(key))

    def yes(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        if type(value) is not bool:
            raise Malformed("Expected true or false.", self._at(key))
        return value

    def whole(self, key: str, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """A whole number; true, "3" and 3.0 are none."""
        value = self._get(key)
        if type(value) is not int:
            raise Malformed("Expected a whole number.", self._at(key))
        if not least <= value <= most:
            raise Malformed(f"Expected a whole number from {least} to {most}.", self._at(key))
        return value

    def number(self, key: str, *, least: float = 0.0, most: float = 1e12) -> float:
        """A number."""
        value = self._get(key)
        if type(value) not in (int, float):
            raise Malformed("Expected a number.", self._at(key))
        if not least <= value <= most:
            raise Malformed(f"Expected a number from {least:g} to {most:g}.", self._at(key))
        return float(value)

    def inner(self, key: str) -> "Fields":
        """An object within."""
        value = self._get(key)
        if type(value) is not dict:
            raise Malformed("Expected an object.", self._at(key))
        return Fields(value, self._at(key))

    def objects(self, key: str, *, most: int) -> "list[Fields]":
        """A list of objects, at most so many."""
        value = self._list(key, most)
        for place, one in enumerate(value):
            if type(one) is not dict:
                raise Malformed("Expected an object.", f"{self._at(key)}.{place}")
        return [Fields(one, f"{self._at(key)}.{place}") for place, one in enumerate(value)]

    def scalars(self, key: str, *, most: int) -> tuple[str | int, ...]:
        """A list of short texts and whole numbers, at most so many."""
        value = self._list(key, most)
        fields = Fields({str(place): one for place, one in enumerate(value)}, self._at(key))
        return tuple(fields.scalar(place) for place in fields.keys())  # noqa: SIM118 -- not a mapping

    def scalar(self, key: str, *, longest: int = 200) -> str | int:
        """A text or a whole number."""
        return self.whole(key, least=-(2**31)) if type(self._get(key)) is int else self.text(key, longest=longest)

    def _list(self, key: str, most: int) -> list[Any]:
        value = self._get(key)
        if type(value) is not list:
            raise Malformed("Expected a list.", self._at(key))
        if len(value) > most:
            raise Malformed(f"Expected at most {most} entries.", self._at(key))
        return value

    def ranks(self, key: str) -> dict[str, int]:
        """Whole numbers by the id of an item."""
        inner = self.inner(key)
        names = inner.keys()
        if len(names) > 16:
            raise Malformed("There are more ranks than recordings.", self._at(key))
        return {name: inner.whole(name, least=-(2**31)) for name in names}
