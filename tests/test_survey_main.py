"""Tests of survey/__main__.py: the whole chain from a study's file to its results, and errors as sentences."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from survey import accounts, place
from survey.__main__ import main
from survey.definition import load
from survey.session import SurveyDesk
from survey.simulate import simulate as take

RATE = 8_000
STUDY = """\
name = "tiny"
title = "Title"
welcome = "Hello"
consent = "Ask {contact}."
thanks = "Thanks"
trials_per_participant = 2
slots = 4
seed = 7
background = [{ key = "age", text = "Age?", kind = "number" }, { key = "more", text = "More?", kind = "text" }]
systems = [{ key = "a", title = "System A" }, { key = "b", title = "System B" }]
pieces = [{ key = "p1", title = "First" }, { key = "p2", title = "Second" }]
directions = [{ key = "up", title = "Up" }, { key = "down", title = "Down" }]
criteria = [{ key = "content", title = "Content", question = "?", best = "best", worst = "worst" }]
[stimuli]
pattern = "{piece}.{direction}.{system}.wav"
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file in the working directory, its stimuli beside it, not locked yet."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DATABASE_URL", "MUSICSTAR_SURVEY", "MUSICSTAR_SURVEY_CONTACT", accounts.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    for n, one in enumerate(load(path).stimuli):
        rng = np.random.default_rng(n)
        soundfile.write(one.path, rng.normal(0, 0.01 * (1 + n), RATE), RATE, subtype="PCM_24")
    return path


@pytest.fixture
def built(study: Path) -> Path:
    assert main(["lock", "tiny.toml"]) == 0
    assert main(["build", "tiny.toml"]) == 0
    return study


def simulate(*more: str, participants: int = 12, folder: str = "data") -> int:
    options = ["--data", folder, "--participants", str(participants), "--strengths", "1", "9"]
    return main(["simulate", "tiny", *options, *more])


def test_a_study_goes_from_its_file_to_its_results(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tiny.toml"]) == 1
    assert "is not in the lock file" in capsys.readouterr().err
    assert main(["lock", "tiny.toml"]) == 0
    assert main(["check", "tiny.toml"]) == 0
    checked = capsys.readouterr().out
    assert "tiny: 2 pieces, 2 directions, 2 systems, 1 criterion; en" in checked
    assert "12 stimuli, 0.2 minutes, will be -23.0 LUFS" in checked
    assert main(["build", "tiny.toml"]) == 0
    assert f"version 1 built; 12 of 12 clips written into {study.parent}/data/media" in capsys.readouterr().out
    assert main(["build", "tiny.toml"]) == 0
    assert "version 1 was there already; 0 of 12 clips written" in capsys.readouterr().out
    assert simulate() == 0
    assert "12 of 12" in capsys.readouterr().err
    assert main(["results", "tiny", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    # Two rankings of each participant, one in either direction.
    totals = {row["system"]: int(row["total"]) for row in rows if row["direction"] == ""}
    assert sum(totals.values()) == 12 * 2 * 3
    assert totals["b"] > totals["a"]
    assert main(["results", "tiny.toml", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["participants"] == 12
    assert main(["results", "tiny"]) == 0
    assert f"| System B | {totals['b']} |" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_results(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for folder in ("one", "two"):
        assert main(["build", "tiny.toml", "--data", folder]) == 0
        assert simulate("--seed", "5", participants=4, folder=folder) == 0
        capsys.readouterr()
        assert main(["results", "tiny", "--data", folder]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]


def test_participants_are_simulated_only_where_there_are_none(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///real.sqlite")
    with pytest.raises(SystemExit):
        main(["simulate", "tiny", "--participants", "2", "--strengths", "1", "9"])
    assert simulate(participants=2) == 0
    assert simulate(participants=2) == 1
    assert "build it in a new --data folder" in capsys.readouterr().err
    assert not Path("real.sqlite").exists()
    store = place.place("data").store()
    assert store.funnel("tiny")["complete"] == 2
    assert [(one.action, one.detail) for one in store.audits()] == [("simulate", "2 simulated, a 1, b 9")]
    store.close()


@pytest.mark.parametrize("strengths", [["a=1", "b=9"], ["b=9", "a=1"], ["1", "9.0"]])
def test_strengths_go_by_order_or_by_name(
    strengths: list[str], built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "tiny", "--data", "data", "--participants", "20", "--strengths", *strengths]) == 0
    capsys.readouterr()
    assert main(["results", "tiny", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    first = {row["system"]: int(row["rank_1"]) for row in rows if row["direction"] == ""}
    assert first["a"] + first["b"] == 40
    assert first["b"] > 28


@pytest.mark.parametrize(
    ("strengths", "sentence"),
    [
        (["1"], "1 strengths; expected one each for a, b"),
        (["1", "x"], "b: 'x' is not a number"),
        (["a=1", "2"], "by name, or in their order for all"),
        (["a=1", "a=2"], "a has two strengths"),
        (["a=1", "c=2"], "expected a, b"),
        (["0", "1"], "above 0"),
    ],
)
def test_strengths_that_do_not_fit(
    strengths: list[str], sentence: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "tiny", "--data", "data", "--participants", "1", "--strengths", *strengths]) == 1
    assert sentence in capsys.readouterr().err


def test_results_of_one_version(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(participants=3) == 0
    built.write_text(STUDY.replace("Hello", "Welcome"), encoding="utf-8")
    assert main(["build", "tiny.toml"]) == 0
    where = place.place("data")
    store = where.store()
    desk, rng = SurveyDesk(store, where.media), np.random.default_rng(0)
    take(desk, "tiny", participants=2, strengths={"a": 1, "b": 9}, rng=rng)
    store.close()
    capsys.readouterr()
    for arguments, participants in (([], 5), (["--version", "1"], 3), (["--version", "2"], 2)):
        assert main(["results", "tiny", "--format", "json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["participants"] == participants
    assert main(["results", "tiny", "--version", "3"]) == 1
    assert "tiny has no version 3; it has 1, 2" in capsys.readouterr().err


def test_an_older_study_built_again_says_that_it_is_not_the_latest(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built.write_text(STUDY.replace("Hello", "Welcome"), encoding="utf-8")
    assert main(["build", "tiny.toml"]) == 0
    built.write_text(STUDY, encoding="utf-8")
    assert main(["build", "tiny.toml"]) == 0
    said = capsys.readouterr()
    assert "version 1 was there already" in said.out
    assert "new sessions take version 2" in said.err


@pytest.mark.parametrize("name", ["all.json", "all.zip"])
def test_a_study_moves_to_another_folder(name: str, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate() == 0
    assert main(["results", "tiny", "--format", "csv"]) == 0
    before = capsys.readouterr().out
    assert main(["export", "tiny", name]) == 0
    assert main(["import", name, "--data", "other"]) == 0
    assert "12 of participant" in capsys.readouterr().out
    assert main(["results", "tiny", "--format", "csv", "--data", "other"]) == 0
    assert capsys.readouterr().out == before
    assert main(["build", "tiny.toml", "--data", "other"]) == 0
    assert "version 1 was there already; 12 of 12 clips written" in capsys.readouterr().out
    assert main(["export", "tiny", name]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["import", name, "--data", "other"]) == 1


def test_faults_of_a_study_are_a_line_each(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace("slots = 4", "slots = 0").replace("seed = 7", 'seed = "7"'), encoding="utf-8")
    for command in ("check", "build", "lock"):
        assert main([command, "tiny.toml"]) == 1
        assert capsys.readouterr().err.splitlines() == [
            "tiny.toml, line 7: slots: 0 is out of range; expected 1 to 10000",
            "tiny.toml, line 8: seed: '7' is not a whole number",
        ]
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "absent.toml"], "absent.toml, cannot be read"),
        (["check", "tiny"], "tiny, cannot be read"),
        (["results", "tiny"], "tiny is not in the database, in which there is none"),
        (
            ["simulate", "tiny", "--data", "data", "--participants", "1", "--strengths", "1"],
            "tiny is not in the database",
        ),
        (["export", "tiny", "all.json"], "tiny is not in the database"),
        (["import", "tiny.toml"], "Neither a ZIP archive nor JSON"),
        (["import", "absent.json"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], sentence: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "tiny", "all.csv"],
        ["simulate", "tiny", "--data", "data", "--participants", "0", "--strengths", "1", "2"],
        ["results", "tiny", "--format", "xls"],
        ["results", "tiny", "--version", "0"],
        ["plan", "tiny.toml", "--strengths", "1", "2", "--power", "1"],
        ["plan", "tiny.toml", "--strengths", "1", "2", "--taste", "nan"],
        ["plan", "tiny.toml", "--strengths", "1", "2", "--most", "9"],
        [],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], study: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_the_contact_comes_from_the_option_or_the_environment(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["lock", "tiny.toml"]) == 0
    monkeypatch.setenv("MUSICSTAR_SURVEY_CONTACT", "Eve")
    for options, expected in (([], "Ask Eve."), (["--contact", "Ada, ada@example.org"], "Ask Ada, ada@example.org.")):
        assert main(["build", "tiny.toml", *options]) == 0
        store = place.place("data").store()
        version = store.latest("tiny")
        store.close()
        assert version is not None
        assert json.loads(version.config_json)["consent"]["en"] == expected


def test_an_account_is_kept_or_printed(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert main(["user", "ada"]) == 0
    assert "correct horse" not in capsys.readouterr().out
    assert accounts.Accounts(Path("data")).verify("ada", "correct horse")
    assert not accounts.Accounts(Path("data")).verify("ada", "wrong horse")
    monkeypatch.setattr(sys, "stdin", io.StringIO("battery staple\n"))
    assert main(["user", "bob", "--print"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("bob:$argon2id$")
    assert not accounts.Accounts(Path("data")).verify("bob", "battery staple")
    monkeypatch.setenv(accounts.VARIABLE, line)
    assert accounts.Accounts(Path("data")).verify("bob", "battery staple")


def test_a_password_that_is_typed_is_asked_for_twice(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["correct horse", "correct house", "short", "short", "correct horse", "correct horse"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert main(["user", "ada"]) == 1
    assert "differ" in capsys.readouterr().err
    assert main(["user", "ada"]) == 1
    assert "5 characters" in capsys.readouterr().err
    assert not Path("data/users").exists()
    assert main(["user", "ada"]) == 0
    assert accounts.Accounts(Path("data")).verify("ada", "correct horse")


def test_a_plan_says_how_many_participants_it_takes(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["plan", "tiny.toml", "--most", "30", "--studies", "200"]
    assert main([*options, "--strengths", "1", "4"]) == 0
    said = capsys.readouterr().out
    assert "with 2 rankings of each on a criterion" in said
    needed = int(said.split("to tell b from a: ")[1].split()[0])
    assert 10 <= needed < 30
    assert main([*options, "--strengths", "a=1", "b=1.01", "--rankings-each", "1", "--pair", "a", "b"]) == 0
    assert "more than 30 participants" in capsys.readouterr().out
    assert main([*options, "--strengths", "1", "4", "--pair", "a", "c"]) == 1
    assert "not two of the systems" in capsys.readouterr().err


def test_the_shipped_study_goes_by_its_name(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    systems = ["single", "separation", "embedding", "stem", "mixture"]
    strengths = [f"{system}={strength}" for strength, system in enumerate(systems, 1)]
    assert main(["plan", "music-star", "--most", "10", "--studies", "10", "--strengths", *strengths]) == 0
    assert "to tell mixture from stem" in capsys.readouterr().out


def test_it_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "survey", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    for command in ("check", "lock", "build", "results", "simulate", "plan", "user", "export", "import"):
        assert command in done.stdout
