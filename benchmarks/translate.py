"""How fast whole translations are: every method on every backbone, all five together, a long recording, a folder.

Run as `python -m benchmarks.translate` from the root of the repository; `--quick` leaves out the long recording and the
folder, `--json` prints one JSON object. WaveNets have random weights of both sizes: the time does not depend on them.
The spectral ones are the shipped. Printed for each are the times real time, the seconds spent reading and playing, and
by how much the process grew at most.

A recording of a minute and one of `--minutes` are translated by mixture-supervised spectral and shipped WaveNet
networks from the command line, files and all: whether the pace is steady and memory bounded. A folder of eight
recordings of half a minute is translated by one process and by as many as there are cores, each with one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from benchmarks.turns import resident_mb
from musicstar import audio, backbones
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.config import load_table
from musicstar.doctor import processor_name
from musicstar.domains import Direction, Domain, Voice
from musicstar.engines import processors
from musicstar.engines.choice import EngineConfig, choose
from musicstar.methods.base import Options, Parts, Source, Translation
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import StoredParts, library
from musicstar.methods.translating import prepare, translate_together
from musicstar.model import Model

DIRECTION = Direction(Domain.SP, Domain.CV)
CLIP_S = 10.0


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes
    ----------
    methods : that were asked for at once
    real_time_factor : seconds of recording for each second spent
    encode_s, decode_s : of the time spent
    """

    backbone: str
    methods: str
    audio_s: float
    real_time_factor: float
    encode_s: float
    decode_s: float
    memory_mb: float


class RandomParts:
    """WaveNets of a size with random weights, in place of trained ones; separators are the shipped."""

    backbone = Backbone.WAVENET

    def __init__(self, small: bool) -> None:
        self._small = small
        self._made: dict[tuple[str, Voice], Model] = {}

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """One for each recipe and voice; the universal has four voices."""
        voices = (
            tuple(other for domain in (DIRECTION.source, DIRECTION.target) for other in domain.stems)
            if recipe == "universal"
            else (voice,)
        )
        key = recipe, voices[0]
        if key not in self._made:
            name = f"wavenet-{'small-' if self._small else ''}{recipe}"
            made = backbones.build("wavenet", recipe, voices, load_table(name)["network"])
            assert isinstance(made, Model)
            self._made[key] = made.eval().requires_grad_(requires_grad=False)
        return self._made[key]

    def partner(self, recipe: str, voice: Voice) -> Model:
        """The universal one."""
        return self.autoencoder("universal", voice)

    def separator(self, domain: Domain) -> nn.Module:
        """The shipped one."""
        return StoredParts(Backbone.WAVENET, library()).separator(domain)


def music(seconds: float) -> np.ndarray:
    """Something to translate: the shipped first example, over and over."""
    wav = audio.read(Path(audio.__file__).parent / "examples" / "001.3.flac").wav
    return np.resize(wav, round(seconds * SAMPLE_RATE))


def translated(parts: Parts, names: list[str], seconds: float) -> list[Translation]:
    """A clip by some methods at once; its stems are the clip itself."""
    clip = Clip(music(seconds))
    prepared = prepare(Source(DIRECTION.source, clip, (clip, clip)))
    group = [CLASSES[name](parts) for name in names]
    return list(
        translate_together(group, prepared, DIRECTION.target, options=Options(), on_progress=lambda name, share: None)
    )


def measure(backbone: str, names: list[str], *, seconds: float) -> Speed:
    """One clip, after a short one that loads what is needed."""
    parts: Parts = (
        StoredParts(Backbone.SPECTRAL, library()) if backbone == "spectral" else RandomParts("small" in backbone)
    )
    by_speaker: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        speaker = CLASSES[name](parts).speaker(DIRECTION) if backbone == "spectral" else ()
        by_speaker.setdefault(tuple(map(id, speaker)), []).append(name)
    for group in by_speaker.values():
        translated(parts, group, 1.0)
    before_mb = resident_mb(reset=True)
    began_s = time.perf_counter()
    stages = [translated(parts, group, seconds)[0].seconds for group in by_speaker.values()]
    spent_s = time.perf_counter() - began_s
    encode_s, decode_s = (sum(stage[name] for stage in stages) for name in ("encode", "decode"))
    memory_mb = resident_mb(peak=True) - before_mb
    return Speed(backbone, " ".join(names), seconds, seconds / spent_s, encode_s, decode_s, memory_mb)


@dataclass(frozen=True)
class Long:
    """A whole `musicstar translate`, start and files included.

    Attributes
    ----------
    what : the backbone, or for a folder the number of processes
    peak_mb : of the largest process
    """

    what: str
    audio_s: float
    real_time_factor: float
    peak_mb: float


def command(inputs: Path, out: Path, *options: str) -> tuple[float, float]:
    """Run `musicstar translate` to clarinet and vibraphone: seconds, and memory at its most in MB."""
    began_s = time.perf_counter()
    words = [sys.executable, "-m", "musicstar", "translate", str(inputs), "--to", "cv", "--out", str(out), *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {running.returncode}")
    return time.perf_counter() - began_s, used.ru_maxrss / 1024


def long_recordings(minutes: float) -> Iterator[Long]:
    """A minute, and many of them, by two backbones."""
    with TemporaryDirectory() as folder:
        for audio_s in (60.0, 60.0 * minutes):
            path = audio.write(Path(folder) / f"{audio_s:.0f}.wav", Clip(music(audio_s)))
            for backbone in Backbone:
                seconds, peak_mb = command(path, Path(folder) / "out", "--backbone", backbone.value)
                yield Long(backbone.value, audio_s, audio_s / seconds, peak_mb)


def folders() -> Iterator[Long]:
    """Eight recordings of half a minute, by one process and by one for each core."""
    with TemporaryDirectory() as folder:
        for number in range(8):
            audio.write(Path(folder) / "in" / f"{number}.wav", Clip(music(30.0)))
        os.environ["OMP_NUM_THREADS"] = "1"
        for jobs in (1, processors.cores()):
            options = ["--method", "all", "--jobs", str(jobs)]
            seconds, peak_mb = command(Path(folder) / "in", Path(folder) / f"out{jobs}", *options)
            yield Long(f"folder, {jobs} processes", 240.0, 240.0 / seconds, peak_mb)


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no long recording and no folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the long recording (default: 30)")
    parser.add_argument("--threads", type=int, default=processors.cores(), help="default: one for each core")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    engine = choose(EngineConfig.from_environment()).engine.name
    machine = f"{processor_name()}, {options.threads} threads, {engine}"
    found: list[Speed | Long] = []

    def tell(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    tell(machine)
    plans = [(backbone, [name]) for backbone in ("spectral", "wavenet small") for name in METHODS]
    plans += [("wavenet small", list(METHODS)), ("wavenet paper", ["mixture"])]
    for backbone, names in plans:
        speed = measure(backbone, names, seconds=CLIP_S)
        found.append(speed)
        tell(
            f"{speed.backbone:14} {speed.methods:42} {speed.real_time_factor:6.2f} x real time, "
            f"{speed.encode_s:5.2f} s reading, {speed.decode_s:5.2f} s playing, {speed.memory_mb:5.0f} MB more"
        )
    for kind in () if options.quick else (long_recordings(options.minutes), folders()):
        for long in kind:
            found.append(long)
            tell(
                f"{long.what:22} {long.audio_s:6.0f} s {long.real_time_factor:6.2f} x real time, "
                f"{long.peak_mb:5.0f} MB at most"
            )
    if options.json:
        print(json.dumps({"machine": machine, "speeds": [asdict(one) for one in found]}))


if __name__ == "__main__":
    main()
