"""Objective measures as text: words for the page, tables in Markdown, columns of CSV."""

import math
from collections.abc import Mapping, Sequence

from survey.concordance import Concordance
from survey.objective import digits, heading, references
from survey.parts import Estimate, Measure, Objective, Study
from survey.published import Published

FOUND_BY = {
    "essentia": "Pitches are found by essentia’s multi-pitch Melodia, as in the paper.",
    "salience": "Pitches are found by the studio’s own salience, not by essentia as in the paper: content similarities "
    "of the two kinds do not compare.",
}
HEARD_OTHERWISE = (
    "Some of the rankings are of other recordings: an earlier or later version of the study had others than those "
    "measured."
)
OF_THE_PAPER = "The paper’s are of other pieces, weights and networks: compare the order of the methods, not the level."
# Of these alone does it matter what found the pitches.
BY_PITCH = ("content", "note", "octave")


def about(objective: Objective, systems: Sequence[str], *, published: Published | None, heard_otherwise: bool) -> str:
    """What the figures are, in sentences."""
    pieces = sorted({row.pieces for row in objective.rows if row.system in systems})
    span = str(pieces[0]) if len(pieces) == 1 else f"{pieces[0]} to {pieces[-1]}"
    said = [f"Means over {span} piece{'' if pieces[-1] == 1 else 's'}, measured against the gold standard."]
    if any(name.startswith(BY_PITCH) for name in objective.shown):
        said.append(FOUND_BY[objective.content_by])
    if published is not None and set(published.objective) & set(objective.shown):
        said.append(OF_THE_PAPER)
    return " ".join([*said, *([HEARD_OTHERWISE] if heard_otherwise else [])])


def shown(one: Estimate | None, measure: Measure) -> str:
    """A mean, or nothing where there is none."""
    return "" if one is None else f"{one.mean:.{digits(measure)}f}"


def span(one: Estimate | None, measure: Measure) -> str:
    """The ends of an interval, or nothing where it has none."""
    if one is None or one.low is None or one.high is None:
        return ""
    return f"{one.low:.{digits(measure)}f} to {one.high:.{digits(measure)}f}"


def printed(published: Published | None, name: str, system: str) -> float | None:
    """What a paper prints of a measure."""
    return None if published is None else published.objective.get(name, {}).get(system)


def heads(objective: Objective) -> list[str]:
    """The measures as they stand above their columns."""
    return [heading(objective.measures[name]) for name in objective.shown]


def cells(objective: Objective, system: str, direction: str | None, published: Published | None) -> list[str]:
    """A system's means, those in print in brackets."""
    found = []
    for name in objective.shown:
        measure, known = objective.measures[name], printed(published, name, system)
        own = shown(objective.value(name, system, direction), measure)
        found.append(own if known is None else f"{own} ({known:.{digits(measure)}f})")
    return found


def table(study: Study, objective: Objective, direction: str | None) -> list[str]:
    """Means with their intervals in Markdown, the references last."""

    def cell(name: str, system: str) -> str:
        measure, one = objective.measures[name], objective.value(name, system, direction)
        ends = span(one, measure)
        return f"{shown(one, measure)} ({ends})" if ends else shown(one, measure)

    titles = {one.key: one.title for one in study.systems} | references(study)
    return _table(
        heads(objective), {title: [cell(name, key) for name in objective.shown] for key, title in titles.items()}
    )


def concordance_table(objective: Objective, criteria: Mapping[str, str], found: Sequence[Concordance]) -> list[str]:
    """Kendall's tau with its p in Markdown, measures down and criteria across.

    Parameters
    ----------
    criteria : titles by key
    """

    def cell(one: Concordance) -> str:
        return "none" if math.isnan(one.tau) else f"{one.tau:.2f} (p {one.p:.2g})"

    return _table(
        list(criteria.values()),
        {
            heading(objective.measures[name]): [cell(one) for one in found if one.measure == name]
            for name in objective.shown
        },
    )


def csv_heads(objective: Objective) -> list[str]:
    """Columns of the CSV of results."""
    parts = ("", "_low", "_high")
    return [f"objective_{name}{part}" for name in objective.shown for part in parts] + [
        f"published_objective_{name}" for name in objective.shown
    ]


def csv_cells(objective: Objective, system: str, direction: str | None, published: Published | None) -> list[str]:
    """What stands in them."""
    found = []
    for name in objective.shown:
        one = objective.value(name, system, direction)
        found += ["" if value is None else f"{value:.6g}" for value in _parts(one)]
    return found + [
        "" if known is None else f"{known:.6g}"
        for known in (printed(published, name, system) for name in objective.shown)
    ]


def _parts(one: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if one is None else (one.mean, one.low, one.high)


def _table(titles: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"| | {' | '.join(titles)} |",
        "|---|" + "---:|" * len(titles),
        *(f"| {title} | {' | '.join(found)} |" for title, found in rows.items()),
    ]
