"""The results page of a small survey that was taken, for all that tests it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher

from survey import accounts
from survey.simulate import simulate
from tests.results.results_site import PARTICIPANTS, Site, build_site, study
from tests.survey_study import tiny


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(accounts.VARIABLE, raising=False)
        patch.setattr(accounts, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A survey with a dozen participants, one who is under way, one preview; tests here change nothing of it."""
    folder = tmp_path_factory.mktemp("results")
    survey = tiny(folder, study=study())
    strengths = {"red": 4.0, "green": 2.0, "blue": 1.0}
    simulate(survey.desk, "tiny", participants=PARTICIPANTS, strengths=strengths, rng=np.random.default_rng(5))
    survey.visitor().open("UNDER-WAY").prepare()
    survey.visitor().open("LOOKING", preview=True).prepare().rank_all()
    return build_site(survey, folder)


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """A survey of three participants, to be changed at will; the last ranked by the letters, fast."""
    survey = tiny(tmp_path, study=study())
    strengths = {"red": 4.0, "green": 2.0, "blue": 1.0}
    simulate(survey.desk, "tiny", participants=2, strengths=strengths, rng=np.random.default_rng(7))
    survey.visitor().open("THIRD-3").prepare().rank_all().finish()
    return build_site(survey, tmp_path)
