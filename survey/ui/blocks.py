"""What the results' boards are made of: sections of text, tables and figures, and how numbers are written.

A board is a list of sections of blocks; a section `of` a criterion shows while that criterion is chosen.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from survey.bootstrap import Interval
from survey.report import Finding, Report
from survey.session import say
from survey.ui.figures import Drawing

Block = Mapping[str, Any]
ALL = "All directions"
# The directions of the built-in study keep the studio's colours.
COLOURS = {"cv": "cv", "sp": "sp"}


def board(report: Report, sections: Sequence[Block]) -> dict[str, Any]:
    """A board whose reader picks one of the criteria."""
    choices = [{"key": one.key, "title": criterion_title(report, one.key)} for one in report.study.criteria]
    return {"legend": "Criterion", "choices": choices, "sections": list(sections)}


def nothing(why: str, title: str = "No rankings") -> dict[str, Any]:
    """A board that only says why there is none."""
    return {"choices": [], "sections": [{"title": title, "blocks": [{"kind": "text", "text": why}]}]}


def why_nothing(report: Report) -> str:
    """Why a report without rankings has none."""
    if report.excluded:
        return "Nobody who is counted in has ranked anything."
    return "There are no rankings yet, or none that the filters let through."


def findings_on(report: Report, criterion: str) -> list[Finding]:
    """The findings on a criterion that have rankings: each direction, then, of several, all together."""
    found = [of for of in report.findings if of.criterion == criterion and of.standings[0].rankings]
    return found if len(report.study.directions) > 1 else [of for of in found if of.direction is None]


def unranked(criterion: str) -> dict[str, Any]:
    """The only section on a criterion that nobody counted in has ranked by."""
    blocks = [{"kind": "text", "text": "Nobody who is counted in has ranked by this criterion yet."}]
    return {"of": criterion, "title": "No rankings", "blocks": blocks}


def scope_of(report: Report, direction: str | None) -> str:
    """The title of a direction, or of all of them."""
    return next((one.title for one in report.study.directions if one.key == direction), ALL)


def colours_of(report: Report) -> dict[str, str]:
    """The palette's colours of the directions that have one."""
    return {one.title: COLOURS.get(one.key, "") for one in report.study.directions} | {ALL: "ink"}


def system_title(report: Report, key: str) -> str:
    """What a system is called."""
    return next(one.title for one in report.study.systems if one.key == key)


def criterion_title(report: Report, criterion: str) -> str:
    """What a criterion is called."""
    return next(say(one.title, report.study.languages[0]) for one in report.study.criteria if one.key == criterion)


def figure(drawing: Drawing) -> dict[str, Any]:
    """A block with a figure."""
    return {"kind": "figure", "drawing": asdict(drawing)}


def grid(drawings: Iterable[Drawing]) -> dict[str, Any]:
    """Figures side by side where there is room."""
    return {"kind": "grid", "blocks": [figure(drawing) for drawing in drawings]}


def ends(interval: Interval) -> tuple[float, float, float]:
    """Value, low and high; an interval without ends is its value alone."""
    if math.isnan(interval.low):
        return interval.value, interval.value, interval.value
    return interval.value, interval.low, interval.high


def number(value: float, digits: int = 2) -> str:
    """A number, or nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def span_of(interval: Interval, times: float = 1, digits: int = 2) -> str:
    """The ends of an interval, or nothing where it has none."""
    if math.isnan(interval.low):
        return ""
    return f"{times * interval.low:.{digits}f} to {times * interval.high:.{digits}f}"


def p_value(p: float) -> str:
    """A p value for reading.

    Examples
    --------
    >>> p_value(0.0004), p_value(0.04)
    ('< 0.001', '0.040')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def counted(n: int, noun: str) -> str:
    """So many of something."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def between(numbers: Sequence[int]) -> str:
    """How many, where criteria can differ while sessions are under way.

    Examples
    --------
    >>> between([60, 60]), between([58, 60])
    ('60', '58 to 60')
    """
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"
