"""The paper's thirty participants, entered through the participants' interface, give the paper's table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import Store
from survey import scoring, stats
from survey.definition import load, shipped
from survey.session import SurveyDesk
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


def test_all_fifteen_totals_and_all_rank_counts(store: Store) -> None:
    frame = store.rankings("music-star")
    assert len(frame) == 30 * 2 * 3 * 5
    table = scoring.table(frame, systems=SYSTEMS, criteria=tuple(TOTALS))
    assert table.participants == 30
    assert np.array_equal(np.array(table.totals), np.array(list(TOTALS.values())).T)
    for (criterion, direction), counts in COUNTS.items():
        own = frame[(frame["criterion"] == criterion) & (frame["direction"] == direction)]
        found = own.groupby(["system", "rank"]).size().unstack(fill_value=0).loc[list(SYSTEMS)]
        assert np.array_equal(found.to_numpy(), np.array(counts))


@pytest.mark.parametrize(("criterion", "direction"), FRIEDMAN)
def test_friedman_and_w_of_each_direction(store: Store, criterion: str, direction: str) -> None:
    rankings = stats.select(store.rankings("music-star"), criterion=criterion, direction=direction, systems=SYSTEMS)
    found = stats.friedman(rankings, permutations=200)
    assert isinstance(found, stats.Friedman)
    chi_square, w = FRIEDMAN[criterion, direction]
    assert found.chi_square == pytest.approx(chi_square, abs=0.005)
    assert found.kendall_w == pytest.approx(w, abs=0.0005)


def test_the_counts_are_those_of_the_published_file(published_results: Path) -> None:
    told = json.loads(published_results.read_text(encoding="utf-8"))["rank_counts"]
    names = ("single_instrument", "separation_based", "embedding_supervised", "stem_supervised", "mixture_supervised")
    for (criterion, direction), counts in COUNTS.items():
        assert tuple(tuple(told[criterion][direction][name]) for name in names) == counts


@pytest.fixture
def published_results() -> Path:
    path = Path(__file__).resolve().parent.parent.parent / "shared/data/music_star_published_results.json"
    if not path.is_file():
        pytest.skip(f"the published results are not in {path.parent}")
    return path
