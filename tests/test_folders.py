"""Folders of recordings: by several processes, on a cluster, and gone on with where work was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicstar import audio, folders
from musicstar.__main__ import main
from musicstar.audio import Clip
from musicstar.domains import Domain
from musicstar.folders import Outcome, Settings, Task, translate_each
from musicstar.methods.catalog import Backbone

MIXTURE = Path(audio.__file__).parent / "examples" / "001.3.flac"
SETTINGS = Settings(source=Domain.SP, target=Domain.CV, method="mixture", backbone=Backbone.SPECTRAL)


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    """Four seconds of a piece, and a file that is no audio."""
    wav = audio.read(MIXTURE).wav
    paths = [audio.write(tmp_path / "in" / f"{n}.wav", Clip(wav[n * 16_000 : (n + 1) * 16_000])) for n in range(4)]
    (tmp_path / "in" / "9.wav").write_text("no audio", encoding="utf-8")
    return [Task(path.stem, path) for path in [*paths, tmp_path / "in" / "9.wav"]]


def made_alone(tasks: list[Task], out: Path) -> dict[str, np.ndarray]:
    """What each comes to by itself."""
    return {task.name: audio.read(folders.translate(task, SETTINGS, out).records[0]["path"]).wav for task in tasks[:4]}


def check(outcomes: list[Outcome], expected: dict[str, np.ndarray], out: Path) -> None:
    """All were done, each as by itself, and the one that cannot be says why."""
    assert sorted(outcome.name for outcome in outcomes) == ["0", "1", "2", "3", "9"]
    for outcome in outcomes:
        if outcome.name == "9":
            assert not outcome.records
            assert "not readable as audio" in outcome.faults[0]
            continue
        assert outcome.faults == ()
        (record,) = outcome.records
        assert record["path"] == str(out / f"{outcome.name}.mixture.wav")
        assert np.allclose(audio.read(record["path"]).wav, expected[outcome.name], atol=1e-3)


def test_several_processes_do_what_one_does(tasks: list[Task], tmp_path: Path) -> None:
    expected = made_alone(tasks, tmp_path / "alone")
    check(list(translate_each(tasks, SETTINGS, tmp_path / "out", jobs=2)), expected, tmp_path / "out")


def test_what_is_done_is_left_out_unless_anything_has_changed(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def done(settings: Settings = SETTINGS) -> list[str]:
        return [outcome.name for outcome in translate_each(tasks, settings, out, resume=True)]

    assert done() == ["0", "1", "2", "3", "9"]
    assert done() == ["9"]
    (out / "1.mixture.wav").unlink()
    (out / folders.NOTES / "2.json").write_text("{", encoding="utf-8")
    assert tasks[3].mixture is not None
    audio.write(tasks[3].mixture, Clip(audio.read(MIXTURE).wav[-16_000:]))
    assert done() == ["1", "2", "3", "9"]
    assert done(replace(SETTINGS, temperature=0.5)) == ["0", "1", "2", "3", "9"]
    weights = tmp_path / "weights"
    weights.mkdir()
    for file in (Path(audio.__file__).parent / "weights").glob("guess-domain.*"):
        shutil.copy(file, weights)
    monkeypatch.setenv("MUSICSTAR_WEIGHTS", str(weights))
    assert done() == ["0", "1", "2", "3", "9"]
    names = [outcome.name for outcome in translate_each(tasks[:1], SETTINGS, out)]
    assert names == ["0"]


def test_what_was_played_in_another_precision_is_not_done(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    list(translate_each(tasks[:1], SETTINGS, out))
    assert list(translate_each(tasks[:1], SETTINGS, out, resume=True)) == []
    monkeypatch.setenv("MUSICSTAR_PRECISION", "bfloat16")
    assert [outcome.name for outcome in translate_each(tasks[:1], SETTINGS, out, resume=True)] == ["0"]


def test_a_note_that_cannot_be_written_costs_no_recording(tasks: list[Task], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / folders.NOTES).touch()
    outcomes = list(translate_each(tasks[:2], SETTINGS, out))
    assert [(outcome.name, len(outcome.records), outcome.faults) for outcome in outcomes] == [
        ("0", 1, ()),
        ("1", 1, ()),
    ]
    assert "--resume will do it again" in outcomes[0].remarks[0]


def test_an_interrupted_command_leaves_no_process_behind(tmp_path: Path) -> None:
    """However often it is interrupted."""
    words = [sys.executable, "-m", "musicstar", "translate", *[str(MIXTURE.with_name(f"00{n}.3.flac")) for n in (1, 2)]]
    words += ["--to", "cv", "--method", "mixture", "--jobs", "2", "--out", str(tmp_path / "out")]
    # What a shell runs in the background ignores interruptions, and so would what is started by it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        signal.signal(signal.SIGINT, before)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        while len(workers := children.read_text(encoding="ascii").split()) < 3:
            assert running.poll() is None
            time.sleep(0.05)
        for _ in range(3):
            os.kill(running.pid, signal.SIGINT)
            time.sleep(0.001)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "musicstar: interrupted" in said
    until_s = time.monotonic() + 10
    while any(map(_is_alive, workers)):
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "musicstar", "translate", *[str(MIXTURE.with_name(f"00{n}.3.flac")) for n in (1, 2)]]
    words += ["--to", "cv", "--method", "mixture", "--jobs", "2", "--out", str(tmp_path / "out")]
    with subprocess.Popen(words, start_new_session=True) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        while len(workers := children.read_text(encoding="ascii").split()) < 3:
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()
    until_s = time.monotonic() + 30
    while any(map(_is_alive, workers)):
        assert time.monotonic() < until_s
        time.sleep(0.05)


def _is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_dies_costs_nothing(tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that does recording 2 is killed the first time, and the one that does 3 each time."""
    monkeypatch.setattr(folders, "translate", _deadly)
    outcomes = {outcome.name: outcome for outcome in translate_each(tasks[:4], SETTINGS, tmp_path, jobs=2)}
    assert set(outcomes) == {"0", "1", "2", "3"}
    assert all(outcomes[name].faults == () for name in "012")
    assert outcomes["3"].faults == ("the process that did it died twice",)


def _deadly(task: Task, settings: Settings, out: Path) -> Outcome:
    mark = out / f"tried.{task.name}"
    if task.name == "3" or (task.name == "2" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(task.name)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that does no work and two machines of one core each, all of them here."""
    testing = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed (extra cluster)")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    memory = 80_000_000
    local = {"object_store_memory": memory}
    head = {"num_cpus": 0, "include_dashboard": False, **local}
    made = testing.Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made, [made.add_node(num_cpus=1, **local) for _ in range(2)]
    finally:
        made.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_machine_loses_no_recording(
    cluster: tuple[Any, list[Any]], tasks: list[Task], tmp_path: Path
) -> None:
    made, (first, _) = cluster
    expected = made_alone(tasks, tmp_path / "alone")
    outcomes = []
    for outcome in translate_each(tasks, SETTINGS, tmp_path / "out", cluster=made.address):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            made.remove_node(first, allow_graceful=False)
    check(outcomes, expected, tmp_path / "out")
    (missing,) = translate_each([Task("8", tmp_path / "8.wav")], SETTINGS, tmp_path / "out", cluster=made.address)
    assert "8.wav" in missing.faults[0]


@pytest.mark.filterwarnings("ignore")
def test_a_command_that_is_killed_is_gone_on_with(
    cluster: tuple[Any, list[Any]], tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = cluster
    out = tmp_path / "out"
    options = ["translate", str(tmp_path / "in"), "--to", "cv", "--cluster", made.address, "--out", str(out), "--json"]
    command = [sys.executable, "-m", "musicstar", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        running.kill()
    deadline_s = time.monotonic() + 20
    while not (notes := list((out / folders.NOTES).glob("*.json"))) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    before = {note.stem: (out / f"{note.stem}.mixture.wav").stat().st_mtime_ns for note in notes}
    assert Path(first["path"]).stem.removesuffix(".mixture") in {*before, "0", "1", "2", "3"}
    assert main([*options, "--resume"]) == 1
    said = capsys.readouterr()
    again = {Path(json.loads(line)["path"]).stem.removesuffix(".mixture") for line in said.out.splitlines()}
    assert again | set(before) == {"0", "1", "2", "3"}
    assert not again & set(before)
    assert all((out / f"{name}.mixture.wav").stat().st_mtime_ns == made_ns for name, made_ns in before.items())
    assert "9: 9.wav: not readable as audio" in said.err


def test_a_cluster_that_is_not_there_is_told(tasks: list[Task], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    with pytest.raises(OSError, match=r"no Ray cluster answers at 127\.0\.0\.1:9 \("):
        list(translate_each(tasks, SETTINGS, tmp_path, cluster="127.0.0.1:9"))
