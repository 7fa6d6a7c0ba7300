"""The flow: slots taken one each, leased, returned and gone beyond; sessions resumed and moved; questions."""

import dataclasses
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db.records import Draft, NewAnswer, PlaybackEvent, Screening
from survey.definition import Option, Question, from_json, to_json
from survey.session import SurveyDesk, SurveyError, Ticket, say
from tests import postgres
from tests.survey_study import DIRECTIONS, PIECES, SYSTEMS, Tiny, add_version, english, tiny, tiny_study


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def after(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def survey(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Tiny]:
    url = request.getfixturevalue("server").database() if request.param == "postgresql" else ""
    made = tiny(tmp_path, url=url, study=tiny_study(slots=4), clock=clock, patience_s=60)
    yield made
    made.store.close()


def slots(survey: Tiny) -> dict[int, str]:
    """The session that holds each slot."""
    kept = survey.store.history("tiny").tables
    numbers = {row["id"]: row["number"] for row in kept["design_slot"]}
    return {numbers[row["slot_id"]]: row["public"] for row in kept["session"] if row["holds_slot"]}


def order(state: dict[str, Any]) -> list[list[str]]:
    return [[clip["src"] for clip in trial["clips"]] for trial in state["trials"]]


def open_(desk: SurveyDesk, name: str, **options: Any) -> tuple[Ticket, dict[str, Any]]:
    chosen: dict[str, Any] = {"language": "en", "preview": False, "ticket": None, **options}
    return desk.open("tiny", external=name, **chosen)


def test_two_hundred_at_once_get_a_slot_each(survey: Tiny) -> None:
    gate = threading.Barrier(200)

    def come(number: int) -> str:
        gate.wait()
        return str(open_(survey.desk, f"guest-{number}")[1]["participant"])

    with ThreadPoolExecutor(200) as pool:
        names = list(pool.map(come, range(200)))
    assert len(set(names)) == 200
    held = slots(survey)
    # Fifty blocks of four, each slot held once.
    assert sorted(held) == list(range(200))
    assert len(set(held.values())) == 200


def test_the_same_person_twice_at_once_is_one_session(survey: Tiny) -> None:
    gate = threading.Barrier(12)

    def come(_: int) -> list[list[str]]:
        gate.wait()
        return order(open_(survey.desk, "twin")[1])

    with ThreadPoolExecutor(12) as pool:
        orders = list(pool.map(come, range(12)))
    assert all(one == orders[0] for one in orders)
    assert len(survey.store.participants("tiny")) == 1


def test_what_was_played_is_kept_once_however_often_it_is_sent(survey: Tiny) -> None:
    ticket, state = open_(survey.desk, "x")
    survey.desk.consent(ticket, language="en", generation=0)
    trial = state["trials"][1]
    item, other = (clip["item"] for clip in trial["clips"][:2])
    played = [
        PlaybackEvent(trial["id"], item, "play", 100.25, 0.1),
        PlaybackEvent(trial["id"], other, "play", 100.25, 0.1),
        PlaybackEvent(trial["id"], item, "pause", 100.25, 0.1),
        PlaybackEvent(trial["id"], "gold", "play", 100.25, 0.1),
        PlaybackEvent(state["trials"][2]["id"], "gold", "play", 100.25, 0.1),
        PlaybackEvent(trial["id"], item, "play", 100.5, 0.1),
        PlaybackEvent(trial["id"], item, "play", 100.25, 0.2),
        PlaybackEvent(trial["id"], item, "heard", 100.25, 0.1),
    ]
    assert survey.desk.events(ticket, played) == 8
    assert survey.desk.events(ticket, played) == 0
    more = PlaybackEvent(trial["id"], "", "order", 100.25, 0.1)
    assert survey.desk.events(ticket, [*played, more, more]) == 1
    assert len(survey.store.history("tiny").tables["playback_event"]) == 9


def test_answers_sent_at_once_are_kept_one_after_the_other(survey: Tiny) -> None:
    ticket, state = open_(survey.desk, "x")
    survey.desk.consent(ticket, language="en", generation=0)
    trial = state["trials"][1]
    items = [clip["item"] for clip in trial["clips"]]
    survey.desk.events(ticket, [PlaybackEvent(trial["id"], item, "heard", 1, 1) for item in items])
    ranks = {item: rank for rank, item in enumerate(items, 1)}
    same = NewAnswer("0" * 32, trial["id"], "content", ranks, 1, 1)
    gate = threading.Barrier(16)

    def send(number: int) -> str:
        gate.wait()
        # Half of them are one and the same, the others are different answers of as many tabs.
        new = same if number % 2 else dataclasses.replace(same, submission=f"{number + 1:032x}", elapsed_ms=number)
        try:
            return str(survey.desk.answer(ticket, new))
        except SurveyError as error:
            return f"{error.status} {error.reload}"

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(send, range(16)))
    assert len(set(told) - {"409 True"}) == 1
    assert len(survey.store.history("tiny").tables["response"]) == 1
    assert survey.desk.state(ticket)["generation"] == 2


def test_slots_go_out_in_order_and_the_design_goes_on_in_further_blocks(survey: Tiny) -> None:
    for number in range(9):
        open_(survey.desk, f"guest-{number}")
    frame = survey.store.participants("tiny")
    assert list(frame.slot) == list(range(9))
    assert len(survey.store.slots(survey.version.id)) == 12
    pieces = Counter(trial.piece for slot in survey.store.slots(survey.version.id) for trial in slot.trials)
    assert set(pieces.values()) == {6}


def test_an_abandoned_slot_goes_to_the_next_and_who_comes_back_late_is_kept_and_flagged(
    survey: Tiny, clock: Clock
) -> None:
    gone = survey.visitor().open("gone").prepare()
    survey.visitor().open("stays")
    before = slots(survey)
    clock.after(31)
    survey.visitor().open("stays")
    status = survey.store.participants("tiny").status
    assert list(status) == ["abandoned", "open"]
    # Nobody else has come, so the slot is still theirs and flags nothing.
    assert slots(survey) == before
    survey.visitor().open("next")
    after = slots(survey)
    assert after[1] == before[1]
    assert after[0] not in before.values()
    assert sorted(after) == [0, 1]
    mine = [row for row in survey.store.history("tiny").tables["trial"] if row["session_id"] == 1]
    # They come back, finish in their own order, and are marked.
    gone.rank_all()
    gone.finish()
    frame = survey.store.participants("tiny").set_index("session")
    late = frame.loc[before[0]]
    assert (late.late, late.status, late.slot) == (True, "complete", 0)
    assert not frame.loc[after[0]].late
    assert set(survey.store.rankings("tiny").late) == {True}
    assert [row for row in survey.store.history("tiny").tables["trial"] if row["session_id"] == 1] == mine
    # The slot stays with the one who has it now.
    assert slots(survey) == after


def test_whoever_does_something_keeps_their_slot(survey: Tiny, clock: Clock) -> None:
    visitor = survey.visitor().open("slow")
    trial = visitor.state["trials"][1]
    for act in (
        visitor.prepare,
        lambda: visitor.hear(trial),
        lambda: visitor.done("draft", {"trial": trial["id"], "criterion": "style", "ranks": {}, "sequence": 1}),
        lambda: visitor.done("answers", visitor.body(trial, "content")),
        lambda: visitor.open("slow"),
    ):
        clock.after(29)
        act()
    clock.after(2)
    open_(survey.desk, "other")
    assert list(survey.store.participants("tiny").slot) == [0, 1]
    clock.after(31)
    open_(survey.desk, "last")
    frame = survey.store.participants("tiny")
    assert (list(frame.slot), list(frame.late)) == ([0, 1, 0], [True, False, False])


def test_a_slot_of_one_who_is_through_never_returns(survey: Tiny, clock: Clock) -> None:
    survey.visitor().open("through").prepare().rank_all().finish()
    unheard = survey.visitor().open("unheard").prepare().rank_all()
    assert list(survey.store.participants("tiny").status) == ["complete", "open"]
    clock.after(10_000)
    open_(survey.desk, "next")
    frame = survey.store.participants("tiny")
    assert (list(frame.slot), list(frame.status)) == ([0, 1, 2], ["complete", "complete", "open"])
    assert survey.store.funnel("tiny")["complete"] == 2
    assert unheard.open("unheard").finish()["code"] == "DONE"


def test_another_device_takes_the_session_along(survey: Tiny) -> None:
    here = survey.visitor().open("same").prepare()
    trial = here.state["trials"][0]
    here.hear(trial)
    item = trial["clips"][1]["item"]
    here.done("draft", {"trial": trial["id"], "criterion": "content", "ranks": {item: 2}, "sequence": 4})
    there = survey.visitor().open("same")
    told = there.state["trials"][0]
    assert order(there.state) == order(here.state)
    assert told["drafts"] == {"content": {"ranks": {item: 2}, "sequence": 4}}
    assert set(told["heard"]) == {"gold", *(clip["item"] for clip in trial["clips"])}
    gone = here.client.get("/survey/api/state")
    assert (gone.status_code, gone.json()["reload"]) == (401, True)
    assert here.post("answers", here.body(trial, "content")).status_code == 401
    there.done("answers", there.body(trial, "content"))
    # The same browser keeps its token, and another tab of it goes on.
    token = there.client.cookies["ms_survey"]
    there.open("same")
    assert there.client.cookies["ms_survey"] == token


def test_a_session_stays_on_its_version(survey: Tiny) -> None:
    first = open_(survey.desk, "early")[1]
    add_version(survey.store, tiny_study(slots=4, seed=99, title=english("Another title")), survey.desk.media)
    assert open_(survey.desk, "early")[1]["title"] == first["title"] == "A small test"
    assert open_(survey.desk, "new")[1]["title"] == "Another title"
    assert list(survey.store.participants("tiny").version) == [1, 2]


def test_a_preview_takes_no_slot_and_counts_nowhere(survey: Tiny) -> None:
    first = open_(survey.desk, "me", preview=True)[1]
    second = open_(survey.desk, "me too", preview=True)[1]
    live = open_(survey.desk, "me")[1]
    assert (first["preview"], live["preview"]) == (True, False)
    # Previews go through the slots in turn.
    assert order(first) != order(second)
    assert slots(survey).keys() == {0}
    assert survey.store.funnel("tiny")["opened"] == 1
    # A panel's code is not to be had in this way.
    visitor = survey.visitor().open("panel", preview=True).prepare().rank_all()
    assert visitor.finish()["code"] == visitor.open("panel", preview=True).state["finish"]["code"] == "PREVIEW"


def test_letters_are_the_same_for_all_criteria_and_differ_between_trials(survey: Tiny) -> None:
    state = open_(survey.desk, "x")[1]
    assert [trial["number"] for trial in state["trials"]] == [0, 1, 2]
    assert [trial["criteria"] for trial in state["trials"]] == [["content"], ["content", "style"], ["content", "style"]]
    for trial in state["trials"]:
        assert [clip["letter"] for clip in trial["clips"]] == ["A", "B", "C"]
    plan = survey.store.slots(survey.version.id)[0]
    assert plan.trials[0].order != plan.trials[1].order
    media = {(one.piece, one.direction, one.system): one.media for one in survey.store.stimuli(survey.version.id)}
    for trial, planned in zip(state["trials"][1:], plan.trials, strict=True):
        expected = [media[planned.piece, planned.direction, system] for system in planned.order]
        assert [clip["src"][-32:] for clip in trial["clips"]] == expected
        assert trial["gold"]["src"][-32:] == media[planned.piece, planned.direction, "gold"]
        assert trial["duration_s"] == 0.25


def test_no_word_of_the_state_tells_a_system_or_a_piece(survey: Tiny) -> None:
    ticket, state = open_(survey.desk, "x")
    told = json.dumps(state)
    words = set(re.findall("[a-z-]+", told.lower()))
    assert {"gold", "letter", "content"} <= words
    assert not words & {*SYSTEMS, *PIECES, *DIRECTIONS, "warm-up"}
    assert ticket.token not in told


QUESTIONS = (
    Question("experience", english("?"), "choice", (Option("none", english("No")), Option("long", english("Yes")))),
    Question("age", english("?"), "number"),
    Question("why", english("?"), "text", required=False),
)


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        ({"experience": "long", "age": 30}, ""),
        ({"experience": "none", "age": 0, "why": "Because."}, ""),
        ({"experience": "none", "age": 0, "why": ""}, ""),
        ({"age": 30}, "answers.experience"),
        ({"experience": "", "age": 30}, "answers.experience"),
        ({"experience": "some", "age": 30}, "answers.experience"),
        ({"experience": 1, "age": 30}, "answers.experience"),
        ({"experience": "long", "age": "30"}, "answers.age"),
        ({"experience": "long"}, "answers.age"),
        ({"experience": "long", "age": 30, "why": 3}, "answers.why"),
        ({"experience": "long", "age": 30, "mood": "good"}, "answers.mood"),
    ],
)
def test_background_answers_fit_their_questions(tmp_path: Path, answers: dict[str, Any], wrong: str) -> None:
    survey = tiny(tmp_path, study=tiny_study(background=QUESTIONS))
    ticket, _ = open_(survey.desk, "x")
    survey.desk.consent(ticket, language="en", generation=0)
    if not wrong:
        state = survey.desk.background(ticket, answers, generation=1)
        assert (state["background"]["answers"], state["background"]["done"]) == (answers, True)
    else:
        with pytest.raises(SurveyError) as refusal:
            survey.desk.background(ticket, answers, generation=1)
        assert (refusal.value.status, refusal.value.field) == (422, wrong)
        assert survey.desk.state(ticket)["background"]["done"] is False
    survey.store.close()


def test_languages(tmp_path: Path) -> None:
    german = re.sub(r'{"en":"([^"]*)"}', r'{"en":"\1","de":"Auf Deutsch: \1"}', to_json(tiny_study()))
    study = from_json(german.replace('"languages":["en"]', '"languages":["en","de"]'))
    survey = tiny(tmp_path)
    early = open_(survey.desk, "early")[0]
    add_version(survey.store, study, survey.desk.media)
    # Whoever began when there was English alone goes on in it, and can consent to it.
    assert open_(survey.desk, "early", language="de", ticket=early)[1]["language"] == "en"
    assert survey.desk.consent(early, language="en", generation=0)["consent"]["given"]
    ticket, state = open_(survey.desk, "x", language="de")
    assert (state["language"], state["welcome"]) == ("de", "Auf Deutsch: Welcome.")
    assert state["criteria"][0]["best"] == "Auf Deutsch: best"
    assert state["background"]["questions"][0]["options"][0]["text"] == "Auf Deutsch: Not at all"
    assert state["words"] == {"next": "Auf Deutsch: On"}
    assert open_(survey.desk, "y", language="xx")[1]["language"] == "en"
    # Another may be chosen until consent is given, and none asked for leaves the one there is.
    for asked, spoken in (("en", "en"), ("de", "de"), ("", "de"), ("xx", "de")):
        assert open_(survey.desk, "x", language=asked, ticket=ticket)[1]["language"] == spoken
    assert survey.desk.consent(ticket, language="en", generation=0)["welcome"] == "Welcome."
    assert open_(survey.desk, "x", language="de", ticket=ticket)[1]["language"] == "en"
    with pytest.raises(SurveyError) as refusal:
        survey.desk.consent(ticket, language="fr", generation=1)
    assert (refusal.value.status, refusal.value.field) == (422, "language")
    assert (say({"en": "Hello."}, "fr"), say({}, "en")) == ("Hello.", "")
    survey.store.close()


def test_nothing_is_kept_before_consent(survey: Tiny) -> None:
    ticket, state = open_(survey.desk, "x")
    trial = state["trials"][0]
    ranks = {clip["item"]: rank for rank, clip in enumerate(trial["clips"], 1)}
    for act in (
        lambda: survey.desk.background(ticket, {"experience": "long"}, generation=0),
        lambda: survey.desk.sound(ticket, Screening(0.5, "pass"), generation=0),
        lambda: survey.desk.draft(ticket, trial=trial["id"], criterion="content", draft=Draft(ranks, 1)),
        lambda: survey.desk.events(ticket, [PlaybackEvent(trial["id"], "gold", "heard", 1, 1)]),
        lambda: survey.desk.answer(ticket, NewAnswer("0" * 32, trial["id"], "content", ranks, 0, 1)),
        lambda: survey.desk.finish(ticket, generation=0),
    ):
        with pytest.raises(SurveyError) as refusal:
            act()
        assert (refusal.value.status, "consent" in str(refusal.value)) == (409, True)
    kept = survey.store.history("tiny").tables
    for name in ("background", "screening", "draft", "playback_event", "response"):
        assert kept[name] == ()


def test_what_is_missing_at_the_end_is_named(survey: Tiny) -> None:
    visitor = survey.visitor().open("x")
    refusal = visitor.post("finish", {"generation": 0}).json()["error"]
    assert refusal == (
        "Still to be answered: the consent, the background questions, the sound check, "
        "the practice trial, trial 1, trial 2."
    )
    visitor.prepare()
    trial = visitor.state["trials"][1]
    visitor.hear(trial)
    visitor.done("answers", visitor.body(trial, "content"))
    answer = visitor.post("finish", {"generation": visitor.state["generation"]})
    assert answer.status_code == 409
    assert answer.json()["error"] == "Still to be answered: the practice trial, trial 1, trial 2."
    assert not survey.desk.store.participants("tiny").status.eq("complete").any()


def test_only_hashes_of_who_came_are_kept(survey: Tiny) -> None:
    ticket, _ = open_(survey.desk, "5f2a-PROLIFIC-ID")
    kept = str(survey.store.history("tiny").tables)
    assert "PROLIFIC" not in kept
    assert ticket.token not in kept
    assert ticket.token_hash in kept
