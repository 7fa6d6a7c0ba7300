"""The paper's thirty participants, entered through the participants' interface, give the paper's table."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import Store
from survey import published, scoring, stats
from survey.__main__ import main
from survey.analysis import Analysis
from survey.definition import load, shipped
from survey.report import Report, as_json, collect
from survey.session import SurveyDesk
from survey.ui import scores
from tests.conftest import ROOT
from tests.rankings import COUNTS, SYSTEMS, TOTALS
from tests.survey_study import Tiny, Visitor, new_version

FRIEDMAN = {
    ("content", "cv"): (45.31, 0.378),
    ("content", "sp"): (43.17, 0.360),
    ("style", "cv"): (21.63, 0.180),
    ("style", "sp"): (48.11, 0.401),
    ("quality", "cv"): (24.19, 0.202),
    ("quality", "sp"): (50.29, 0.419),
}


def arrive(visitor: Visitor) -> None:
    """Everything before the practice trial."""
    visitor.open(study="music-star")
    answers: dict[str, Any] = {}
    for question in visitor.state["background"]["questions"]:
        answers[question["key"]] = question["options"][0]["key"] if question["kind"] == "choice" else 30
    visitor.done("consent", {"agreed": True, "language": "en", "generation": visitor.state["generation"]})
    visitor.done("background", {"answers": answers, "generation": visitor.state["generation"]})
    sound = {"volume": 0.5, "headphones": "skipped", "answers": [], "generation": visitor.state["generation"]}
    visitor.done("sound", sound)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The built-in study, taken by thirty people whose rankings have the published counts."""
    folder = tmp_path_factory.mktemp("published")
    study = load(shipped("music-star"))
    new = new_version(study, folder / "media")
    heard = {stimulus.media: (stimulus.direction, stimulus.system) for stimulus in new.stimuli}
    kept = Store(f"sqlite:///{folder / 'survey.sqlite'}")
    kept.upgrade()
    served = Tiny(kept, SurveyDesk(kept, folder / "media"), study, kept.add_version(new))
    rankings = {which: iter(scoring.decompose(np.array(counts))) for which, counts in COUNTS.items()}
    for _ in range(30):
        visitor = served.visitor()
        arrive(visitor)
        for trial in visitor.state["trials"]:
            visitor.hear(trial)
            played = {clip["item"]: heard[clip["src"].rpartition("/")[2]] for clip in trial["clips"]}
            direction = next(iter(played.values()))[0]
            for criterion in trial["criteria"]:
                body = visitor.body(trial, criterion)
                if not trial["practice"]:
                    ranks = dict(zip(SYSTEMS, next(rankings[criterion, direction]).tolist(), strict=True))
                    body["ranks"] = {item: ranks[system] for item, (_, system) in played.items()}
                visitor.done("answers", body)
        visitor.finish()
    assert all(next(left, None) is None for left in rankings.values())
    return kept


@pytest.fixture(scope="module")
def report(store: Store) -> Report:
    study = load(shipped("music-star"))
    return collect(study, store.rankings("music-star"), published.find(study))


def test_all_fifteen_totals_and_all_rank_counts(report: Report) -> None:
    assert (report.participants, report.excluded) == (30, 0)
    found = {(of.criterion, of.direction): of.standings for of in report.findings}
    for criterion, totals in TOTALS.items():
        assert tuple(one.system for one in found[criterion, None]) == SYSTEMS
        assert tuple(one.total for one in found[criterion, None]) == totals
        assert {one.rankings for one in found[criterion, None]} == {60}
    for which, counts in COUNTS.items():
        assert tuple(one.rank_counts for one in found[which]) == counts


@pytest.mark.parametrize(("criterion", "direction"), FRIEDMAN)
def test_friedman_and_w_of_each_direction(report: Report, criterion: str, direction: str) -> None:
    (of,) = [of for of in report.findings if (of.criterion, of.direction) == (criterion, direction)]
    assert isinstance(of.friedman, stats.Friedman)
    chi_square, w = FRIEDMAN[criterion, direction]
    assert of.friedman.chi_square == pytest.approx(chi_square, abs=0.005)
    assert of.friedman.kendall_w == pytest.approx(w, abs=0.0005)


def test_the_page_shows_the_papers_cells_beside_the_same_of_its_own(report: Report) -> None:
    totals = scores.draw(Analysis("now", report))["sections"][0]["blocks"][0]
    assert totals["head"][:7] == ["Method", *["here", "paper"] * 3]
    shown = [[int(cell["text"]) for cell in row[1:7]] for row in totals["rows"]]
    expected = np.array(list(TOTALS.values())).T.tolist()
    assert [row[::2] for row in shown] == [row[1::2] for row in shown] == expected


def test_the_command_prints_them_too(
    store: Store, report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    folder = Path(str(store.url.database)).parent
    assert main(["results", "music-star", "--format", "json", "--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    pooled = {of["criterion"]: of["standings"] for of in json.loads(printed)["findings"] if of["direction"] is None}
    assert {key: tuple(one["total"] for one in found) for key, found in pooled.items()} == TOTALS
    assert printed == as_json(report)


def test_the_counts_are_those_of_the_published_file(published_results: Path) -> None:
    told = json.loads(published_results.read_text(encoding="utf-8"))["rank_counts"]
    names = ("single_instrument", "separation_based", "embedding_supervised", "stem_supervised", "mixture_supervised")
    for (criterion, direction), counts in COUNTS.items():
        assert tuple(tuple(told[criterion][direction][name]) for name in names) == counts


@pytest.fixture
def published_results() -> Path:
    path = Path(os.environ.get("MUSICSTAR_PUBLISHED", ROOT.parent / "shared/data/music_star_published_results.json"))
    if not path.is_file():
        pytest.skip(f"no published results at {path}; name their file in MUSICSTAR_PUBLISHED")
    return path
