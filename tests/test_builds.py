"""Which engine plays, and why: what is asked for, what the processor has, what can be built and kept."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from musicstar.config import ConfigError
from musicstar.engines import choice, native, processors
from musicstar.engines.choice import EngineConfig, choose, engine_for
from musicstar.engines.native import NativeEngine, Unavailable
from musicstar.engines.unrolled import UnrolledEngine
from tests.decoders import TINY, decoder_of

NEEDS_COMPILER = pytest.mark.skipif(
    not native.compiler()[1] or not shutil.which("g++"), reason="there is no g++ to build the engine with"
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing has been built or chosen yet; where builds go."""
    monkeypatch.setenv("MUSICSTAR_CACHE", str(tmp_path / "cache"))
    # How fast they play is not asked here, and they are built in a quarter of the time.
    monkeypatch.setattr(native, "FLAGS", ("-O0", *native.FLAGS[1:]))
    native.load.cache_clear()
    choice.choose.cache_clear()
    yield tmp_path / "cache"
    native.load.cache_clear()
    choice.choose.cache_clear()


@pytest.fixture(autouse=True)
def chosen_anew() -> None:
    choice.choose.cache_clear()


@pytest.mark.parametrize("named", ["no-such-compiler", "no-such-compiler -pipe", 'g++ "'])
def test_without_a_compiler_plain_pytorch_plays(named: str, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", named)
    chosen = choose(EngineConfig())
    assert isinstance(chosen.engine, UnrolledEngine)
    assert f"there is no C++ compiler {named} to" in chosen.why


def test_a_compiler_that_fails_is_quoted(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" != -c ] && [ "$#" -lt 3 ] && exec g++ "$@"\necho "error: no space left" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    chosen = choose(EngineConfig())
    assert isinstance(chosen.engine, UnrolledEngine)
    assert "could not be built" in chosen.why
    assert "no space left" in chosen.why
    assert list(fresh.iterdir()) == []


def test_instructions_that_the_processor_lacks_are_refused(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "offered", lambda: frozenset({"avx2", "fma"}))
    chosen = choose(EngineConfig(engine="avx512"))
    assert isinstance(chosen.engine, UnrolledEngine)
    assert "no avx512bw" in chosen.why
    assert processors.runnable() == ["portable"]
    with pytest.raises(Unavailable, match="which avx2 needs"):
        NativeEngine("avx2")


@NEEDS_COMPILER
def test_a_library_that_is_no_engine_is_not_kept(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "c++"
    other.write_text(
        '#!/bin/sh\nfor word; do [ "$word" != -shared ] || exec g++ -shared -x c++ /dev/null -o engine.so; done\n'
        'exec g++ "$@"\n'
    )
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    chosen = choose(EngineConfig(engine="portable"))
    assert isinstance(chosen.engine, UnrolledEngine)
    assert "could not be built or loaded" in chosen.why
    assert list(fresh.iterdir()) == []
    assert "is not kept" not in caplog.text


@NEEDS_COMPILER
def test_an_engine_that_cannot_be_kept_is_built_for_the_moment(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.touch()
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert "the WaveNet engine is not kept" in caplog.text


@NEEDS_COMPILER
def test_what_an_ended_build_has_left_is_taken_away(fresh: Path) -> None:
    for name, age_s in ((".building-old", 8000.0), (".building-new", 0.0)):
        (fresh / name).mkdir(parents=True)
        os.utime(fresh / name, (time.time() - age_s,) * 2)
    choose(EngineConfig(engine="portable"))
    assert [path.name for path in fresh.glob(".building-*")] == [".building-new"]


@NEEDS_COMPILER
def test_a_build_is_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "")
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert os.environ["CXX"] == ""
    (kept,) = fresh.iterdir()
    native.load.cache_clear()
    choice.choose.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert list(fresh.iterdir()) == [kept]


@NEEDS_COMPILER
def test_a_damaged_build_is_made_anew(fresh: Path) -> None:
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    (kept,) = fresh.iterdir()
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(whole[:5000])
    native.load.cache_clear()
    choice.choose.cache_clear()
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert kept.stat().st_size == len(whole)


@NEEDS_COMPILER
def test_a_build_that_does_not_load_is_made_anew(fresh: Path) -> None:
    """As what was made on another system does not, whole as it is."""
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    (kept,) = fresh.iterdir()
    kept.unlink()
    kept.write_bytes(b"of another system" + hashlib.sha256(b"of another system").digest())
    native.load.cache_clear()
    choice.choose.cache_clear()
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert kept.stat().st_size > 5000


@NEEDS_COMPILER
def test_what_is_no_file_is_no_build(fresh: Path) -> None:
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    (kept,) = fresh.iterdir()
    kept.unlink()
    os.mkfifo(kept)
    native.load.cache_clear()
    choice.choose.cache_clear()
    chosen: list[str] = []
    # What reads a pipe waits for ever.
    asking = threading.Thread(target=lambda: chosen.append(choose(EngineConfig(engine="portable")).why), daemon=True)
    asking.start()
    asking.join(timeout=240)
    assert chosen == ["it was asked for"]
    assert kept.is_file()


def test_threads_that_ask_at_once_play_on_one_engine(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Slow(UnrolledEngine):
        def __init__(self, name: str, **_: object) -> None:
            time.sleep(0.1)
            made.append(name)

    monkeypatch.setattr(native, "NativeEngine", Slow)
    decoder = decoder_of(TINY)
    with ThreadPoolExecutor(4) as threads:
        engines = set(threads.map(engine_for, [decoder] * 4))
    choice.choose.cache_clear()
    assert len(engines) == len(made) == 1


@NEEDS_COMPILER
def test_without_a_home_the_engine_is_built_for_the_moment(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MUSICSTAR_CACHE", "~nobody-of-that-name/builds")
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert "is not kept (there is no home for ~nobody-of-that-name/builds)" in caplog.text
    assert not fresh.exists()


@NEEDS_COMPILER
def test_builds_may_be_kept_where_one_is(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.parent)
    monkeypatch.setenv("MUSICSTAR_CACHE", ".")
    monkeypatch.setenv("CXX", "g++ -pipe")
    for _ in range(2):
        native.load.cache_clear()
        choice.choose.cache_clear()
        assert "portable" in choose(EngineConfig(engine="portable")).engine.name


@NEEDS_COMPILER
def test_no_path_is_needed(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert "portable" in choose(EngineConfig(engine="portable")).engine.name
    assert "PATH" not in os.environ


def test_the_environment_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EngineConfig.from_environment() == EngineConfig()
    monkeypatch.setenv("MUSICSTAR_ENGINE", "torch")
    monkeypatch.setenv("MUSICSTAR_PRECISION", "bfloat16")
    monkeypatch.setenv("MUSICSTAR_THREADS", "00003")
    assert EngineConfig.from_environment() == EngineConfig(engine="torch", precision="bfloat16", threads=3)
    assert isinstance(engine_for(decoder_of(TINY)), UnrolledEngine)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MUSICSTAR_ENGINE", "mkl", "engine is 'mkl', expected one of auto, torch, amx, avx512-bf16"),
        ("MUSICSTAR_PRECISION", "half", "precision is 'half', expected one of float32, bfloat16"),
        ("MUSICSTAR_THREADS", "-1", "MUSICSTAR_THREADS is '-1', expected a whole number from 0 to 1024"),
        ("MUSICSTAR_THREADS", "9" * 5000, r"MUSICSTAR_THREADS is '9+\.\.\.9+', expected a whole number from 0 to 1024"),
    ],
)
def test_what_is_asked_for_in_vain_is_told(
    variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=sentence):
        EngineConfig.from_environment()
