"""The figures and boards of the results: sound to Plotly, right in their numbers, readable in both modes."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from musicstar.ui.theme import DARK, LIGHT
from survey import published, scoring
from survey.analysis import Analysis, work_out
from survey.definition import Study, load, shipped
from survey.ui import comparisons, figures, scores
from survey.ui.figures import Drawing, Point
from survey.ui.shades import NEGATIVE, OTHERS, POSITIVE, contrast, mix, rank_shades, readable_on

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = {
    "single": "single_instrument",
    "separation": "separation_based",
    "embedding": "embedding_supervised",
    "stem": "stem_supervised",
    "mixture": "mixture_supervised",
}


@pytest.fixture(scope="module")
def study() -> Study:
    return load(shipped("music-star"))


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    path = Path(os.environ.get("MUSICSTAR_PUBLISHED", ROOT.parent / "shared/data/music_star_published_results.json"))
    if not path.is_file():
        pytest.skip(f"no published results at {path}; name their file in MUSICSTAR_PUBLISHED")
    table: dict[str, Any] = json.loads(path.read_text())
    return table


@pytest.fixture(scope="module")
def analysis(study: Study, printed: dict[str, Any]) -> Analysis:
    """What thirty participants say whose rank counts are those that the paper's page shows."""
    frames: list[pd.DataFrame] = []
    for criterion, by_direction in printed["rank_counts"].items():
        for direction in ("cv", "sp"):
            counts = np.array([by_direction[direction][name] for name in SYSTEMS.values()])
            ranks = scoring.decompose(counts)
            np.random.default_rng(len(frames)).shuffle(ranks)
            frames.append(scoring.as_frame(ranks, list(SYSTEMS), criterion=criterion, direction=direction))
    return work_out("now", study, pd.concat(frames), published.find(study), False)


def check(drawing: Drawing) -> None:
    """Plotly takes it in both modes, and it holds nothing that JSON does not."""
    for mode in (drawing.light, drawing.dark):
        go.Figure(mode)
        json.dumps(mode, allow_nan=False)
    changed = json.loads(json.dumps(drawing.light))
    for path, value in drawing.narrow.items():
        *above, last = path.split(".")
        place = changed["layout"]
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
    go.Figure(changed)
    assert all(len(row) == len(drawing.head) for row in drawing.rows)
    assert drawing.name
    assert drawing.note


def drawings(board: dict[str, Any]) -> list[Drawing]:
    blocks = [block for section in board["sections"] for block in section["blocks"]]
    flat = [one for block in blocks for one in (block["blocks"] if block["kind"] == "grid" else [block])]
    return [Drawing(**one["drawing"]) for one in flat if one["kind"] == "figure"]


def test_the_table_of_the_papers_own_counts_equals_the_papers(analysis: Analysis) -> None:
    totals = scores.draw(analysis)["sections"][0]["blocks"][0]
    assert totals["head"][:7] == ["Method", *["here", "paper"] * 3]
    cells = [[int(cell["text"]) for cell in row[1:7]] for row in totals["rows"]]
    assert all(row[0::2] == row[1::2] for row in cells)
    assert len(cells) * len(cells[0]) / 2 == 15
    assert cells[4] == [254, 254, 256, 256, 256, 256]
    best = [[cell["strong"] for cell in row[1:7]] for row in totals["rows"]]
    assert best == [[False] * 6] * 4 + [[True] * 6]


def test_the_papers_measures_stand_beside_those_of_the_built_in_study(
    analysis: Analysis, printed: dict[str, Any], study: Study
) -> None:
    totals = scores.draw(analysis)["sections"][0]["blocks"][0]
    assert [one["text"] for one in totals["over"]] == ["", "Subjective", "Objective"]
    told = {"content": "content_jaccard", "style_cosine": "style_cosine"}
    known = published.find(study)
    assert known is not None
    assert study.objective is not None
    for name, key in told.items():
        assert known.objective[name] == {
            ours: printed["table1_objective"][key][theirs] for ours, theirs in SYSTEMS.items()
        }
    place = totals["head"].index("here", 7)
    assert study.objective.shown[0] == "content"
    assert [row[place + 1]["text"] for row in totals["rows"]] == ["0.371", "0.392", "0.350", "0.323", "0.426"]
    own = [study.objective.value("content", system.key, None) for system in study.systems]
    assert [row[place]["text"] for row in totals["rows"]] == [f"{one.mean:.3f}" for one in own if one]


def test_the_rank_columns_hold_the_papers_counts(analysis: Analysis, printed: dict[str, Any], study: Study) -> None:
    board = scores.draw(analysis)
    titles = [system.title for system in study.systems]
    for criterion in ("content", "style", "quality"):
        sections = [section for section in board["sections"] if section.get("of") == criterion]
        shown = [Drawing(**block["drawing"]) for block in sections[0]["blocks"][0]["blocks"]]
        assert len(shown) == 3
        for drawing, direction in zip(shown, [one.key for one in study.directions], strict=False):
            counts = printed["rank_counts"][criterion][direction]
            assert [trace["name"] for trace in drawing.light["data"]] == list("12345")
            for rank, trace in enumerate(drawing.light["data"]):
                assert trace["y"] == [counts[name][rank] for name in SYSTEMS.values()]
            assert [list(map(int, row[1:])) for row in drawing.rows] == [counts[name] for name in SYSTEMS.values()]
            assert [row[0] for row in drawing.rows] == titles
        both = [sum(rows) for rows in zip(*(trace["y"] for trace in shown[2].light["data"]), strict=True)]
        assert both == [60] * 5


def test_the_tests_are_those_of_the_papers_counts(analysis: Analysis, study: Study) -> None:
    board = comparisons.draw(analysis)
    found = {}
    for section in board["sections"]:
        if section["title"] == "Do the systems differ?":
            for row, key in zip(section["blocks"][0]["rows"], [*(one.key for one in study.directions)], strict=False):
                found[section["of"], key] = (row[2], row[8])
    assert found == {
        ("content", "cv"): ("45.31", "0.378"),
        ("content", "sp"): ("43.17", "0.360"),
        ("style", "cv"): ("21.63", "0.180"),
        ("style", "sp"): ("48.11", "0.401"),
        ("quality", "cv"): ("24.19", "0.202"),
        ("quality", "sp"): ("50.29", "0.419"),
    }


def test_every_figure_is_sound_and_named_once(analysis: Analysis, study: Study) -> None:
    shown = drawings(scores.draw(analysis)) + drawings(comparisons.draw(analysis))
    assert study.objective is not None
    assert len(shown) == len(study.objective.shown) + 3 * (3 + 1) + 3 * (3 * 2 + 1)
    for drawing in shown:
        check(drawing)
    assert len({drawing.name for drawing in shown}) == len(shown)


def test_boards_are_plain_data(analysis: Analysis) -> None:
    for board in (scores.draw(analysis), comparisons.draw(analysis)):
        json.dumps(board, allow_nan=False)
        for section in board["sections"]:
            for block in section["blocks"]:
                if block["kind"] == "table":
                    assert all(len(row) == len(block["head"]) for row in block["rows"])
                    spans = sum(group["span"] for group in block.get("groups", []))
                    assert spans in (0, len(block["head"]))


def test_intervals_stand_where_their_values_are() -> None:
    points = [
        Point("Red", "cv", 2.0, 1.5, 2.75),
        Point("Blue", "cv", 1.0, 1.0, 1.25),
        Point("Red", "all", 2.5, 2.0, 3.0),
        Point("Blue", "all", 1.5, 1.25, 2.0),
    ]
    drawing = figures.interval_plot(points, name="n", note="x.", axis="Mean rank", colours={"cv": "cv"}, reference=1.5)
    check(drawing)
    layout = drawing.light["layout"]
    assert layout["yaxis"]["ticktext"] == ["Blue", "Red"]
    assert layout["yaxis"]["range"][0] > layout["yaxis"]["range"][1], "the first row on top"
    first, second = drawing.light["data"]
    assert first["x"] == [2.0, 1.0]
    assert [round(y) for y in first["y"]] == [1, 0]
    assert (first["error_x"]["array"], first["error_x"]["arrayminus"]) == ([0.75, 0.25], [0.5, 0.0])
    assert first["marker"]["color"] == LIGHT.cv
    assert drawing.dark["data"][0]["marker"]["color"] == DARK.cv
    assert second["marker"]["color"] in OTHERS[LIGHT]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]
    assert layout["shapes"][0]["x0"] == 1.5
    better_high = figures.interval_plot(points, name="n", note="x.", axis="a", colours={}, best_first=False)
    assert better_high.light["layout"]["yaxis"]["ticktext"] == ["Red", "Blue"]


def test_the_diagram_of_critical_differences() -> None:
    means = {"d": 4.5, "a": 1.0, "b": 2.0, "c": 2.9}
    groups = [("a", "b"), ("b", "c")]
    drawing = figures.critical_difference(means, 1.5, groups, name="n", title="t", note="x.")
    check(drawing)
    layout = drawing.light["layout"]
    bars = [shape for shape in layout["shapes"] if shape["line"]["width"] == 5]
    assert [(round(bar["x0"] + 0.04, 6), round(bar["x1"] - 0.04, 6)) for bar in bars] == [(1.0, 2.0), (2.0, 2.9)]
    assert bars[0]["y0"] != bars[1]["y0"]
    lengths = [shape["x1"] - shape["x0"] for shape in layout["shapes"] if shape["line"]["width"] == 2]
    assert lengths == [1.5]
    assert drawing.light["data"][0]["x"] == [1.0, 2.0, 2.9, 4.5]
    labels = [note["text"] for note in layout["annotations"]]
    assert [text for text in labels if "<b>" in text] == [
        "a <b>1.00</b>",
        "b <b>2.00</b>",
        "c <b>2.90</b>",
        "d <b>4.50</b>",
    ]
    assert drawing.rows == (("a", "1.00", "1"), ("b", "2.00", "1, 2"), ("c", "2.90", "2"), ("d", "4.50", "none"))


def test_the_map_of_pairs() -> None:
    effects = [[None, 0.5], [-0.5, None]]
    notes = [["", "0.040"], ["0.040", ""]]
    drawing = figures.pair_map(["Best", "Worst"], effects, notes, name="n", title="t", note="x.")
    check(drawing)
    cells = drawing.light["data"][0]
    assert cells["z"] == effects
    assert (cells["zmin"], cells["zmax"]) == (-1, 1)
    said = {(note["x"], note["y"]): note["text"] for note in drawing.light["layout"]["annotations"]}
    assert said.keys() == {(1, 0), (0, 1)}
    assert said[1, 0].startswith("+0.50<br>")
    assert said[0, 1].startswith("-0.50<br>")
    assert drawing.rows == (("Best", "", "+0.50 (0.040)"), ("Worst", "-0.50 (0.040)", ""))


@pytest.mark.parametrize("k", range(2, 9))
def test_figures_of_any_number_of_systems(k: int) -> None:
    names = [f"System {n}" for n in range(k)]
    check(figures.rank_columns({name: [1] * k for name in names}, name="n", title="t", note="x."))
    check(figures.critical_difference({n: 1 + i for i, n in enumerate(names)}, 1.0, [], name="n", title="t", note="x."))
    effects = [[None if a == b else 0.1 for a in names] for b in names]
    check(figures.pair_map(names, effects, [[""] * k] * k, name="n", title="t", note="x."))


def test_names_are_text_and_never_markup() -> None:
    evil = "<a href='javascript:alert(1)'>x</a> & y"
    for drawing in (
        figures.rank_columns({evil: [1, 0], "b": [0, 1]}, name="n", title="t", note="x."),
        figures.interval_plot([Point(evil, evil, 1, 1, 1)], name="n", note="x.", axis="a", colours={}),
        figures.critical_difference({evil: 1.0, "b": 2.0}, 1.0, [], name="n", title="t", note="x."),
        figures.pair_map([evil, "b"], [[None, 1], [-1, None]], [["", ""]] * 2, name="n", title="t", note="x."),
    ):
        assert "<a" not in json.dumps(drawing.light)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_what_is_written_on_a_shade_can_be_read(palette: Any) -> None:
    for k in range(2, 9):
        shades = rank_shades(k, palette)
        assert len(set(shades)) == k
        steps = [contrast(a, b) for a, b in pairwise(shades)]
        assert min(steps) > 1.2, "neighbours can be told apart by lightness alone"
        assert all(contrast(shade, readable_on(shade)) >= 4.5 for shade in shades)
    for ends in (POSITIVE, NEGATIVE):
        for share in np.linspace(0, 1, 21):
            shade = mix(palette.well, ends[palette], float(share))
            assert contrast(shade, readable_on(shade)) >= 4.5
    for colour in (*OTHERS[palette], palette.cv, palette.sp, palette.ink, palette.soft):
        assert contrast(colour, palette.paper) >= 3
