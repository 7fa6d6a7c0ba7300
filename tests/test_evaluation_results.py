"""Figures of single outputs to rows, tables and plots."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from musicstar.evaluation import judges, plots, results, table
from musicstar.evaluation.bootstrap import Estimate
from musicstar.evaluation.measures import MEASURES, Measured
from musicstar.evaluation.results import POOLED, summarise


def one(system: str, piece: str, direction: str, content: float, **values: float) -> Measured:
    return Measured(piece, direction, system, {"content": content, **values})


MEASURED = [
    one("gold", "001", "cv", 1.0),
    one("mixture", "001", "cv", 0.2, upper_harmonics=-6.0, speed=10.0),
    one("mixture", "001", "sp", 0.4, upper_harmonics=6.0, speed=30.0),
    one("mixture", "002", "cv", 0.6, upper_harmonics=-8.0, speed=20.0),
    one("mixture", "002", "sp", 0.8, upper_harmonics=8.0, speed=math.nan),
    one("input", "001", "cv", 0.1),
    one("input", "001", "sp", 0.5),
    one("input", "002", "cv", 0.5),
]


def test_rows_by_hand() -> None:
    rows = {(row.system, row.direction): row for row in summarise(MEASURED, content_by="essentia").rows}
    pooled = rows["mixture", POOLED]
    assert pooled.pieces == 2
    content = pooled.values["content"]
    # A piece's directions are averaged first: 0.3 and 0.7.
    assert (content.mean, content.low, content.high) == pytest.approx((0.5, 0.3, 0.7))
    # Of 002 towards sp there is no input: (0.3 - 0.3) and (0.6 - 0.5).
    gain = pooled.values["content_gain"]
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.05, 0.0, 0.1), abs=1e-9)
    assert pooled.values["speed"].mean == pytest.approx(20)
    assert rows["mixture", "cv"].values["content"].mean == pytest.approx(0.4)
    assert "content_gain" not in rows["input", POOLED].values


def test_signed_figures_are_not_pooled() -> None:
    found = summarise(MEASURED, content_by="essentia").rows
    rows = {row.direction: row.values for row in found if row.system == "mixture"}
    assert "upper_harmonics" not in rows[POOLED]
    assert rows["cv"]["upper_harmonics"].mean == pytest.approx(-7)


def test_order_does_not_matter() -> None:
    assert summarise(MEASURED, content_by="essentia") == summarise(MEASURED[::-1], content_by="essentia")


def test_frechet_is_of_systems_and_directions() -> None:
    def frames(*values: float) -> np.ndarray:
        return np.array(values)[:, None]

    measured = [
        Measured("001", "cv", "gold", {}, frames(0, 2)),
        Measured("002", "cv", "gold", {}, frames(0, 2)),
        Measured("001", "cv", "a", {}, frames(3, 3)),
        Measured("002", "cv", "a", {}, frames(5, 5)),
    ]
    rows = summarise(measured, content_by="salience", frechet=lambda a, b: abs(float(a.mean() - b.mean()))).rows
    values = {(row.system, row.direction): row.values["frechet"] for row in rows}
    # Without either piece it is 4 or 2, a standard error of 1; Student's t on one degree of freedom is 12.7.
    assert (values["a", "cv"].mean, values["a", "cv"].low, values["a", "cv"].high) == pytest.approx((3, 0, 15.7062))
    assert values["gold", POOLED].mean == 0


def test_frechet_compares_the_same_places() -> None:
    rng = np.random.default_rng(0)
    measured = [
        Measured(f"{piece}", direction, "gold", {}, rng.normal(piece, 1, (20, 4)))
        for piece in range(4)
        for direction in ("cv", "sp")
    ]
    copies = [Measured(one.piece, one.direction, "a", {}, one.frames) for one in measured[:-1]]
    rows = summarise(measured + copies, content_by="salience", frechet=judges.frechet_distance).rows
    for row in (row for row in rows if row.system == "a"):
        found = row.values["frechet"]
        assert (found.mean, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_the_interval_of_a_frechet_distance_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)

    def drawn(pieces: int) -> list[Measured]:
        return [
            Measured(f"{piece:04}", "cv", system, {}, rng.normal(shift + rng.normal(0, 0.5), 1, (6, 2)))
            for piece in range(pieces)
            for system, shift in (("gold", 0.0), ("a", 1.0))
        ]

    def found(measured: list[Measured]) -> Estimate:
        rows = summarise(measured, content_by="salience", frechet=judges.frechet_distance).rows
        return next(row for row in rows if row.system == "a").values["frechet"]

    expected = float(np.mean([found(drawn(10)).mean for _ in range(150)]))
    held = [one.low <= expected <= one.high for one in (found(drawn(10)) for _ in range(150))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.05)


def test_a_silent_output_has_no_style_to_compare() -> None:
    """Even where it is all that a resample drew."""
    rng = np.random.default_rng(0)
    measured = [
        Measured(piece, "cv", system, {}, np.zeros((0, 4)) if (system, piece) == ("a", "002") else rng.random((3, 4)))
        for piece in ("001", "002")
        for system in ("gold", "a")
    ]
    rows = summarise(measured, content_by="salience", frechet=judges.frechet_distance).rows
    assert next(row for row in rows if row.system == "a").values["frechet"].mean > 0
    silent = [one for one in measured if one.system == "gold" or one.piece == "002"]
    assert "frechet" not in summarise(silent, content_by="salience", frechet=judges.frechet_distance).rows[-1].values


def test_pooled_are_the_directions_of_all_systems() -> None:
    measured = [one(name, "001", towards, value) for name, towards, value in (
        ("input", "fg", 0.9), ("a", "cv", 0.2), ("a", "fg", 0.8), ("b", "cv", 0.4), ("input", "cv", 0.1),
    )]  # fmt: skip
    rows = {row.system: row.values["content"].mean for row in summarise(measured, content_by="salience").rows[:3]}
    assert rows == {"input": 0.1, "a": 0.2, "b": 0.4}


def test_json_of_a_result() -> None:
    separated = [("001", {"piano": 4.0}), ("002", {"piano": 6.0})]
    made = results.as_json(summarise(MEASURED, content_by="salience", separated=separated))
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["format"], made["content_by"]) == (1, "salience")
    assert made["measures"]["content"]["better"] == "higher"
    assert made["measures"]["upper_harmonics"] == {
        "title": "upper harmonics",
        "unit": "dB",
        "better": "nearest",
        "best": 0.0,
    }
    assert made["rows"][0] == {
        "system": "gold",
        "direction": "pooled",
        "pieces": 1,
        "values": {
            "content": {"mean": 1.0, "low": None, "high": None},
            "content_gain": {"mean": 0.9, "low": None, "high": None},
        },
    }
    assert made["separation_sdr_db"]["measured"]["piano"] == {"mean": 5.0, "low": 4.0, "high": 6.0}
    assert made["separation_sdr_db"]["published"]["overall"] == 7.36


def test_published_figures_stand_beside_ours() -> None:
    lines = table.markdown(summarise(MEASURED, content_by="essentia")).splitlines()
    assert "essentia" in lines[0]
    at = lines.index("### Content, all directions")
    assert "in the paper" in lines[at + 2]
    assert [line.split("|")[1:5] for line in lines[at + 4 : at + 7]] == [
        [" gold ", " 1 ", " 1.000 ", "  "],
        [" input ", " 2 ", " 0.400 (0.300 to 0.500) ", "  "],
        [" mixture ", " 2 ", " 0.500 (0.300 to 0.700) ", " 0.426 "],
    ]
    assert "in the paper" not in table.markdown(summarise(MEASURED, content_by="salience")), "not of the same kind"
    with_stems = summarise(MEASURED, content_by="essentia", separated=[("1", {"piano": 5.0, "clarinet": 7.0})])
    assert table.markdown(with_stems).endswith("| mean of those | 6.00 | 7.36 |")


def test_what_is_not_pooled_is_said() -> None:
    measured = [one("a", "001", "cv", 0.9), one("a", "001", "sp", 0.1), one("b", "001", "cv", 0.5)]
    headings = [
        line for line in table.markdown(summarise(measured, content_by="essentia")).splitlines() if "###" in line
    ]
    assert headings[0] == "### Content, all directions but to sp, which some system lacks"


def test_csv_has_a_line_for_each_figure() -> None:
    result = summarise(MEASURED, content_by="essentia")
    lines = list(csv.DictReader(io.StringIO(table.as_csv(result))))
    assert len(lines) == sum(len(row.values) for row in result.rows)
    wanted = [line for line in lines if (line["system"], line["direction"]) == ("mixture", "pooled")]
    assert {line["measure"]: (line["mean"], line["published"]) for line in wanted}["content"] == ("0.5", "0.426")


def test_every_measure_says_which_way_is_better() -> None:
    for name, measure in MEASURES.items():
        assert table.heading(name)[-1] in "↑↓" or f"→{measure.best:g}" in table.heading(name)


def test_plots_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    plots.write(tmp_path / "a.html", summarise(MEASURED, content_by="essentia"), MEASURED)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script src=" not in page
    assert "plotly.js v" in page
    assert page.count("Plotly.newPlot(") >= 3
