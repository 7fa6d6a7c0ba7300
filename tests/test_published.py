"""The totals that the paper prints."""

import json
import os
from pathlib import Path

import pytest

from survey.definition import load, shipped
from survey.published import PublishedError, find
from tests.survey_study import tiny_study

ROOT = Path(__file__).resolve().parent.parent
NAMES = {
    "single": "single_instrument",
    "separation": "separation_based",
    "embedding": "embedding_supervised",
    "stem": "stem_supervised",
    "mixture": "mixture_supervised",
}


def test_the_totals_of_the_built_in_study_are_those_in_print() -> None:
    path = Path(os.environ.get("MUSICSTAR_PUBLISHED", ROOT.parent / "shared/data/music_star_published_results.json"))
    if not path.is_file():
        pytest.skip(f"no published results at {path}; name their file in MUSICSTAR_PUBLISHED")
    printed = json.loads(path.read_text())["table1_subjective"]
    totals = find(load(shipped("music-star")))
    assert totals is not None
    assert {
        criterion: {NAMES[system]: total for system, total in column.items()}
        for criterion, column in totals.totals.items()
    } == printed
    assert totals.rankings == 60


def test_each_column_adds_up_and_the_best_is_the_same_in_all() -> None:
    totals = find(load(shipped("music-star")))
    assert totals is not None
    for criterion, column in totals.totals.items():
        assert sum(column.values()) == 900
        assert max(column, key=lambda system: column[system]) == "mixture"
        assert totals.mean_score(criterion, "mixture") == column["mixture"] / 60


def test_a_study_without_any_and_one_of_other_systems() -> None:
    assert find(tiny_study()) is None
    beside = shipped("music-star").with_suffix(".published.toml")
    assert find(tiny_study(), path=beside) is None


def test_a_column_that_does_not_add_up_is_named(tmp_path: Path) -> None:
    beside = shipped("music-star").with_suffix(".published.toml")
    changed = tmp_path / "x.toml"
    changed.write_text(beside.read_text().replace("embedding = 161", "embedding = 162"))
    with pytest.raises(PublishedError, match="content: adds up to 901, expected 900"):
        find(load(shipped("music-star")), path=changed)
