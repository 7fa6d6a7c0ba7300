"""A result as one HTML page that needs nothing else: plotly.js out of the installed package is part of it."""

from collections.abc import Sequence
from pathlib import Path

from musicstar.evaluation.measures import MEASURES, Measured
from musicstar.evaluation.outputs import GOLD
from musicstar.evaluation.results import POOLED, Result
from musicstar.evaluation.table import GROUPS, heading
from musicstar.files import write_whole

COLOURS = ("#1f4a5c", "#c2703d", "#3f7f86", "#8a5a83", "#7a8b3c", "#b0524f", "#5b6fb0")
COLUMNS = 3
ROW_PX = 320


def write(path: Path, result: Result, measured: Sequence[Measured]) -> None:
    """Draw each measure's means with their intervals, and content piece by piece.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from plotly.offline import get_plotlyjs

    figures = [_group(result, group) for group in GROUPS if any(MEASURES[n].group == group for n in result.measures)]
    figures.append(_pieces(result, measured))
    drawn = "\n".join(figure.to_html(full_html=False, include_plotlyjs=False) for figure in figures)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f"<script>{get_plotlyjs()}</script></head>"
        f'<body style="font-family:sans-serif"><h1>Evaluation</h1>{drawn}</body></html>'
    )
    write_whole(path, page.encode())


def _group(result: Result, group: str):  # type: ignore[no-untyped-def]  # plotly publishes no types
    """Means with intervals of one group's measures, a panel each, a colour for each direction."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    names = [name for name in result.measures if MEASURES[name].group == group]
    count = -(-len(names) // COLUMNS)
    figure = make_subplots(count, COLUMNS, subplot_titles=[heading(name) for name in names], shared_yaxes=True)
    for number, name in enumerate(names):
        place = {"row": number // COLUMNS + 1, "col": number % COLUMNS + 1}
        for direction, colour in zip(result.directions, COLOURS * len(result.directions), strict=False):
            rows = [row for row in result.rows if row.direction == direction and name in row.values]
            values = [row.values[name] for row in rows]
            dots = Scatter(
                x=[value.mean for value in values],
                y=[row.system for row in rows],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [value.high - value.mean for value in values],
                    "arrayminus": [value.mean - value.low for value in values],
                },
                mode="markers",
                marker={"color": colour, "size": 9 if direction == POOLED else 6},
                name=direction,
                legendgroup=direction,
                showlegend=number == 0,
            )
            figure.add_trace(dots, **place)
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(
        template="plotly_white", height=120 + ROW_PX * count, title=f"{group.capitalize()}: means, 95 % intervals"
    )


def _pieces(result: Result, measured: Sequence[Measured]):  # type: ignore[no-untyped-def]
    """Content similarity of every piece, a colour for each system."""
    from plotly.graph_objects import Figure, Scatter

    systems = dict.fromkeys(row.system for row in result.rows if row.system != GOLD)
    figure = Figure()
    for system, colour in zip(systems, COLOURS * len(systems), strict=False):
        own = sorted((one for one in measured if one.system == system), key=lambda one: (one.direction, one.piece))
        figure.add_trace(
            Scatter(
                x=[f"{one.piece} {one.direction}" for one in own],
                y=[one.values["content"] for one in own],
                mode="markers",
                marker={"color": colour, "size": 8},
                name=system,
            )
        )
    return figure.update_layout(
        template="plotly_white", height=420, title="Content similarity by piece and direction", yaxis={"range": [0, 1]}
    )
