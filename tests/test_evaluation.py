"""`musicstar evaluate`: what a folder's names say, rows and their intervals, tables, and what it says of bad input."""

import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from musicstar import audio
from musicstar.__main__ import main
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.checkpoint import Library
from musicstar.domains import Direction, Domain, Voice
from musicstar.evaluation import judges, outputs, plots, results, table, translating
from musicstar.evaluation.measures import MEASURES, Measured
from musicstar.evaluation.outputs import collect
from musicstar.evaluation.results import POOLED, summarise
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


def one(system: str, piece: str, direction: str, content: float, **values: float) -> Measured:
    return Measured(piece, direction, system, {"content": content, **values})


MEASURED = [
    one("gold", "001", "cv", 1.0),
    one("mixture", "001", "cv", 0.2, upper_harmonics=-6.0, speed=10.0),
    one("mixture", "001", "sp", 0.4, upper_harmonics=6.0, speed=30.0),
    one("mixture", "002", "cv", 0.6, upper_harmonics=-8.0, speed=20.0),
    one("mixture", "002", "sp", 0.8, upper_harmonics=8.0, speed=math.nan),
    one("input", "001", "cv", 0.1),
    one("input", "001", "sp", 0.5),
    one("input", "002", "cv", 0.5),
]


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


# Rows


def test_rows_by_hand() -> None:
    rows = {(row.system, row.direction): row for row in summarise(MEASURED, content_by="essentia").rows}
    pooled = rows["mixture", POOLED]
    assert pooled.pieces == 2
    content = pooled.values["content"]
    # A piece's directions are averaged first: 0.3 and 0.7.
    assert (content.mean, content.low, content.high) == pytest.approx((0.5, 0.3, 0.7))
    # Of 002 towards sp there is no input: (0.3 - 0.3) and (0.6 - 0.5).
    gain = pooled.values["content_gain"]
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.05, 0.0, 0.1), abs=1e-9)
    assert pooled.values["speed"].mean == pytest.approx(20)
    assert rows["mixture", "cv"].values["content"].mean == pytest.approx(0.4)
    assert "content_gain" not in rows["input", POOLED].values


def test_signed_figures_are_not_pooled() -> None:
    found = summarise(MEASURED, content_by="essentia").rows
    rows = {row.direction: row.values for row in found if row.system == "mixture"}
    assert "upper_harmonics" not in rows[POOLED]
    assert rows["cv"]["upper_harmonics"].mean == pytest.approx(-7)


def test_order_does_not_matter() -> None:
    assert summarise(MEASURED, content_by="essentia") == summarise(MEASURED[::-1], content_by="essentia")


def test_frechet_is_of_systems_and_directions() -> None:
    def frames(*values: float) -> np.ndarray:
        return np.array(values)[:, None]

    measured = [
        Measured("001", "cv", "gold", {}, frames(0, 2)),
        Measured("002", "cv", "gold", {}, frames(0, 2)),
        Measured("001", "cv", "a", {}, frames(3, 3)),
        Measured("002", "cv", "a", {}, frames(5, 5)),
    ]
    rows = summarise(measured, content_by="salience", frechet=lambda a, b: abs(float(a.mean() - b.mean()))).rows
    values = {(row.system, row.direction): row.values["frechet"] for row in rows}
    assert (values["a", "cv"].mean, values["a", "cv"].low, values["a", "cv"].high) == pytest.approx((3, 2, 4))
    assert values["gold", POOLED].mean == 0


def test_a_silent_output_has_no_style_to_compare() -> None:
    """Even where it is all that a resample drew."""
    rng = np.random.default_rng(0)
    measured = [
        Measured(piece, "cv", system, {}, np.zeros((0, 4)) if (system, piece) == ("a", "002") else rng.random((3, 4)))
        for piece in ("001", "002")
        for system in ("gold", "a")
    ]
    rows = summarise(measured, content_by="salience", frechet=judges.frechet_distance).rows
    assert next(row for row in rows if row.system == "a").values["frechet"].mean > 0
    silent = [one for one in measured if one.system == "gold" or one.piece == "002"]
    assert "frechet" not in summarise(silent, content_by="salience", frechet=judges.frechet_distance).rows[-1].values


def test_pooled_are_the_directions_of_all_systems() -> None:
    measured = [one(name, "001", towards, value) for name, towards, value in (
        ("input", "fg", 0.9), ("a", "cv", 0.2), ("a", "fg", 0.8), ("b", "cv", 0.4), ("input", "cv", 0.1),
    )]  # fmt: skip
    rows = {row.system: row.values["content"].mean for row in summarise(measured, content_by="salience").rows[:3]}
    assert rows == {"input": 0.1, "a": 0.2, "b": 0.4}


def test_json_of_a_result() -> None:
    separated = [("001", {"piano": 4.0}), ("002", {"piano": 6.0})]
    made = results.as_json(summarise(MEASURED, content_by="salience", separated=separated))
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["format"], made["content_by"]) == (1, "salience")
    assert made["measures"]["content"]["better"] == "higher"
    assert made["measures"]["upper_harmonics"] == {
        "title": "upper harmonics",
        "unit": "dB",
        "better": "nearest",
        "best": 0.0,
    }
    assert made["rows"][0] == {
        "system": "gold",
        "direction": "pooled",
        "pieces": 1,
        "values": {
            "content": {"mean": 1.0, "low": None, "high": None},
            "content_gain": {"mean": 0.9, "low": None, "high": None},
        },
    }
    assert made["separation_sdr_db"]["measured"]["piano"] == {"mean": 5.0, "low": 4.0, "high": 6.0}
    assert made["separation_sdr_db"]["published"]["overall"] == 7.36


def test_published_figures_stand_beside_ours() -> None:
    lines = table.markdown(summarise(MEASURED, content_by="essentia")).splitlines()
    assert "essentia" in lines[0]
    at = lines.index("### Content, all directions")
    assert "in the paper" in lines[at + 2]
    assert [line.split("|")[1:5] for line in lines[at + 4 : at + 7]] == [
        [" gold ", " 1 ", " 1.000 ", "  "],
        [" input ", " 2 ", " 0.400 (0.300 to 0.500) ", "  "],
        [" mixture ", " 2 ", " 0.500 (0.300 to 0.700) ", " 0.426 "],
    ]
    assert "in the paper" not in table.markdown(summarise(MEASURED, content_by="salience")), "not of the same kind"
    with_stems = summarise(MEASURED, content_by="essentia", separated=[("1", {"piano": 5.0, "clarinet": 7.0})])
    assert table.markdown(with_stems).endswith("| mean of those | 6.00 | 7.36 |")


def test_what_is_not_pooled_is_said() -> None:
    measured = [one("a", "001", "cv", 0.9), one("a", "001", "sp", 0.1), one("b", "001", "cv", 0.5)]
    headings = [
        line for line in table.markdown(summarise(measured, content_by="essentia")).splitlines() if "###" in line
    ]
    assert headings[0] == "### Content, all directions but to sp, which some system lacks"


def test_csv_has_a_line_for_each_figure() -> None:
    result = summarise(MEASURED, content_by="essentia")
    lines = list(csv.DictReader(io.StringIO(table.as_csv(result))))
    assert len(lines) == sum(len(row.values) for row in result.rows)
    wanted = [line for line in lines if (line["system"], line["direction"]) == ("mixture", "pooled")]
    assert {line["measure"]: (line["mean"], line["published"]) for line in wanted}["content"] == ("0.5", "0.426")


def test_every_measure_says_which_way_is_better() -> None:
    for name, measure in MEASURES.items():
        assert table.heading(name)[-1] in "↑↓" or f"→{measure.best:g}" in table.heading(name)


def test_plots_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    plots.write(tmp_path / "a.html", summarise(MEASURED, content_by="essentia"), MEASURED)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script src=" not in page
    assert "plotly.js v" in page
    assert page.count("Plotly.newPlot(") >= 3


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
