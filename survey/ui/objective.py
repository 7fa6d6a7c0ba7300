"""Objective measures on the board of scores: columns beside the totals, figures with intervals, concordance."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

from survey import measured
from survey.concordance import weakness
from survey.objective import digits, heading, merit, references, titled
from survey.parts import GOLD, Measure, Objective
from survey.report import Report
from survey.ui.blocks import colours_of, criterion_title, grid, p_value, scope_of
from survey.ui.columns import Column
from survey.ui.figures import Drawing, Point, interval_plot

CONCORDANCE = (
    "1 where a measure orders the methods as the participants do, -1 where it reverses them; of each direction by "
    "itself, averaged. The p is exact, over all orders of the methods."
)


def columns(report: Report) -> list[Column]:
    """What stands beside the totals, in the direction that these are of; empty where nothing was measured."""
    study, found = report.study, report.study.objective
    if found is None:
        return []
    told = []
    for name in found.shown:
        measure = found.measures[name]
        ours = [found.value(name, one.key, report.only_direction) for one in study.systems]
        printed = [measured.printed(report.published, name, one.key) for one in study.systems]
        told.append(
            Column(
                heading(measure),
                [None if one is None else one.mean for one in ours],
                [one for one in printed if one is not None],
                f".{digits(measure)}f",
                partial(merit, measure),
            )
        )
    return told


def sections(report: Report) -> list[dict[str, Any]]:
    """The section of the objective measures, if there are any."""
    found = report.study.objective
    if found is None:
        return []
    systems = [one.key for one in report.study.systems]
    note = measured.about(found, systems, published=report.published, heard_otherwise=report.heard_otherwise)
    if report.only_direction is not None and len(report.study.directions) > 1:
        note += f" In the table above: {scope_of(report, report.only_direction)}."
    blocks = [grid(_figure(report, found, name, found.measures[name]) for name in found.shown)]
    if report.participants:
        words = f"{CONCORDANCE} {weakness(report.concordances)}"
        blocks += [_concordance(report, found), {"kind": "text", "text": words}]
    return [{"title": "Objective measures", "note": note, "blocks": blocks}]


def _figure(report: Report, found: Objective, name: str, measure: Measure) -> Drawing:
    study = report.study
    titles = {one.key: one.title for one in study.systems} | references(study)
    directions = [one.key for one in study.directions]
    points = []
    for key, title in titles.items():
        for direction in [*directions, None] if len(directions) > 1 else directions:
            one = found.value(name, key, direction)
            # What equals itself tells nothing.
            if one is None or (key == GOLD and one.mean == measure.best):
                continue
            low, high = (one.mean if end is None else end for end in (one.low, one.high))
            points.append(Point(title, scope_of(report, direction), one.mean, low, high))
    title = heading(measure)
    drawing = interval_plot(
        points,
        name=f"Objective: {titled(measure)}",
        note="Intervals of 95 % over pieces.",
        axis=title,
        colours=colours_of(report),
        best_first=measure.better == "lower",
        digits=digits(measure),
    )
    return replace(drawing, title=title)


def _concordance(report: Report, found: Objective) -> dict[str, Any]:
    criteria = [one.key for one in report.study.criteria]
    by_pair = {(one.measure, one.criterion): one for one in report.concordances}

    def cell(name: str, criterion: str) -> Any:
        one = by_pair[name, criterion]
        return "none" if math.isnan(one.tau) else {"text": f"{one.tau:+.2f}", "sub": f"p {p_value(one.p)}"}

    return {
        "kind": "table",
        "caption": "Concordance with the rankings: Kendall’s tau",
        "head": ["Measure", *(criterion_title(report, key) for key in criteria)],
        "rows": [[heading(found.measures[name]), *(cell(name, key) for key in criteria)] for name in found.shown],
    }
