"""Tables of systems, where figures of one's own and those that a paper prints stand side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from survey.definition import Study


@dataclass(frozen=True)
class Column:
    """Figures of all systems, in the study's order.

    Attributes
    ----------
    ours : None where there is none
    paper : empty where nothing is printed
    form : of the numbers
    merit : a figure so that higher is better
    """

    title: str
    ours: Sequence[float | None]
    paper: Sequence[float]
    form: str
    merit: Callable[[float], float] = float

    @property
    def span(self) -> int:
        return 2 if self.paper else 1


def table_of(
    study: Study, caption: str, subjective: Sequence[Column], objective: Sequence[Column] = ()
) -> dict[str, Any]:
    """A row for each system, the best of each column in bold; over the columns whose judgement they are, if of both."""
    columns = [*subjective, *objective]
    told: dict[str, Any] = {"kind": "table", "caption": caption}
    if any(column.paper for column in columns):
        told["groups"] = _groups([(column.title, column.span) for column in columns])
        told["head"] = ["Method", *(words for column in columns for words in ("here", "paper")[: column.span])]
    else:
        told["head"] = ["Method", *(column.title for column in columns)]
    if objective:
        sides = (("Subjective", subjective), ("Objective", objective))
        told["over"] = _groups([(title, sum(one.span for one in side)) for title, side in sides])
    shown = [cells for column in columns for cells in _cells(column)]
    told["rows"] = [[system.title, *(cells[n] for cells in shown)] for n, system in enumerate(study.systems)]
    return told


def _groups(spans: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"text": "", "span": 1}, *({"text": title, "span": span} for title, span in spans)]


def _cells(column: Column) -> list[list[dict[str, Any]]]:
    """The cells of a column's own figures, and of those printed."""
    found = []
    for figures in [column.ours, *([column.paper] if column.paper else [])]:
        best = max((column.merit(one) for one in figures if one is not None), default=None)
        found.append(
            [
                {"text": "", "strong": False}
                if one is None
                else {"text": format(one, column.form), "strong": column.merit(one) == best}
                for one in figures
            ]
        )
    return found
