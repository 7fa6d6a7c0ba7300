"""`musicstar evaluate`: what a folder's names say, and what it says of bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from musicstar import audio
from musicstar.__main__ import main
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.checkpoint import Library
from musicstar.domains import Direction, Domain, Voice
from musicstar.evaluation import outputs, results, translating
from musicstar.evaluation.measures import MEASURES
from musicstar.evaluation.outputs import collect
from musicstar.methods.base import Source
from musicstar.methods.catalog import Backbone
from musicstar.pairs import Pair

NAMES = [f"{piece}.{direction}" for piece in ("001", "002") for direction in ("cv", "sp")]


def tune(number: int, *, octave: int = 0, seconds: float = 1.0) -> Clip:
    """Four notes of three harmonics each; every number another tune."""
    rng = np.random.default_rng(number)
    time_s = np.arange(round(seconds / 4 * SAMPLE_RATE)) / SAMPLE_RATE
    parts = []
    for pitch in rng.permutation(np.arange(60, 72))[:4]:
        hz = 440 * 2 ** ((pitch + 12 * octave - 69) / 12)
        wave = sum(np.sin(2 * np.pi * hz * order * time_s) / order for order in (1, 2, 3))
        parts.append(0.1 * wave * np.exp(-time_s / 0.2))
    return Clip(np.concatenate(parts).astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pieces, both directions: golds, inputs an octave off, a copy of each gold at another gain and rate."""
    folder = tmp_path_factory.mktemp("outputs")
    for number, name in enumerate(NAMES):
        gold = tune(number // 2)
        audio.write(folder / f"{name}.gold.wav", gold, subtype="FLOAT")
        audio.write(folder / f"{name}.input.wav", tune(number // 2, octave=1), subtype="FLOAT")
        audio.write(folder / f"{name}.copy.flac", gold.resampled(44_100).amplified(-9), subtype="PCM_24")
    return folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


# Names


def test_golds_and_inputs_may_lie_elsewhere(tmp_path: Path) -> None:
    made, golds = tmp_path / "made", tmp_path / "golds"
    made.mkdir()
    golds.mkdir()
    touch(made, "001.cv.mine.wav", "002.sp.mine.ogg", "notes.txt")
    touch(golds, "001.0.wav", "001.3.wav", "001.1.wav", "002.sp.gold.flac", "whatever.wav")
    found = collect(made, golds=golds)
    assert not found.faults
    assert {place: sorted(systems) for place, systems in found.files.items()} == {
        ("001", "cv"): ["gold", "input", "mine"],
        ("002", "sp"): ["gold", "mine"],
    }
    assert found.files["001", "cv"]["gold"].name == "001.0.wav"
    assert found.files["001", "cv"]["input"].name == "001.3.wav"


def test_golds_that_are_named_go_first(tmp_path: Path) -> None:
    made, golds = tmp_path / "made", tmp_path / "golds"
    for folder in (made, golds):
        folder.mkdir()
        touch(folder, "001.cv.gold.wav")
    touch(made, "001.cv.mine.wav")
    found = collect(made, golds=golds)
    assert found.files["001", "cv"]["gold"] == golds / "001.cv.gold.wav"
    assert found.faults == (f"001.cv.gold.wav: left out, {golds / '001.cv.gold.wav'} is there too",)


def test_a_target_may_have_several_sources(tmp_path: Path) -> None:
    touch(tmp_path, "001.sp-cv.mine.wav", "001.th-cv.mine.wav", "001.cv.gold.wav")
    files = collect(tmp_path).files
    assert files["001", "sp-cv"]["gold"] == files["001", "th-cv"]["gold"] == tmp_path / "001.cv.gold.wav"
    assert outputs.route("th-cv") == Direction(Domain.TH, Domain.CV)


def test_each_file_that_is_left_out_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "001.cv.a|b.wav", "001.cv.a\nb.wav")
    touch(tmp_path, "001.cv.gold.wav", "001.cv.a.wav", "001.cv.a.flac", "001.cv.unrelated.wav")
    (tmp_path / "001.cv.b.wav").symlink_to("nowhere")
    touch(tmp_path, "mine.wav", "001.xy.a.wav", "001.cv-cv.a.wav", "002.cv.a.wav", "..cv.a.wav")
    found = collect(tmp_path)
    assert list(found.files) == [("001", "cv")]
    told = "\n".join(found.faults)
    assert "mine.wav: not a name of PIECE.DIRECTION.SYSTEM" in told
    assert "001.xy.a.wav: unknown direction 'xy'; expected cv, sp" in told
    assert "001.cv-cv.a.wav: unknown direction" in told
    assert told.count("a name with signs that no table can hold") == 2
    assert "002.cv.a.wav: there is no gold standard; expected 002.cv.gold.wav" in told
    assert "001.cv.a.wav: left out, 001.cv.a.flac is there too" in told
    assert "kept for golds of other pieces" in told
    assert "001.cv.b.wav: not a file" in told
    assert len(found.faults) == 10


def test_the_unrelated_piece_is_the_next_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "b.cv.gold.wav", "a.cv.gold.wav", "c.cv.gold.wav", "b.sp.gold.wav")
    found = collect(tmp_path)
    following = [found.unrelated((piece, "cv")) for piece in "abc"]
    assert [path.name[0] for path in following if path] == ["b", "c", "a"]
    assert found.unrelated(("b", "sp")) is None


# The command


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main(["evaluate", *map(str, arguments), "--content-by", "salience", "--without", "style"])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_folder_is_measured(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = evaluate(capsys, folder, "--json", "--save", tmp_path, "--plots", tmp_path)
    assert (status, err) == (0, "")
    found = json.loads(out)
    values = {(row["system"], row["direction"]): row["values"] for row in found["rows"]}
    assert {system for system, _ in values} == {"gold", "input", "unrelated", "copy"}
    for name, value in values["gold", "cv"].items():
        assert MEASURES[name].best is None or value["mean"] == pytest.approx(MEASURES[name].best)
    # Gain and sample rate do not count.
    assert values["copy", "cv"]["content"]["mean"] > 0.98
    assert values["copy", "cv"]["mel_distance"]["mean"] < 0.05
    assert values["input", "pooled"]["octave_errors"]["mean"] > 0.9
    assert values["unrelated", "pooled"]["content"]["mean"] < 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"evaluation.{suffix}" for suffix in ("csv", "html", "json", "md")
    ]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == found


def test_what_cannot_be_read_is_named_and_the_rest_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.glob("*.cv.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "001.cv.broken.wav").write_bytes(b"no sound at all")
    (tmp_path / "002.cv.gold.wav").write_bytes(b"")
    (tmp_path / "003.cv.lonely.wav").write_bytes(b"")
    status, out, err = evaluate(capsys, tmp_path, "--csv")
    assert status == 1
    assert "copy,cv,1,content," in out
    assert "003.cv.lonely.wav: there is no gold standard" in err
    assert "001.cv.broken.wav: not readable as audio" in err
    assert "002.cv.gold.wav: the file is empty (0 bytes); nothing of 002.cv can be measured" in err
    assert len(err.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give either a FOLDER of outputs or --data"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["."], "nothing to measure; expected PIECE.DIRECTION.SYSTEM.wav"),
        ([".", "--record"], "--record goes with --data"),
        ([".", "--method", "stem"], "--method goes with --data"),
        (["--data", ".", "--seconds", "5"], "--seconds is of held-out pieces"),
        (["--data", ".", "--held-out", "c", "--record"], "--record keeps what essentia finds"),
        (["--data", ".", "--golds", "."], "--golds go with a FOLDER"),
        (["--data", ".", "--record"], "give --held-out too"),
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
    status, _, err = evaluate(capsys, *arguments)
    assert status == 1
    assert sentence in err
    assert len(err.splitlines()) == 1


# Our own outputs


def test_what_is_translated_is_written_as_anybodys(tmp_path: Path) -> None:
    clips = {domain: tune(number) for number, domain in enumerate((Domain.CV, Domain.SP, Domain.TH))}

    def pair(source: Domain, target: Domain) -> Pair:
        return Pair("001", Source(source, clips[source]), target, clips[target])

    both = [pair(Domain.SP, Domain.CV), pair(Domain.CV, Domain.SP)]
    assert translating.write(both, {}, tmp_path / "two") == {}
    found = collect(tmp_path / "two").files
    assert {place: sorted(systems) for place, systems in found.items()} == {
        ("001", "cv"): ["gold", "input"],
        ("001", "sp"): ["gold", "input"],
    }
    translating.write([*both, pair(Domain.TH, Domain.CV)], {}, tmp_path / "three")
    assert list(collect(tmp_path / "three").files) == [("001", "cv-sp"), ("001", "sp-cv"), ("001", "th-cv")]


def test_a_figure_that_cannot_be_stored_is_told_all_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plots").write_bytes(b"")
    status, out, err = evaluate(
        capsys,
        folder,
        "--csv",
        "--without",
        "quality",
        "--pictures",
        tmp_path / "plots" / "x",
        "--save",
        tmp_path / "s",
    )
    assert status == 1
    assert "copy,cv,2,content," in out
    assert "not all of --pictures was written (Not a directory)" in err
    assert (tmp_path / "s" / "evaluation.json").is_file()


def test_a_silent_source_does_not_stop_the_others(tmp_path: Path) -> None:
    clips = [tune(0), Clip(np.zeros(SAMPLE_RATE, np.float32))]
    pairs = [Pair(str(n), Source(Domain.SP, clip), Domain.CV, tune(1)) for n, clip in enumerate(clips)]
    faults: list[str] = []
    methods = {Backbone.SPECTRAL: {Direction(Domain.SP, Domain.CV): ["mixture"]}}
    speeds = translating.write(pairs, methods, tmp_path, fault=faults.append)
    assert list(speeds) == [(("0", "cv"), "mixture")]
    assert len(faults) == 1
    assert faults[0].startswith("1.cv.mixture: the source: the clip is silent")


def test_a_folder_with_recordings_is_not_mixed_with_new_ones(
    folder: Path, excerpts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = evaluate(capsys, "--data", excerpts, "--out", folder)
    assert (status, out, "there are recordings already" in err) == (1, "", True)


def test_a_method_without_weights_is_left_out_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translating, "library", lambda: Library([tmp_path]))
    offered, lacking = translating.with_weights(["mixture"], backbone=Backbone.WAVENET)
    assert not any(offered.values())
    assert "There are no wavenet weights of mixture" in lacking["mixture-wavenet"]
    assert list(translating.separate([])) == []


def test_voices_of_the_published_sdr_are_ours() -> None:
    printed = results.published()["separation_sdr_db"]
    assert {Voice.from_label(name) for name in printed if name != "overall"} == {
        voice for domain in (Domain.CV, Domain.SP) for voice in domain.stems
    }
    assert printed["overall"] == pytest.approx(np.mean([printed[n] for n in printed if n != "overall"]), abs=0.005)
