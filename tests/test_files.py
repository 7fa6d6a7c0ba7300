"""A file is there whole or not at all, whatever ends the writing."""

import os
import threading
import time
from pathlib import Path

import pytest

from musicstar.files import clear, whole, write_whole


def test_content_is_written_over_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"first", b"the second, and longer", b""):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o644
    write_whole(str(tmp_path / "bare"), b"x")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "bare"]


def test_the_temporary_file_is_hidden_beside_its_place_and_has_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.b.wav"
    path.write_bytes(b"before")
    with whole(path) as temporary:
        temporary.write_bytes(b"after")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"
        assert temporary.name.startswith(".")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt])
def test_what_is_broken_off_leaves_all_as_it_was(tmp_path: Path, end: type[BaseException]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")

    def break_off(wanted: Path) -> None:
        with whole(wanted) as temporary:
            temporary.write_bytes(b"half")
            raise end

    for wanted in (path, tmp_path / "new.wav"):
        with pytest.raises(end):
            break_off(wanted)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"before"


def test_a_place_that_cannot_be_written_to_is_refused_without_a_trace(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "absent" / "a", b"x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([letter]) * 200_000 for letter in b"abcd"]
    threads = [threading.Thread(target=write_whole, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_what_ended_processes_left_is_taken_away(tmp_path: Path) -> None:
    for name, age_s in ((".writing-old.wav", 8000.0), (".writing-new.wav", 0.0), ("old.wav", 8000.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-new.wav", "old.wav"]
