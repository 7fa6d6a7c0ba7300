"""A study as files: what is written is read back equal, and what is no export is refused with its place."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.records import Export
from survey.codebook import RANKINGS, TABLES, Column, codebook
from survey.definition import Study, load, shipped
from survey.definition import to_json as to_text
from survey.exchange import ExchangeError, checked, objective_csv, rankings_csv, read, to_json, to_zip

ANSWERED = {"answers_json": '{"age": 30}'}
KINDS: Mapping[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_categories=()), max_size=12)
    | st.sampled_from(["", "=1+1", '"x"', "-", "@a", "a,b\r\nc", "null", "3", "true", " x ", "\N{PILE OF POO}", '="'])
    | st.sampled_from([json.dumps({"a": [1, "é"]}), "\ud800", "\x00", "\ufeff"]),
    "whole": st.integers(),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
}


def values(column: Column) -> st.SearchStrategy[Any]:
    return KINDS[column.kind] | st.none() if column.optional else KINDS[column.kind]


EXPORTS = st.builds(
    Export,
    st.just("taste"),
    st.fixed_dictionaries(
        {
            name: st.lists(st.fixed_dictionaries({one.name: values(one) for one in columns}), max_size=2).map(tuple)
            for name, columns in TABLES.items()
        }
    ),
)


@pytest.fixture(scope="session")
def study() -> Study:
    return load(shipped("music-star"))


def frame(**changes: Any) -> pd.DataFrame:
    row: dict[str, Any] = {column.name: {"whole": 1, "flag": False}.get(column.kind, "x") for column in RANKINGS}
    return pd.DataFrame([{**row, **changes}])


def some_export() -> Export:
    rows: Mapping[str, Any] = {"text": "t", "whole": 3, "number": 0.5, "flag": True}
    return Export("taste", {name: ({c.name: rows[c.kind] for c in columns},) for name, columns in TABLES.items()})


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(export=EXPORTS)
def test_what_is_written_is_read_back_equal(study: Study, export: Export) -> None:
    for content in (to_json(export), to_zip(export, study, frame())):
        back = read(content)
        assert back == export
        # Equal in kind too: to Python 1 == 1.0 == True.
        assert json.dumps(back.tables, sort_keys=True) == json.dumps(export.tables, sort_keys=True)


def test_the_same_content_gives_the_same_bytes(study: Study) -> None:
    first, second = (to_zip(some_export(), study, frame()) for _ in range(2))
    assert first == second


def test_the_archive_holds_every_table_the_rankings_and_the_codebook(study: Study) -> None:
    with zipfile.ZipFile(io.BytesIO(to_zip(some_export(), study, frame()))) as archive:
        names = set(archive.namelist())
        tables = {f"tables/{name}.csv" for name in TABLES}
        assert names == {"about.json", "codebook.md", "rankings.csv", "objective.csv", *tables}
        assert study.objective is not None
        assert archive.read("objective.csv") == objective_csv(study.objective)
        assert archive.read("codebook.md").decode() == codebook(study)


def test_no_cell_is_a_formula(study: Study) -> None:
    evil = '=HYPERLINK("http://x.example")'
    rows = tuple({**row, "reason": text} for row in some_export().tables["exclusion"] for text in (evil, "+1", "@x"))
    content = to_zip(Export("taste", {"exclusion": rows}), study, frame(experience=evil, device="-1"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in ("tables/exclusion.csv", "rankings.csv"):
            for line in csv.reader(io.StringIO(archive.read(name).decode(), newline="")):
                assert not [cell for cell in line if cell.startswith(("=", "+", "-", "@"))]
    assert tuple(read(content).tables["exclusion"]) == rows


def test_rankings_for_an_analysis() -> None:
    table = pd.concat([frame(rank=2, excluded=True), frame(rank=1, headphones=None, experience="two\nlines")])
    back = pd.read_csv(io.BytesIO(rankings_csv(table)))
    assert list(back.columns) == [column.name for column in RANKINGS]
    assert back["rank"].tolist() == [2, 1]
    assert back["excluded"].tolist() == [True, False]
    assert back["headphones"].isna().tolist() == [False, True]


def test_the_codebook_tells_of_every_column_and_key(study: Study) -> None:
    text = codebook(study)
    for columns in (RANKINGS, *TABLES.values()):
        for column in columns:
            assert f"| `{column.name}` | {column.kind}" in text
    for keyed in (study.systems, study.pieces, study.directions, study.criteria):
        for one in keyed:
            assert f"| `{one.key}` |" in text
    for question in study.background:
        assert f"### Question `{question.key}`" in text
        assert all(f"| `{option.key}` |" in text for option in question.options)
    for rule in study.exclusions:
        assert f"`{rule.kind}`" in text


def test_the_codebook_tells_of_keys_that_only_an_earlier_version_has(study: Study) -> None:
    fewer = replace(study, systems=study.systems[1:], background=(), exclusions=())
    for text in (codebook(study, fewer), _codebook_of(to_zip(some_export(), fewer, frame(), earlier=[study]))):
        first, second = text.split("\n## Version ")[1:]
        for told, keys in ((first, study.systems), (second, study.systems[1:])):
            assert [key for key in study.systems if f"| `{key.key}` |" in told] == list(keys)
        assert f"### Question `{study.background[0].key}`" in first
        assert text.count("## rankings.csv") == text.count("## The whole export") == 1


def _codebook_of(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read("codebook.md").decode()


def _json(change: Callable[[dict[str, Any]], Any]) -> bytes:
    table = json.loads(to_json(some_export()))
    change(table)
    return json.dumps(table).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Neither a ZIP archive nor JSON"),
        (b"\xff\xfe", "Neither a ZIP archive nor JSON"),
        (b"[" * 100_000, "Neither a ZIP archive nor JSON"),
        (b"[]", "no export of a survey"),
        (b'{"tables": {"audit": [NaN]}}', "NaN is no number"),
        (_json(lambda t: t.update(format="x")), "expected the format"),
        (_json(lambda t: t.update(version=1)), "has version 1, this studio reads 2"),
        (_json(lambda t: t.update(study=3)), "names no study"),
        (_json(lambda t: t["tables"].update(users=[])), "users: there is no such table"),
        (_json(lambda t: t["tables"].update(audit={})), "audit: expected a list of rows"),
        (_json(lambda t: t["tables"]["audit"][0].pop("actor")), "audit, row 1: missing or unknown columns actor"),
        (_json(lambda t: t["tables"]["audit"][0].update(x=1)), "audit, row 1: missing or unknown columns x"),
        (_json(lambda t: t["tables"]["rank_item"][0].update(rank=True)), "rank_item, row 1, rank: True is not a whole"),
        (_json(lambda t: t["tables"]["rank_item"][0].update(rank=1.0)), "rank_item, row 1, rank: 1.0 is not a whole"),
        (_json(lambda t: t["tables"]["rank_item"][0].update(rank=None)), "rank: None is not a whole"),
        (_json(lambda t: t["tables"]["session"][0].update(late=0)), "session, row 1, late: 0 is not a flag"),
    ],
)
def test_what_is_no_export_is_refused_with_its_place(content: bytes, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        read(content)


def test_a_damaged_archive_is_refused(study: Study) -> None:
    whole = to_zip(some_export(), study, frame())
    for broken in (whole[:100], whole[:-30], whole[:200] + bytes(60) + whole[260:]):
        with pytest.raises(ExchangeError):
            read(broken)
    refused = 0
    for place in range(40, len(whole), 29):
        flipped = bytearray(whole)
        flipped[place] ^= 16
        try:
            read(bytes(flipped))
        except ExchangeError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tables/rank_item.csv", b"a,b\r\n", "expected the columns response_id"),
        ("tables/rank_item.csv", b"response_id,item_id,trial_id,rank\r\n1,2,3\r\n", "line 2: has 3 cells, expected 4"),
        ("tables/rank_item.csv", b"response_id,item_id,trial_id,rank\r\n1,2,3,x\r\n", "line 2, rank: invalid literal"),
        ("tables/rank_item.csv", b"response_id,item_id,trial_id,rank\r\n1,2,3,\r\n", "line 2, rank: is empty"),
        ("tables/rank_item.csv", b"response_id,item_id,trial_id,rank\r\n", "has 0 rows, expected 1"),
        ("tables/rank_item.csv", b"\xff", "tables/rank_item.csv: .* decode"),
        ("tables/rank_item.csv", None, "tables/rank_item.csv: is missing"),
        ("about.json", b"{}", "about.json: expected the format"),
        ("about.json", b"{", "about.json: Expecting property name"),
        ("about.json", None, "it has no about.json"),
    ],
)
def test_a_changed_archive_is_refused_with_file_and_line(
    study: Study, name: str, content: bytes | None, message: str
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(to_zip(some_export(), study, frame()))) as old, zipfile.ZipFile(out, "w") as new:
        for known in old.namelist():
            changed = content if known == name else old.read(known)
            if changed is not None:
                new.writestr(known, changed)
    with pytest.raises(ExchangeError, match=message):
        read(out.getvalue())


def test_an_export_is_taken_where_it_is_of_one_study_that_can_be_read(study: Study) -> None:
    def export(**changes: Mapping[str, Any]) -> Export:
        first = {"study": {"name": "music-star"}, "version": {"config_json": to_text(study)}, "background": ANSWERED}
        tables = some_export().tables
        return Export(
            "music-star",
            {**tables, **{name: ({**tables[name][0], **row, **changes.get(name, {})},) for name, row in first.items()}},
        )

    assert checked(export()) == export()
    for changes, message in (
        ({"study": {"name": "other"}}, "not of the one study 'music-star'"),
        ({"version": {"config_json": "{}"}}, "version, row 1, config_json"),
        ({"background": {"answers_json": "[]"}}, "background, row 1, answers_json"),
    ):
        with pytest.raises(ExchangeError, match=message):
            checked(export(**changes))
    whole = export()
    with pytest.raises(ExchangeError, match="no version"):
        checked(replace(whole, tables={**whole.tables, "version": ()}))
    with pytest.raises(ExchangeError, match="not of the one study"):
        checked(replace(whole, study="../x"))
