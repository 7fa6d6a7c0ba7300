"""Jobs: what is kept of a clip, and under which names it is found."""

import os
from pathlib import Path
from typing import Any

import pytest

from musicstar import jobs
from musicstar.domains import Domain
from musicstar.jobs import Job, JobError, Step, Track

TRACK = Track("x", "output", Domain.CV.mixture.label, "m", "l", "d", "e", 1.0, -26.0, -9.0, "x.wav", method="mixture")


def test_names_are_opaque_and_only_they_open_a_job(tmp_path: Path) -> None:
    job = Job.create(tmp_path)
    assert Job.find(tmp_path, job.id) == job
    for wrong in (None, 3, "", "..", job.id[:-1], job.id.upper() + "x", "../" + job.id, "0" * len(job.id)):
        with pytest.raises(JobError, match="no longer kept"):
            Job.find(tmp_path, wrong)


def test_media_is_found_by_its_name_alone(tmp_path: Path) -> None:
    job = Job.create(tmp_path)
    wav = job.new_file(".wav")
    wav.write_bytes(b"x")
    job.write_json("clip.json", {})
    media = job.media_id(wav)
    assert jobs.find_media(tmp_path, media) == wav == job.media_path(media)
    assert "/" not in media
    assert "." not in media
    for wrong in ("", "clip.json", media[:-1], media + "0", f"{job.id}/../{job.id}", media.replace(media[0], "g")):
        assert jobs.find_media(tmp_path, wrong) is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("take 1.wav", "take 1.wav"),
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\a.wav", "a.wav"),
        ("<img onerror=x>${1}.wav", "_img onerror_x___1_.wav"),
        ("\x00\n", "__"),
        ("", "clip"),
        ("...", "clip"),
        ("Größe.flac", "Größe.flac"),
        ("x" * 200, "x" * 80),
    ],
)
def test_file_names_are_made_plain(given: str, shown: str) -> None:
    assert jobs.plain_name(given) == shown


def test_sweeping_takes_the_old_then_the_longest_unused(tmp_path: Path) -> None:
    made = []
    for age_s in (1000, 300, 200, 100):
        job = Job.create(tmp_path)
        (job.folder / "x.wav").write_bytes(bytes(100))
        os.utime(job.folder, (10_000 - age_s, 10_000 - age_s))
        made.append(job)
    (tmp_path / "not-a-job").mkdir()
    assert jobs.sweep(tmp_path, keep_s=500, keep_bytes=1000, now_s=10_000) == [made[0].id]
    assert jobs.sweep(tmp_path, keep_s=500, keep_bytes=250, now_s=10_000) == [made[1].id]
    assert jobs.sweep(tmp_path, keep_s=500, keep_bytes=250, now_s=10_000) == []
    assert (tmp_path / "not-a-job").exists()
    assert made[2].folder.exists()


def test_an_output_that_is_taken_away_while_it_is_looked_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.create(tmp_path)
    for name in ("a", "b"):
        job.write_json(f"output.{name}.json", vars(TRACK))
    assert job.outputs(Domain.CV) == (TRACK, TRACK)
    read = Job.read_json

    def gone(job: Job, name: str) -> Any:
        (job.folder / "output.a.json").unlink(missing_ok=True)
        return read(job, name)

    monkeypatch.setattr(Job, "read_json", gone)
    assert job.outputs(Domain.CV) == (TRACK,)
    job.forget_beginnings()
    assert job.outputs(Domain.CV) == (TRACK,)


def test_remaining_time_is_that_of_the_pace_so_far() -> None:
    running = Step("mixture", state="running", share=0.25, began_s=100.0)
    assert running.remaining_s(102.0) == pytest.approx(6.0)
    assert running.remaining_s(100.1) is None
    assert Step("mixture", state="running", share=0.0, began_s=100.0).remaining_s(102.0) is None
    assert Step("mixture").remaining_s(102.0) is None


def test_examples_are_found_by_layout_and_titled(tmp_path: Path) -> None:
    assert jobs.find_examples(tmp_path) == ()
    for number, voices in (("001", range(6)), ("002", (0, 3)), ("003", (1, 2))):
        for k in voices:
            (tmp_path / f"{number}.{k}.flac").touch()
    (tmp_path / "README.md").touch()
    (tmp_path / "examples.json").write_text('{"001": {"title": "Waltz", "note": "slow"}, "002": "March"}')
    first, second = jobs.find_examples(tmp_path)
    assert (first.number, first.title, first.note, len(first.voices)) == ("001", "Waltz", "slow", 6)
    assert (second.title, second.note, sorted(second.voices)) == ("March", "", ["cv", "sp"])
