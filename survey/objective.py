"""Objective measures of a study's stimuli: the file that `musicstar evaluate` writes, read beside the study's own.

The study names the file and, if it likes, the measures that are shown; by default those of the paper's Table 1 and
two more, as far as the file has them. Of the file's systems those of the study are wanted, in every direction and
pooled; the references (gold standard, untranslated input, unrelated piece) are taken where they are there.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from survey.lines import lines_of_json
from survey.parts import GOLD, POOLED, Better, ContentBy, Estimate, Measure, Measured, Objective, Study
from survey.tables import Document, Section

FORMAT = 1
DEFAULT = ("content", "style_cosine", "mel_distance", "target_probability")
REFERENCES = {GOLD: "Gold standard", "input": "Untranslated input", "unrelated": "Unrelated piece"}
MOST = 1e9
MOST_ROWS = 10_000
WRITES = "`musicstar evaluate FOLDER --save DIR` writes it as evaluation.json"
ARROWS: Mapping[Better, str] = {"higher": "↑", "lower": "↓"}


def beside(root: Section, path: Path, study: Study) -> Objective | None:
    """What a study's `objective` names, None where it names nothing; faults are noted in the study's document.

    Parameters
    ----------
    root : all of the study's table
    path : the study's file
    study : its other parts
    """
    name, chosen = root.string("objective", ""), root.strings("objective_measures", ())
    if not name:
        if chosen:
            root.note("objective_measures", "nothing is measured; expected a file in `objective`")
        return None
    document, table = _parsed(root, name, path.parent / name)
    if table is None:
        return None
    section = Section(document, table)
    section.whole("format", FORMAT, FORMAT)
    known = section.section("measures")
    if known is None:
        section.note("measures", "is missing; expected a table of measures")
    elif not document.faults:
        there = ", ".join(known.keys()) or "none"
        shown = chosen or [key for key in DEFAULT if key in known.keys()]  # noqa: SIM118 (a section is no mapping)
        if not shown:
            known.note("", f"has none of {', '.join(DEFAULT)}; name others in `objective_measures`, of {there}")
        for index, key in enumerate(chosen):
            if not known.has(key):
                root.document.note(("objective_measures", index), f"{name} has no {key!r}; its measures are {there}")
        found = _read(section, [key for key in shown if known.has(key)], study)
        if not document.faults:
            return found
    for fault in document.faults:
        root.note("objective", f"{name}, {fault}")
    return None


def stored(root: Section, study: Study) -> Objective | None:
    """What a stored version holds."""
    section = root.section("objective")
    return None if section is None else _read(section, section.strings("shown"), study)


def heading(measure: Measure) -> str:
    r"""A measure as it stands above its column; its arrow never begins a line.

    >>> heading(Measure("log-mel distance", "dB", "lower", 0.0))
    'Log-mel distance (dB)\xa0↓'
    """
    return f"{titled(measure)}\N{NO-BREAK SPACE}{ARROWS.get(measure.better) or f'→{measure.best:g}'}"


def titled(measure: Measure) -> str:
    """A measure with its unit."""
    unit = f" ({measure.unit})" if measure.unit else ""
    return f"{measure.title[:1].upper()}{measure.title[1:]}{unit}"


def digits(measure: Measure) -> int:
    """Decimals that are shown: shares and similarities have no unit."""
    return 2 if measure.unit else 3


def merit(measure: Measure, value: float) -> float:
    """A figure so that higher is better."""
    if measure.better == "nearest" and measure.best is not None:
        return -abs(value - measure.best)
    return -value if measure.better == "lower" else value


def references(study: Study) -> dict[str, str]:
    """Titles of the references that were measured, by key."""
    rows = study.objective.rows if study.objective else ()
    systems = {one.key for one in study.systems}
    there = {row.system for row in rows} - systems
    return {key: title for key, title in REFERENCES.items() if key in there}


def _parsed(root: Section, name: str, file: Path) -> tuple[Document, dict[str, Any] | None]:
    """The file's table, None and a fault where it has none."""
    document = Document(name)
    try:
        text = file.read_text(encoding="utf-8-sig")
        table = json.loads(text, parse_constant=_no_constant)
    except OSError as error:
        root.note("objective", f"{name} cannot be read ({error.strerror}); {WRITES}")
    except json.JSONDecodeError as error:
        root.note("objective", f"{name}, line {error.lineno}: not valid JSON ({error.msg}); {WRITES}")
    except (ValueError, RecursionError) as error:
        root.note("objective", f"{name}: not valid JSON ({error}); {WRITES}")
    else:
        if isinstance(table, dict):
            return Document(name, lines_of_json(text)), table
        root.note("objective", f"{name}: not a table; {WRITES}")
    return document, None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _read(section: Section, shown: Iterable[str], study: Study) -> Objective:
    content_by = section.one_of("content_by", get_args(ContentBy))
    known = section.section("measures")
    measures: dict[str, Measure] = {}
    for key in shown:
        one = known.section(key) if known else None
        if one is None:
            section.note("measures", f"{key!r} is missing")
            continue
        better = cast(Better, one.one_of("better", get_args(Better)))
        best = one.number_or_none("best", -MOST, MOST)
        if better == "nearest" and best is None:
            one.note("best", "is missing; expected the value to be nearest to")
        measures[key] = Measure(one.string("title"), one.string("unit", ""), better, best)
    return Objective(cast(ContentBy, content_by), tuple(measures), measures, _rows(section, measures, study))


def _rows(section: Section, measures: Mapping[str, Measure], study: Study) -> tuple[Measured, ...]:
    """The rows of the study's systems and of the references, in the order of the study."""
    systems = [one.key for one in study.systems]
    directions = [*(one.key for one in study.directions), POOLED]
    optional = [key for key in REFERENCES if key not in systems]
    found: dict[tuple[str, str], Measured] = {}
    for one in section.sections("rows", 1, MOST_ROWS):
        which = (one.string("system"), one.string("direction"))
        if which[0] not in [*systems, *optional] or which[1] not in directions:
            continue
        if which in found:
            one.note("", f"there is a row of {' in '.join(which)} already")
        found[which] = Measured(*which, one.whole("pieces", 1, 10**6), _values(one, which, measures, systems))
    for direction in directions:
        if missing := [key for key in systems if (key, direction) not in found]:
            there = ", ".join(key for key, where in found if where == direction) or "none"
            section.note("rows", f"no row of {', '.join(missing)} in {direction}; it has {there}")
    order = [*systems, *optional]
    return tuple(found[key, where] for where in directions for key in order if (key, where) in found)


def _values(
    row: Section, which: tuple[str, str], measures: Mapping[str, Measure], systems: Iterable[str]
) -> dict[str, Estimate]:
    system, direction = which
    values = row.section("values")
    if values is None:
        row.note("values", "is missing; expected a table of measures")
        return {}
    found = {}
    for key, measure in measures.items():
        if (one := values.section(key)) is not None:
            mean = one.number("mean", -MOST, MOST)
            low, high = (one.number_or_none(end, -MOST, MOST) for end in ("low", "high"))
            if (low is None) != (high is None) or (low is not None and high is not None and low > high):
                one.note("", f"low {low} and high {high} are no ends of an interval")
            found[key] = Estimate(mean, low, high)
        # Too much in one direction does not make up for too little in the other, so some have no pooled value.
        elif system in systems and not (measure.better == "nearest" and direction == POOLED):
            values.note(key, f"is missing of {system} in {direction}; `objective_measures` can leave it out")
    return found
