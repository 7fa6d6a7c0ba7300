"""The command line, with the shipped weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from musicstar import audio
from musicstar.__main__ import main
from musicstar.audio import Clip
from musicstar.methods.catalog import METHODS

EXAMPLES = Path(audio.__file__).parent / "examples"
MIXTURE = EXAMPLES / "001.3.flac"
STEMS = [str(EXAMPLES / f"001.{number}.flac") for number in (4, 5)]


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, object]], str]:
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_one_method_as_a_person_runs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "musicstar", "translate", str(MIXTURE), "--to", "cv", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=120)
    (record,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (record["method"], record["backbone"], record["target"]) == ("mixture", "spectral", "cv")
    made = audio.read(record["path"], sample_rate=None)
    assert made.sample_rate == 16_000
    assert len(made.wav) == len(audio.read(MIXTURE).wav)
    assert record["audio_s"] == pytest.approx(made.duration_s)
    assert made.rms_dbfs() > -60


def test_all_methods_with_stems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--to", "cv", "--method", "all", "--out", str(tmp_path), "--json", "--write-stems"]
    assert main(["translate", str(MIXTURE), "--stems", *STEMS, *options]) == 0
    records, _ = lines(capsys)
    assert [record["method"] for record in records] == list(METHODS)
    assert all(Path(str(record["path"])).name == f"001.3.{record['method']}.wav" for record in records)
    assert len(list(tmp_path.glob("*.clarinet.wav"))) == 4
    outputs = [audio.read(str(record["path"])).wav for record in records]
    for first in range(len(outputs)):
        for second in range(first):
            assert not np.allclose(outputs[first], outputs[second], atol=1e-3), "two methods gave one output"


def test_the_shipped_wavenet_plays_a_second_in_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = audio.read(MIXTURE)
    audio.write(tmp_path / "second.wav", Clip(clip.wav[:16_000]))
    options = ["--to", "cv", "--backbone", "wavenet", "--chunk-seconds", "0.25", "--out", str(tmp_path), "--json"]
    assert main(["translate", str(tmp_path / "second.wav"), *options]) == 0
    (record,), _ = lines(capsys)
    assert (record["method"], record["backbone"]) == ("mixture", "wavenet")
    made = audio.read(str(record["path"]))
    assert len(made.wav) == 16_000
    assert -40 < made.rms_dbfs() < -10


def test_all_leaves_out_what_needs_stems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(MIXTURE), "--to", "cv", "--method", "all", "--out", str(tmp_path), "--json"]) == 0
    records, errors = lines(capsys)
    assert [record["method"] for record in records] == [name for name in METHODS if name != "single"]
    assert "single" in errors
    assert "--stems" in errors


def test_single_needs_stems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(MIXTURE), "--to", "cv", "--method", "single", "--out", str(tmp_path)]) == 1
    assert "separation-based" in capsys.readouterr().err


def test_folders_hold_files_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder named as a clip is none; outputs are not inputs; a name left empty is not the current folder."""
    (tmp_path / "in" / "x.wav").mkdir(parents=True)
    audio.write(tmp_path / "in" / "a.wav", Clip(audio.read(MIXTURE).wav[:16_000]))
    assert main(["translate", str(tmp_path / "in"), "--to", "cv", "--out", str(tmp_path / "out"), "--json"]) == 0
    records, _ = lines(capsys)
    assert len(records) == 1
    assert main(["translate", str(tmp_path / "in"), "--to", "cv", "--out", str(tmp_path / "in")]) == 1
    assert "lies in --out" in capsys.readouterr().err
    assert main(["translate", "", "--to", "cv", "--out", str(tmp_path / "out")]) == 1
    assert "empty name" in capsys.readouterr().err


def test_nothing_given_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.wav", "x.mixture.wav"):
        audio.write(tmp_path / name, Clip(np.full(16_000, 0.1, np.float32)))
    before = (tmp_path / "x.mixture.wav").read_bytes()
    given = [str(tmp_path / name) for name in ("x.wav", "x.mixture.wav")]
    assert main(["translate", *given, "--to", "sp", "--out", str(tmp_path)]) == 1
    assert "x.mixture.wav would be written over by the translation of x" in capsys.readouterr().err
    assert (tmp_path / "x.mixture.wav").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"no sound at all")
    audio.write(folder / "b.wav", Clip(audio.read(MIXTURE).wav[:16_000]))
    audio.write(folder / "c.wav", Clip(np.zeros(16_000, np.float32)))
    assert main(["translate", str(folder), "--to", "cv", "--out", str(tmp_path / "out"), "--json"]) == 1
    records, errors = lines(capsys)
    assert [Path(str(record["path"])).name for record in records] == ["b.mixture.wav"]
    assert len(errors.splitlines()) == 2
    assert "a.wav: not readable as audio" in errors
    assert "silent" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["translate", "missing.wav", "--to", "cv", "--out", "o"], "there is no such file"),
        (["translate", "--to", "cv", "--out", "o"], "no audio files"),
        (["translate", "a.wav", "b.wav", "--stems", *STEMS, "--to", "cv", "--out", "o"], "one recording"),
        (["translate", "a.wav", "--to", "fg", "--out", "o"], "--from is needed with --to fg: one of cv, sp, th"),
        (["train", "--data", "nowhere", "--out", "o"], "nothing to train"),
        (["train", "magic", "--all", "--data", "nowhere", "--out", "o"], "leave the names out"),
        (["train", "magic", "--fit", "--data", "nowhere", "--out", "o"], "give --budget-minutes too"),
        (["train", "magic", "--data", "nowhere", "--out", "o"], "no configuration 'magic'"),
        (["evaluate", "--data", "nowhere"], "expected mixtures in the StarNet layout"),
        (["checkpoint", "convert", "nowhere", "o", "--recipe", "mixture", "--voices", "cv"], "args.pth"),
        (["checkpoint", "average", "new", "old", "mean", "--share", "0.5"], "there is no such checkpoint"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "option",
    [
        ["--temperature", "nan"],
        ["--temperature", "-1"],
        ["--chunk-seconds", "-3"],
        ["--seed", "one"],
        ["--seed", str(10**30)],
        ["--out", ""],
        ["--out", __file__],
    ],
)
def test_numbers_that_make_no_sense(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["translate", str(MIXTURE), "--to", "cv", "--out", str(tmp_path), *option])
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_real_excerpts_keep_their_content(excerpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mixture-supervised, both directions, ten pieces: above 0.45, where the untranslated input has 0.509."""
    pytest.importorskip("essentia", reason="the extra `eval` is not installed")
    command = ["evaluate", "--data", str(excerpts), "--method", "mixture", "--json", "--without", "style", "quality"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    means = {row["system"]: row["values"]["content"]["mean"] for row in rows if row["direction"] == "pooled"}
    assert means["gold"] == 1
    assert means["input"] == pytest.approx(0.509, abs=0.002)
    assert means["unrelated"] == pytest.approx(0.08, abs=0.02)
    assert means["mixture"] > 0.45


def test_threads_are_told_not_to_spin() -> None:
    """Set before PyTorch is looked for, by whatever module comes first, and left to a person who has set it."""
    ask = """
import os, sys
class Spy:
    def find_spec(name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.exit()
sys.meta_path.insert(0, Spy)
import musicstar.audio
"""
    without = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, policy in ((without, "PASSIVE"), ({**without, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        run = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=environment)
        assert run.stdout.strip() == policy
