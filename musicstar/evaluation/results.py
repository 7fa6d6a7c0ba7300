"""Figures of single outputs to a result: means over pieces with intervals, a row for each system and direction."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.evaluation import bootstrap
from musicstar.evaluation.bootstrap import Estimate
from musicstar.evaluation.measures import MEASURES, ContentBy, Measured
from musicstar.evaluation.outputs import GOLD, INPUT, REFERENCES, UNRELATED
from musicstar.methods.catalog import METHODS

FORMAT = 1
POOLED = "pooled"
PUBLISHED = Path(__file__).with_name("published.json")
ORDER = (*REFERENCES, *METHODS)

Distance = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Row:
    """One system in one direction, or in all of them ("pooled").

    Attributes
    ----------
    pieces : how many pieces it was measured on
    values : by measure
    """

    system: str
    direction: str
    pieces: int
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Result:
    """What `musicstar evaluate` finds.

    Attributes
    ----------
    content_by : what found the pitches
    rows : references first, then methods, then other systems; pooled first, then each direction
    separation : SDR in dB of the separator, by voice; empty where there were no stems
    not_pooled : directions that the pooled rows leave out, as some system was not measured in them
    """

    content_by: ContentBy
    rows: Sequence[Row]
    separation: Mapping[str, Estimate]
    not_pooled: Sequence[str] = ()

    @property
    def measures(self) -> list[str]:
        """The measures that have a value somewhere, in their order."""
        return [name for name in MEASURES if any(name in row.values for row in self.rows)]

    @property
    def directions(self) -> list[str]:
        """Pooled, then each direction."""
        return list(dict.fromkeys(row.direction for row in self.rows))


@lru_cache(maxsize=1)
def published() -> dict[str, Any]:
    """The paper's Table 1 and its separator's SDR, as printed."""
    content: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return content


def summarise(
    measured: Sequence[Measured],
    *,
    content_by: ContentBy,
    frechet: Distance | None = None,
    separated: Sequence[tuple[str, Mapping[str, float]]] = (),
) -> Result:
    """Means over pieces; where there are several directions the pooled rows average a piece's own first.

    Pooled are the directions in which all outputs were measured, so that systems compare; where there is none, all.

    Parameters
    ----------
    frechet : distance of two sets of style embeddings; None where there are none
    separated : piece and SDR by voice
    """
    directions = sorted({one.direction for one in measured})
    shared = _shared(measured) or directions
    scopes = [(POOLED, shared), *((direction, [direction]) for direction in directions)]
    rows = []
    for scope, chosen in scopes:
        own = [one for one in measured if one.direction in chosen]
        for system in sorted({one.system for one in own}, key=_place):
            values = _estimates(own, system)
            # Golds of other pieces are the same set.
            if frechet is not None and system != UNRELATED:
                values["frechet"] = _frechet(own, system, frechet)
            kept = {
                name: values[name]
                for name, measure in MEASURES.items()
                # Too much in one direction does not make up for too little in the other.
                if not (scope == POOLED and measure.better == "nearest")
                and name in values
                and not math.isnan(values[name].mean)
            }
            rows.append(Row(system, scope, len({one.piece for one in own if one.system == system}), kept))
    voices = sorted({voice for _, figures in separated for voice in figures})
    by_voice = {voice: {piece: figures[voice] for piece, figures in separated if voice in figures} for voice in voices}
    sdr_db = {voice: bootstrap.estimate(by_piece) for voice, by_piece in by_voice.items()}
    return Result(content_by, rows, sdr_db, [direction for direction in directions if direction not in shared])


def as_json(result: Result) -> dict[str, Any]:
    """A result as it is stored; figures rounded to six digits, null where there is none."""
    return {
        "format": FORMAT,
        "content_by": result.content_by,
        "measures": {
            name: {key: value for key, value in asdict(MEASURES[name]).items() if key != "group"}
            for name in result.measures
        },
        "rows": [
            {
                "system": row.system,
                "direction": row.direction,
                "pieces": row.pieces,
                "values": {name: _plain(value) for name, value in row.values.items()},
            }
            for row in result.rows
        ],
        "published": published()["rows"],
        "separation_sdr_db": {
            "measured": {voice: _plain(value) for voice, value in result.separation.items()},
            "published": published()["separation_sdr_db"],
        },
    }


def _shared(measured: Sequence[Measured]) -> list[str]:
    """The directions that every system but the references was measured in."""
    found: dict[str, set[str]] = {}
    for one in measured:
        if one.system not in REFERENCES:
            found.setdefault(one.system, set()).add(one.direction)
    return sorted(set.intersection(*found.values())) if found else []


def _place(system: str) -> tuple[int, str]:
    """Where a system stands among the others."""
    method = system.partition("-")[0]
    return (ORDER.index(method) if method in ORDER else len(ORDER)), system


def _by_piece(measured: Sequence[Measured], system: str, name: str) -> dict[str, float]:
    """A system's figure for each piece: the mean of its directions, those without a figure left out."""
    found: dict[str, list[float]] = {}
    for one in sorted(measured, key=lambda one: (one.piece, one.direction)):
        if one.system == system and not math.isnan(value := one.values.get(name, math.nan)):
            found.setdefault(one.piece, []).append(value)
    return {piece: float(np.mean(values)) for piece, values in found.items()}


def _estimates(measured: Sequence[Measured], system: str) -> dict[str, Estimate]:
    values = {name: bootstrap.estimate(_by_piece(measured, system, name)) for name in MEASURES}
    # The first of a run pays for what is set up only once.
    speeds = list(_by_piece(measured, system, "speed").values())
    values["speed"] = Estimate(float(np.median(speeds)) if speeds else math.nan, math.nan, math.nan)
    if system != INPUT:
        # Only where both were measured, direction by direction.
        places = [{(one.piece, one.direction) for one in measured if one.system == name} for name in (system, INPUT)]
        paired = [one for one in measured if (one.piece, one.direction) in places[0] & places[1]]
        values["content_gain"] = bootstrap.gain(*(_by_piece(paired, name, "content") for name in (system, INPUT)))
    return values


def _frechet(measured: Sequence[Measured], system: str, distance: Distance) -> Estimate:
    """Distance of a system's segments to the golds of the same places, averaged over directions.

    The fewer segments, the further apart are sets of the same kind, so resamples, in which some come twice, would all
    lie too high: pieces are left out in turn.
    """
    sets = {(one.system, one.direction, one.piece): one.frames for one in measured}
    pairs: dict[str, dict[str, list[np.ndarray]]] = {}
    for name, direction, piece in sorted(sets):
        both = [sets.get((side, direction, piece)) for side in (system, GOLD)]
        if name == system and all(side is not None and len(side) for side in both):
            pairs.setdefault(direction, {})[piece] = [side for side in both if side is not None]

    def figure(without: str = "") -> float:
        chosen = [[both for piece, both in of.items() if piece != without] for of in pairs.values()]
        distances = [distance(*(np.concatenate(side) for side in zip(*kept, strict=True))) for kept in chosen if kept]
        return float(np.mean(distances)) if distances else math.nan

    pieces = sorted({piece for of in pairs.values() for piece in of})
    return bootstrap.jackknife(figure(), [figure(piece) for piece in pieces])


def _plain(value: Estimate) -> dict[str, float | None]:
    return {name: None if math.isnan(part) else round(part, 6) for name, part in asdict(value).items()}
