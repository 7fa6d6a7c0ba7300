"""Tests of survey/lines.py: each value of a TOML text is found in the line where it stands."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from survey.lines import Place, lines_of

ROOT = Path(__file__).resolve().parent.parent

# Each @ stands for the number of its own line.
TEMPLATE = r'''a = @
b . c = @
"d.e" = @ # f = 9
'g' = {h = @, i.j = @, "k\"]}" = [@, {l = @}]}
m = [
  @, # [[n]]

] # six
[o]
p = @
q = [
    @, @,
    # 12
    [@, [@,
     @]],
]
[[r]]
s = [ { t = @ },
      { t = @, u = @ } ]
[[r.v]]
w = @
[[r.v]]
w = @
[r.x . "y z"]
w = @
[[r]]
s = [{ t = @}]
[[r.v]]
w = @
text = """
[[r]]
w = "7" ""\" \\"""
w2 = @
raw = ~~~
a = ~~ [
\~~~
w3 = @
five = """x"""""
w4 = @
date = 1979-05-27T07:32:00Z
time = [07:32:00, 1e3, -inf]
w5 = @'''.replace("~", "'")
NUMBERED_VALUES = TEMPLATE.count("@")
NUMBERED = "\n".join(line.replace("@", str(n)) for n, line in enumerate(TEMPLATE.split("\n"), 1))


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is neither a table nor an array, with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index))
    else:
        yield place, value


def every(value: Any, place: Place = ()) -> set[Place]:
    """All places of a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {place}.union(*(every(item, (*place, key)) for key, item in items))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_number_stands_in_its_line(end: str) -> None:
    text = NUMBERED.replace("\n", end)
    lines = lines_of(text)
    found = [(place, lines[place], value) for place, value in leaves(tomllib.loads(text)) if type(value) is int]
    assert len(found) == NUMBERED_VALUES
    assert [(place, line) for place, line, value in found if line != value] == []


def test_tables_stand_where_they_begin() -> None:
    lines, rows = lines_of(NUMBERED), NUMBERED.split("\n")
    stands = {place: rows[line - 1] for place, line in lines.items()}
    assert stands["o",] == "[o]"
    assert stands["r",] == stands["r", 0] == stands["r", 1] == "[[r]]"
    assert (lines["r", 0], lines["r", 1]) == (17, 26)
    assert stands["r", 0, "v", 1] == "[[r.v]]"
    assert lines["r", 0, "v", 1] == lines["r", 0, "v", 0] + 2
    assert stands["r", 0, "x"] == stands["r", 0, "x", "y z"] == '[r.x . "y z"]'
    assert lines["m",] == 5
    assert stands["b",] == stands["b", "c"] == "b . c = 2"


@pytest.mark.parametrize(
    "path",
    [ROOT / "pyproject.toml", *ROOT.glob("musicstar/configs/*.toml"), *ROOT.glob("survey/study/*.toml")],
    ids=lambda path: path.name,
)
def test_all_of_a_file_is_found_and_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(lines_of(text)) == every(tomllib.loads(text))


def test_all_of_the_numbered_text_is_found_and_nothing_else() -> None:
    assert set(lines_of(NUMBERED)) == every(tomllib.loads(NUMBERED))


@pytest.mark.parametrize("text", ["", "\n\n", "# only a remark", "[a]", "[[a]]\n[[a]]", "a=1"])
def test_small_texts(text: str) -> None:
    assert set(lines_of(text)) == every(tomllib.loads(text))
