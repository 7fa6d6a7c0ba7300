"""What may go wrong on a participant's way: servers, connections, tabs and devices; no answer is lost or doubled."""

import re
import time
from typing import Any

import pytest

from tests.survey_serving import (
    Served,
    Visit,
    answer,
    checked,
    hear_all,
    rank,
    serious_faults,
    set_volume,
    shown_order,
    state,
    to_practice,
)

pytestmark = pytest.mark.browser


def test_a_killed_server_loses_nothing(visit: Visit, served: Served) -> None:
    page = visit("?study=brief")
    to_practice(page)
    answer(page, "ABCDE")
    page.click("text=Begin")
    hear_all(page)
    first = state(page)["trials"][1]
    page.keyboard.press("d")
    page.keyboard.press("1")
    page.wait_for_function("document.querySelector('.sv-status').textContent === 'Saved'")
    served.kill()
    page.keyboard.press("b")
    page.keyboard.press("2")
    page.wait_for_selector("text=Not sent yet: kept on this device, sent when the connection is back")
    rank(page, "DBACE")
    page.click(".sv-continue")
    # The participant goes on meanwhile.
    page.wait_for_selector("text=Question 2 of 2")
    began = time.monotonic()
    rank(page, "EDCBA")
    page.keyboard.press("a")
    page.keyboard.press("1")
    assert shown_order(page) == "ADCBE"
    served.start()
    page.wait_for_selector("text=All answers are sent", timeout=60_000)
    assert served.rankings(first["id"]) == {("content", 1): "DBACE"}
    spent_s = time.monotonic() - began
    page.reload()
    page.wait_for_selector("text=Question 2 of 2")
    assert shown_order(page) == "ADCBE"
    assert [clip["letter"] for clip in state(page)["trials"][1]["clips"]] == list("ABCDE")
    assert state(page)["trials"][1]["clips"] == first["clips"]
    page.click(".sv-continue")
    page.wait_for_selector("text=Piece 1 of 2 is done")
    page.wait_for_function("document.querySelector('.sv-status').textContent === 'Saved'")
    assert served.rankings(first["id"])["style", 1] == "ADCBE"
    assert served.elapsed_ms(first["id"])["style"] > 900 * spent_s, "the time before the reload counts too"


def test_a_crash_between_answer_and_sending(visit: Visit, served: Served) -> None:
    page = visit("?study=brief")
    to_practice(page)
    hear_all(page)
    rank(page, "CABED")
    practice = state(page)["trials"][0]
    page.context.set_offline(True)
    page.click(".sv-continue")
    page.wait_for_selector("text=That was the practice")
    link = page.url.removeprefix(served.url)
    page.close(run_before_unload=False)
    context = page.context
    context.set_offline(False)
    again = visit(link, context=context)
    again.wait_for_selector("text=That was the practice")
    # What was kept is sent once the page is there; nothing on the page tells when.
    deadline = time.monotonic() + 30
    while not state(again)["trials"][0]["answered"]["content"] and time.monotonic() < deadline:
        again.wait_for_timeout(100)
    assert served.rankings(practice["id"]) == {("content", 1): "CABED"}


def test_another_device_goes_on_and_the_old_page_is_told(visit: Visit, served: Served) -> None:
    page = visit("?study=brief&participant=MOVES.1")
    to_practice(page)
    answer(page, "ABCDE")
    page.click("text=Begin")
    hear_all(page)
    page.keyboard.press("c")
    page.keyboard.press("2")
    page.wait_for_function("document.querySelector('.sv-status').textContent === 'Saved'")
    other = visit("?study=brief&participant=MOVES.1", viewport={"width": 390, "height": 844})
    other.wait_for_selector("text=set the level once more")
    set_volume(other)
    other.wait_for_selector(".sv-trial")
    assert shown_order(other) == ".C..."
    page.keyboard.press("c")
    page.keyboard.press("1")
    page.wait_for_selector("text=The survey went on elsewhere")
    other.keyboard.press("d")
    other.keyboard.press("1")
    other.wait_for_function("document.querySelector('.sv-status').textContent === 'Saved'")
    page.click(".sv-buttons button")
    page.wait_for_selector(".sv-trial")
    assert shown_order(page) == "DC..."


@pytest.mark.parametrize("channel", [True, False])
def test_two_tabs(visit: Visit, served: Served, channel: bool) -> None:
    script = "" if channel else "delete window.BroadcastChannel"
    page = visit("?study=brief", script=script)
    to_practice(page)
    hear_all(page)
    practice = state(page)["trials"][0]
    second = visit(page.url.removeprefix(served.url), context=page.context, script=script)
    second.wait_for_selector(".sv-trial")
    if channel:
        page.wait_for_selector("text=The survey is open in another tab")
    answer(second, "BACDE")
    if not channel:
        rank(page, "EDCBA")
        page.click(".sv-continue")
        page.wait_for_selector("text=The survey went on elsewhere")
    assert served.rankings(practice["id"]) == {("content", 1): "BACDE"}
    page.click(".sv-buttons button")
    page.wait_for_selector("text=That was the practice")
    if channel:
        second.wait_for_selector("text=The survey is open in another tab")


def test_offline_from_one_piece_to_the_next(visit: Visit, served: Served) -> None:
    page = visit("?study=brief")
    to_practice(page)
    answer(page, "ABCDE")
    page.click("text=Begin")
    _, first, second = state(page)["trials"]
    answer(page, "EABCD")
    # The recordings of the next piece are fetched while those of this one are heard.
    page.wait_for_function(
        "(srcs) => srcs.every((src) => performance.getEntriesByName(new URL(src, location).href).length)",
        arg=[clip["src"] for clip in second["clips"]],
    )
    page.wait_for_timeout(500)
    page.context.set_offline(True)
    answer(page, "DEABC")
    page.wait_for_selector("text=Not sent yet: kept on this device, sent when the connection is back")
    assert serious_faults(page) == []
    page.click("text=Go on to the next piece")
    answer(page, "CDEAB")
    answer(page, "BCDEA")
    page.wait_for_selector("text=Please keep this page open until they are sent")
    assert served.rankings(second["id"]) == {}
    page.context.set_offline(False)
    page.wait_for_selector(".sv-code")
    assert served.rankings(first["id"]) == {("content", 1): "EABCD", ("style", 1): "DEABC"}
    assert served.rankings(second["id"]) == {("content", 1): "CDEAB", ("style", 1): "BCDEA"}


def test_not_saved_and_refused_keep_the_answers_in_the_page(visit: Visit, served: Served) -> None:
    page = visit("?study=brief")
    to_practice(page)
    hear_all(page)
    rank(page, "ABCDE")
    practice = state(page)["trials"][0]
    times: list[float] = []
    bodies: list[Any] = []

    def full(route: Any) -> None:
        times.append(time.monotonic())
        bodies.append(route.request.post_data_json)
        if len(times) < 4:
            route.fulfill(status=503, json={"error": "Not saved: the disk is full.", "field": "", "reload": False})
        else:
            route.continue_()

    page.route("**/survey/api/answers", full)
    page.click(".sv-continue")
    page.wait_for_selector("[role=alert]:has-text('Not saved')")
    assert shown_order(page) == "ABCDE"
    # A change meanwhile is what is sent.
    page.click("[aria-label='Move B up']")
    page.click(".sv-continue")
    page.wait_for_selector("text=That was the practice")
    assert served.rankings(practice["id"]) == {("content", 1): "BACDE"}
    assert bodies[-1]["submission"] == bodies[-2]["submission"] != bodies[0]["submission"]
    assert times[-1] - times[-2] > 0.7, "it is tried again at once"

    page.click("text=Begin")
    page.wait_for_selector(".sv-trial")
    hear_all(page)
    rank(page, "EDCBA")
    page.unroute("**/survey/api/answers")
    refusal = {"error": "A rank is a number from 1 to 5.", "field": "ranks", "reload": False}
    page.route("**/survey/api/answers", lambda route: route.fulfill(status=422, json=refusal), times=1)
    page.click(".sv-continue")
    page.wait_for_selector("[role=alert]:has-text('This answer was not taken: A rank is a number from 1 to 5.')")
    assert shown_order(page) == "EDCBA"
    page.click(".sv-continue")
    page.wait_for_selector("text=Question 2 of 2")


def test_a_lost_receipt_does_no_harm(visit: Visit, served: Served) -> None:
    """The server has what was sent, and the page does not know."""
    page = visit("?study=brief")
    lost: list[str] = []

    def lose(route: Any) -> None:
        if route.request.url in lost:
            route.continue_()
            return
        lost.append(route.request.url)
        route.fetch()
        route.abort()

    for path in ("consent", "background", "sound"):
        page.route(f"**/survey/api/{path}", lose)
    to_practice(page)
    assert [url.rpartition("/")[2] for url in lost] == ["consent", "background", "sound"]

    practice = state(page)["trials"][0]
    hear_all(page)
    rank(page, "ABCDE")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/survey/api/answers", hold, times=1)
    page.click(".sv-continue")
    deadline = time.monotonic() + 30
    while not held and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    # What is changed before anything is known of it is a revision. At once, for after five seconds the page goes on.
    page.evaluate(
        "for (const pressed of ['[aria-label=\"Move B up\"]', '.sv-continue']) document.querySelector(pressed).click();"
    )
    held[0].fetch()
    held[0].abort()
    page.wait_for_selector("text=That was the practice")
    page.wait_for_function("document.querySelector('.sv-status').textContent !== 'Saving…'")
    deadline = time.monotonic() + 30
    while len(served.rankings(practice["id"])) < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert served.rankings(practice["id"]) == {("content", 1): "ABCDE", ("content", 2): "BACDE"}
    page.click("text=Begin")
    page.wait_for_selector(".sv-trial")


def test_what_something_in_between_says_is_not_the_surveys_word(visit: Visit, served: Served) -> None:
    page = visit("?study=brief")
    to_practice(page)
    practice = state(page)["trials"][0]
    hear_all(page)
    rank(page, "EDCBA")
    page.route("**/survey/api/answers", lambda route: route.fulfill(status=404, body="<html>Not here</html>"), times=1)
    page.click(".sv-continue")
    page.wait_for_selector("text=That was the practice")
    page.wait_for_selector("text=All answers are sent")
    assert served.rankings(practice["id"]) == {("content", 1): "EDCBA"}


def test_links(visit: Visit, served: Served) -> None:
    page = visit("?study=music-star")
    made = re.search(r"participant=([\w-]+)", page.url)
    assert made is not None
    assert state(page)["participant"] == made.group(1)
    again = visit("?study=music-star", context=page.context)
    again.wait_for_selector("text=You have begun already")
    checked(again)
    again.click("text=Go on where it stopped")
    again.wait_for_selector("text=I agree, and begin")
    assert f"participant={made.group(1)}" in again.url
    panel = visit("?PROLIFIC_PID=5f0c&SESSION_ID=1&preview=1")
    panel.wait_for_selector("text=Preview: nothing you do here counts")
    told = state(panel)
    assert (told["participant"], told["preview"]) == ("5f0c", True)
    assert "participant=" not in panel.url
    panel.click("text=I do not agree")
    panel.wait_for_selector("text=the survey does not begin")
    checked(panel)
    panel.click("text=Back")
    panel.wait_for_selector("text=I agree, and begin")
    unknown = visit("?study=nothing")
    assert "There is no such study." in unknown.inner_text(".sv-page")
    # A "+" in a link reads as a space; a number that cannot be used is named, and a preview is one however it is said.
    mail = visit("?study=music-star&participant=a+b@c.de%20&preview=TRUE")
    mail.wait_for_selector("text=Preview: nothing you do here counts")
    assert state(mail)["participant"] == "a+b@c.de"
    odd = visit("?study=music-star&participant=%3Cb%3E")
    assert "The participant number in this link, <b>, has characters" in odd.inner_text(".sv-page")


def test_a_browser_without_cookies_or_with_a_damaged_store(visit: Visit) -> None:
    refusing = "Object.defineProperty(Navigator.prototype, 'cookieEnabled', {get: () => false})"
    page = visit("?study=music-star", script=refusing)
    assert page.inner_text("h1") == "This browser keeps no cookies"
    for outbox in ("null", "[null]", '[{"path": "answers"}]', "3"):
        kept = f'{{"outbox": {outbox}, "times": 3}}'
        script = f"localStorage.setItem('musicstar.survey:music-star:DAMAGED', {kept!r})"
        page = visit("?study=music-star&participant=DAMAGED", script=script)
        page.wait_for_selector("text=I agree, and begin")
