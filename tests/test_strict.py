"""JSON read strictly: what is let through, and which field is named where it is not."""

from collections.abc import Callable
from typing import Any

import pytest

from survey.strict import Fields, Malformed, read


def test_what_is_as_expected_is_read() -> None:
    body = b'{"name": "J\xc3\xbcrgen", "age": 3, "share": 1, "level": 0.5, "sure": true, "inner": {"a": 1, "b": 2}}'
    fields = read(body).only("name", "age", "share", "level", "sure", "inner")
    assert fields.text("name") == "Jürgen"
    assert (fields.whole("age"), fields.number("share"), fields.number("level")) == (3, 1.0, 0.5)
    assert type(fields.number("share")) is float
    assert fields.yes("sure") is True
    assert fields.ranks("inner") == {"a": 1, "b": 2}
    assert fields.text("nick", default="") == ""
    listed = read(b'{"rows": [{"x": 1}, {"x": 2}], "said": [1, "two"]}')
    assert [row.whole("x") for row in listed.objects("rows", most=2)] == [1, 2]
    assert listed.scalars("said", most=2) == (1, "two")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[]",
        b"3",
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1234567890123456789}',
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} {}',
        b'{"a": 01}',
        b'{"a": "\n"}',
        b"[" * 60_000,
        b'{"a":' * 9_000,
    ],
    ids=lambda body: body[:20],
)
def test_a_body_that_is_no_object_of_json_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        read(body)
    assert refusal.value.field == ""


@pytest.mark.parametrize(
    ("body", "named"),
    [(b'{"a": 1, "a": 1}', "a"), (b'{"b": {"x": 1, "x": 2}}', "x"), (b'{"\\ud800": 1, "\\ud800": 1}', "?")],
)
def test_a_key_that_is_there_twice_is_named(body: bytes, named: str) -> None:
    with pytest.raises(Malformed, match="twice") as refusal:
        read(body)
    assert refusal.value.field == named


Ask = Callable[[Fields], Any]


@pytest.mark.parametrize(
    ("value", "ask", "named"),
    [
        ("true", lambda fields: fields.whole("a"), "a"),
        ('"3"', lambda fields: fields.whole("a"), "a"),
        ("3.0", lambda fields: fields.whole("a"), "a"),
        ("null", lambda fields: fields.whole("a"), "a"),
        ("-1", lambda fields: fields.whole("a"), "a"),
        ("3000000000", lambda fields: fields.whole("a"), "a"),
        ("true", lambda fields: fields.number("a"), "a"),
        ('"0.5"', lambda fields: fields.number("a"), "a"),
        ("1.1", lambda fields: fields.number("a", most=1), "a"),
        ("1", lambda fields: fields.yes("a"), "a"),
        ('"true"', lambda fields: fields.yes("a"), "a"),
        ("1", lambda fields: fields.text("a"), "a"),
        ("[]", lambda fields: fields.text("a"), "a"),
        ('"12345"', lambda fields: fields.text("a", longest=4), "a"),
        ('"abc"', lambda fields: fields.text("a", pattern="[0-9]+"), "a"),
        ('"12\\n"', lambda fields: fields.text("a", pattern="[0-9]+"), "a"),
        ('"\\u0000"', lambda fields: fields.text("a"), "a"),
        ('"\\ud800"', lambda fields: fields.text("a"), "a"),
        ('"no"', lambda fields: fields.one_of("a", ("yes",)), "a"),
        ("1", lambda fields: fields.one_of("a", ("1",)), "a"),
        ("1", lambda fields: fields.inner("a"), "a"),
        ("{}", lambda fields: fields.objects("a", most=3), "a"),
        ("[1]", lambda fields: fields.objects("a", most=3), "a.0"),
        ("[{}, {}]", lambda fields: fields.objects("a", most=1), "a"),
        ("[1, 2.5]", lambda fields: fields.scalars("a", most=3), "a.1"),
        ("[1, true]", lambda fields: fields.scalars("a", most=3), "a.1"),
        ("[1]", lambda fields: fields.ranks("a"), "a"),
        ('{"x": true}', lambda fields: fields.ranks("a"), "a.x"),
        ('{"x": 1.0}', lambda fields: fields.ranks("a"), "a.x"),
        ('{"x y": 1}', lambda fields: fields.ranks("a"), "a.x y"),
        ('{"b": 1}', lambda fields: fields.inner("a").only("c"), "a.b"),
        ('{"b": 1}', lambda fields: fields.inner("a").text("c"), "a.c"),
        ("1", lambda fields: fields.only("b"), "a"),
        ("1", lambda fields: fields.text("b"), "b"),
    ],
)
def test_a_value_that_is_not_exactly_as_expected_is_refused_by_name(value: str, ask: Ask, named: str) -> None:
    with pytest.raises(Malformed) as refusal:
        ask(read(f'{{"a": {value}}}'.encode()))
    assert refusal.value.field == named
    assert str(refusal.value).endswith(".")
