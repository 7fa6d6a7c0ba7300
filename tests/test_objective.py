"""Tests of survey/objective.py: what `musicstar evaluate` writes is read strictly, from a file and from a store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from survey.definition import Study, StudyError, from_json, load, to_json
from survey.objective import digits, heading, merit, references
from survey.parts import Measure
from tests.objective_file import evaluated
from tests.study_file import TINY, locked, written

# The study names its file in line 2 and the measures it shows in line 3.
NAMED = TINY.replace('name = "tiny"\n', 'name = "tiny"\nobjective = "measured.json"\n# measures\n')
IN_DOMAINS = NAMED.replace('"up"', '"sp"').replace('"down"', '"cv"')


def chosen(*names: str) -> str:
    return IN_DOMAINS.replace("# measures", f"objective_measures = {json.dumps(names)}")


def put(folder: Path, table: Any) -> Path:
    path = folder / "measured.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table, indent=1), encoding="utf-8")
    return path


@pytest.fixture
def table() -> dict[str, Any]:
    return evaluated(["a", "b"], ["sp", "cv"])


def read(folder: Path, table: Any, text: str = IN_DOMAINS) -> Study:
    put(folder, table)
    return load(written(folder, text))


def test_what_the_evaluation_writes_is_read(table: dict[str, Any], tmp_path: Path) -> None:
    found = read(tmp_path, table).objective
    assert found is not None
    assert (found.content_by, found.shown) == ("salience", ("content", "mel_distance"))
    content = [found.value("content", system, where) for system in "ab" for where in ("sp", "cv", None)]
    assert [one.mean for one in content if one] == pytest.approx([0.105, 0.305, 0.205, 0.205, 0.405, 0.305])
    first = content[0]
    assert first is not None
    assert first.low == pytest.approx(0.1)
    assert first.high == pytest.approx(0.11)
    gold = found.value("content", "gold", "sp")
    assert gold is not None
    assert gold.mean == 1
    assert found.value("content", "input", "sp") is None
    assert {row.pieces for row in found.rows} == {2}
    assert found.measures["mel_distance"] == Measure("log-mel distance", "dB", "lower", 0.0)


def test_a_study_chooses_its_measures_and_their_order(table: dict[str, Any], tmp_path: Path) -> None:
    found = read(tmp_path, table, chosen("buzz", "mel_distance")).objective
    assert found is not None
    assert found.shown == tuple(found.measures) == ("buzz", "mel_distance")
    # Nearest to 0 is best, so nothing is pooled.
    assert found.value("buzz", "a", "cv") is not None
    assert found.value("buzz", "a", None) is None


def test_a_stored_version_holds_them_and_without_a_file_nothing_changes(table: dict[str, Any], tmp_path: Path) -> None:
    study = locked(read(tmp_path, table, chosen("mel_distance", "content")))
    assert from_json(to_json(study)) == study
    assert "objective" not in json.loads(to_json(load(written(tmp_path))))


Change = Callable[[dict[str, Any]], Any]
# What each change of the file is refused with: the line within it, and a part of the problem.
FAULTS: dict[str, tuple[Change, int | None, str]] = {
    "format": (lambda t: t.update(format=2), 2, "format: 2 is out of range; expected 1 to 1"),
    "no format": (lambda t: t.pop("format"), 1, "format: is missing"),
    "content by": (lambda t: t.update(content_by="ear"), 3, "'ear' is not one of essentia, salience"),
    "no measures": (lambda t: t.pop("measures"), 1, "measures: is missing"),
    "better": (lambda t: t["measures"]["content"].update(better="more"), 8, "measures.content.better: 'more' is not"),
    "title": (lambda t: t["measures"]["content"].update(title=3), 6, "measures.content.title: 3 is not a string"),
    "system": (lambda t: [row.update(system="c") for row in t["rows"] if row["system"] == "a"], None, "no row of a in"),
    "row twice": (lambda t: t["rows"].append(t["rows"][2]), None, "there is a row of"),
    "pieces": (lambda t: t["rows"][-2].update(pieces=0), None, "pieces: 0 is out of range"),
    "value": (lambda t: t["rows"][-2]["values"].pop("content"), None, "values.content: is missing of a in sp"),
    "number": (lambda t: t["rows"][-2]["values"]["content"].update(mean="x"), None, "mean: 'x' is not a number"),
    "infinite": (lambda t: t["rows"][-2]["values"]["content"].update(mean=10**400), None, "mean"),
    "null": (lambda t: t["rows"][-2]["values"]["content"].update(mean=None), None, "mean: None is not a number"),
    "one end": (lambda t: t["rows"][-2]["values"]["content"].update(low=None), None, "no ends of an interval"),
    "ends": (lambda t: t["rows"][-2]["values"]["content"].update(low=0.9), None, "low 0.9 and high"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_both_lines(case: str, table: dict[str, Any], tmp_path: Path) -> None:
    change, line, problem = FAULTS[case]
    change(table)
    with pytest.raises(StudyError) as caught:
        read(tmp_path, table)
    said = str(caught.value).splitlines()
    assert len(said) == (3 if case == "system" else 1)
    assert said[0].startswith("tiny.toml, line 2: objective: measured.json, line ")
    assert problem in said[0]
    if line is not None:
        assert f"measured.json, line {line}: " in said[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{\n\n", "line 3: not valid JSON"),
        ('{"format": NaN}', "NaN is no number"),
        ("[1]", "not a table"),
        ("\ufeff[1]", "not a table"),
    ],
)
def test_what_is_no_evaluation_says_what_writes_one(content: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=problem) as caught:
        read(tmp_path, content)
    assert "`musicstar evaluate FOLDER --save DIR`" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"line 2: objective: measured\.json cannot be read \(No such file"):
        load(written(tmp_path, IN_DOMAINS))


def test_measures_that_are_not_there(table: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"line 3: objective_measures\[1\]: measured\.json has no 'shine'; its"):
        read(tmp_path, table, chosen("content", "shine"))
    with pytest.raises(StudyError, match="line 3: objective_measures: nothing is measured"):
        read(tmp_path, table, chosen("content").replace('objective = "measured.json"', ""))
    for known in ("content", "mel_distance"):
        del table["measures"][known]
    with pytest.raises(StudyError, match="measures: has none of content, style_cosine"):
        read(tmp_path, table)


def test_how_a_measure_is_shown() -> None:
    share, level = Measure("content similarity", "", "higher", 1.0), Measure("buzz", "dB", "nearest", 2.0)
    assert [heading(one) for one in (share, level)] == ["Content similarity\xa0↑", "Buzz (dB)\xa0→2"]
    assert [digits(one) for one in (share, level)] == [3, 2]
    assert merit(share, 0.3) == 0.3
    assert merit(level, 1.5) == merit(level, 2.5) == -0.5
    assert merit(Measure("distance", "", "lower", 0.0), 3) == -3


def test_references_are_those_that_are_no_systems_of_the_study(table: dict[str, Any], tmp_path: Path) -> None:
    assert references(read(tmp_path, table)) == {"gold": "Gold standard", "unrelated": "Unrelated piece"}
    assert references(load(written(tmp_path))) == {}
