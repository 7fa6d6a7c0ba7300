"""The project as a whole: what is packaged, tracked, pinned and promised."""

import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from pathlib import Path

import pytest

import musicstar.__main__
import survey.__main__
from benchmarks.participants import launch

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAX_LINES = 400
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+(; .+)?")


def tracked() -> list[Path]:
    """The files that git tracks or would track."""
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout ({error})")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> dict[str, str]:
    """The tracked text files by their name in the project."""
    found = {}
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8000]:
            found[path.relative_to(ROOT).as_posix()] = data.decode(encoding="utf-8", errors="replace")
    return found


def test_every_package_is_listed() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("musicstar", "survey", "db")
        for path in (ROOT / top).rglob("*.py")
    }
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)
    assert all((ROOT / package.replace(".", "/") / "__init__.py").is_file() for package in packages)


@pytest.mark.parametrize("name", ["musicstar", "survey", "db"])
def test_every_file_of_the_package_is_packaged(name: str) -> None:
    package = ROOT / name
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"].get(name, [])
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in tracked() if path.is_relative_to(package) and path.suffix != ".py"}
    assert sorted(map(str, others - packaged)) == []


def test_no_module_is_too_long() -> None:
    lengths = {name: text.count("\n") for name, text in texts().items() if name.endswith(".py")}
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_nothing_of_others_is_tracked() -> None:
    foreign = re.compile(r"\.min\.(js|css)$|\.(sf2|sf3|sfz|whl|so|woff2?)$|(^|/)(node_modules|uv\.lock)")
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert [name for name in names if foreign.search(name)] == []


def test_no_address_of_a_package_index() -> None:
    index = re.compile(r"--(extra-)?index-url|--find-links|https?://[^\s'\"]*/simple\b|" + "pypi" + r"\.(org|python)")
    here = Path(__file__).relative_to(ROOT).as_posix()
    assert [name for name, text in texts().items() if name != here and index.search(text)] == []


def test_all_dependencies_are_pinned_once_and_alike() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(extras) == {"render", "eval", "cluster", "postgres", "dev"}
    direct = [*PYPROJECT["project"]["dependencies"], *(pin for pins in extras.values() for pin in pins)]
    assert [pin for pin in direct if not PIN.fullmatch(pin)] == []
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = [line for line in lines if not line.startswith("#")]
    assert [line for line in locked if not PIN.fullmatch(line)] == []
    assert [pin for pin in direct if ";" not in pin and pin not in locked] == []


def code(document: str) -> list[str]:
    """The lines of the code blocks of a document."""
    lines: list[str] = []
    fenced = False
    for line in (ROOT / document).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    return lines


@pytest.mark.parametrize(
    ("program", "parser", "commands"),
    [
        (
            "musicstar",
            musicstar.__main__._parser(),
            {"translate", "render", "train", "evaluate", "checkpoint", "concepts"},
        ),
        (
            "musicstar-survey",
            survey.__main__._parser(),
            {"check", "lock", "build", "user", "results", "simulate", "plan", "export"},
        ),
    ],
)
def test_the_commands_of_the_documents_are_understood(
    program: str, parser: ArgumentParser, commands: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    understood = set()
    for document in ("README.md", "CONTRIBUTING.md"):
        for line in code(document):
            if command := re.search(rf"(?:^|/|-m ){program} (.+)", line):
                try:
                    parser.parse_args(shlex.split(command[1], comments=True))
                except SystemExit:
                    pytest.fail(f"{document}: {line}\n{capsys.readouterr().err}")
                understood.add(command[1].split()[0])
    assert understood >= commands


def make(*arguments: str, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run make; the programs in a folder stand in for those of the same names."""
    # A make that runs these tests hands its own options down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    if programs is not None:
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_commands_of_the_readme_are_targets() -> None:
    commands = set()
    for document in ("README.md", "CONTRIBUTING.md"):
        prose = (ROOT / document).read_text(encoding="utf-8")
        commands |= set(re.findall(r"(?:^ *|`)make ([a-z-]+)(?= *(?:`|#|$))", prose, flags=re.MULTILINE))
    assert {"app", "test"} <= commands
    for command in commands:
        assert make("--dry-run", command).returncode == 0, f"make {command} is no target"


def test_make_names_what_is_missing(tmp_path: Path) -> None:
    missing = make("VENV=" + str(tmp_path / "venv"), "PYTHON=no-such-python", "app")
    assert missing.returncode != 0
    assert "no-such-python is not installed; Music-STAR studio needs Python 3.11 or newer." in missing.stderr
    old = tmp_path / "old-python"
    old.write_text(f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 10, 4)\nexec(sys.argv[2])\n")
    old.chmod(0o755)
    refused = make("VENV=" + str(tmp_path / "venv"), f"PYTHON={old}", "app")
    assert refused.returncode != 0
    assert f"needs Python 3.11 or newer and {old} is 3.10; name another" in refused.stderr
    assert not (tmp_path / "venv").exists()


def test_what_cannot_be_installed_is_tried_once(tmp_path: Path) -> None:
    """And again with a newer Makefile; what is missing is named each time."""
    programs, log, venv = tmp_path / "programs", tmp_path / "log", tmp_path / "venv"
    for folder in (programs, venv):
        folder.mkdir()
    (venv / ".made").touch()
    stand_ins = {"id": "echo 0", "apt-get": f'echo "$@" >>{log}; exit 100'}
    for name in ("dpkg-query", "chromium", "chromium-browser", "google-chrome"):
        stand_ins[name] = "exit 1"
    for name, line in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)

    def tried() -> int:
        run = make(f"VENV={venv}", "system-packages", programs=programs)
        assert run.returncode == 0, run.stderr
        assert run.stdout.splitlines()[-1] == (
            "Not installed, and the tests that need them skip: chromium libfluidsynth3 fluid-soundfont-gm "
        )
        return log.read_text().count(" install ")

    assert tried() == 3
    assert tried() == 3
    os.utime(venv / ".packages", (0, 0))
    assert tried() == 6
    (programs / "google-chrome").write_text("#!/bin/sh\n")
    (programs / "dpkg-query").write_text("#!/bin/sh\necho install ok installed\n")
    (venv / ".packages").unlink()
    assert make(f"VENV={venv}", "system-packages", programs=programs).stdout == ""
    assert log.read_text().count(" install ") == 6


def test_the_check_of_every_change_runs_all_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    assert re.search(r"^exec make test\b", script.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_changes_and_licence_are_stated() -> None:
    assert re.search(r"^## \[?Unreleased\]?$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License\n\nCopyright (c) 2026 Music-STAR studio contributors\n")


def test_neither_tests_nor_benchmarks_reach_ones_own_survey(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "MUSICSTAR_HOST", "MUSICSTAR_PUBLISHED"):
        monkeypatch.setenv(name, "mine")
    shown = "import os, tests.conftest; print([name for name in os.environ if os.environ[name] == 'mine'])"
    asked = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "['MUSICSTAR_PUBLISHED']"
    started: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: started.append(env))
    launch(7000, tmp_path)
    assert "mine" not in started[0].values()
    assert started[0]["MUSICSTAR_SURVEY"] == str(tmp_path)
    assert started[0]["PATH"]


def test_tests_reach_no_other_machine() -> None:
    with pytest.raises(AssertionError, match=r"reached for '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(AssertionError, match=r"reached for 'host\.invalid'"):
        socket.getaddrinfo("host.invalid", 80)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
        pass
