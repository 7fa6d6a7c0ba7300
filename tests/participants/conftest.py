"""A survey that is served, and participants' browsers, for each file of tests one of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browsing import FLAGS
from tests.survey_serving import Served, Visit, serving, visiting


@pytest.fixture(scope="module")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("survey")) as started:
        yield started


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Any]:
    playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
    pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (extra `dev`)")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chrome: Any, served: Served) -> Iterator[Visit]:
    with visiting(chrome, served) as open_page:
        yield open_page
