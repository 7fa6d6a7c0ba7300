"""Scores and their table."""

import json

import pytest

from musicstar import evaluate
from musicstar.audio import Clip
from musicstar.domains import Domain
from musicstar.evaluate import Score
from musicstar.methods.base import Source
from musicstar.methods.catalog import Backbone
from musicstar.pairs import Pair

SCORES = [
    Score("001", "cv", "mixture", "spectral", 0.2, 10.0),
    Score("001", "sp", "mixture", "spectral", 0.4, 30.0),
    Score("002", "cv", "mixture", "spectral", 0.6, 20.0),
    Score("002", "sp", "mixture", "spectral", 0.8, 40.0),
    Score("001", "cv", "untranslated", "", 0.5, 0.0),
    Score("001", "sp", "untranslated", "", 0.5, 0.0),
]


def test_table_holds_means_intervals_and_median_speed() -> None:
    rows = evaluate.table(SCORES).splitlines()
    assert rows[2] == "| mixture | 0.400 | 0.600 | 0.500 (0.300 to 0.700) | 25 |"
    assert rows[3] == "| untranslated | 0.500 | 0.500 | 0.500 (0.500 to 0.500) |  |"


def test_table_does_not_depend_on_order() -> None:
    assert sorted(evaluate.table(SCORES).splitlines()) == sorted(evaluate.table(SCORES[::-1]).splitlines())


def test_json_lines() -> None:
    records = [json.loads(line) for line in evaluate.as_json(SCORES).splitlines()]
    assert len(records) == len(SCORES)
    assert records[0]["similarity"] == 0.2


def test_a_copy_of_the_gold_scores_one(two_voices: tuple[Clip, Clip]) -> None:
    pytest.importorskip("essentia", reason="the extra `eval` is not installed")
    mixture = Clip(two_voices[0].wav + two_voices[1].wav)
    pair = Pair("001", Source(Domain.SP, mixture), mixture)
    (untranslated,) = evaluate.score(iter([pair]), [], backbone=Backbone.SPECTRAL)
    assert untranslated.similarity == 1.0
