"""What all tests share: a quiet machine, no network, real music where it is had, two voices of our own."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by the libraries as they are first imported, so set before any test imports them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

from tests.browsing import FLAGS

if TYPE_CHECKING:
    from musicstar.audio import Clip

ROOT = Path(__file__).resolve().parent.parent
LONGEST = ("test_train.py", "test_main.py")
SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/default-GM.sf2")
# Nothing of somebody's own survey is reached; these name what the tests themselves take.
OURS = ("MUSICSTAR_EXCERPTS", "MUSICSTAR_PUBLISHED", "MUSICSTAR_CONCEPT_DATA", "MUSICSTAR_BAD_PAYLOADS")
for variable in [name for name in os.environ if name.startswith(("DATABASE_URL", "MUSICSTAR_"))]:
    if variable not in OURS:
        del os.environ[variable]


@pytest.fixture(scope="session", autouse=True)
def engines_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is built by the tests is kept where they write, and built once for all workers."""
    base = tmp_path_factory.getbasetemp()
    os.environ["MUSICSTAR_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "engines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers first: they mostly wait, and what only computes fills the time.

    Then the longest, as each file is one worker's: begun last, it would leave the others without work.
    """
    items.sort(key=lambda item: (item.get_closest_marker("browser") is None, item.path.name not in LONGEST))


class NetworkUse(AssertionError):
    """A test reached beyond this machine."""


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    # Only an address of its own can be bound to; a cluster of this machine alone uses one.
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.bind((str(address), 0))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pieces of two seconds in the StarNet layout."""
    from tests.small_runs import write_set

    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Refuse every connection and look-up that is not of this machine."""

    def check(host: object) -> None:
        if not _is_local(host):
            raise NetworkUse(f"a test reached for {host!r}; tests may use this machine only")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            original = getattr(socket.socket, name)

            def guarded(self: socket.socket, *args: Any, original: Any = original) -> Any:
                if self.family in (socket.AF_INET, socket.AF_INET6):
                    check(args[-1][0])
                return original(self, *args)

            patch.setattr(socket.socket, name, guarded)

        look_up = socket.getaddrinfo

        def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
            check(host)
            return look_up(host, *args, **options)

        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(scope="module", autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """Training has its process take the smallest numbers for zero; tests that come after have them again."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def excerpts() -> Path:
    """The folder of ten real StarNet excerpts, NNN.0.wav (CV) and NNN.3.wav (SP)."""
    folder = Path(os.environ.get("MUSICSTAR_EXCERPTS", ROOT.parent / "shared/data/starnet_excerpts"))
    if not any(folder.glob("*.0.wav")):
        pytest.skip(f"no StarNet excerpts in {folder}; name their folder in MUSICSTAR_EXCERPTS")
    return folder


@pytest.fixture(scope="session")
def soundfont() -> Path:
    """A General MIDI soundfont, where FluidSynth can play it."""
    pytest.importorskip(
        "fluidsynth", reason="no pyfluidsynth (extra `render`) or no libfluidsynth3", exc_type=ImportError
    )
    for path in map(Path, SOUNDFONTS):
        if path.is_file():
            return path
    pytest.skip("no soundfont: the system package fluid-soundfont-gm is not installed")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium browser that starts, which Ubuntu's stub of one does not without its snap."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("no browser: the system package chromium is not installed")


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Any]:
    """A browser that Playwright drives, for each file of tests one of its own."""
    playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
    pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (extra `dev`)")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def _tone(midi_pitch: int, *, duration_s: float, harmonics: tuple[float, ...], decay_s: float) -> np.ndarray:
    time_s = np.arange(round(16_000 * duration_s)) / 16_000
    frequency_hz = 440 * 2 ** ((midi_pitch - 69) / 12)
    wave = sum(level * np.sin(2 * np.pi * frequency_hz * order * time_s) for order, level in enumerate(harmonics, 1))
    edges = np.minimum(1, np.minimum(time_s, time_s[::-1]) / 0.01)
    return np.asarray(wave * edges * np.exp(-time_s / decay_s))


@pytest.fixture(scope="session")
def two_voices() -> "tuple[Clip, Clip]":
    """Melody and accompaniment, two seconds at 16 kHz, the same samples each time.

    The melody is C5 D5 E5 G5 (MIDI 72, 74, 76, 79), half a second each; the accompaniment strikes the fifths
    C3 G3 and F3 C4 (MIDI 48 55, 53 60), a second each. Their sum stays within full scale.
    """
    from musicstar.audio import Clip

    melody = np.concatenate(
        [
            _tone(pitch, duration_s=0.5, harmonics=(1.0, 0.5, 0.33, 0.25, 0.2), decay_s=10.0)
            for pitch in (72, 74, 76, 79)
        ]
    )
    accompaniment = np.concatenate(
        [
            sum(_tone(pitch, duration_s=1.0, harmonics=(1.0, 0.3, 0.1), decay_s=0.5) for pitch in chord)
            for chord in ((48, 55), (53, 60))
        ]
    )
    high, low = ((0.06 * wav).astype(np.float32) for wav in (melody, accompaniment))
    return Clip(high), Clip(low)
