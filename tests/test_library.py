"""Labelled clips from folders and tables: concepts, splits, ground truth, and what is wrong with them."""

import os
from pathlib import Path

import numpy as np
import pytest

from musicstar.concepts.atlas import TEST, TRAIN, VALIDATION
from musicstar.concepts.library import LibraryError, read
from musicstar.concepts.truth import TruthError, ancestors, tops


def fill(folder: Path, tree: dict[str, int]) -> Path:
    """Empty files in sub-folders: a library is read without decoding a clip."""
    for name, count in tree.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{number}.wav").touch()
    return folder


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_folders_are_concepts_part_of_those_they_lie_in(tmp_path: Path) -> None:
    made = read(fill(tmp_path, {"strings/violin": 5, "strings/cello": 6, "strings": 1, "rare": 2}))
    assert made.concepts == ("strings", "strings/cello", "strings/violin")
    assert made.members.sum(axis=1).tolist() == [12, 6, 5]
    assert made.parents == {"strings/cello": ("strings",), "strings/violin": ("strings",)}
    assert made.notes == ("1 concepts with fewer than 5 clips are left out: rare (2)",)
    assert len(made.paths) == 14


def test_a_table_names_overlapping_concepts_tracks_and_doubled_tags(tmp_path: Path) -> None:
    rows = [f"{n}.wav,Jazz; slow ;jazz,{n // 2}" for n in range(6)] + [f"x{n}.wav,slow,x" for n in range(3)]
    made = read(table(tmp_path / "clips.csv", "path,tags,track", *rows))
    assert made.concepts == ("Jazz", "slow")
    assert made.members.sum(axis=1).tolist() == [6, 9]
    assert made.notes == ("6 tags stood twice at the same clip and count once",)
    assert made.tracks[:4] == ("0", "0", "1", "1")
    assert made.paths[0] == tmp_path / "0.wav"


def test_a_table_brings_truth_and_factors_along(tmp_path: Path) -> None:
    table(tmp_path / "clips.csv", "path,tags", *(f"{n}.wav,violin;strings" for n in range(5)))
    table(tmp_path / "truth.csv", "concept,parent", "Violin,strings", "horn,brass")
    table(tmp_path / "factors.csv", "factor,concept", "family,strings", "family,brass")
    made = read(tmp_path)
    assert made.parents == {"violin": ("strings",)}
    assert made.factors == {"family": ("strings",)}


def test_splits_share_out_every_concept_and_keep_tracks_whole(tmp_path: Path) -> None:
    made = read(fill(tmp_path / "a", {"large": 300, "large/small": 20, "tiny": 5}))
    split = made.splits(3)
    assert made.splits(3).tolist() == split.tolist() != made.splits(4).tolist()
    for name, counts in {"large": (224, 32, 64), "large/small": (14, 2, 4), "tiny": (3, 1, 1)}.items():
        inside = split[made.members[made.concepts.index(name)]]
        assert tuple(int(np.sum(inside == place)) for place in (TRAIN, VALIDATION, TEST)) == counts
    rows = [f"{n}.wav,a;b,{n // 10}" for n in range(200)]
    joined = read(table(tmp_path / "t.csv", "path,tags,track", *rows))
    places = joined.splits().reshape(20, 10)
    assert (places == places[:, :1]).all()
    assert set(places[:, 0]) == {TRAIN, VALIDATION, TEST}


def test_clips_that_fail_are_named_and_small_concepts_go_with_them(tmp_path: Path) -> None:
    made = read(fill(tmp_path, {"a": 6, "b": 6, "c": 5}))
    less = made.without({0: "0.wav: not readable", 16: "4.wav: silent"})
    assert less.concepts == ("a", "b")
    assert len(less.paths) == 15
    assert less.notes == (
        f"skipped {tmp_path / 'a' / '0.wav'}: not readable",
        f"skipped {tmp_path / 'c' / '4.wav'}: silent",
        "1 concepts with fewer than 5 clips are left out: c (4)",
    )
    assert made.without({}) is made


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, r"no audio files in this folder or below; expected \.wav, \.flac, \.ogg, \.mp3"),
        ({".": 7}, r"7 audio files but no sub-folders; expected a sub-folder per concept"),
        (
            {"a": 1, "b": 1, "c": 1},
            r"0 of 3 concepts have 5 clips or more \(the largest has 1\); expected at least two",
        ),
        ({"only": 9}, r"1 of 1 concepts have 5 clips or more \(the largest has 9\); expected at least two"),
    ],
)
def test_folders_that_are_no_library(tree: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=message):
        read(fill(tmp_path, tree))


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="there is no such folder or CSV file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(LibraryError, match=r"no column tags in its header \(path, tag\); expected path, tags"):
        read(table(tmp_path / "a.csv", "path,tag", "x.wav,jazz"))
    with pytest.raises(LibraryError, match="no rows below the header"):
        read(table(tmp_path / "b.csv", "path,tags"))
    (tmp_path / "c.csv").write_bytes(b"path,tags\n\xff\xfe,x\n")
    with pytest.raises(LibraryError, match="not readable as CSV in UTF-8"):
        read(tmp_path / "c.csv")


def test_a_truth_in_a_circle_is_refused(tmp_path: Path) -> None:
    clips = table(tmp_path / "clips.csv", "path,tags", *(f"{n}.wav,a;b;c" for n in range(5)))
    circle = table(tmp_path / "circle.csv", "concept,parent", "a,b", "b,c", "c,a")
    with pytest.raises(
        TruthError, match=r"goes in a circle: (a > b > c > a|b > c > a > b|c > a > b > c); expected none"
    ):
        read(clips, truth=circle)


def test_a_truth_about_something_else_is_refused(tmp_path: Path) -> None:
    clips = fill(tmp_path / "clips", {"a": 5, "b": 5})
    other = table(tmp_path / "other.csv", "concept,parent", "violin,strings")
    with pytest.raises(LibraryError, match=r"other\.csv: says of none of the 2 concepts what it is part of"):
        read(clips, truth=other)
    assert read(clips, truth=table(tmp_path / "t.csv", "concept,parent", "a,b", "x,y")).parents == {"a": ("b",)}


def test_ancestors_and_clusters_of_a_graph() -> None:
    parents = {"violin": ("solo strings",), "solo strings": ("strings",), "low violin": ("violin", "low"), "odd": ()}
    found = ancestors(parents)
    assert found["low violin"] == {"violin", "solo strings", "strings", "low"}
    assert found["low"] == found["odd"] == frozenset()
    assert tops(parents) == {
        "violin": "strings",
        "solo strings": "strings",
        "strings": "strings",
        "low violin": "strings",
        "low": "low",
        "odd": "odd",
    }
    deep = {str(n): (str(n + 1),) for n in range(5_000)}
    assert len(ancestors(deep)["0"]) == 5_000
    with pytest.raises(TruthError, match="x > x"):
        ancestors({"x": ("x",)})


def test_names_that_utf8_cannot_hold_and_links_to_nowhere(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 6, os.fsdecode(b"caf\xe9"): 6, "line\nbreak": 6})
    (tmp_path / "a" / "gone.wav").symlink_to("nowhere.wav")
    made = read(tmp_path)
    assert made.concepts == ("a", r"caf\xe9", r"line\nbreak")
    assert [path.name for path in made.paths if not path.exists()] == ["gone.wav"]
    assert len(made.splits()) == 19
    rows = [f"{n}.wav,a;b\x1b[2J" for n in range(6)]
    found = read(table(tmp_path / "t.csv", "path,tags", *rows, "x\0.wav,a", ",a", " ,b"))
    assert found.concepts == ("a", "b [2J")
    assert len(found.paths) == 7
    assert found.notes == ("2 rows name no file and are left out",)
