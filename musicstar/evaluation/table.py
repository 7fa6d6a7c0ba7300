"""A result as markdown for people and as CSV for other programs."""

import csv
import io
import math
from collections.abc import Sequence

from musicstar.evaluation.bootstrap import Estimate
from musicstar.evaluation.measures import MEASURES, ContentBy
from musicstar.evaluation.results import POOLED, Result, Row, published

GROUPS = ("content", "style", "quality")
ARROWS = {"higher": "↑", "lower": "↓"}
NOTES = {
    "essentia": "Pitches found by essentia's multi-pitch Melodia, as published.",
    "salience": "Pitches found by the package's own harmonic-sum salience, not by essentia: compare figures of this "
    "kind with each other only.",
}


def markdown(result: Result) -> str:
    """Tables of content, style and quality, pooled and for each direction, the paper's figures beside the pooled."""
    lines = [
        "Means over pieces with 95 % bootstrap intervals. ↑ higher is better, ↓ lower, →x nearest to x. "
        + NOTES[result.content_by]
    ]
    for direction in result.directions:
        rows = [row for row in result.rows if row.direction == direction]
        for group in GROUPS:
            names = [
                name
                for name in result.measures
                if MEASURES[name].group == group and any(name in row.values for row in rows)
            ]
            if names:
                lines += [
                    "",
                    f"### {group.capitalize()}, {_towards(direction, result.not_pooled)}",
                    "",
                    *_table(rows, names, result.content_by),
                ]
    if result.separation:
        lines += ["", "### Separator", "", *_separation(result)]
    return "\n".join(lines)


def as_csv(result: Result) -> str:
    """A line for each system, direction and measure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", "direction", "pieces", "measure", "unit", "mean", "low", "high", "published"])
    for row in result.rows:
        for name, value in row.values.items():
            figures = ["" if math.isnan(part) else f"{part:.6g}" for part in (value.mean, value.low, value.high)]
            printed = _published(row, name, result.content_by)
            where = [row.system, row.direction, row.pieces, name, MEASURES[name].unit]
            writer.writerow([*where, *figures, "" if printed is None else printed])
    return stream.getvalue()


def heading(name: str) -> str:
    """A measure as it stands above its column."""
    measure = MEASURES[name]
    unit = f" ({measure.unit})" if measure.unit else ""
    return f"{measure.title}{unit} {ARROWS.get(measure.better) or f'→{measure.best:g}'}"


def _towards(direction: str, not_pooled: Sequence[str] = ()) -> str:
    if direction == POOLED:
        but = " and ".join(map(_towards, not_pooled))
        return f"all directions but {but}, which some system lacks" if but else "all directions"
    return f"{'to ' if '-' not in direction else ''}{direction}"


def _table(rows: list[Row], names: list[str], content_by: ContentBy) -> list[str]:
    printed = {name for name in names for row in rows if _published(row, name, content_by) is not None}
    columns = [(name, kind) for name in names for kind in (("ours", "paper") if name in printed else ("ours",))]
    titles = [heading(name) if kind == "ours" else "in the paper" for name, kind in columns]
    lines = [f"| system | pieces | {' | '.join(titles)} |", "| --- |" + " ---: |" * (len(columns) + 1)]
    for row in rows:
        cells = [
            _cell(row.values.get(name), name) if kind == "ours" else _plain(_published(row, name, content_by))
            for name, kind in columns
        ]
        lines.append(f"| {row.system} | {row.pieces} | {' | '.join(cells)} |")
    return lines


def _published(row: Row, name: str, content_by: ContentBy) -> float | None:
    """What the paper prints of a method, either backbone's, of what was measured as there."""
    if row.direction != POOLED or name not in ("content", "style_cosine"):
        return None
    if name == "content" and content_by != "essentia":
        return None
    printed = {line["system"]: line[name] for line in published()["rows"]}
    value: float | None = printed.get(row.system.removesuffix("-wavenet"))
    return value


def _cell(value: Estimate | None, name: str) -> str:
    if value is None:
        return ""
    if name == "speed":
        return f"{value.mean:.3g}"
    return _interval(value, digits=2 if MEASURES[name].group == "quality" else 3)


def _interval(value: Estimate, *, digits: int) -> str:
    if math.isnan(value.low):
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _separation(result: Result) -> list[str]:
    printed = published()["separation_sdr_db"]
    lines = ["| stem | SDR (dB) ↑ | in the paper |", "| --- | ---: | ---: |"]
    for voice, value in result.separation.items():
        lines.append(f"| {voice} | {_interval(value, digits=2)} | {_plain(printed.get(voice))} |")
    ours = [value.mean for voice, value in result.separation.items() if voice in printed]
    if ours and not math.isnan(mean := sum(ours) / len(ours)):
        lines.append(f"| mean of those | {mean:.2f} | {printed['overall']:.2f} |")
    return lines
