"""The results in a real browser: logging in, reading, excluding, at both widths and in both modes."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import Store
from survey import scoring
from survey.accounts import write_user
from survey.session import SurveyDesk
from survey.simulate import simulate
from survey.ui.results import LIVE_S
from tests.browsing import PATIENCE_MS
from tests.survey_serving import Served, serious_faults, serving, study

playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (extra `dev`)")

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
PARTICIPANTS = 12
STRENGTHS = {"single": 1.0, "separation": 1.0, "embedding": 0.8, "stem": 2.0, "mixture": 6.0}
READY = {
    "scores": "#rs-scores .rs-section",
    "comparisons": "#rs-comparisons table",
    "people": "#rs-people table",
    "progress": "#rs-progress li",
}
WIDER = "() => document.documentElement.scrollWidth > innerWidth"
# How many of the figures in sight are drawn, and whether their words have the colour of the mode's ink.
DRAWN = """() => {
  const seen = [...document.querySelectorAll('.rs-plot')].filter((e) => e.checkVisibility());
  const drawn = seen.filter((e) => e.querySelector('svg.main-svg'));
  const probe = document.createElement('i');
  probe.style.color = getComputedStyle(document.body).getPropertyValue('--ms-ink');
  document.body.append(probe);
  const ink = getComputedStyle(probe).color;
  probe.remove();
  const words = drawn.flatMap((e) => [...e.querySelectorAll('.xtick text')]);
  const alike = words.length > 0 && words.every((e) => getComputedStyle(e).fill === ink);
  return {seen: seen.length, drawn: drawn.length, alike};
}"""

Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("results")) as started:
        write_user(started.folder, "ada", PASSWORD)
        with closing(store(started)) as opened:
            desk = SurveyDesk(opened, started.folder / "media")
            rng = np.random.default_rng(4)
            simulate(desk, "music-star", participants=PARTICIPANTS, strengths=STRENGTHS, rng=rng)
        yield started


@pytest.fixture
def visit(chrome: Any, served: Served) -> Iterator[Visit]:
    """Open the results in a browser of its own, which must neither complain nor ask another host."""
    contexts = []

    def open_page(
        *, logged_in: bool = True, query: str = "?study=music-star", clock: bool = False, **options: Any
    ) -> Any:
        context = chrome.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(3 * PATIENCE_MS)
        if clock:
            context.clock.install()
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((root(served), "data:", "blob:")) else page.complaints.append(asked.url)
            ),
        )
        contexts.append((context, page))
        page.goto(f"{root(served)}/results/{query}")
        if logged_in:
            log_in(page)
            page.wait_for_selector(READY["scores"])
        return page

    yield open_page
    for context, page in contexts:
        context.close()
        assert page.complaints == []


def root(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


def store(served: Served) -> Store:
    return Store(f"sqlite:///{served.folder / 'survey.sqlite'}")


def log_in(page: Any, password: str = PASSWORD) -> None:
    page.fill("#name", "ada")
    page.fill("#password", password)
    page.keyboard.press("Enter")


def show(page: Any, view: str) -> None:
    page.click(f".rs-nav a[href$='#{view}']")
    page.wait_for_selector(READY[view])


def see_figures(page: Any) -> dict[str, Any]:
    """Bring every figure of the view into sight, one after the other."""
    for place in page.locator(".rs-plot").all():
        if place.is_visible():
            place.scroll_into_view_if_needed()
            page.wait_for_function("(place) => place.querySelector('svg.main-svg')", arg=place.element_handle())
    found: dict[str, Any] = page.evaluate(DRAWN)
    return found


def test_logging_in_reading_the_scores_and_logging_out(visit: Visit, served: Served) -> None:
    page = visit(logged_in=False)
    assert page.url.startswith(f"{root(served)}/results/login?next=")
    assert serious_faults(page) == []
    log_in(page, "wrong horse")
    assert "do not belong together" in page.inner_text("[role=alert]")
    page.complaints.clear()  # the browser itself says that the answer was 401
    log_in(page)
    page.wait_for_selector(READY["scores"])
    assert page.url == f"{root(served)}/results/?study=music-star"
    with closing(store(served)) as opened:
        rankings = opened.rankings("music-star")
    systems = [system.key for system in study().systems]
    criteria = [one.key for one in study().criteria]
    pooled = [one for one in scoring.standings(rankings, systems=systems, criteria=criteria) if one.direction is None]
    expected = tuple(tuple(one.total for one in pooled if one.system == system) for system in systems)
    rows = page.locator("#rs-scores table").first.locator("tbody tr")
    shown = tuple(tuple(map(int, row.locator("td").all_inner_texts()[: len(criteria)])) for row in rows.all())
    assert shown == expected
    page.click("text=Log out")
    page.wait_for_selector("#password")
    page.goto(f"{root(served)}/results/")
    assert page.url.endswith("/results/login")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_part_is_whole_and_accessible(visit: Visit, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    for view in READY:
        show(page, view)
        assert page.locator(".rs-nav a[aria-current=page]").count() == 1
        assert not page.evaluate(WIDER), view
        if view in ("scores", "comparisons"):
            figures = see_figures(page)
            assert figures["seen"] == figures["drawn"] >= 4
            assert figures["alike"], "drawn in the colours of the mode"
        assert serious_faults(page) == [], view


def test_criteria_and_filters_change_what_is_shown(visit: Visit) -> None:
    page = visit()
    second, measured = study().criteria[1].title["en"], study().objective
    assert measured is not None
    always = len(measured.shown)
    page.click(f".rs-choices button:text-is('{second}')")
    page.wait_for_selector(f".rs-plot[aria-label^='{second}, ranks']")
    assert page.locator("#rs-scores .rs-section:not([hidden]) figure").count() == always + 4
    page.check("#rs-direction-0")
    page.wait_for_function("document.querySelector('#rs-scores .ms-hint').textContent.includes('12 rankings of each')")
    page.wait_for_selector("body:not(.rs-working)")
    assert page.locator("#rs-scores .rs-section:not([hidden]) figure").count() == always + 3, (
        "of one direction, and pooled"
    )
    page.click("text=Clear the filters")
    page.wait_for_function("document.querySelector('#rs-scores .ms-hint').textContent.includes('24 rankings of each')")
    # What changes nothing ends the waiting all the same.
    page.uncheck("#rs-late")
    page.wait_for_selector("body:not(.rs-working)")


def test_a_participant_is_excluded_with_a_reason_by_keys_alone(visit: Visit, served: Served) -> None:
    page = visit()
    show(page, "people")
    link = page.locator("#rs-people tbody th a").nth(3)
    name = link.inner_text()
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#rs-reason")
    assert page.inner_text("#rs-people h2") == name
    assert serious_faults(page) == []
    page.focus("#rs-reason")
    page.keyboard.type("<b>Asked</b> to be left out ${1+1}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rs-decisions li")
    assert "Excluded by ada" in page.inner_text(".rs-decisions")
    assert "<b>Asked</b> to be left out ${1+1}" in page.inner_text(".rs-decisions")
    with closing(store(served)) as opened:
        rows = opened.participants("music-star").set_index("participant")
    assert rows.loc[name, "reason"] == "<b>Asked</b> to be left out ${1+1}"
    assert page.input_value("#rs-reason") == ""
    page.wait_for_function("document.querySelector('.rs-counts').textContent.includes('excluded1')")
    page.go_back()
    page.wait_for_selector("#rs-people table.rs-people")
    assert "excluded" in page.locator(f"#rs-people tr:has-text('{name}')").inner_text()
    page.click(f"text={name}")
    page.fill("#rs-reason", "They changed their mind")
    page.click("text=Count in again")
    page.wait_for_selector(".rs-decisions li:nth-child(2)")
    with closing(store(served)) as opened:
        assert not opened.participants("music-star")["excluded"].any()


def test_new_rankings_are_told_of_and_counted_when_asked(visit: Visit, served: Served) -> None:
    page = visit(query="?study=large", clock=True)
    assert page.input_value(".rs-study select") == "large"
    page.wait_for_function("document.querySelector('.rs-counts').textContent.includes('rankings0')")
    with closing(store(served)) as opened:
        desk = SurveyDesk(opened, served.folder / "media")
        version = opened.latest("large")
        assert version is not None
        systems = [system["key"] for system in json.loads(version.config_json)["systems"]]
        strengths = dict.fromkeys(systems, 1.0)
        simulate(desk, "large", participants=1, strengths=strengths, rng=np.random.default_rng(1))
    page.clock.fast_forward(round(1000 * LIVE_S))
    page.click("text=Update the figures")
    page.wait_for_selector("#rs-scores tbody tr")
    assert page.locator("#rs-scores table").first.locator("tbody tr").count() == len(systems)


def test_a_database_out_of_reach_is_told_and_the_page_stays(visit: Visit, served: Served) -> None:
    page = visit()
    show(page, "people")
    link = page.locator("#rs-people tbody th a").first
    with closing(sqlite3.connect(served.folder / "survey.sqlite")) as connection:
        connection.execute("ALTER TABLE exclusion RENAME TO exclusion_away")
        try:
            link.click()
            page.wait_for_selector(".rs-trouble .ms-notice:has-text('The database cannot be read at this moment')")
            assert serious_faults(page) == []
        finally:
            connection.execute("ALTER TABLE exclusion_away RENAME TO exclusion")
    page.go_back()
    link.click()
    page.wait_for_selector("#rs-reason")
    assert not page.locator(".rs-trouble .ms-notice").is_visible()


def test_files_and_figures_are_saved(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    # A figure is drawn when it comes near.
    page.locator(".rs-plot").first.scroll_into_view_if_needed()
    page.wait_for_selector(".rs-plot svg.main-svg")
    with page.expect_download() as saved:
        page.locator("#rs-scores figure button:has-text('Save as SVG')").first.click()
    saved.value.save_as(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().startswith("<svg")
    show(page, "progress")
    for file in page.locator("#rs-progress a[download]").all():
        with page.expect_download() as saved:
            file.click()
        saved.value.save_as(tmp_path / "file")
        assert (tmp_path / "file").stat().st_size > 1000
        assert saved.value.suggested_filename.startswith("music-star-")


def test_a_session_that_ended_leads_to_the_login(visit: Visit) -> None:
    page = visit()
    page.context.clear_cookies()
    page.click("#rs-incomplete")
    page.wait_for_selector("#password")
    page.complaints.clear()  # the browser itself says that the answer was 401
