"""Tests of survey/locks.py, and of what survey/definition.py does with it: the hashes of a study's stimuli."""

import json
from pathlib import Path

import pytest

from survey import definition
from survey.definition import StudyError, load
from survey.locks import lock_path
from tests.study_file import TINY, written


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file with a file of a few bytes for each stimulus."""
    path = written(tmp_path)
    (path.parent / "clips").mkdir()
    for n, one in enumerate(load(path).stimuli):
        one.path.write_bytes(bytes([n]))
    return path


def test_the_lock_file_holds_the_hashes(tiny: Path) -> None:
    with pytest.raises(StudyError, match="is not in the lock file") as caught:
        definition.check_files(load(tiny))
    assert len(caught.value.faults) == 15
    lock = definition.write_lock(tiny)
    assert lock == lock_path(tiny)
    assert lock.name == "tiny.lock.json"
    # sha256 of one zero byte.
    first = json.loads(lock.read_text(encoding="utf-8"))["clips/p1.up.gold.flac"]
    assert first == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    study = load(tiny)
    assert study.stimuli[0].sha256 == first
    definition.check_files(study)
    before = lock.read_bytes()
    definition.write_lock(tiny)
    assert lock.read_bytes() == before


def test_files_that_changed_or_went_are_all_named(tiny: Path) -> None:
    definition.write_lock(tiny)
    study = load(tiny)
    study.stimuli[3].path.write_bytes(b"another")
    study.stimuli[5].path.unlink()
    with pytest.raises(StudyError) as caught:
        definition.check_files(study)
    assert [fault.field for fault in caught.value.faults] == [str(study.stimuli[n].path) for n in (3, 5)]
    assert "the lock file" in caught.value.faults[0].problem
    assert "No such file" in caught.value.faults[1].problem
    with pytest.raises(StudyError, match="No such file"):
        definition.write_lock(tiny)


@pytest.mark.parametrize("content", ["{", "[]", '{"clips/p1.up.gold.flac": 3}', '{"clips/p1.up.gold.flac": "abc"}'])
def test_a_damaged_lock_file_is_a_fault(content: str, tiny: Path) -> None:
    lock_path(tiny).write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=r"tiny.lock.json .*musicstar-survey lock"):
        load(tiny)
    definition.write_lock(tiny)
    definition.check_files(load(tiny))


def test_a_folder_elsewhere_is_locked_as_well(tiny: Path, tmp_path: Path) -> None:
    clips = (tmp_path / "clips").rename(tmp_path / "elsewhere")
    tiny.write_text(TINY.replace('"clips"', f"'{clips}'"), encoding="utf-8")
    definition.write_lock(tiny)
    definition.check_files(load(tiny))
