"""Tests of survey/tables.py: whatever stands in a study, as TOML or as JSON, is read or refused."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from survey.definition import StudyError, from_json, load, to_json
from survey.tables import Fault
from tests.study_file import TINY, locked, written


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a study file."""
    return partial(written, tmp_path)


def test_json_gives_the_study_back(write: Callable[[str], Path]) -> None:
    study = locked(load(write(TINY)))
    text = to_json(study)
    assert from_json(text) == study
    assert to_json(from_json(text)) == text
    assert "clips" not in text
    assert "\n" not in text
    without = locked(load(write(TINY.replace('practice = { piece = "p0", direction = "up" }\n', ""))))
    assert from_json(to_json(without)) == without


def test_json_is_the_same_for_equal_studies_and_differs_with_a_hash(write: Callable[[str], Path]) -> None:
    study = locked(load(write(TINY)))
    reordered = TINY.replace("slots = 4\nseed = 7", "seed = 7\nslots = 4")
    assert to_json(locked(load(write(reordered)))) == to_json(study)
    changed = replace(study, stimuli=(replace(study.stimuli[0], sha256="f" * 64), *study.stimuli[1:]))
    assert to_json(changed) != to_json(study)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"slots":4', '"slots":true', "slots: True is not a whole number"),
        ('"slots":4', '"slots":4,"more":1', "more: is unknown"),
        ('"system":"gold"', '"system":"a"', "stimuli: are not those of"),
        ('"lease_minutes":120.0', '"lease_minutes":NaN', "lease_minutes: nan is out of range"),
        ('"sha256":"0', '"sha256":"g', "stimuli[0].sha256"),
        ('"Hello"', r'"\ud800"', "control character"),
        ('"name":', '"name"', "not valid JSON"),
    ],
)
def test_json_of_another_make_is_refused(old: str, new: str, problem: str, write: Callable[[str], Path]) -> None:
    text = to_json(locked(load(write(TINY))))
    assert old in text
    with pytest.raises(StudyError) as caught:
        from_json(text.replace(old, new, 1))
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "3", "", "[" * 100_000])
def test_json_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(StudyError):
        from_json(text)


JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    3.5,
    10**400,
    float("inf"),
    "",
    "x",
    "\ud800",
    [],
    {},
    [1],
    {"en": 1},
    [[]],
    [{}],
)


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where anything stands in a value of JSON."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(item, (*place, key))


def test_whatever_stands_anywhere_is_read_or_refused(write: Callable[[str], Path]) -> None:
    sound = to_json(locked(load(write(TINY))))
    refused = 0
    for *around, key in places(json.loads(sound)):
        for junk in JUNK:
            table = json.loads(sound)
            within = table
            for step in around:
                within = within[step]
            within[key] = junk
            try:
                study = from_json(json.dumps(table))
            except StudyError:
                refused += 1
            else:
                assert from_json(to_json(study)) == study
    assert refused > 2000


@pytest.mark.parametrize("value", ["1", '"x"', "true", "[]", "{}", "[{}]", "{ en = 1 }", "nan", "1979-05-27"])
def test_whatever_is_said_of_any_key_is_read_or_refused_with_a_line(value: str, write: Callable[[str], Path]) -> None:
    lines = TINY.splitlines()
    for n, line in enumerate(lines):
        key, equals, _ = line.partition(" =")
        changed = [*lines[:n], *([f"{key} = {value}"] if equals else []), *lines[n + 1 :]]
        found: tuple[Fault, ...] = ()
        try:
            load(write("\n".join(changed)))
        except StudyError as error:
            found = error.faults
        assert all(fault.line is not None and 1 <= fault.line <= len(changed) + 1 for fault in found)
