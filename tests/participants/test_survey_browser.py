"""The survey in a real browser: participants by mouse, by keyboard and by touch."""

import re
from typing import Any

import pytest

from tests.survey_serving import (
    Served,
    Visit,
    answer,
    drag,
    hear_all,
    rank,
    shown_order,
    state,
    study,
    swipe,
    tab_to,
    tile,
)

pytestmark = pytest.mark.browser

POSITION = "document.querySelector('.sv-survey').deck.position"


def test_by_mouse(visit: Visit, served: Served) -> None:
    page = visit("?study=music-star")
    texts: list[str] = []
    told: dict[str, set[str]] = {}

    def note(response: Any) -> None:
        if "/survey/media/" in response.url:
            for name in ("content-length", "last-modified"):
                told.setdefault(name, set()).add(response.headers[name])
            assert response.headers["etag"] == f'"{response.url[-32:]}"'
            texts.append(str(response.headers))
        elif "/survey/api/" in response.url:
            texts.append(response.text())

    page.on("response", note)
    page.click("text=I agree, and begin")
    page.click("text=Continue")
    assert "Not answered yet: How much experience" in page.inner_text("[role=alert]")
    for group in page.locator("[role=radiogroup]").all():
        group.locator("label").last.click()
    assert page.inner_text("[role=alert]") == ""
    page.click("text=Continue")
    page.wait_for_selector(".sv-volume")
    page.click("text=Continue")
    assert "play the clip first" in page.inner_text("[role=alert]")
    page.click(".ms-play")
    page.fill(".ms-volume", "0.4")
    page.wait_for_selector(".ms-play[aria-label='Pause the clip']")
    page.click("text=Continue")
    page.click("text=Begin the check")
    page.click(".sv-three button >> nth=0")
    assert "play the tones first" in page.inner_text("[role=alert]")
    for _ in range(6):
        page.click("text=Play the tones")
        page.click(".sv-three button >> nth=1")
    page.click("text=Begin the practice")
    page.wait_for_selector(".sv-trial")

    # What is missing is named; what was not heard cannot be ranked.
    page.click(".sv-continue")
    assert page.inner_text("[role=alert]") == (
        "Not heard yet: Gold standard, A, B, C, D, E. Not ranked yet: A, B, C, D, E."
    )
    page.click(tile("b"))
    page.click(".sv-number >> nth=0")
    assert "Please listen to B a little longer" in page.inner_text(".sv-live")
    assert shown_order(page) == "....."
    hear_all(page)
    numbers, rows = page.locator(".sv-number"), page.locator(".sv-slot")
    page.click(tile("b"))
    numbers.nth(0).click()
    assert page.inner_text(".sv-live") == "B has rank 1. 1 of 5 ranked."
    drag(page, page.locator(tile("e")), rows.nth(2))
    assert shown_order(page) == "B.E.."
    drag(page, rows.nth(2), rows.nth(0))
    assert shown_order(page) == "E.B.."
    assert page.inner_text(".sv-live") == "E has rank 1, B now rank 3. 2 of 5 ranked."
    page.click(tile("c"))
    numbers.nth(2).click()
    assert shown_order(page) == "E.C.."
    assert "B has none now" in page.inner_text(".sv-live")
    page.click("[aria-label='Move C up']")
    assert page.evaluate("document.activeElement.ariaLabel") == "Move C up"
    assert shown_order(page) == "EC..."
    page.click(".sv-continue")
    assert page.inner_text("[role=alert]") == "Not ranked yet: A, B, D."
    for letter, place in (("a", 2), ("b", 3), ("d", 4)):
        page.click(tile(letter))
        page.click(f".sv-offer >> nth={place}")
    assert shown_order(page) == "ECABD"
    assert page.inner_text("[role=alert]") == ""

    # The order can be heard: each output from its beginning to its end.
    page.click("text=Play in order")
    for letter in "ECABD":
        page.wait_for_selector(f"{tile(letter)}.sv-on")
    page.wait_for_selector("button:has-text('Play in order')")
    practice, first, second = state(page)["trials"]
    page.click(".sv-continue")
    page.click("text=Begin")
    answer(page, "ABCDE")
    assert shown_order(page) == "....."
    answer(page, "BADCE")
    page.click("text=Go on to the next piece")
    answer(page, "CDEAB")
    answer(page, "EDCBA")
    page.wait_for_selector(".sv-code")
    assert page.inner_text(".sv-code") == "MUSIC-STAR-30"
    assert state(page)["complete"]
    page.reload()
    page.wait_for_selector(".sv-code")

    assert served.rankings(practice["id"]) == {("content", 1): "ECABD"}
    assert served.rankings(first["id"]) == {("content", 1): "ABCDE", ("style", 1): "BADCE"}
    assert served.rankings(second["id"]) == {("content", 1): "CDEAB", ("style", 1): "EDCBA"}
    volume, result, answers = served.screening(first["id"])
    # The second tone is the quiet one in two rounds of six.
    assert (volume, result, answers) == (0.4, "fail", [2] * 6)
    assert [len(values) for values in told.values()] == [1, 1], "sizes or times tell recordings apart"
    secrets = {name for one in study().systems for name in (one.key, one.title)} - {"single", "stem", "mixture"}
    assert not [word for word in secrets if any(re.search(rf"\b{word}\b", text) for text in texts)]


def test_by_keyboard_alone(visit: Visit, served: Served) -> None:
    page = visit("?study=music-star&participant=KEYS")
    tab_to(page, ".sv-buttons button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sv-question")
    for number in range(3):
        tab_to(page, f".sv-question:nth-of-type({number + 1}) input")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
    tab_to(page, ".sv-buttons button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sv-volume")
    tab_to(page, ".ms-play")
    page.keyboard.press("Enter")
    page.wait_for_selector(".ms-play[aria-label='Pause the clip']")
    tab_to(page, ".sv-buttons button")
    page.keyboard.press("Enter")
    for _ in range(2):
        tab_to(page, ".sv-buttons button:first-child, .sv-plain")
        page.keyboard.press("Enter")
    page.wait_for_selector(".sv-how")
    tab_to(page, ".sv-buttons button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sv-trial")

    # Everything by Tab and Enter: a reader of screens uses no single keys.
    tab_to(page, ".sv-gold")
    page.keyboard.press("Enter")
    for number in range(5):
        tab_to(page, f".sv-tiles .sv-tile:nth-child({number + 1})")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"{tile('ABCDE'[number])}.sv-heard")
        assert page.evaluate("document.activeElement.ariaLabel").startswith(f"Output {'ABCDE'[number]}, heard")
    tab_to(page, ".sv-slot:nth-child(3) .sv-number")
    assert page.evaluate("document.activeElement.ariaLabel") == "Rank 3 of 5: empty. Give E rank 3"
    page.keyboard.press("Enter")
    assert page.inner_text(".sv-live[aria-live=polite]") == "E has rank 3. 1 of 5 ranked."
    tab_to(page, "[aria-label='Move E up']")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert shown_order(page) == "E...."
    assert page.inner_text(".sv-live") == "E is at the top already."

    # The rest by single keys, and a region is looped.
    hear_all(page)
    page.keyboard.press("Escape")
    rank(page, "EDCBA")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert shown_order(page) == "EDACB"
    page.keyboard.press("x")
    page.wait_for_selector(f"{tile('b')}.sv-current")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.evaluate("document.querySelector('.sv-survey').deck.seek(0.3)")
    page.keyboard.press("[")
    page.evaluate("document.querySelector('.sv-survey').deck.seek(0.6)")
    page.keyboard.press("]")
    page.wait_for_selector("[aria-label='Start of the loop']")
    positions = []
    for _ in range(20):
        page.wait_for_timeout(50)
        positions.append(page.evaluate(POSITION))
    # It went on between seeking and marking.
    region = page.evaluate("document.querySelector('.sv-survey').deck.region")
    assert 0.3 <= region["start"] < region["end"] < 0.9
    assert region["start"] - 0.01 <= min(positions)
    assert max(positions) <= region["end"] + 0.02
    page.keyboard.press("Escape")
    practice, _, second = state(page)["trials"]
    for trial in range(3):
        for question in range(2 if trial else 1):
            if trial:
                hear_all(page)
                rank(page, "BCDEA" if question else "DEABC")
            tab_to(page, ".sv-continue")
            page.keyboard.press("Enter")
            page.wait_for_function("() => !document.querySelector('.sv-slot.sv-taken')")
        if trial < 2:
            tab_to(page, ".sv-buttons button")
            page.keyboard.press("Enter")
            page.wait_for_selector(".sv-trial")
    page.wait_for_selector(".sv-code")
    assert served.rankings(practice["id"]) == {("content", 1): "EDACB"}
    assert served.rankings(second["id"]) == {("content", 1): "DEABC", ("style", 1): "BCDEA"}


def test_by_touch_on_a_phone(visit: Visit, served: Served) -> None:
    page = visit("?study=brief", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.tap("text=I agree, and begin")
    page.wait_for_selector(".sv-question")
    for group in page.locator("[role=radiogroup]").all():
        group.locator("label").first.tap()
    page.tap("text=Continue")
    page.tap(".ms-play")
    page.wait_for_selector(".ms-play[aria-label='Pause the clip']")
    page.tap("text=Continue")
    page.tap("text=Skip the check")
    page.tap("text=Begin the practice")
    trials = state(page)["trials"]
    rows = page.locator(".sv-slot")
    for number, trial in enumerate(trials):
        if number:
            page.tap(".sv-buttons button")
        for _ in trial["criteria"]:
            page.wait_for_selector(".sv-trial")
            for letter in "0ABCDE":
                page.tap(tile(letter))
                page.wait_for_selector(f"{tile(letter)}.sv-current.sv-heard")
            swipe(page, page.locator(tile("A")), rows.nth(4))
            assert shown_order(page) == "....A"
            page.tap(tile("B"))
            page.tap(".sv-number >> nth=4")
            assert shown_order(page) == "....B"
            for letter in "CDEA":
                page.tap(tile(letter))
                page.tap(f".sv-number >> nth={'CDEA'.index(letter)}")
            swipe(page, page.locator(".sv-grip >> nth=0"), rows.nth(1))
            page.tap("[aria-label='Move B up']")
            assert shown_order(page) == "DCEBA"
            asked = page.inner_text(".sv-step")
            page.tap(".sv-continue")
            page.wait_for_function(
                "(asked) => document.querySelector('.sv-trial .sv-step')?.textContent !== asked", arg=asked
            )
    page.wait_for_selector(".sv-code")
    assert served.rankings(trials[2]["id"]) == {("content", 1): "DCEBA", ("style", 1): "DCEBA"}
