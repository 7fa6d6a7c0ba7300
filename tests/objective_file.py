"""Objective measures of the small studies of the tests, as `musicstar evaluate` writes them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from survey.definition import Objective
from survey.parts import POOLED, Estimate, Measure
from survey.parts import Measured as Row


def evaluated(systems: Sequence[str], directions: Sequence[str]) -> dict[str, Any]:
    """What the real writer says of two pieces; the nth system has content 0.1 n (+ 0.2 in the second direction)."""
    # Networks come along, which few of the tests need.
    from musicstar.evaluation.measures import Measured
    from musicstar.evaluation.results import as_json, summarise

    measured = [
        Measured(piece, direction, system, {"content": share, "buzz": share, "mel_distance": 10 - n})
        for piece in ("p1", "p2")
        for place, direction in enumerate(directions)
        for n, system in enumerate([*systems, "unrelated"], 1)
        for share in [0.1 * n + 0.2 * place + (0.01 if piece == "p2" else 0.0)]
    ]
    golds = [
        Measured(one.piece, one.direction, "gold", {"content": 1.0, "buzz": 0.0, "mel_distance": 0.0})
        for one in measured
        if one.system == "unrelated"
    ]
    return as_json(summarise([*golds, *measured], content_by="salience"))


def objective(figures: Mapping[str, Mapping[str, Sequence[float]]], directions: Sequence[str]) -> Objective:
    """Measures of ten pieces with intervals of 0.05 to either side; a distance has a name that says so.

    Parameters
    ----------
    figures : by measure and system, in each direction and then pooled
    """
    measures = {
        name: Measure(name.replace("_", " "), "dB", "lower", 0.0)
        if name.endswith("distance")
        else Measure(name.replace("_", " "), "", "higher", 1.0)
        for name in figures
    }
    rows = [
        Row(system, where, 10, {name: _estimate(of[system][n]) for name, of in figures.items() if system in of})
        for n, where in enumerate([*directions, POOLED])
        for system in dict.fromkeys(system for of in figures.values() for system in of)
    ]
    return Objective("salience", tuple(measures), measures, tuple(rows))


def _estimate(mean: float) -> Estimate:
    return Estimate(mean, None, None) if math.isnan(mean) else Estimate(mean, mean - 0.05, mean + 0.05)
