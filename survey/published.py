"""Totals that a paper has printed of a study, to stand beside one's own."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from survey.definition import Study, shipped


class PublishedError(ValueError):
    """A file of published totals that does not fit its study."""


@dataclass(frozen=True)
class Published:
    """Totals in print.

    Attributes
    ----------
    source : where they are printed
    rankings : how many rankings each total adds up
    totals : by key of the criterion, then of the system; scores k for the first rank to 1 for the last
    """

    source: str
    rankings: int
    totals: Mapping[str, Mapping[str, int]]

    def mean_score(self, criterion: str, system: str) -> float:
        """A total as a mean, which can be compared whatever the number of rankings."""
        return self.totals[criterion][system] / self.rankings


def find(study: Study, *, path: Path | None = None) -> Published | None:
    """The totals shipped for a study, or None where there are none or its systems and criteria are others.

    Parameters
    ----------
    path : file to read, by default the one beside the shipped study of that name

    Raises
    ------
    PublishedError : naming the column that cannot be a sum of full rankings
    """
    path = path or shipped(study.name).with_suffix(".published.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    systems = {system.key for system in study.systems}
    totals = {name: dict(column) for name, column in table["totals"].items()}
    if set(totals) != {one.key for one in study.criteria} or any(set(column) != systems for column in totals.values()):
        return None
    k = len(systems)
    expected = table["rankings"] * k * (k + 1) // 2
    for name, column in totals.items():
        if sum(column.values()) != expected:
            raise PublishedError(f"{path.name}, {name}: adds up to {sum(column.values())}, expected {expected}.")
    return Published(table["source"], table["rankings"], totals)
