"""Every screen of the survey in a real browser: accessible, whole, in light and dark, small and large."""

import pytest

from tests.survey_serving import (
    Served,
    Visit,
    answer,
    checked,
    hear_all,
    set_volume,
    state,
)

pytestmark = pytest.mark.browser


def test_eight_systems_in_another_language_on_a_small_screen(visit: Visit, served: Served) -> None:
    page = visit("?study=large&language=de", viewport={"width": 360, "height": 740})
    page.wait_for_selector("h1:text-is('Eine große Studie')")
    assert page.evaluate("document.documentElement.lang") == "de"
    for language, title in (("en", "A large study"), ("de", "Eine große Studie")):
        page.select_option(".sv-language select", language)
        page.wait_for_selector(f"h1:text-is('{title}')")
        assert page.evaluate("document.documentElement.lang") == language
    checked(page)
    page.click("text=Ich bin einverstanden")
    # There are no questions, no headphone check, and no practice.
    page.wait_for_selector(".sv-volume")
    set_volume(page)
    page.wait_for_selector(".sv-how")
    trials = state(page)["trials"]
    for order in ("HGFEDCBA", "BADCFEHG"):
        page.click(".sv-buttons button")
        page.wait_for_selector(".sv-trial")
        checked(page)
        answer(page, order)
    page.wait_for_selector("text=Return to the panel")
    assert page.get_attribute(".sv-buttons a", "href") == "https://panel.example/done"
    assert not page.locator(".sv-code").count()
    checked(page)
    assert [list(served.rankings(trial["id"]).values()) for trial in trials] == [["HGFEDCBA"], ["BADCFEHG"]]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_every_screen_serves_everybody(visit: Visit, width: int, scheme: str) -> None:
    page = visit("?study=brief", viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    checked(page)
    page.click("text=I agree, and begin")
    page.wait_for_selector(".sv-question")
    page.click("text=Continue")
    checked(page)
    for group in page.locator("[role=radiogroup]").all():
        group.locator("label").first.click()
    page.click("text=Continue")
    page.wait_for_selector(".sv-volume")
    checked(page)
    set_volume(page)
    checked(page)
    page.click("text=Begin the check")
    checked(page)
    page.click("text=Skip the check")
    page.wait_for_selector(".sv-how")
    checked(page)
    page.click("text=Begin the practice")
    page.wait_for_selector(".sv-trial")
    page.click(".sv-keys summary")
    page.click(".sv-continue")
    checked(page)
    hear_all(page)
    page.keyboard.press("b")
    page.keyboard.press("2")
    checked(page)
    answer(page, "ABCDE")
    checked(page)
    page.click("text=Begin")
    answer(page, "ABCDE")
    answer(page, "ABCDE")
    page.wait_for_selector("text=is done")
    checked(page)
    page.click("text=Go on to the next piece")
    answer(page, "ABCDE")
    answer(page, "ABCDE")
    page.wait_for_selector(".sv-code")
    checked(page)
