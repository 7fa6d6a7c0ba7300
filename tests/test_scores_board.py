"""Objective measures on the board of scores, and in what leaves it."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pandas as pd

from db.records import VersionRecord
from survey import exchange
from survey.analysis import Analysis
from survey.analyst import heard_otherwise
from survey.codebook import codebook
from survey.definition import from_json, to_json
from survey.measured import HEARD_OTHERWISE, OF_THE_PAPER
from survey.parts import Estimate, Measured
from survey.published import Published
from survey.report import collect
from survey.scoring import as_frame
from survey.ui import scores
from tests.objective_file import objective
from tests.survey_study import tiny_study

SYSTEMS = ("red", "green", "blue")
MEASURES = objective(
    {
        "content": {"red": [0.2, 0.5, 0.3], "green": [0.3, 0.4, 0.4], "blue": [0.6, 0.8, 0.7], "gold": [1, 1, 1]},
        "mel_distance": {"red": [3, 1, 2], "green": [5, 3, 4], "blue": [1, 1.5, 1.25], "input": [6, 6, 6]},
    },
    ("there", "back"),
)
PUBLISHED = Published(
    "A paper",
    12,
    {key: {"red": 24, "green": 24, "blue": 24} for key in ("content", "style")},
    {"content": {"red": 0.11, "green": 0.33, "blue": 0.22}},
)


def board(*directions: str, published: Published | None = None, **options: Any) -> list[dict[str, Any]]:
    """The sections where all have put blue first, in some directions."""
    ranks = [[3, 2, 1]] * 3
    frames = [
        as_frame(ranks, SYSTEMS, criterion=criterion, direction=direction)
        for criterion in ("content", "style")
        for direction in directions or ("there",)
    ]
    frame = pd.concat(frames) if directions else frames[0].iloc[:0]
    report = collect(tiny_study(objective=MEASURES), frame, published, **options)
    sections: list[dict[str, Any]] = scores.draw(Analysis("now", report))["sections"]
    json.dumps(sections, allow_nan=False)
    return sections


def test_columns_of_both_kinds_stand_side_by_side() -> None:
    totals = board("there", "back")[0]["blocks"][0]
    assert [(one["text"], one["span"]) for one in totals["over"]] == [("", 1), ("Subjective", 2), ("Objective", 2)]
    assert totals["head"] == ["Method", "content", "style", "Content\xa0↑", "Mel distance (dB)\xa0↓"]
    assert "groups" not in totals
    assert [[cell["text"] for cell in row[1:]] for row in totals["rows"]] == [
        ["6", "6", "0.300", "2.00"],
        ["12", "12", "0.400", "4.00"],
        ["18", "18", "0.700", "1.25"],
    ]
    assert [[cell["strong"] for cell in row[1:]] for row in totals["rows"]] == [[False] * 4, [False] * 4, [True] * 4]


def test_what_is_printed_stands_beside_where_it_is() -> None:
    scored, measures = board("there", "back", published=PUBLISHED)[:2]
    totals = scored["blocks"][0]
    assert OF_THE_PAPER in measures["note"]
    assert [one["span"] for one in totals["over"]] == [1, 4, 3]
    assert [one["span"] for one in totals["groups"]] == [1, 2, 2, 2, 1]
    assert totals["head"] == ["Method", *["here", "paper"] * 3, "here"]
    assert [[cell["text"] for cell in row[5:]] for row in totals["rows"]] == [
        ["0.300", "0.110", "2.00"],
        ["0.400", "0.330", "4.00"],
        ["0.700", "0.220", "1.25"],
    ]
    assert [row[6]["strong"] for row in totals["rows"]] == [False, True, False]


def test_beside_totals_of_one_direction_stand_its_measures() -> None:
    totals, measures = board("back")[:2]
    assert [row[3]["text"] for row in totals["blocks"][0]["rows"]] == ["0.500", "0.400", "0.800"]
    assert "In the table above: Back." in measures["note"]
    assert "In the table above" not in board("there", "back")[1]["note"]


def test_figures_hold_each_direction_and_the_references_with_their_intervals() -> None:
    content, distance = (block["drawing"] for block in board("there", "back")[1]["blocks"][0]["blocks"])
    scopes = ("There", "Back", "All directions")
    assert {row[:2] for row in content["rows"]} == {
        (one, where) for one in ("Red", "Green", "Blue") for where in scopes
    }
    assert content["rows"][0] == ("Blue", "There", "0.600", "0.550", "0.650")
    assert [row[0] for row in distance["rows"]][::3] == ["Blue", "Red", "Green", "Untranslated input"]


def test_concordance_is_worked_out_of_each_direction() -> None:
    told, words = board("there", "back")[1]["blocks"][1:]
    # In one direction as ranked, in the other with one pair of three the other way round.
    assert told["rows"][0][1]["text"] == "+0.67"
    assert "weak evidence" in words["text"]


def test_without_rankings_the_measures_are_there_alone() -> None:
    none, measures = board()
    assert none["title"] == "No rankings"
    assert [block["kind"] for block in measures["blocks"]] == ["grid"]


def test_rankings_of_other_recordings_are_told_of() -> None:
    study = tiny_study(objective=MEASURES)
    other = replace(study, objective=None, stimuli=(replace(study.stimuli[0], sha256="0" * 64), *study.stimuli[1:]))
    versions = [
        VersionRecord(number, "tiny", number, to_json(one), "", "", 0) for number, one in enumerate([other, study], 1)
    ]
    latest = from_json(versions[-1].config_json)
    assert latest.objective == MEASURES
    assert heard_otherwise(latest, versions, pd.DataFrame({"version": [1, 2]}))
    assert not heard_otherwise(latest, versions, pd.DataFrame({"version": [2, 2]}))
    assert heard_otherwise(from_json(versions[0].config_json), versions, pd.DataFrame({"version": [1, 2]}))
    assert HEARD_OTHERWISE in board("there", heard_otherwise=True)[1]["note"]


def test_an_export_has_a_row_of_each_figure() -> None:
    row = Measured("=red", "pooled", 3, {"content": Estimate(0.25, None, None)})
    made = replace(MEASURES, rows=(*MEASURES.rows, row))
    told = list(csv.DictReader(io.StringIO(exchange.objective_csv(made).decode())))
    assert len(told) == 2 * 4 * 3 + 1
    first = told[0]
    assert (first["measure"], first["better"], first["system"], first["direction"]) == (
        "content",
        "higher",
        "red",
        "there",
    )
    assert (first["pieces"], float(first["mean"]), float(first["high"])) == ("10", 0.2, 0.25)
    spelled = told[12]
    assert (spelled["system"], spelled["direction"], spelled["low"]) == ("'=red", "", "")
    assert "## objective.csv" in codebook(tiny_study(objective=MEASURES))
    assert "objective" not in codebook(tiny_study())
