"""Tests of survey/build.py: what participants get is alike in level, length and size, and says nothing by its name."""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from db.records import StoreError
from db.store import Store
from survey import build as building
from survey.build import build, common_loudness, measure
from survey.definition import Study, StudyError, from_json, load, to_json, write_lock
from survey.sound import Sound, read

RATE = 8_000
TINY = """\
name = "tiny"
title = "Title"
welcome = "Hello"
consent = "Consent"
thanks = "Thanks"
trials_per_participant = 2
slots = 4
seed = 7
practice = { piece = "p0", direction = "up" }
systems = [{ key = "a", title = "A" }, { key = "b", title = "B" }]
pieces = [{ key = "p1", title = "First" }, { key = "p2", title = "Second" }]
directions = [{ key = "up", title = "Up" }, { key = "down", title = "Down" }]
criteria = [{ key = "content", title = "Content", question = "?", best = "best", worst = "worst" }]
[stimuli]
pattern = "{piece}.{direction}.{system}.wav"
"""


def noise(seed: int, *, level: float, seconds: float = 1.0) -> np.ndarray:
    """A noise with a slow swell."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    return rng.normal(0, 1, len(t)) * (1.2 + np.sin(7 * t)) * level


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study whose stimuli differ in level, and in length between the pieces."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    for n, one in enumerate(load(path).stimuli):
        wav = noise(n, level=0.002 * 1.3**n, seconds=1.5 if one.piece == "p2" else 1.0)
        soundfile.write(one.path, wav, RATE, subtype="PCM_24")
    write_lock(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'survey.sqlite'}")
    store.upgrade()
    yield store
    store.close()


def rewrite(path: Path, name: str, wav: np.ndarray, rate: int = RATE) -> Study:
    """The study with another file in the place of one of its stimuli."""
    soundfile.write(path.parent / name, wav, rate, subtype="PCM_24")
    write_lock(path)
    return load(path)


def clips(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_clip_has_the_same_loudness_and_headroom(file: Path, store: Store, tmp_path: Path) -> None:
    built = build(load(file), store, tmp_path / "media")
    assert (built.clips, built.written, built.new, built.latest) == (15, 15, True, True)
    assert built.loudness_lufs == -23
    for content in clips(tmp_path / "media").values():
        wav, rate = soundfile.read(io.BytesIO(content))
        sound = Sound(wav, rate)
        assert sound.loudness_lufs() == pytest.approx(-23, abs=0.02)
        assert sound.true_peak_dbtp() <= -1
        assert abs(wav[0]) <= 1 / 32_768
        assert abs(wav[-1]) <= 1 / 32_768


def test_a_clip_with_high_peaks_lowers_all_alike(file: Path, store: Store, tmp_path: Path) -> None:
    peaky = noise(1, level=0.01)
    peaky[4000] = 0.5
    study = rewrite(file, "p1.up.a.wav", peaky)
    loudest = min(level.highest_lufs for level in measure(study).values())
    assert -30 < loudest < -24
    built = build(study, store, tmp_path / "media")
    assert built.loudness_lufs == pytest.approx(loudest)
    sounds = [Sound(*soundfile.read(io.BytesIO(content))) for content in clips(tmp_path / "media").values()]
    assert [sound.loudness_lufs() for sound in sounds] == pytest.approx([loudest] * 15, abs=0.02)
    assert max(sound.true_peak_dbtp() for sound in sounds) == pytest.approx(-1, abs=0.05)


def test_the_gain_of_a_clip_is_one_number(file: Path) -> None:
    study = load(file)
    levels = measure(study)
    stimulus = study.stimuli[4]
    before = read(stimulus.path).faded().wav
    after = building.finished(stimulus, levels[stimulus], loudness_lufs=common_loudness(list(levels.values()))).wav
    assert after[1:-1] / before[1:-1] == pytest.approx(np.full(len(before) - 2, after[100] / before[100]))


def test_nothing_tells_the_clips_of_a_set_apart(file: Path, store: Store, tmp_path: Path) -> None:
    built = build(load(file), store, tmp_path / "media")
    sizes: dict[tuple[str, str], set[int]] = {}
    for one in store.stimuli(built.version.id):
        path = tmp_path / "media" / f"{one.media}.wav"
        assert re.fullmatch(r"[0-9a-f]{32}", one.media)
        sizes.setdefault((one.piece, one.direction), set()).add(path.stat().st_size)
        assert one.duration_s == (1.5 if one.piece == "p2" else 1.0)
    assert sizes["p1", "up"] == {44 + 2 * RATE}
    assert sizes["p2", "down"] == {44 + 3 * RATE}
    assert len(clips(tmp_path / "media")) == 15


def test_the_version_holds_the_study_and_its_design(file: Path, store: Store, tmp_path: Path) -> None:
    study = load(file)
    built = build(study, store, tmp_path / "media")
    assert built.version.config_json == to_json(study)
    assert from_json(built.version.config_json).criteria == study.criteria
    hashes = {(one.piece, one.direction, one.system): one.sha256 for one in store.stimuli(built.version.id)}
    assert hashes == {(one.piece, one.direction, one.system): one.sha256 for one in study.stimuli}
    slots = store.slots(built.version.id)
    assert len(slots) == 4
    for slot in slots:
        assert sorted(trial.direction for trial in slot.trials) == ["down", "up"]
        assert slot.practice is not None
        assert (slot.practice.piece, slot.practice.direction) == ("p0", "up")


def test_the_same_study_built_again_is_the_same_version(file: Path, store: Store, tmp_path: Path) -> None:
    first = build(load(file), store, tmp_path / "media")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "media").iterdir()}
    again = build(load(file), store, tmp_path / "media")
    assert again.version == first.version
    assert (again.new, again.latest, again.written) == (False, True, 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "media").iterdir()} == before


def test_clips_that_are_gone_are_written_again_as_they_were(file: Path, store: Store, tmp_path: Path) -> None:
    build(load(file), store, tmp_path / "media")
    before = clips(tmp_path / "media")
    gone = sorted(before)[:4]
    for name in gone:
        (tmp_path / "media" / name).unlink()
    again = build(load(file), store, tmp_path / "media")
    assert (again.new, again.written) == (False, 4)
    assert clips(tmp_path / "media") == before


def test_clips_that_would_sound_otherwise_are_not_written_again(
    file: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = build(load(file), store, tmp_path / "media").version
    before = clips(tmp_path / "media")
    hashes = {f"{one.media}.wav": one.served_sha256 for one in store.stimuli(version.id)}
    assert hashes == {name: hashlib.sha256(content).hexdigest() for name, content in before.items()}
    for name in sorted(before)[:4]:
        (tmp_path / "media" / name).unlink()
    with monkeypatch.context() as another:
        another.setattr(building, "TARGET_LUFS", -24.0)
        with pytest.raises(StudyError, match="not sound as participants of version 1 heard it"):
            build(load(file), store, tmp_path / "media")
    assert clips(tmp_path / "media") == {name: before[name] for name in sorted(before)[4:]}
    # In databases from before there were hashes nothing is known of it.
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE stimulus SET served_sha256 = NULL")
    assert build(load(file), store, tmp_path / "media").written == 4
    assert clips(tmp_path / "media") == before


def test_another_text_or_sound_is_another_version(file: Path, store: Store, tmp_path: Path) -> None:
    study = load(file)
    first = build(study, store, tmp_path / "media")
    second = build(rewrite(file, "p1.up.a.wav", noise(99, level=0.02)), store, tmp_path / "media")
    assert (second.version.number, second.new) == (2, True)
    file.write_text(TINY.replace("Hello", "Welcome"), encoding="utf-8")
    third = build(load(file), store, tmp_path / "media")
    assert third.version.number == 3
    assert len(clips(tmp_path / "media")) == 45
    # The first one is still there, and new sessions keep to the latest.
    soundfile.write(file.parent / "p1.up.a.wav", noise(1, level=0.002 * 1.3), RATE, subtype="PCM_24")
    file.write_text(TINY, encoding="utf-8")
    write_lock(file)
    back = build(load(file), store, tmp_path / "media")
    assert (back.version.id, back.new, back.latest) == (first.version.id, False, False)


def test_all_faults_of_the_files_are_reported_at_once(file: Path, store: Store, tmp_path: Path) -> None:
    spike = noise(1, level=1e-4)
    spike[4000] = 0.9
    (tmp_path / "p1.down.b.wav").write_text("no sound")
    soundfile.write(tmp_path / "p1.up.a.wav", noise(1, level=0.01, seconds=1.1), RATE)
    soundfile.write(tmp_path / "p2.up.a.wav", noise(1, level=0.01, seconds=3.0), 16_000)
    soundfile.write(tmp_path / "p2.up.b.wav", np.zeros(12_000), RATE)
    soundfile.write(tmp_path / "p2.down.a.wav", np.stack([noise(1, level=0.01)] * 2, axis=1), RATE)
    study = rewrite(file, "p1.down.a.wav", spike)
    with pytest.raises(StudyError) as caught:
        build(study, store, tmp_path / "media")
    problems = {Path(fault.field).name: fault.problem for fault in caught.value.faults}
    assert problems.keys() == {
        "p1.down.b.wav",
        "p1.up.a.wav",
        "p2.up.a.wav",
        "p2.up.b.wav",
        "p1.down.a.wav",
        "p2.down.a.wav",
    }
    assert "not readable" in problems["p1.down.b.wav"]
    assert problems["p1.up.a.wav"] == "8800 samples long; p1.up.gold.wav has 8000"
    assert problems["p2.up.a.wav"] == "16000 Hz; p2.up.gold.wav has 8000 Hz"
    assert problems["p2.down.a.wav"] == "2 channels; p2.down.gold.wav has one channel"
    assert "silent" in problems["p2.up.b.wav"]
    assert "dB above its loudness" in problems["p1.down.a.wav"]
    assert not (tmp_path / "media").exists()
    assert store.studies() == ()


def test_a_changed_or_missing_file_stops_the_build(file: Path, store: Store, tmp_path: Path) -> None:
    study = load(file)
    (tmp_path / "p1.up.b.wav").unlink()
    (tmp_path / "p1.up.a.wav").write_bytes(b"x")
    with pytest.raises(StudyError) as caught:
        build(study, store, tmp_path / "media")
    assert [Path(fault.field).name for fault in caught.value.faults] == ["p1.up.a.wav", "p1.up.b.wav"]


def test_a_build_that_fails_leaves_nothing(
    file: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "add_version", refuse)
    with pytest.raises(StoreError, match="full"):
        build(load(file), store, tmp_path / "media")
    assert clips(tmp_path / "media") == {}


def test_of_two_builds_at_once_one_is_kept(
    file: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load(file)
    add = store.add_version
    find = store.find_version

    def late(new: object) -> object:
        # Another build ends just before this one stores its version.
        monkeypatch.setattr(store, "add_version", add)
        monkeypatch.setattr(store, "find_version", find)
        other = build(study, store, tmp_path / "media")
        assert other.new
        return add(new)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "add_version", late)
    built = build(study, store, tmp_path / "media")
    assert built.version.number == 1
    assert {f"{one.media}.wav" for one in store.stimuli(built.version.id)} == clips(tmp_path / "media").keys()


def test_files_with_the_same_content_are_told(file: Path) -> None:
    assert building.alike(load(file)) == []
    (file.parent / "p1.up.b.wav").write_bytes((file.parent / "p1.up.a.wav").read_bytes())
    (file.parent / "p2.up.b.wav").write_bytes((file.parent / "p1.up.a.wav").read_bytes())
    write_lock(file)
    found = [(one.path.name, other.path.name) for one, other in building.alike(load(file))]
    assert found == [("p1.up.a.wav", "p1.up.b.wav")]


def test_the_common_loudness_is_that_of_broadcasts_where_peaks_allow() -> None:
    level = building.Levels(loudness_lufs=-30, true_peak_dbtp=-18, samples=1, sample_rate=RATE, channels=1)
    assert common_loudness([level]) == -23
    assert common_loudness([level, replace(level, true_peak_dbtp=-4)]) == -27
