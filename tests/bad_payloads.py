"""Requests that no page of ours sends: thousands of them, none of which may write a thing or break the server."""

import json
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.survey_study import Visitor

REFUSALS = {400, 401, 404, 409, 413, 422}
Raw = st.SearchStrategy[str]

JUNK: Raw = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=20) | st.integers(-(2**70), -(2**40)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value, ensure_ascii=False) if _can_be_sent(value) else json.dumps(value))
NO_WHOLE: Raw = st.sampled_from(
    ["true", "false", '"3"', "3.0", "1e0", "null", "-1", "NaN", "Infinity", "-Infinity", "1e999", "[]", "[3]", "{}", ""]
) | st.integers(2**31, 2**90).map(str)
NO_NUMBER: Raw = st.sampled_from(["true", '"0.5"', "null", "-1.01", "NaN", "Infinity", "1e999", "[]", "{}", "1e15"])
NO_TEXT: Raw = st.sampled_from(["true", "3", "null", "[]", "{}", "NaN", '"\\u0000"', '"\\ud800"', '"a\\nb"', "'a'"])
NO_ID: Raw = NO_TEXT | st.sampled_from(['""', '"../../x"', f'"{"0" * 31}"', f'"{"A" * 32}"', f'"{"0" * 32}\\n"'])
FOREIGN: Raw = st.uuids().map(lambda value: f'"{value.hex}"')


NO_BACKGROUND = [
    f'{{"experience": {value}}}'
    for value in (
        "1",
        "null",
        '"some"',
        '["long"]',
        '"long", "age": 1.5',
        '"long", "age": true',
        '"long", "mood": 1',
        '"long", "\\ud800": 1',
    )
]


def _can_be_sent(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Bad:
    """A request that is to be refused."""

    step: str
    body: bytes


def good(visitor: Visitor) -> dict[str, dict[str, str]]:
    """What would be taken, field by field, as JSON; the participant has heard the trials and answered nothing."""
    trial = visitor.state["trials"][1]
    generation = str(visitor.state["generation"])
    ranks = json.dumps({clip["item"]: rank for rank, clip in enumerate(trial["clips"], 1)})
    event = {"trial": trial["id"], "item": "gold", "kind": "play", "at_ms": 1, "position_s": 0.5}
    answers = {
        "submission": f'"{uuid.uuid4().hex}"',
        "trial": f'"{trial["id"]}"',
        "criterion": '"style"',
        "ranks": ranks,
        "generation": generation,
        "elapsed_ms": "100",
    }
    return {
        "answers": answers,
        "draft": {"trial": answers["trial"], "criterion": '"style"', "ranks": ranks, "sequence": "1"},
        "events": {"events": json.dumps([event])},
        "consent": {"agreed": "true", "language": '"en"', "generation": generation},
        "background": {"answers": '{"experience": "long"}', "generation": generation},
        "sound": {"volume": "0.5", "headphones": '"pass"', "answers": "[]", "generation": generation},
        "finish": {"generation": generation},
        "open": {"study": '"tiny"', "participant": '"x"', "language": '"en"', "preview": "false"},
    }


def fields(visitor: Visitor) -> dict[str, dict[str, Raw]]:
    """What is wrong in each field, as JSON."""
    trial, other = visitor.state["trials"][1:3]
    items = [clip["item"] for clip in trial["clips"]]
    k = len(items)
    stale = st.integers(0, 2**31 - 1).filter(lambda value: value != visitor.state["generation"]).map(str)

    def ranking(values: list[str]) -> str:
        return "{" + ", ".join(f'"{item}": {value}' for item, value in zip(items, values, strict=False)) + "}"

    wholes = st.lists(st.integers(-2, k + 2).map(str), min_size=k, max_size=k)
    no_ranks: Raw = (
        wholes.filter(lambda values: sorted(values) != [str(rank) for rank in range(1, k + 1)]).map(ranking)
        | st.lists(NO_WHOLE, min_size=k, max_size=k).map(ranking)
        | st.tuples(st.integers(0, k - 1), NO_WHOLE).map(
            lambda one: ranking([one[1] if place == one[0] else str(place + 1) for place in range(k)])
        )
        | st.sampled_from(["[]", "null", "3", "true", '"1"', json.dumps(dict.fromkeys(items, 1))])
        | st.just(json.dumps({**dict(zip(items, range(1, k + 1), strict=True)), other["clips"][0]["item"]: k + 1}))
        | st.just(json.dumps(dict(zip([*items[1:], other["clips"][0]["item"]], range(1, k + 1), strict=True))))
        | st.just(json.dumps({**dict(zip(items[1:], range(2, k + 1), strict=True)), "gold": 1}))
        | st.just(json.dumps({"x" * 30 + str(place): place for place in range(40)}))
        | JUNK.filter(lambda text: text != "{}")
    )
    part = ranking([str(rank) for rank in range(1, k)])
    no_trial = NO_ID | FOREIGN | JUNK
    no_criterion = NO_TEXT | st.sampled_from(['"mood"', '""', '"__proto__"', '"content; DROP TABLE response"']) | JUNK
    event = {"trial": f'"{trial["id"]}"', "item": '"gold"', "kind": '"play"', "at_ms": "1", "position_s": "1"}
    no_event = st.sampled_from(list(event)).flatmap(
        lambda name: {
            "trial": no_trial,
            "item": NO_TEXT | FOREIGN | st.just(f'"{other["clips"][0]["item"]}"') | st.just('"Gold"'),
            "kind": NO_TEXT | st.sampled_from(['"hum"', '""', '"PLAY"']),
            "at_ms": NO_NUMBER,
            "position_s": NO_NUMBER | st.just("86401"),
        }[name].map(lambda value: _object({**event, name: value}))
    )
    return {
        "answers": {
            "submission": NO_ID | JUNK,
            "trial": no_trial,
            "criterion": no_criterion,
            "ranks": no_ranks | st.sampled_from([part, "{}"]),
            "generation": NO_WHOLE | stale,
            "elapsed_ms": NO_WHOLE | JUNK,
        },
        "draft": {"trial": no_trial, "criterion": no_criterion, "ranks": no_ranks, "sequence": NO_WHOLE | JUNK},
        "events": {
            "events": st.lists(no_event, min_size=1, max_size=3).map(lambda rows: f"[{', '.join(rows)}]")
            | st.sampled_from(["{}", "null", "[1]", "[[]]", f"[{', '.join([_object(event)] * 501)}]"])
        },
        "consent": {
            "agreed": st.sampled_from(["false", "1", '"true"', "null", "[]"]) | NO_WHOLE.filter(lambda v: v != "true"),
            "language": NO_TEXT | st.sampled_from(['"fr"', '""', f'"{"e" * 17}"']) | JUNK,
            "generation": NO_WHOLE | stale,
        },
        "background": {
            "answers": st.sampled_from(["[]", "null", "{}", *NO_BACKGROUND]) | JUNK,
            "generation": NO_WHOLE | stale,
        },
        "sound": {
            "volume": NO_NUMBER | st.just("1.01"),
            "headphones": NO_TEXT | st.sampled_from(['"maybe"', '""', '"PASS"']) | JUNK,
            "answers": st.sampled_from(["{}", "null", "[1.5]", "[true]", "[[]]", "[null]", f"[{', '.join('1' * 65)}]"]),
            "generation": NO_WHOLE | stale,
        },
        "finish": {"generation": NO_WHOLE | stale | st.just(str(visitor.state["generation"]))},
        "open": {
            "study": NO_TEXT | st.sampled_from(['"none"', '""', '"tiny\' OR 1=1"']) | JUNK,
            "participant": NO_TEXT | st.sampled_from(['"a b"', '"<b>"', f'"{"x" * 129}"', '"a/../b"']),
            "language": st.sampled_from(["true", "3", "null", "[]", f'"{"e" * 17}"', '"\\u0000"']),
            "preview": NO_WHOLE.filter(lambda value: value not in ("true", "false")),
        },
    }


def _object(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in values.items()) + "}"


def requests(visitor: Visitor) -> st.SearchStrategy[Bad]:
    """Requests with one thing wrong, or all of it."""
    right, wrong = good(visitor), fields(visitor)
    steps = st.sampled_from(sorted(right))

    def one_field(step: str) -> Raw:
        return st.sampled_from(sorted(right[step])).flatmap(
            lambda name: wrong[step][name].map(lambda value: _object({**right[step], name: value}))
        )

    def shape(step: str) -> Raw:
        whole = _object(right[step])
        names = st.sampled_from(sorted(right[step]))
        return (
            names.map(lambda name: _object({key: value for key, value in right[step].items() if key != name}))
            | names.map(lambda name: f"{whole[:-1]}, {json.dumps(name)}: {right[step][name]}}}")
            | st.text(max_size=8)
            .filter(lambda name: name not in right[step])
            .map(lambda n: _object({**right[step], n: "1"}))
            | st.integers(0, len(whole) - 1).map(lambda length: whole[:length])
            | st.sampled_from([f"[{whole}]", f"{whole}{whole}", f"\ufeff{whole}", whole.replace('"', "'"), "[" * 3000])
            | st.integers(64_000, 70_000).map(lambda length: whole + " " * length)
            | JUNK
        )

    texts = steps.flatmap(lambda step: (one_field(step) | shape(step)).map(lambda text: (step, text)))
    broken = st.tuples(steps, st.binary(max_size=40))
    return texts.map(lambda one: Bad(one[0], one[1].encode("utf-8", "surrogatepass"))) | broken.map(
        lambda one: Bad(*one)
    )


def attack(visitor: Visitor, database: Path, *, examples: int) -> dict[int, int]:
    """Send so many of them; gives how often each status came.

    Parameters
    ----------
    visitor : has heard the first two ranked trials, and answered nothing
    database : file of the store

    Raises
    ------
    AssertionError
        One was taken, broke the server, was refused without a sentence, or wrote something.
    """
    watch = sqlite3.connect(database)
    told: dict[int, int] = {}

    def version() -> Any:
        # Changes as soon as any other connection has written anything.
        return watch.execute("PRAGMA data_version").fetchone()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(visitor))
    def send(bad: Bad) -> None:
        before = version()
        answer = visitor.post(bad.step, bad.body)
        told[answer.status_code] = told.get(answer.status_code, 0) + 1
        assert answer.status_code in REFUSALS, (bad, answer.status_code, answer.text)
        said = answer.json()
        assert set(said) == {"error", "field", "reload"}, (bad, said)
        assert said["error"].endswith("."), (bad, said)
        assert version() == before, (bad, "wrote something")

    run: Callable[[], None] = send
    run()
    watch.close()
    return told
