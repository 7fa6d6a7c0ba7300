"""Totals and measures that a paper has printed of a study, to stand beside one's own."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from survey.definition import Study, shipped


class PublishedError(ValueError):
    """A file of published figures that does not fit its study."""


@dataclass(frozen=True)
class Published:
    """Figures in print.

    Attributes
    ----------
    source : where they are printed
    rankings : how many rankings each total adds up
    totals : by key of the criterion, then of the system; scores k for the first rank to 1 for the last
    objective : means of all directions, by measure, then by key of the system
    """

    source: str
    rankings: int
    totals: Mapping[str, Mapping[str, int]]
    objective: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def mean_score(self, criterion: str, system: str) -> float:
        """A total as a mean, which can be compared whatever the number of rankings."""
        return self.totals[criterion][system] / self.rankings


def find(study: Study, *, path: Path | None = None) -> Published | None:
    """The figures shipped for a study, or None where there are none or its systems and criteria are others.

    Parameters
    ----------
    path : file to read, by default the one beside the shipped study of that name

    Raises
    ------
    PublishedError : naming the column that cannot be a sum of full rankings, or lacks a measure of a system
    """
    path = path or shipped(study.name).with_suffix(".published.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    systems = dict.fromkeys(system.key for system in study.systems)
    totals = {name: dict(column) for name, column in table["totals"].items()}
    if set(totals) != {one.key for one in study.criteria} or any(
        set(column) != set(systems) for column in totals.values()
    ):
        return None
    k = len(systems)
    expected = table["rankings"] * k * (k + 1) // 2
    for name, column in totals.items():
        if sum(column.values()) != expected:
            raise PublishedError(f"{path.name}, {name}: adds up to {sum(column.values())}, expected {expected}.")
    objective = {name: dict(column) for name, column in table.get("objective", {}).items()}
    for name, column in objective.items():
        if set(column) != set(systems) or not all(type(value) is float for value in column.values()):
            raise PublishedError(f"{path.name}, objective.{name}: expected a number for each of {', '.join(systems)}.")
    return Published(table["source"], table["rankings"], totals, objective)
