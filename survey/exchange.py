"""A study as files, and files as a study: everything stored of it, so that it can move to another database.

Two forms hold the same: one JSON file, or a ZIP archive of CSV files with a codebook. What is read back is equal
to what was written, value by value.
"""

import csv
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from db.records import Export
from survey.codebook import OBJECTIVE, RANKINGS, TABLES, Column, codebook
from survey.definition import Objective, Study, StudyError, from_json
from survey.parts import POOLED
from survey.tables import KEY

FORMAT = "music-star-studio survey"
FORMAT_VERSION = 2
LARGEST_BYTES = 2**31
# A cell that a spreadsheet could take for a formula, or that a reader of CSV could change.
RISKY = re.compile(r"^[\"=+\-@]|[\x00-\x1f\x7f\ud800-\udfff]")
STAMP = (1980, 1, 1, 0, 0, 0)

Row = Mapping[str, Any]


class ExchangeError(ValueError):
    """A file that is not an export, or a damaged one; the message says where."""


def to_json(export: Export) -> bytes:
    """Everything as one JSON file."""
    _check(export)
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "study": export.study,
        "tables": {name: list(map(dict, rows)) for name, rows in export.tables.items()},
    }
    return (json.dumps(content, allow_nan=False, indent=0) + "\n").encode()


def to_zip(export: Export, study: Study, rankings: pd.DataFrame, *, earlier: Iterable[Study] = ()) -> bytes:
    """Everything as CSV files in a ZIP archive, the same bytes each time.

    Parameters
    ----------
    study : the latest version
    rankings : the frame of all rankings
    earlier : the versions before it, the first one first
    """
    _check(export)
    about = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "study": export.study,
        "rows": {name: len(rows) for name, rows in export.tables.items()},
    }
    files = {
        "about.json": (json.dumps(about, indent=1) + "\n").encode(),
        "codebook.md": codebook(*earlier, study).encode(),
        "rankings.csv": rankings_csv(rankings),
    }
    if study.objective is not None:
        files["objective.csv"] = objective_csv(study.objective)
    files |= {f"tables/{name}.csv": _table_csv(TABLES[name], rows) for name, rows in export.tables.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def rankings_csv(rankings: pd.DataFrame) -> bytes:
    """The rankings alone, one row for each system in each, for an analysis; it names nobody."""
    names = [column.name for column in RANKINGS]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for row in rankings[names].itertuples(index=False):
        writer.writerow([_safe(value) for value in row])
    return out.getvalue().encode("utf-8", "replace")


def objective_csv(objective: Objective) -> bytes:
    """The objective measures, one row for each system, direction and measure; the direction of pooled ones is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(column.name for column in OBJECTIVE)
    for name, measure in objective.measures.items():
        for row in objective.rows:
            if (one := row.values.get(name)) is not None:
                where = None if row.direction == POOLED else row.direction
                told = [name, measure.title, measure.unit, measure.better, row.system, where, row.pieces]
                writer.writerow([_safe(value) for value in (*told, one.mean, one.low, one.high)])
    return out.getvalue().encode("utf-8", "replace")


def read(content: bytes) -> Export:
    """What `to_json` or `to_zip` wrote.

    Raises
    ------
    ExchangeError : it is neither, was damaged, or comes from a newer studio
    """
    if content[:4] == b"PK\x03\x04":
        return _read_zip(content)
    try:
        table = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ExchangeError(f"Neither a ZIP archive nor JSON: {error}") from error
    if not isinstance(table, dict) or not isinstance(table.get("tables"), dict):
        raise ExchangeError("This is JSON, but no export of a survey: it has no tables.")
    study = _check_about(table, "the file")
    tables = {}
    for name, rows in table["tables"].items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ExchangeError(f"{name}: expected a list of rows.")
        tables[str(name)] = tuple(rows)
    export = Export(study, tables)
    _check(export)
    return export


def checked(export: Export) -> Export:
    """The same export, once it is seen to be of one study that can be read; raises ExchangeError."""
    if not KEY.fullmatch(export.study) or [row["name"] for row in export.tables.get("study", ())] != [export.study]:
        raise ExchangeError(f"It is not of the one study {export.study!r} that it names.")
    if not export.tables.get("version"):
        raise ExchangeError("It holds no version of the study.")
    for number, row in enumerate(export.tables["version"], 1):
        try:
            from_json(str(row["config_json"]))
        except StudyError as error:
            raise ExchangeError(f"version, row {number}, config_json: {error}") from error
    for number, row in enumerate(export.tables.get("background", ()), 1):
        if not isinstance(json.loads(row["answers_json"]), dict):
            raise ExchangeError(f"background, row {number}, answers_json: expected answers by question.")
    return export


def _read_zip(content: bytes) -> Export:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        if sum(info.file_size for info in archive.infolist()) > LARGEST_BYTES:
            raise ExchangeError(f"The archive is larger than {LARGEST_BYTES >> 20} MiB when unpacked.")
        names = archive.namelist()
        if "about.json" not in names:
            raise ExchangeError("This ZIP archive is no export of a survey: it has no about.json.")
        about = json.loads(archive.read("about.json"))
        study = _check_about(about, "about.json")
        rows = about.get("rows")
        if not isinstance(rows, dict):
            raise ExchangeError("about.json: expected the number of rows of each table.")
        tables = {}
        for name, count in rows.items():
            path = f"tables/{name}.csv"
            if name not in TABLES or path not in names:
                raise ExchangeError(f"{path}: is missing or unknown.")
            tables[name] = _read_table(path, TABLES[name], archive.read(path))
            if len(tables[name]) != count:
                raise ExchangeError(f"{path}: has {len(tables[name])} rows, expected {count}.")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ExchangeError(f"The ZIP archive is damaged: {error}") from error
    except ValueError as error:
        raise error if isinstance(error, ExchangeError) else ExchangeError(f"about.json: {error}") from error
    return Export(study, tables)


def _check_about(about: Any, where: str) -> str:
    """The study's name, once the format is known to be ours."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ExchangeError(f"{where}: expected the format {FORMAT!r}.")
    if about.get("version") != FORMAT_VERSION:
        raise ExchangeError(f"{where}: has version {about.get('version')!r}, this studio reads {FORMAT_VERSION}.")
    if not isinstance(about.get("study"), str):
        raise ExchangeError(f"{where}: names no study.")
    return str(about["study"])


def _check(export: Export) -> None:
    """See that tables and columns are those of the codebook, and values of their kind."""
    for name, rows in export.tables.items():
        columns = TABLES.get(name)
        if columns is None:
            raise ExchangeError(f"{name}: there is no such table.")
        names = [column.name for column in columns]
        for number, row in enumerate(rows, 1):
            if list(row) != names and set(row) != set(names):
                odd = sorted(set(row) ^ set(names))
                raise ExchangeError(f"{name}, row {number}: missing or unknown columns {', '.join(map(str, odd))}.")
            for column in columns:
                if not _fits(row[column.name], column):
                    raise ExchangeError(
                        f"{name}, row {number}, {column.name}: {row[column.name]!r} is not a {column.kind}."
                    )


def _fits(value: Any, column: Column) -> bool:
    match column.kind:
        case _ if value is None:
            return column.optional
        case "text":
            return isinstance(value, str)
        case "flag":
            return isinstance(value, bool)
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return isinstance(value, float) and math.isfinite(value)


def _table_csv(columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(row[column.name]) for column in columns])
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    """A value so that `_value` gives it back.

    Examples
    --------
    >>> [_cell(value) for value in (None, "", "=1+1", "plain", True, 0.1, 3)]
    ['', '""', '"=1+1"', 'plain', 'true', '0.1', '3']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value) if not value or RISKY.search(value) else value
    return repr(value)


def _value(text: str, column: Column) -> Any:
    """The value of a cell; raises ValueError where it is none of its column."""
    if not text:
        if column.optional:
            return None
        raise ValueError("is empty")
    match column.kind:
        case "text":
            value: Any = json.loads(text) if text.startswith('"') else text
        case "flag":
            value = {"true": True, "false": False}.get(text)
        case "whole":
            value = int(text)
        case _:
            value = float(text)
    if value is None or not _fits(value, column):
        raise ValueError(f"{text!r} is not a {column.kind}")
    return value


def _read_table(path: str, columns: Sequence[Column], content: bytes) -> tuple[Row, ...]:
    csv.field_size_limit(LARGEST_BYTES - 1)
    try:
        lines = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ExchangeError(f"{path}: {error}") from error
    names = [column.name for column in columns]
    if not lines or lines[0] != names:
        raise ExchangeError(f"{path}: expected the columns {', '.join(names)}.")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(columns):
            raise ExchangeError(f"{path}, line {number}: has {len(line)} cells, expected {len(columns)}.")
        row = {}
        for column, text in zip(columns, line, strict=True):
            try:
                row[column.name] = _value(text, column)
            except ValueError as error:
                raise ExchangeError(f"{path}, line {number}, {column.name}: {error}.") from error
        rows.append(row)
    return tuple(rows)


def _safe(value: Any) -> str:
    """A cell for reading, which no spreadsheet takes for a formula."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "true" if value else "false"
    text = str(value)
    return f"'{text}" if isinstance(value, str) and RISKY.match(text) else text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
