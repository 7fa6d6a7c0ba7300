"""A survey that is served for all files of tests here, and participants' browsers."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.survey_serving import Served, Visit, serving, visiting


@pytest.fixture(scope="package")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("survey")) as started:
        yield started


@pytest.fixture
def visit(chrome: Any, served: Served) -> Iterator[Visit]:
    if served.process is None:  # A test that kills it has failed before it started it again.
        served.start()
    with visiting(chrome, served) as open_page:
        yield open_page
