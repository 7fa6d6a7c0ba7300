"""What the browser tests stand on: the app started for real, and the gestures of a visitor."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE_MS = 90_000
MAX_SECONDS = 90.0

# What a track's file holds, decoded by the browser itself.
MEASURE = """async () => {
  const deck = document.querySelector('.ms-player').deck;
  const found = {};
  for (const [key, sound] of deck.sounds) {
    const bytes = await (await fetch(sound.src)).arrayBuffer();
    const buffer = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes);
    const wav = buffer.getChannelData(0);
    found[key] = {seconds: buffer.duration, rms: Math.sqrt(wav.reduce((sum, x) => sum + x * x, 0) / wav.length)};
  }
  return found;
}"""
COUNT_RUNS = """window.begun = 0;
window.running = false;
document.addEventListener('musicstar:running', ({detail}) => {
  if (detail && !window.running) window.begun += 1;
  window.running = detail;
});"""
PLACE = """() => {
  const { context, position, duration } = document.querySelector('.ms-player').deck;
  return [context.currentTime - position, duration];
}"""
# What comes out of the player over a while: its level, and how far the position strays from the clock.
LISTEN = """async (keys) => {
  const deck = document.querySelector('.ms-player').deck;
  const analyser = deck.context.createAnalyser();
  analyser.fftSize = 8192;
  deck.master.connect(analyser);
  const wav = new Float32Array(analyser.fftSize);
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const heard = {};
  let stray = 0;
  const start = deck.context.currentTime - deck.position;
  const off = (seconds) => Math.abs(seconds - deck.duration * Math.round(seconds / deck.duration));
  for (const key of keys) {
    deck.select(key);
    await deck.load(key);
    await rest(300);
    analyser.getFloatTimeDomainData(wav);
    heard[key] = Math.sqrt(wav.reduce((sum, x) => sum + x * x, 0) / wav.length);
    stray = Math.max(stray, off(deck.context.currentTime - deck.position - start));
  }
  deck.master.disconnect(analyser);
  return {heard, stray, playing: deck.playing};
}"""


COUNT_MICROPHONES = """(() => {
  const { mediaDevices } = navigator;
  const ask = mediaDevices.getUserMedia.bind(mediaDevices);
  window.microphones = 0;
  mediaDevices.getUserMedia = (wanted) => {
    window.microphones += 1;
    return ask(wanted);
  };
})()"""


@dataclass
class Studio:
    """The app under test, and what was asked of the network."""

    url: str
    data: Path
    process: "subprocess.Popen[bytes]"
    requests: list[str] = field(default_factory=list)

    def orders(self) -> int:
        with urllib.request.urlopen(f"{self.url}/healthz") as answer:
            return int(json.load(answer)["orders"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(data: Path) -> Iterator[Studio]:
    """The app in a process of its own, its jobs in a folder."""
    port = free_port()
    environment = {
        **os.environ,
        "MUSICSTAR_PORT": str(port),
        "MUSICSTAR_DATA": str(data / "jobs"),
        "MUSICSTAR_SURVEY": str(data / "survey"),
        "MUSICSTAR_MAX_SECONDS": str(MAX_SECONDS),
    }
    environment.pop("MUSICSTAR_HOST", None)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + PATIENCE_MS / 1000
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
    try:
        while True:
            try:
                with urllib.request.urlopen(url):
                    break
            except OSError:
                assert process.poll() is None, "the app ended at its start"
                assert time.monotonic() < deadline, "the app did not answer"
                time.sleep(0.05)
        yield Studio(url, data, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def choose(page: Any, path: Path) -> None:
    page.set_input_files("#ms-file", path)
    page.wait_for_function("(name) => document.querySelector('.ms-chosen b')?.textContent === name", arg=path.stem)
    page.wait_for_selector(".ms-track[data-kind=input]")


def offered(page: Any) -> list[str]:
    """The methods that can be ticked, once the page knows; skips where no weights are there."""
    page.wait_for_selector(".ms-methods.ms-known")
    names: list[str] = page.eval_on_selector_all(".ms-method input:not(:disabled)", "boxes => boxes.map(b => b.value)")
    if not names:
        pytest.skip("no trained weights are shipped or named in MUSICSTAR_WEIGHTS")
    return names


def translate(page: Any) -> None:
    """Press Translate and wait until the work begins; it may end within the same moment."""
    begun = page.evaluate("window.begun")
    page.click("#ms-translate")
    page.wait_for_function("(begun) => window.begun > begun", arg=begun)


def ended(page: Any) -> None:
    page.wait_for_function("!window.running")
    page.wait_for_selector("#ms-translate:enabled")


def outputs(page: Any) -> list[str]:
    keys: list[str] = page.evaluate(
        "[...document.querySelector('.ms-player').deck.sounds.keys()].filter((key) => key.includes('.'))"
    )
    return keys


def no_orders_left(studio: Studio) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while studio.orders() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert studio.orders() == 0


def children(pid: int) -> list[str]:
    """Of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]
