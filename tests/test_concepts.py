"""From sounds to an atlas, and what it hears in others: by calls, for the page's workers, and on the command line."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicstar import jobs
from musicstar.__main__ import main
from musicstar.audio import AudioError, Clip, read
from musicstar.concepts import atlas as atlases
from musicstar.concepts import query, visits
from musicstar.concepts.atlas import Atlas, AtlasError, Shape
from musicstar.concepts.embed import EmbedderError
from musicstar.concepts.hierarchy import ROOT, Orientation
from musicstar.jobs import Job, JobError, Limits
from tests.sounds import KINDS, RATE, library, sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of the small library, built on the command line; one of its files is none."""
    place = tmp_path_factory.mktemp("concepts")
    clips = library(place / "clips")
    (clips / "noise" / "broken.wav").write_bytes(b"RIFF of nothing")
    (place / "atlas" / "previews").mkdir(parents=True)
    (place / "atlas" / "previews" / "99999.mp3").write_bytes(b"of another library")
    command = ["concepts", "build", str(clips), "--embedder", "mel", "--cache", str(place / "cache")]
    assert main([*command, "--title", "Sounds", "--out", str(place / "atlas")]) == 0
    return place / "atlas"


@pytest.fixture(scope="module")
def atlas(folder: Path) -> Atlas:
    return atlases.load(folder)


def clip(kind: str, number: int, seconds: float = 3.0) -> Clip:
    return Clip(sound(kind, number, seconds=seconds), RATE)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_atlas_holds_what_the_folders_say(atlas: Atlas, folder: Path) -> None:
    assert [concept.name for concept in atlas.concepts] == ["noise", "tones", "tones/high tones", "tones/low tones"]
    assert [concept.clips for concept in atlas.concepts] == [20, 40, 20, 20]
    assert atlas.concepts[2].parents == ("tones",)
    assert all(concept.accuracy is not None and concept.accuracy > 0.9 for concept in atlas.concepts)
    assert any("broken.wav" in note for note in atlas.card["notes"])
    assert atlas.background is not None
    assert atlas.background.features.shape == (60, 192)
    for concept in atlas.concepts:
        assert len(set(concept.examples)) == 3
        for name in concept.examples:
            heard = read(folder / "previews" / name, sample_rate=None)
            assert 0.8 < heard.duration_s < 1.3
            assert -26 < heard.rms_dbfs() < -15


def test_what_an_earlier_build_left_to_hear_is_taken_away(folder: Path) -> None:
    named = {name for concept in atlases.load(folder).concepts for name in concept.examples}
    assert {path.name for path in (folder / "previews").iterdir()} == named


def test_narrow_concepts_hang_under_broad_ones(atlas: Atlas) -> None:
    tree = atlas.tree(Shape(Orientation.TRANSPOSED))
    assert [tree.parents[i] for i in (2, 3)] == [1, 1]
    assert tree.parents[0] == ROOT


def test_a_clip_that_changes_is_heard_to_change(atlas: Atlas) -> None:
    wav = np.concatenate([clip("tones/low tones", 90, 6.0).wav, clip("noise", 91, 6.0).wav])
    heard = query.hear(Clip(wav, RATE), atlas, query.listener(atlas))
    low, noise = atlas.index["tones/low tones"], atlas.index["noise"]
    assert heard.probabilities.shape == (4, len(heard.times_s))
    early, late = heard.times_s < 4.5, heard.times_s > 7.5
    for concept, there, gone in ((low, early, late), (noise, late, early)):
        assert heard.probabilities[concept, there].min() > 0.7
        assert heard.probabilities[concept, gone].max() < 0.3


def test_the_last_window_ends_with_the_clip(atlas: Atlas) -> None:
    ears = query.listener(atlas)
    heard = query.hear(clip("noise", 92, 3.0), atlas, ears)
    assert heard.times_s == pytest.approx([ears.window_s / 2, 3.0 - ears.window_s / 2])
    short = query.hear(clip("noise", 93, 1.0), atlas, ears)
    assert short.times_s == pytest.approx([0.5])


def test_a_concept_of_ones_own_hangs_where_it_belongs(atlas: Atlas) -> None:
    time_s = np.arange(3 * RATE) / RATE
    whistles = [Clip((0.1 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32), RATE) for hz in range(3000, 4000, 200)]
    made = query.own(whistles, atlas, query.listener(atlas))
    assert made.accuracy > 0.9
    assert 0.5 < made.low < made.accuracy <= made.high
    assert atlas.concepts[int(made.towards.argmax())].name in ("tones", "tones/high tones")
    assert made.towards[atlas.index["noise"]] < 0.5
    assert made.warnings == ()


def test_clips_of_no_one_kind_are_told(atlas: Atlas) -> None:
    mixed = [clip(kind, 200 + number) for number, kind in enumerate(KINDS)]
    made = query.own(mixed, atlas, query.listener(atlas))
    assert made.accuracy < 0.8
    assert "Learned from 3 clips only" in made.warnings[0]
    assert "3 of 3 clips would not be recognised" in made.warnings[1]


def test_what_cannot_be_asked_says_why(atlas: Atlas) -> None:
    ears = query.listener(atlas)
    with pytest.raises(AudioError, match="2 clips; expected 3 or more, 5 are better"):
        query.own([clip("noise", 1), clip("noise", 2)], atlas, ears)
    with pytest.raises(AudioError, match="silent"):
        query.hear(Clip(np.zeros(RATE, np.float32), RATE), atlas, ears)
    bare = Atlas("Bare", atlas.concepts, atlas.similarity)
    with pytest.raises(AtlasError, match="Bare: holds similarities alone; expected an atlas learned from audio"):
        query.listener(bare)
    other = replace(atlas, background=None, embedder="mel@0123456789abcdef")
    with pytest.raises(EmbedderError, match=r"mel is now mel@.+; expected mel@0123456789abcdef, that"):
        query.listener(other)
    foreign = replace(atlas, embedder="os:getcwd@x")
    for vouched in ("", "mel"):
        with pytest.raises(EmbedderError, match="names the function os:getcwd, which is not run unasked"):
            query.listener(foreign, vouched=vouched)
    with pytest.raises(EmbedderError, match="os:getcwd returned str"):
        query.listener(foreign, vouched="os:getcwd")
    with pytest.raises(AtlasError, match="holds no features of its clips"):
        query.own([clip("noise", n) for n in range(3)], other, ears)


def identity(folder: Path) -> str:
    return atlases.load(folder).sha256


def stored(job: Job, wav: np.ndarray) -> str:
    path = job.new_file(".upload")
    soundfile.write(path, wav, RATE, format="WAV")
    return path.name


def test_a_visitors_clip_is_heard_and_kept_to_play(folder: Path, atlas: Atlas, tmp_path: Path) -> None:
    job = Job.create(tmp_path)
    job.write_json("clip.json", {"name": "mine.wav", "file": stored(job, sound("noise", 77, seconds=4.0))})
    visits.hear(job, folder, identity(folder), Limits())
    found = job.read_json("heard.json")
    assert found["name"] == "mine.wav"
    assert found["duration_s"] == 4.0
    assert found["concepts"][0] == atlas.index["noise"]
    assert sorted(found["concepts"]) == [0, 1, 2, 3]
    assert len(found["probabilities"]) == 4
    assert {len(row) for row in found["probabilities"]} == {len(found["times_s"])}
    media = jobs.find_media(tmp_path, found["media"])
    assert media is not None
    assert soundfile.info(media).duration == 4.0
    # Concepts are told by their places: those of another build under the same name would be others.
    with pytest.raises(JobError, match="has been built again"):
        visits.hear(job, folder, "0" * 64, Limits())


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        (np.zeros(RATE), "mine.wav: the clip is silent"),
        (np.full(RATE, np.nan), r"mine.wav: the file holds values that are not numbers \(NaN or infinity\)"),
        (np.ones(RATE // 4) * 0.1, r"mine.wav: 0.250 s long, at least 0.5 s is needed"),
        (np.ones(RATE * 40) * 0.1, r"mine.wav: 40.0 s long, the limit is 30 s"),
    ],
)
def test_a_visitors_bad_clip_is_named(wav: np.ndarray, message: str, folder: Path, tmp_path: Path) -> None:
    job = Job.create(tmp_path)
    path = job.new_file(".upload")
    soundfile.write(path, wav, RATE, subtype="FLOAT", format="WAV")
    job.write_json("clip.json", {"name": "mine.wav", "file": path.name})
    with pytest.raises(JobError, match=message):
        visits.hear(job, folder, identity(folder), Limits())
    with pytest.raises(JobError, match="there is no such file; expected an atlas in"):
        visits.hear(job, tmp_path / "none", "", Limits())


def test_a_visitors_own_concept_leaves_out_what_cannot_be_used(folder: Path, atlas: Atlas, tmp_path: Path) -> None:
    job = Job.create(tmp_path)
    broken = job.new_file(".upload")
    broken.write_bytes(b"nothing")
    files = {str(n): [stored(job, sound("noise", 300 + n, seconds=2.5)), f"n{n}.wav"] for n in range(5)}
    job.write_json("own.json", {"files": {**files, "x": [broken.name, "bad.wav"]}})
    visits.own(job, folder, identity(folder), Limits(), "Hiss")
    found = job.read_json("own_result.json")
    assert (found["title"], found["clips"]) == ("Hiss", 5)
    assert found["skipped"][0][0] == "bad.wav"
    assert "bad.wav: not readable as audio" in found["skipped"][0][1]
    assert int(np.argmax(found["towards"])) == atlas.index["noise"]
    assert found["low"] < found["accuracy"]
    long = stored(job, sound("noise", 400, seconds=40.0))
    job.write_json("own.json", {"files": {**files, "x": [long, "long.wav"]}})
    visits.own(job, folder, identity(folder), Limits(), "Hiss")
    assert "long.wav: 40.0 s long, the limit is 30 s" in job.read_json("own_result.json")["skipped"][0][1]
    job.write_json("own.json", {"files": {"0": files["0"], "x": [broken.name, "bad.wav"]}})
    with pytest.raises(JobError, match=r"1 clips; expected 3 or more, 5 are better\. bad\.wav: not readable"):
        visits.own(job, folder, identity(folder), Limits(), "Hiss")


def test_commands_print_what_they_found(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips, cache = str(folder.parent / "clips"), str(folder.parent / "cache")
    assert main(["concepts", "embed", clips, "--embedder", "mel", "--cache", cache, "--json"]) == 0
    embedded = said(capsys)
    assert (embedded["clips"], embedded["dimensions"]) == (60, 192)
    assert "broken.wav: not readable as audio" in embedded["skipped"][0]
    soundfile.write(tmp_path / "clip.wav", sound("noise", 500, seconds=5.0), RATE)
    asked = ["concepts", "query", str(tmp_path / "clip.wav"), "--atlas", str(folder), "--top", "2"]
    assert main([*asked, "--json"]) == 0
    found = said(capsys)
    assert found["concepts"][0]["name"] == "noise"
    assert len(found["concepts"]) == 2
    assert len(found["concepts"][0]["probabilities"]) == len(found["times_s"])
    assert main(asked) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("noise")


def test_build_names_and_counts_what_it_skips(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = str(folder.parent / "clips")
    command = ["concepts", "build", clips, "--embedder", "mel", "--cache", str(folder.parent / "cache"), "--bare"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    told = capsys.readouterr()
    assert "1 clips that cannot be used are skipped, 60 are used" in told.out.splitlines()
    assert f"skipped {folder.parent / 'clips' / 'noise' / 'broken.wav'}: not readable as audio" in told.err


def test_commands_refuse_what_is_no_library(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    command = ["concepts", "build", "--embedder", "mel", "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "o")]
    assert main([*command, str(tmp_path / "empty")]) == 1
    assert "no audio files in this folder or below" in capsys.readouterr().err
    assert main([*command, str(folder.parent / "clips"), "--least", "1000"]) == 1
    assert "0 concepts with 1000 clips or more; expected at least two" in capsys.readouterr().err
    assert main([*command, str(folder.parent / "clips"), "--above", "1.0"]) == 1
    assert "have a balanced accuracy above 1" in capsys.readouterr().err
    for kind in ("a", "b"):
        (tmp_path / "bad" / kind).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "bad" / kind / f"{kind}{number}.wav").touch()
    assert main([*command, str(tmp_path / "bad")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"musicstar: skipped {tmp_path / 'bad' / 'a' / 'a0.wav'}: the file is empty (0 bytes)"
    assert (len(said), "0 of 2 concepts have 5 clips or more" in said[-1]) == (11, True)
    for option in (("--threshold", "nan"), ("--least-similarity", "inf"), ("--most-children", "0")):
        with pytest.raises(SystemExit):
            main(["concepts", "evaluate", str(folder), *option])
    with pytest.raises(SystemExit):
        main([*command, str(folder.parent / "clips"), "--ridge", "1e-300"])
    assert not (tmp_path / "o").exists()


def test_evaluate_prints_every_figure_beside_its_bounds(
    folder: Path, atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = tmp_path / "words.csv"
    proxy.write_text("".join(f"{concept.name},{i}.0,1.0\n" for i, concept in enumerate(atlas.concepts)))
    command = ["concepts", "evaluate", str(folder), "--against", str(folder), "--proxy", f"words={proxy}"]
    assert main([*command, "--json"]) == 0
    found = {(line["tree"], line["measure"]): line for line in said(capsys)["measures"]}
    accuracy = found["", "attribution: balanced accuracy (higher)"]["found"]
    assert accuracy["value"] == pytest.approx(np.mean([concept.accuracy for concept in atlas.concepts]), abs=1e-4)
    leaves = found["transposed", "leaves under their own parent (higher)"]
    assert (leaves["found"]["value"], leaves["found"]["count"]) == (1.0, 2)
    assert found["transposed", "ancestors' F1 (higher)"]["found"]["value"] == 1.0
    assert found["transposed", "ancestors' F1 (higher)"]["random"]["value"] < 1.0
    # Both kinds of tones stand one and two places from tones.
    assert found["transposed", "generality: words to the parent (lower)"]["found"]["value"] == 1.5
    assert found["", "Sounds: rank correlation of similarities (higher)"]["found"]["value"] == pytest.approx(1.0)
    assert found["published", "Sounds: same parents (higher)"]["found"]["value"] == 1.0
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tree", "measure", "found", "random", "nearest", "neighbours"]
    assert len(lines) == len(found) + 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("noise,1.0\n", "no row for 'tones'; expected one for each of the concepts"),
        ('noise,1\n"' + "x" * 140_000, "not rows of a name and equally many numbers"),
        ("noise,one\n", "not rows of a name and equally many numbers"),
        ("noise,1\ntones,1,2\ntones/high tones,1\ntones/low tones,1\n", "not rows of a name and equally many numbers"),
        ("noise,nan\ntones,1\ntones/high tones,1\ntones/low tones,1\n", "rows without numbers, or with NaN"),
        ("noise,1e300\ntones,1\ntones/high tones,1\ntones/low tones,1\n", "rows without numbers, or with NaN"),
    ],
)
def test_vectors_of_ones_own_that_do_not_fit(
    content: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text(content)
    # As a process begins, whatever tests before have made of it.
    limit = csv.field_size_limit(131_072)
    try:
        assert main(["concepts", "evaluate", str(folder), "--proxy", f"x={tmp_path / 'p.csv'}"]) == 1
    finally:
        csv.field_size_limit(limit)
    assert message in capsys.readouterr().err
    assert main(["concepts", "evaluate", str(folder), "--proxy", "x"]) == 1
    assert "--proxy 'x'; expected NAME=CSV" in capsys.readouterr().err
