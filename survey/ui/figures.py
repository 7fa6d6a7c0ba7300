"""The figures of the results, in Plotly's own description, once in the studio's light colours and once in its dark.

Ranks run in one hue from dark (first) to light (last), comparisons from green over neutral to plum: neither needs
red told from green, and every area also bears its number. The two directions of the built-in study keep their
petrol and russet. Plotly's Python classes check each value they are given, which takes a hundred times longer than
writing the description; the tests have them check it instead.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicstar.ui.theme import DARK, LIGHT, SANS, Palette
from survey.ui.shades import NEGATIVE, OTHERS, POSITIVE, mix, rank_shades, readable_on

SIGNS = ("circle", "diamond", "square", "triangle-up", "cross")
ROW_PX = 34
# Of the diagram of critical differences, in units of its vertical axis.
FIRST_BAR, BAR, ROW = 0.3, 0.28, 0.62
# What fits a phone, by the path of a setting within the description.
NARROW = {"xaxis.tickfont.size": 10, "yaxis.tickfont.size": 11}

Json = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """An estimate with its interval, of one system in one group (a direction, or all of them)."""

    system: str
    group: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drawing:
    """A figure for the browser, and its numbers for those who do not see it.

    Attributes
    ----------
    name : what it is of, in full: for files, and for those who do not see where it stands
    note : what it shows and how to read it, a sentence or two
    light, dark : Plotly's description, `{"data": ..., "layout": ...}`
    head, rows : the same numbers as a table
    narrow : settings of the layout on a narrow screen, by their path
    """

    name: str
    title: str
    note: str
    light: Mapping[str, Any]
    dark: Mapping[str, Any]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    narrow: Mapping[str, Any]


def rank_columns(counts: Mapping[str, Sequence[int]], *, name: str, title: str, note: str) -> Drawing:
    """How often each system had each rank: a column for each system, its first places at the bottom.

    Parameters
    ----------
    counts : by title of the system, times it was ranked first to last
    """
    names = list(counts)
    k = max((len(row) for row in counts.values()), default=0)

    def draw(palette: Palette) -> Json:
        traces = []
        for rank, shade in enumerate(rank_shades(k, palette)):
            values = [counts[one][rank] for one in names]
            traces.append(
                {
                    "type": "bar",
                    "x": _wrapped(names),
                    "y": values,
                    "name": str(rank + 1),
                    "marker": {"color": shade, "line": {"color": palette.paper, "width": 1}},
                    "text": [str(value) if value else "" for value in values],
                    "textposition": "inside",
                    "insidetextanchor": "middle",
                    "textangle": 0,
                    "textfont": {"color": readable_on(shade)},
                    "hovertemplate": f"%{{x}}<br>rank {rank + 1}: %{{y}}<extra></extra>",
                }
            )
        legend = {**_legend(), "title": {"text": "Rank "}, "traceorder": "normal"}
        return _figure(
            palette,
            traces,
            height=320,
            margin=(32, 4, 34, 40),
            barmode="stack",
            bargap=0.22,
            legend=legend,
            uniformtext={"minsize": 10, "mode": "hide"},
            xaxis={"tickangle": 0} if k <= 5 else {},
            yaxis={"gridcolor": palette.line, "rangemode": "tozero"},
        )

    rows = tuple((one, *(str(value) for value in counts[one])) for one in names)
    return _drawing(name, title, note, draw, ("System", *(f"Rank {rank + 1}" for rank in range(k))), rows)


def interval_plot(
    points: Sequence[Point],
    *,
    name: str,
    note: str,
    axis: str,
    colours: Mapping[str, str],
    best_first: bool = True,
    reference: float | None = None,
    digits: int = 2,
) -> Drawing:
    """Values with their intervals, a row for each system, the groups within it told apart by colour and sign.

    Parameters
    ----------
    axis : what the values are
    colours : names of the palette's colours by group; "" for the groups that have none
    best_first : whether less is better; the best system stands on top
    reference : where a dotted line marks what chance would give
    digits : decimals of the numbers
    """
    form = f".{digits}f"
    groups = list(dict.fromkeys(point.group for point in points))
    sums = {one: [point.value for point in points if point.system == one] for one in {p.system: 0 for p in points}}
    names = sorted(sums, key=lambda one: (1 if best_first else -1) * sum(sums[one]) / len(sums[one]))

    def draw(palette: Palette) -> Json:
        spare = iter(OTHERS[palette])
        traces = []
        for n, group in enumerate(groups):
            own = colours.get(group, "")
            colour = getattr(palette, own) if own else next(spare, palette.soft)
            rows = [point for point in points if point.group == group]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": html.escape(group),
                    "x": [row.value for row in rows],
                    "y": [names.index(row.system) + _offset(n, len(groups)) for row in rows],
                    "error_x": {
                        "type": "data",
                        "symmetric": False,
                        "array": [row.high - row.value for row in rows],
                        "arrayminus": [row.value - row.low for row in rows],
                        "thickness": 2,
                        "width": 5,
                        "color": colour,
                    },
                    "marker": {"color": colour, "size": 10, "symbol": SIGNS[n % len(SIGNS)]},
                    "customdata": [[html.escape(row.system), row.low, row.high] for row in rows],
                    "hovertemplate": f"%{{customdata[0]}}<br>%{{x:{form}}} (%{{customdata[1]:{form}}} to "
                    f"%{{customdata[2]:{form}}})<extra>{html.escape(group)}</extra>",
                }
            )
        line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": reference, "x1": reference}
        dotted = {"color": palette.edge, "dash": "dot", "width": 1.5}
        return _figure(
            palette,
            traces,
            height=74 + len(names) * max(ROW_PX, 14 * len(groups) + 10),
            margin=(8, 8, 30 if len(groups) > 1 else 6, 40),
            showlegend=len(groups) > 1,
            legend=_legend(),
            shapes=[] if reference is None else [{**line, "line": dotted}],
            xaxis={"title": {"text": axis, "font": {"size": 12}}, "gridcolor": palette.line},
            yaxis={
                "tickvals": list(range(len(names))),
                "ticktext": _wrapped(names),
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
            },
        )

    rows = tuple(
        (row.system, row.group, *(format(value, form) for value in (row.value, row.low, row.high)))
        for row in sorted(points, key=lambda row: (names.index(row.system), groups.index(row.group)))
    )
    return _drawing(name, "", note, draw, ("System", "Group", axis, "Low", "High"), rows)


def critical_difference(
    mean_ranks: Mapping[str, float],
    critical: float,
    groups: Sequence[Sequence[str]],
    *,
    name: str,
    title: str,
    note: str,
) -> Drawing:
    """Mean ranks on an axis; a bar joins systems that Nemenyi's test does not tell apart (Demšar 2006).

    Parameters
    ----------
    critical : the least difference of two mean ranks that counts
    groups : systems not told apart, for the bars, each from its best to its worst
    """
    names = sorted(mean_ranks, key=lambda one: mean_ranks[one])
    k = len(names)
    left = (k + 1) // 2
    low, high = 1.0, float(max(k, 2))
    edges = (low - 0.12, high + 0.12)
    first = 0.55 + BAR * len(groups)

    def draw(palette: Palette) -> Json:
        grey = {"color": palette.edge, "width": 1.5}
        shapes = [_line(low, high, 0, 0, grey), _line(low, low + critical, -1.35, -1.35, {**grey, "width": 2})]
        words = f" critical difference {critical:.2f}"
        notes = [_note(low + critical, -1.35, words, xanchor="left", font={"color": palette.soft})]
        for tick in range(1, k + 1):
            shapes.append(_line(tick, tick, -0.14, 0, grey))
            notes.append(_note(tick, -0.14, str(tick), yanchor="bottom"))
        for rank, system in enumerate(names):
            at, on_left = mean_ranks[system], rank < left
            row = first + ROW * (rank if on_left else k - 1 - rank)
            edge = edges[0] if on_left else edges[1]
            path = f"M {at:.4f} 0 L {at:.4f} {row:.4f} L {edge:.4f} {row:.4f}"
            shapes.append({"type": "path", "path": path, "line": {"color": palette.soft, "width": 1.2}})
            side = {"xanchor": "left" if on_left else "right", "yanchor": "bottom", "bgcolor": palette.paper}
            notes.append(_note(edge, row, f"{html.escape(system)} <b>{at:.2f}</b>", borderpad=1, **side))
        for n, group in enumerate(groups):
            y = FIRST_BAR + BAR * n
            ends = mean_ranks[group[0]] - 0.04, mean_ranks[group[-1]] + 0.04
            shapes.append(_line(*ends, y, y, {"color": palette.accent, "width": 5}))
        dots = {
            "type": "scatter",
            "mode": "markers",
            "x": [mean_ranks[one] for one in names],
            "y": [0] * k,
            "marker": {"size": 7, "color": palette.ink},
            "text": [html.escape(one) for one in names],
            "hovertemplate": "%{text}: %{x:.2f}<extra></extra>",
        }
        return _figure(
            palette,
            [dots],
            height=104 + 16 * len(groups) + 32 * left,
            margin=(2, 2, 2, 2),
            showlegend=False,
            shapes=shapes,
            annotations=notes,
            xaxis={"visible": False, "range": list(edges)},
            yaxis={"visible": False, "range": [first + ROW * left - 0.3, -1.75]},
        )

    joined = {one: [n + 1 for n, group in enumerate(groups) if one in group] for one in names}
    rows = tuple((one, f"{mean_ranks[one]:.2f}", ", ".join(map(str, joined[one])) or "none") for one in names)
    return _drawing(name, title, note, draw, ("System", "Mean rank", "Bars"), rows)


def pair_map(
    names: Sequence[str],
    effects: Sequence[Sequence[float | None]],
    notes: Sequence[Sequence[str]],
    *,
    name: str,
    title: str,
    note: str,
) -> Drawing:
    """How far each system stands above each other one, the columns under the numbers of the rows.

    Parameters
    ----------
    names : the best first
    effects : [row, column] in [-1, 1], above 0 where the row is ranked better; None on the diagonal
    notes : [row, column] words shown under the number, such as a p value, "" for none
    """
    numbers = [str(place) for place in range(1, len(names) + 1)]

    def draw(palette: Palette) -> Json:
        said = []
        for y, row in enumerate(effects):
            for x, effect in enumerate(row):
                if effect is not None:
                    shade = mix(palette.well, (POSITIVE if effect > 0 else NEGATIVE)[palette], abs(effect))
                    words = f"{effect:+.2f}<br><span style='font-size:11px'>{notes[y][x]}</span>"
                    said.append(_note(x, y, words, font={"color": readable_on(shade)}))
        cells = {
            "type": "heatmap",
            "x": numbers,
            "y": [f"{one} <b>{n}</b>" for n, one in zip(numbers, _wrapped(names), strict=True)],
            "z": [list(row) for row in effects],
            "zmin": -1,
            "zmax": 1,
            "colorscale": [[0, NEGATIVE[palette]], [0.5, palette.well], [1, POSITIVE[palette]]],
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "hoverongaps": False,
            "text": [[f"{html.escape(row)}, {html.escape(column)}" for column in names] for row in names],
            "hovertemplate": "%{text}<br>%{z:+.2f}<extra></extra>",
        }
        return _figure(
            palette,
            [cells],
            height=40 + 52 * len(names),
            margin=(8, 4, 24, 4),
            annotations=said,
            xaxis={"side": "top", "type": "category", "showgrid": False, "tickfont": {"weight": "bold"}},
            yaxis={"autorange": "reversed", "showgrid": False},
        )

    def cell(effect: float | None, words: str) -> str:
        return "" if effect is None else f"{effect:+.2f} ({words})" if words else f"{effect:+.2f}"

    rows = tuple(
        (one, *(cell(effect, words) for effect, words in zip(row, said, strict=True)))
        for one, row, said in zip(names, effects, notes, strict=True)
    )
    return _drawing(name, title, note, draw, ("Ranked better than", *names), rows)


def _offset(group: int, groups: int) -> float:
    """Where a group stands within a system's row of height 1."""
    return (group - (groups - 1) / 2) * min(0.22, 0.7 / max(groups, 1))


def _wrapped(names: Sequence[str]) -> list[str]:
    """Titles broken at spaces and after hyphens, so that they fit under a column."""
    return [html.escape(name).replace("-", "-<br>").replace(" ", "<br>") for name in names]


def _line(x0: float, x1: float, y0: float, y1: float, line: Json) -> Json:
    return {"type": "line", "x0": x0, "x1": x1, "y0": y0, "y1": y1, "line": line}


def _note(x: float, y: float, text: str, **options: Any) -> Json:
    return {"x": x, "y": y, "text": text, "showarrow": False, **options}


def _legend() -> Json:
    return {
        "orientation": "h",
        "x": 0,
        "y": 1.02,
        "yanchor": "bottom",
        "itemclick": False,
        "itemdoubleclick": False,
    }


def _figure(
    palette: Palette,
    data: list[Json],
    *,
    height: int,
    margin: tuple[int, int, int, int],
    xaxis: Json,
    yaxis: Json,
    **layout: Any,
) -> Json:
    axis = {
        "automargin": True,
        "fixedrange": True,
        "zeroline": False,
        "linecolor": palette.line,
        "tickcolor": palette.line,
    }
    clear = "rgba(0,0,0,0)"
    shared = {
        "height": height,
        "margin": dict(zip("lrtb", margin, strict=True)),
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"family": ", ".join(SANS), "size": 12, "color": palette.ink},
        "hoverlabel": {"bgcolor": palette.well, "bordercolor": palette.edge, "font": {"color": palette.ink}},
        "dragmode": False,
    }
    return {"data": data, "layout": {**shared, "xaxis": {**axis, **xaxis}, "yaxis": {**axis, **yaxis}, **layout}}


def _drawing(
    name: str,
    title: str,
    note: str,
    draw: Callable[[Palette], Json],
    head: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
) -> Drawing:
    return Drawing(name, title, note, draw(LIGHT), draw(DARK), head, rows, NARROW)
