"""How visitors who translate at the same time share the studio.

Run as `python -m benchmarks.visitors` from the root of the repository; `--json` prints one JSON object. One visitor
alone, and then four at once, each with a clip of their own, ask for all methods that are offered on a backbone, as the
page does: through a desk with one worker process. Printed are the seconds until a visitor can hear the first output,
and until the last; if the four were served one after another, the last of them would wait three times as long as one
alone takes, and then begin.
"""

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from musicstar import audio
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.desk import Desk
from musicstar.doctor import processor_name
from musicstar.domains import Direction, Domain
from musicstar.engines import processors
from musicstar.jobs import Job, Limits, Order
from musicstar.methods.catalog import METHODS, Backbone

DIRECTION = Direction(Domain.SP, Domain.CV)


@dataclass(frozen=True)
class Waited:
    """What visitors waited, in seconds from their asking; one figure for each.

    Attributes
    ----------
    first, last : until the first and the last output could be heard
    """

    backbone: str
    visitors: int
    clip_s: float
    first: tuple[float, ...]
    last: tuple[float, ...]


def upload(folder: Path, seconds: float, number: int) -> Job:
    """A job with a clip that has not been looked at."""
    wav = audio.read(Path(audio.__file__).parent / "examples" / f"00{number % 4 + 1}.3.flac").wav
    job = Job.create(folder)
    audio.write(job.folder / "mixture.wav", Clip(np.resize(wav, round(seconds * SAMPLE_RATE))))
    job.write_json("clip.json", {"name": "clip", "files": {"mixture": ["mixture.wav", "clip.wav"]}})
    return job


async def visit(desk: Desk, job: Job, order: Order) -> tuple[float, float]:
    """Ask for a translation and follow it: seconds until the first output, and until the end."""
    began_s, first_s = time.perf_counter(), 0.0
    async for view in desk.translate(job.id, job, order):
        if not first_s and job.outputs(order.target):
            first_s = time.perf_counter() - began_s
        if view.failure or any(step.state == "failed" for step in view.steps):
            raise RuntimeError(view.failure or str(view.steps))
    return first_s, time.perf_counter() - began_s


async def measure(desk: Desk, folder: Path, backbone: Backbone, visitors: int, clip_s: float) -> Waited:
    """Some visitors at once."""
    refused = await desk.not_offered(backbone, DIRECTION)
    methods = tuple(name for name, info in METHODS.items() if name not in refused and not info.needs_stems)
    if backbone is Backbone.WAVENET:
        methods = methods[-1:]
    jobs = [upload(folder, clip_s, number) for number in range(visitors)]
    for job in jobs:
        await desk.inspect(job)
    order = Order(DIRECTION.source, DIRECTION.target, methods, backbone=backbone)
    waited = await asyncio.gather(*(visit(desk, job, order) for job in jobs))
    first, last = zip(*waited, strict=True)
    return Waited(backbone.value, visitors, clip_s, first, last)


async def measure_all(clip_s: float) -> list[Waited]:
    """One and four visitors, on both backbones; WaveNets play mixture-supervised alone, a third of the clip."""
    found = []
    with TemporaryDirectory() as folder:
        desk = Desk(data=Path(folder), limits=Limits())
        desk.open()
        try:
            for backbone, seconds in ((Backbone.SPECTRAL, clip_s), (Backbone.WAVENET, clip_s / 3)):
                await measure(desk, Path(folder), backbone, 1, 2.0)
                found += [await measure(desk, Path(folder), backbone, visitors, seconds) for visitors in (1, 4)]
        finally:
            await desk.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each clip (default: 30)")
    options = parser.parse_args()
    machine = f"{processor_name()}, {processors.cores()} cores"
    found = asyncio.run(measure_all(options.seconds))
    if options.json:
        print(json.dumps({"machine": machine, "waited": [asdict(one) for one in found]}))
        return
    print(machine)
    for one in found:
        first, last = (", ".join(f"{seconds:.1f}" for seconds in figures) for figures in (one.first, one.last))
        print(f"{one.backbone}, {one.visitors} at once, {one.clip_s:g} s: first output {first} s, last {last} s")


if __name__ == "__main__":
    main()
