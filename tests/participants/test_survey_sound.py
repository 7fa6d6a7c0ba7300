"""What participants hear: switching, looping, the order as music, the headphone check."""

import pytest

from tests.survey_serving import (
    Served,
    Visit,
    checked,
    hear_all,
    rank,
    set_volume,
    state,
    tile,
    to_practice,
    to_sound,
)

pytestmark = pytest.mark.browser

POSITION = "document.querySelector('.sv-survey').deck.position"


def test_switching_keeps_the_place(visit: Visit) -> None:
    page = visit("?study=music-star")
    to_practice(page)
    hear_all(page)
    place = f"document.querySelector('.sv-survey').deck.context.currentTime - {POSITION}"
    before = page.evaluate(place)
    for key in "bda0ec":
        page.keyboard.press(key)
        page.wait_for_timeout(80)
        rounds = (page.evaluate(place) - before) / 1.2
        assert abs(rounds - round(rounds)) * 1.2 < 0.02, "switching moved the position"


def test_headphone_check(visit: Visit, served: Served) -> None:
    page = visit("?study=music-star")
    levels, phases, rounds = page.evaluate("""() => {
      const { rounds, tones } = window.MusicStar.headphones;
      const [left, right] = tones(["plain", "quiet", "opposite"], 8000);
      const part = (ear, k) => ear.subarray(k * 12000 + 1000, k * 12000 + 7000);
      const dot = (one, other) => one.reduce((sum, x, n) => sum + x * other[n], 0);
      const level = (k) => Math.sqrt(dot(part(left, k), part(left, k)) / 6000);
      const phase = (k) => dot(part(left, k), part(right, k)) / dot(part(left, k), part(left, k));
      return [[0, 1, 2].map(level), [0, 1, 2].map(phase), rounds()];
    }""")
    assert levels[1] / levels[0] == pytest.approx(10 ** (-6 / 20), abs=1e-3)
    assert levels[2] == pytest.approx(levels[0], rel=1e-3)
    assert phases == pytest.approx([1, 1, -1])
    assert len({tuple(order) for order in rounds}) == 6
    assert sorted(order.index("quiet") for order in rounds) == [0, 0, 1, 1, 2, 2]

    mono = "Object.defineProperty(AudioDestinationNode.prototype, 'maxChannelCount', {get: () => 1})"
    page = visit("?study=music-star", script=mono)
    to_sound(page)
    set_volume(page)
    page.wait_for_selector("text=The headphone check is unavailable")
    checked(page)
    page.click("text=Continue")
    page.wait_for_selector(".sv-how")
    assert served.screening(state(page)["trials"][0]["id"])[1:] == ("unavailable", [])
    without = visit("?study=music-star", script="delete window.AudioContext")
    to_sound(without)
    without.click("text=Continue")
    without.wait_for_selector("text=The headphone check is unavailable")
    without.click("text=Continue")
    without.wait_for_selector("text=This browser cannot play the sounds")


def test_a_recording_that_does_not_come_at_once(visit: Visit) -> None:
    page = visit("?study=music-star")
    to_sound(page)
    clip = state(page)["trials"][0]["clips"][2]
    page.route(f"**{clip['src']}", lambda route: route.abort(), times=1)
    set_volume(page)
    page.click("text=Skip the check")
    page.click("text=Begin the practice")
    page.wait_for_selector(f"{tile('c')}:has-text('could not be loaded; it is tried again')")
    page.click(tile("c"))
    page.wait_for_selector(f"{tile('c')}.sv-heard")


def test_the_order_is_played_and_a_mark_ends_it(visit: Visit) -> None:
    page = visit("?study=music-star")
    to_practice(page)
    page.click("text=Play in order")
    assert page.inner_text(".sv-live") == "Nothing is ranked yet."
    hear_all(page)
    rank(page, "CEBAD")
    page.keyboard.press("o")
    page.wait_for_selector(f"{tile('c')}.sv-on")
    page.wait_for_selector(f"{tile('e')}.sv-on")
    page.click("button:has-text('Stop')")
    page.wait_for_function("!document.querySelector('.sv-survey').deck.playing")
    page.click("text=Play in order")
    page.wait_for_selector(f"{tile('c')}.sv-on")
    box = page.locator(".sv-timeline").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_selector("button:has-text('Play in order')")
    region = page.evaluate("document.querySelector('.sv-survey').deck.region")
    assert region["start"] == pytest.approx(0.36, abs=0.02)
    assert region["end"] == pytest.approx(0.72, abs=0.02)
    handle = page.locator("[aria-label='End of the loop']")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuetext") == "0.8 of 1.2 seconds"
    page.click("[aria-label='Loop the whole piece again']")
    assert page.evaluate("document.querySelector('.sv-survey').deck.region") is None


def test_single_keys_can_be_switched_off(visit: Visit) -> None:
    page = visit("?study=music-star")
    to_practice(page)
    page.click(".sv-keys summary")
    page.uncheck("text=Single keys work")
    page.keyboard.press("b")
    assert page.locator(f"{tile('b')}.sv-current").count() == 0
    page.check("text=Single keys work")
    page.keyboard.press("b")
    page.wait_for_selector(f"{tile('b')}.sv-on")
