"""What the tests of jobs, work and desk share: sounds, uploads, and a stand-in for trained networks."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicstar import work
from musicstar.audio import SAMPLE_RATE
from musicstar.domains import Direction, Domain
from musicstar.jobs import Job, Limits
from musicstar.methods import base, studio
from musicstar.methods.catalog import Backbone

LIMITS = Limits(max_duration_s=3.0, max_bytes=1_000_000)


def tone(frequency_hz: float, *, seconds: float = 1.0, level: float = 0.2) -> np.ndarray:
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def upload(data: Path, job: Job | None = None, *, part: str = "mixture", wav: np.ndarray, name: str = "a.wav") -> Job:
    """A job as the page makes it from files."""
    job = job or Job.create(data)
    path = job.new_file(".upload")
    soundfile.write(path, wav, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    request = job.read_json("clip.json") or {"name": name, "files": {}}
    request["files"][part] = [path.name, name]
    job.write_json("clip.json", request)
    return job


class Studio:
    """Stands for the trained networks: each method attenuates its source, step by step."""

    def __init__(self) -> None:
        self.pause_s = 0.0
        self.asked: list[tuple[str, ...]] = []

    def translate_all(
        self,
        names: Sequence[str],
        source: base.Source,
        target: Domain,
        *,
        backbone: Backbone,
        options: base.Options,
        on_progress: Callable[[str, float], None],
    ) -> Iterator[base.Translation]:
        self.asked.append(tuple(names))
        assert source.mixture is not None
        for name in names:
            for share in np.linspace(0, 1, 11):
                if options.cancelled():
                    raise base.Cancelled("stop")
                on_progress(name, float(share))
                time.sleep(self.pause_s / 10)
            half = source.mixture.amplified(-6)
            stems = {} if name == "mixture" else dict.fromkeys(target.stems, half)
            yield base.Translation(
                name, backbone, source.domain, target, source.mixture.amplified(-3), stems, {"total": 0.5}
            )


def install(monkeypatch: pytest.MonkeyPatch) -> Studio:
    """Put a stand-in in the place of the networks."""
    stub = Studio()
    monkeypatch.setattr(studio, "translate_all", stub.translate_all)
    monkeypatch.setattr(studio, "guess_domain", lambda clip: (Domain.SP, 0.9))
    monkeypatch.setattr(work, "why_not_offered", why_not_offered)
    return stub


def why_not_offered(backbone: Backbone, *, direction: Direction | None = None) -> dict[str, str]:
    """On WaveNet one method is not trained, in either direction."""
    return {"stem": "Not trained."} if backbone is Backbone.WAVENET else {}


class ThreadPool:
    """A pool whose workers are threads of the test, so that they see its stand-ins."""

    def __init__(self, *, processes: int, niceness: int, together: int = 1) -> None:
        self.places = processes
        self._threads = ThreadPoolExecutor(processes)

    def submit(self, name: str, *arguments: Any) -> "Future[Any]":
        return self._threads.submit(getattr(work, name), *arguments)

    def close(self) -> None:
        self._threads.shutdown()
