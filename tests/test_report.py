"""Tests of survey/report.py: figures worked by hand, in three forms."""

import csv
import io
import json
from dataclasses import replace
from unittest.mock import Mock

import pandas as pd
import pytest

from survey import scoring
from survey.published import Published
from survey.report import FORMATS, Report, as_csv, as_json, as_markdown, collect
from survey.scoring import as_frame
from survey.stats import Withheld
from tests.objective_file import objective
from tests.survey_study import tiny_study

SYSTEMS = ("red", "green", "blue")
PUBLISHED = Published("A paper", 24, {key: {"red": 48, "green": 48, "blue": 48} for key in ("content", "style")})


def frame(*, participants: int = 12) -> pd.DataFrame:
    """All put blue first; in one direction and criterion all put red last, else half of them."""
    same = [[3, 2, 1]] * participants
    split = [[3, 2, 1], [2, 3, 1]] * (participants // 2)
    return pd.concat(
        as_frame(ranks, SYSTEMS, criterion=criterion, direction=direction)
        for criterion, direction, ranks in (
            ("content", "there", same),
            ("content", "back", split),
            ("style", "there", split),
            ("style", "back", split),
        )
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return collect(tiny_study(), frame(), PUBLISHED)


def test_each_direction_comes_first_and_the_sum_last(report: Report) -> None:
    found = [(of.direction, of.criterion, [one.total for one in of.standings]) for of in report.findings]
    assert found == [
        ("there", "content", [12, 24, 36]),
        ("there", "style", [18, 18, 36]),
        ("back", "content", [18, 18, 36]),
        ("back", "style", [18, 18, 36]),
        (None, "content", [30, 42, 72]),
        (None, "style", [36, 36, 72]),
    ]
    assert (report.participants, report.excluded) == (12, 0)


def test_markdown_prints_the_table_beside_the_published_one(report: Report) -> None:
    text = as_markdown(report)
    assert "12 participants. Rank 1 scores 3 and rank 3 scores 1." in text
    there, back, pooled = text.split("## ")[1:4]
    assert there.startswith("There (there)")
    assert "| Red | 12 | 18 |" in there
    assert "(48)" not in there + back
    assert "| Red | 30 (48) | 36 (48) |" in pooled
    assert "A paper, of 24 rankings" in pooled
    assert "| Blue | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |" in pooled
    # All twelve alike: chi-square is n (k - 1) and W is 1.
    assert "content: Friedman chi-square(2) = 24.00, p < 0.001" in there
    assert "Kendall's W = 1.000" in there
    # In one direction the same twelve times or half of them, a third for the others; in the other all the same.
    assert "- content and style, all directions: 0.83" in text


def test_csv_has_a_row_for_each_direction_criterion_and_system(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert len(rows) == 3 * 2 * 3
    assert rows[0] == {
        "direction": "there", "criterion": "content", "system": "red", "rankings": "12", "total": "12",
        "mean_rank": "3", "mean_rank_low": "3", "mean_rank_high": "3", "median_rank": "3",
        "rank_1": "0", "rank_2": "0", "rank_3": "12", "published_total": "", "published_rankings": "",
    }  # fmt: skip
    pooled = [row for row in rows if row["direction"] == ""]
    assert {(row["published_total"], row["published_rankings"]) for row in pooled} == {("48", "24")}
    for row in rows:
        assert sum(int(row[f"rank_{rank}"]) for rank in (1, 2, 3)) == int(row["rankings"])


def test_json_holds_every_test(report: Report) -> None:
    table = json.loads(as_json(report))
    first = table["findings"][0]
    assert first["friedman"]["kendall_w"] == 1
    # Infinite where all are alike, which JSON does not have.
    assert first["friedman"]["f"] is None
    assert [(one["a"], one["b"]) for one in first["pairwise"]] == [("red", "green"), ("red", "blue"), ("green", "blue")]
    assert first["pairwise"][0]["rank_biserial"] == -1
    assert first["nemenyi"]["mean_ranks"] == [3, 2, 1]
    assert table["published"]["totals"]["style"]["red"] == 48
    assert table["systems"] == {"red": "Red", "green": "Green", "blue": "Blue"}


def test_under_ten_participants_tests_are_withheld() -> None:
    report = collect(tiny_study(), frame(participants=4), None)
    text = as_markdown(report)
    reason = report.findings[0].friedman
    assert isinstance(reason, Withheld)
    assert text.count(reason.reason) == 6
    assert "chi-square" not in text
    assert json.loads(as_json(report))["findings"][0]["pairwise"] == {"participants": 4, "reason": reason.reason}


@pytest.mark.parametrize("form", FORMATS)
def test_a_study_without_answers_has_results_too(form: str) -> None:
    report = collect(tiny_study(), frame().iloc[:0], PUBLISHED)
    text = FORMATS[form](report)
    assert "nan" not in text.lower()
    assert report.participants == 0


def test_the_excluded_are_left_out_unless_asked_for() -> None:
    some = frame()
    some["excluded"] = some["participant"].isin(["p_001", "p_002"])
    report = collect(tiny_study(), some, None)
    assert (report.participants, report.excluded) == (10, 2)
    assert [one.total for one in report.findings[0].standings] == [10, 20, 30]
    assert "10 participants, 2 more excluded." in as_markdown(report)
    everyone = collect(tiny_study(), some, None, with_excluded=True)
    assert [one.total for one in everyone.findings[0].standings] == [12, 24, 36]
    assert "12 participants, 2 of them excluded." in as_markdown(everyone)


def test_before_and_after_exclusions_each_direction_first_and_all_last() -> None:
    some = frame()
    some["excluded"] = some["participant"].isin(["p_001", "p_002"])
    report = collect(tiny_study(), some, None)
    before = {(of.criterion, of.direction): of.standings for of in collect(tiny_study(), frame(), None).findings}
    after = {(of.criterion, of.direction): of.standings for of in report.findings}
    for side, found in ((before, report.exclusions.before), (after, report.exclusions.after)):
        assert {which: tuple(one for one in found if (one.criterion, one.direction) == which) for which in side} == side
    last = as_markdown(report).split("## Before and after exclusions")[1]
    there, back, pooled = last.split(":\n\n| ")[1:]
    assert "| Red | 12 (3.00) → 10 (3.00) | 18 (2.50) → 15 (2.50) |" in there
    assert "| Blue | 36 (1.00) → 30 (1.00) |" in back
    assert "| Red | 30 (2.75) → 25 (2.75) |" in pooled
    told = json.loads(as_json(report))["exclusions"]
    assert told["participants"] == ["p_001", "p_002"]
    assert (told["before"][0]["total"], told["after"][0]["total"]) == (12, 10)
    assert "exclusions" not in as_markdown(collect(tiny_study(), frame(), None))


def test_standings_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Mock(wraps=scoring.standings)
    monkeypatch.setattr(scoring, "standings", counted)
    collect(tiny_study(), frame(), None)
    assert [call.kwargs["with_excluded"] for call in counted.call_args_list] == [True, False]


def test_the_same_seed_gives_the_same_text() -> None:
    assert as_json(collect(tiny_study(), frame(), None, seed=3)) == as_json(
        collect(tiny_study(), frame(), None, seed=3)
    )


MEASURES = objective(
    {
        "content": {"red": [0.2, 0.4, 0.3], "green": [0.3, 0.5, 0.4], "blue": [0.6, 0.8, 0.7], "gold": [1, 1, 1]},
        "mel_distance": {"red": [3, 1, 2], "green": [5, 3, 4], "blue": [1, 1.5, 1.25], "gold": [0, 0, 0]},
    },
    ("there", "back"),
)


def test_objective_measures_stand_beside_the_totals() -> None:
    printed = replace(PUBLISHED, objective={"content": {"red": 0.11, "green": 0.22, "blue": 0.33}})
    found = collect(tiny_study(objective=MEASURES), frame(), printed)
    there, _, pooled, last = as_markdown(found).replace("\xa0", " ").split("## ")[1:5]
    assert "| | content | style | Content ↑ | Mel distance (dB) ↓ |" in there
    assert "| Red | 12 | 18 | 0.200 | 3.00 |" in there
    assert "| Red | 30 (48) | 36 (48) | 0.300 (0.110) | 2.00 |" in pooled
    assert "| Gold standard | 1.000 (0.950 to 1.050) | 0.00 (-0.05 to 0.05) |" in pooled
    # As all ranked in content in one direction, and but for a tie (2 / sqrt(3 * 2)) in the other; of the six orders the
    # reversed one is as far from 0. The distance has two pairs of three right in the one, one of two in the other.
    assert "| Content ↑ | 0.91 (p 0.33)" in last
    assert "| Mel distance (dB) ↓ | 0.17 (p " in last
    assert "studio’s own salience" in last
    assert "weak evidence: with 3 systems there are 6 orders" in last
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [rows[0][f"objective_content{part}"] for part in ("", "_low", "_high")] == ["0.2", "0.15", "0.25"]
    assert (rows[0]["published_objective_content"], rows[-1]["published_objective_content"]) == ("", "0.33")
    assert rows[-1]["published_objective_mel_distance"] == ""
    told = json.loads(as_json(found))
    assert told["objective"]["shown"] == ["content", "mel_distance"]
    assert [(one["measure"], one["criterion"]) for one in told["concordances"]][1:3] == [
        ("content", "style"), ("mel_distance", "content"),
    ]  # fmt: skip


def test_markdown_says_which_pairs_differ(report: Report) -> None:
    there, _, pooled = as_markdown(report).split("## ")[1:4]
    # All twelve alike: of the 4,096 signs two are as far from 0, and Holm takes it three times.
    assert "content, Wilcoxon's signed ranks with Holm's correction; critical difference of mean ranks 0.96:" in there
    assert "| Red and Green | -1.00 (-1.00 to -1.00) | = 0.001 | -1.00 |" in there
    assert "| Red and Green | 0.00 (" in pooled
    withheld = as_markdown(collect(tiny_study(), frame(participants=4), None))
    assert "Wilcoxon" not in withheld
    assert "participants" in withheld


def test_versions_that_are_counted_together_are_named() -> None:
    both = frame()
    both.loc[both["participant"] > "p_006", "version"] = 3
    for otherwise, told in ((False, "."), (True, ", whose recordings are not all the same.")):
        found = collect(tiny_study(), both, None, heard_otherwise=otherwise)
        assert f"\nVersions 1 and 3 are counted together{told}\n" in as_markdown(found)
        assert json.loads(as_json(found))["versions"] == [1, 3]
        assert json.loads(as_json(found))["heard_otherwise"] == otherwise
    assert "counted together" not in as_markdown(collect(tiny_study(), frame().assign(version=3), None))


def test_without_objective_measures_nothing_is_said_of_them(report: Report) -> None:
    for form in FORMATS.values():
        assert "bjective" not in form(replace(report, published=None)).replace('"objective": {}', "")
