"""How fast WaveNets are sampled and read, against a naive generator and against the machine's own limit.

Run as `python -m benchmarks.generate` from the root of the repository; `--quick` stays below 50 s, `--json` prints
one JSON object, `--plot FILE.html` draws it. Weights are random: the time does not depend on them.

The naive generator does, sample by sample, what the network's description says: each layer keeps a queue of its past
inputs, takes two of them through its own convolution, and so on to a softmax that is drawn from.

The machine's limit is the rate of a large matrix product on the same threads, in float32; in bfloat16 where the
processor has an instruction for it. Of a product and a convolution of length 1, which PyTorch may leave to different
libraries, the faster one counts. As work counts what the networks' description asks for, also where an
engine gets by with less; products with the latents do not count, since they are done once per 50 ms. All engines, the
naive generator and the limit take turns of a fraction of a second in one run, and ratios are medians of those within a
turn: the machine may be shared. With `--engine` another set of instructions plays than the fastest, and PyTorch is
asked to use no more, in the limit and elsewhere; on AMD's processors it heeds that in bfloat16 only.

With `--device cuda` all of it, limit and naive generator included, is measured on the GPU; memory is the host's.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.turns import Runner, Work, repeated
from musicstar.audio import SAMPLE_RATE
from musicstar.config import load_table
from musicstar.doctor import processor_name
from musicstar.engines import processors
from musicstar.engines.base import Ask, Engine
from musicstar.engines.choice import EngineConfig, Kind, choose
from musicstar.engines.unrolled import UnrolledEngine
from musicstar.files import write_whole
from musicstar.wavenet import Decoder, DecoderConfig, DecoderLayer, Encoder, EncoderConfig, scale

CONFIGURATIONS = {"paper": "wavenet-mixture", "small": "wavenet-small-mixture"}
# What keeps PyTorch's products to a set of instructions.
KEPT_TO = {"avx512-bf16": "AVX512_CORE_BF16", "avx512": "AVX512_CORE", "avx2": "AVX2", "portable": "SSE41"}
NAIVE, FLOAT32, BFLOAT16 = "naive", "float32", "bfloat16"
MOST_STEPS = 10_000
COLOURS = ("#8a5a83", "#1f4a5c", "#3f7f86", "#c2703d")


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes
    ----------
    what : "decoder" or "encoder"
    size : one of `CONFIGURATIONS`
    samples_per_s : over all clips of the batch
    real_time_factor : seconds of audio made per second; above 1 is faster than real time
    gflops : billions of multiplications and additions per second
    share_of_limit : of the machine's rate, 0 to 1
    times_naive : speed over the naive generator's at the same batch; 0 for encoders
    times_naive_alone : over the naive generator's at batch 1
    memory_mb : by how much the process grew at most
    """

    what: str
    size: str
    engine: str
    batch: int
    samples_per_s: float
    real_time_factor: float
    gflops: float
    share_of_limit: float
    times_naive: float
    times_naive_alone: float
    memory_mb: float


def decoder_flops(config: DecoderConfig) -> int:
    """Multiplications and additions of a decoder's products for one sample, latents aside."""
    width, skip = config.channels, config.skip_channels
    layer = 2 * width * 2 * width + width * width + width * skip
    return 2 * (len(config.dilations) * layer + width * skip + skip * skip + skip * 256)


def encoder_flops(config: EncoderConfig) -> int:
    """Multiplications and additions of an encoder's products for one sample."""
    return 2 * len(config.dilations) * config.channels**2 * (5 if config.kind == "glu" else 4)


class _Queue:
    """The past inputs of a layer, Tensor[B, channels, dilation + 1], written round and round."""

    def __init__(self, batch: int, channels: int, dilation: int, device: torch.device) -> None:
        self._samples = torch.zeros(batch, channels, dilation + 1, device=device)
        self._at = 0

    def push(self, x: Tensor) -> None:
        self._samples[..., self._at] = x[..., 0]
        self._at = (self._at + 1) % self._samples.shape[2]

    def pair(self) -> Tensor:
        """The sample `dilation` ago and the present one, Tensor[B, channels, 2]."""
        return torch.stack([self._samples[..., self._at], self._samples[..., self._at - 1]], 2)


@torch.inference_mode()
def naive(decoder: Decoder, latents: Tensor) -> Iterator[Tensor]:
    """Codes, Tensor[B, 1], one after another, from latents of one frame, Tensor[B, C, 1]."""
    config, device = decoder.config, latents.device
    queues = [_Queue(len(latents), config.channels, dilation, device) for dilation in config.dilations]
    layers = [cast(DecoderLayer, layer) for layer in decoder.layers]
    heard = torch.zeros(len(latents), 1, 2, device=device)
    while True:
        x = F.conv1d(heard, decoder.first_conv.weight, decoder.first_conv.bias)
        skips = decoder.skip_conv(x)
        for queue, layer in zip(queues, layers, strict=True):
            queue.push(x)
            mixed = F.conv1d(queue.pair(), layer.causal.weight, layer.causal.bias) + layer.condition(latents)
            gate, signal = mixed.chunk(2, 1)
            z = torch.sigmoid(gate) * torch.tanh(signal)
            x = x + layer.residual(z)
            skips = skips + layer.skip(z)
        hidden = F.relu(decoder.fc(F.relu(skips)) + decoder.condition(latents))
        code = torch.multinomial(torch.softmax(decoder.logits(hidden)[..., 0], 1), 1)
        yield code
        heard = torch.stack([heard[..., 1], scale(code)], 2)


def engines(kind: Kind, threads: int, device: str) -> dict[str, Engine]:
    """All that run on a device, by name; of the native ones that of a set of instructions."""
    found: dict[str, Engine] = {"torch": UnrolledEngine()}
    for precision in ("float32", "bfloat16") if device == "cpu" else ():
        engine = choose(EngineConfig(engine=kind, precision=precision, threads=threads)).engine
        found[engine.name] = engine
    return found


def limits(kind: Kind, turn_s: float, device: str) -> dict[str, list[Runner]]:
    """Two 2048 x 2048 matrices multiplied, `2 * 2048**3` multiplications and additions, in some ways by precision."""
    made = torch.randn(2, 2048, 2048, device=device)
    found: dict[str, list[Runner]] = {}
    has_bfloat16 = device != "cpu" or processors.SETS[processors.runnable()[0] if kind == "auto" else kind].bfloat16
    for precision in (FLOAT32, BFLOAT16) if has_bfloat16 else (FLOAT32,):
        a, b = made.to(getattr(torch, precision))
        ways = [partial(torch.mm, a, b)]
        # Of a GPU convolutions may be made of shorter numbers.
        if device == "cpu":
            moments, weights = a[None, :, :, None], b[:, :, None, None]
            channels_last = (one.contiguous(memory_format=torch.channels_last) for one in (moments, weights))
            ways.append(partial(F.conv2d, *channels_last))
        found[precision] = [Runner(partial(repeated, way), turn_s=turn_s) for way in ways]
    return found


def _plays(engine: Engine, decoder: Decoder, batch: int) -> Work:
    streams = [engine.stream(decoder) for _ in range(batch)]
    latents, draws = torch.randn(batch, decoder.config.latent_channels), torch.rand(batch, MOST_STEPS)
    players = ThreadPoolExecutor(engine.players)

    def work(steps: int) -> None:
        asks = [Ask(stream=s, latents=z, draws=u[:steps]) for s, z, u in zip(streams, latents, draws, strict=True)]
        hands = [hand for i in range(engine.players) if (hand := asks[i :: engine.players])]
        # In a thread of its own PyTorch has a team of its own, which gets into the way of the naive generator's.
        list((players.map if len(hands) > 1 else map)(engine.play, hands, [steps] * len(hands)))

    return work


def _plays_naively(decoder: Decoder, batch: int) -> Work:
    latents = torch.randn(batch, decoder.config.latent_channels, 1, device=decoder.logits.weight.device)
    codes = naive(decoder, latents)
    return lambda steps: [next(codes) for _ in range(steps)]


def _reads(engine: Engine, encoder: Encoder, samples: int) -> Work:
    codes = torch.randint(0, 256, (samples,))

    def work(times: int) -> None:
        with torch.inference_mode():
            for _ in range(times):
                engine.encode(encoder, torch.split(codes, 16_384))

    return work


def measure(
    what: str,
    size: str,
    batch: int,
    works: Mapping[str, Callable[[], Work]],
    rates: Mapping[str, list[Runner]],
    *,
    flops: float,
    samples: int,
    turns: int,
    turn_s: float,
    alone_s: float = 0.0,
) -> list[Speed]:
    """Take turns at the limits and some works, each of which makes `samples` samples of a clip at a time.

    `alone_s` is what a sample takes the naive generator at batch 1.
    """
    most = MOST_STEPS if what == "decoder" else 1_000_000
    runners = {name: Runner(make, turn_s=turn_s, most=most) for name, make in works.items()}
    spent: dict[str, list[float]] = {name: [] for name in runners}
    fastest: dict[str, list[float]] = {precision: [] for precision in rates}
    for _ in range(turns):
        for precision, ways in rates.items():
            fastest[precision].append(min(way.seconds_each() for way in ways))
        for name, runner in runners.items():
            spent[name].append(runner.seconds_each())
    speeds = []
    for name in works:
        least_s = fastest[BFLOAT16 if BFLOAT16 in name and BFLOAT16 in rates else FLOAT32]
        work = flops * samples * batch / (2 * 2048**3)
        share = statistics.median(work * least / s for least, s in zip(least_s, spent[name], strict=True))
        each_s = statistics.median(spent[name])
        rate = samples * batch / each_s
        naively = spent.get(NAIVE)
        times = statistics.median(n / s for n, s in zip(naively, spent[name], strict=True)) if naively else 0.0
        speeds.append(
            Speed(
                what,
                size,
                name,
                batch,
                samples_per_s=rate,
                real_time_factor=rate / SAMPLE_RATE,
                gflops=rate * flops / 1e9,
                share_of_limit=share,
                times_naive=times,
                times_naive_alone=rate * alone_s if alone_s else times,
                memory_mb=runners[name].memory_mb,
            )
        )
    return speeds


def measure_all(
    *, batches: list[int], kind: Kind, threads: int, device: str, quick: bool, progress: Callable[[Speed], None]
) -> list[Speed]:
    """Both sizes of decoders at each batch, and of encoders."""
    turns, turn_s = (2, 0.2) if quick else (9, 0.4)
    speeds: list[Speed] = []

    def keep(found: list[Speed]) -> None:
        speeds.extend(found)
        for speed in found:
            progress(speed)

    playing, rates = engines(kind, threads, device), limits(kind, turn_s, device)
    for size, name in CONFIGURATIONS.items():
        config = DecoderConfig(**load_table(name)["network"]["decoder"])
        decoder = Decoder(config).to(device)
        alone_s = 0.0
        for batch in batches:
            works: dict[str, Callable[[], Work]] = {
                name: partial(_plays, engine, decoder, batch) for name, engine in playing.items()
            }
            works[NAIVE] = partial(_plays_naively, decoder, batch)
            found = measure(
                "decoder",
                size,
                batch,
                works,
                rates,
                flops=decoder_flops(config),
                samples=1,
                turns=turns,
                turn_s=turn_s,
                alone_s=alone_s,
            )
            alone_s = alone_s or 1 / next(speed.samples_per_s for speed in found if speed.engine == NAIVE)
            keep(found)
    for size, name in CONFIGURATIONS.items():
        reading = EncoderConfig(**load_table(name)["network"]["encoder"])
        encoder, samples = Encoder(reading).to(device), SAMPLE_RATE // 2 if quick else 4 * SAMPLE_RATE
        reads = {name: partial(_reads, engine, encoder, samples) for name, engine in playing.items()}
        found = measure(
            "encoder",
            size,
            1,
            reads,
            rates,
            flops=encoder_flops(reading),
            samples=samples,
            turns=turns,
            turn_s=turn_s,
        )
        keep(found)
    return speeds


def drawn(speeds: list[Speed], machine: str) -> str:
    """Shares of the machine's limit and speeds as one HTML page that needs nothing else."""
    from plotly.graph_objects import Bar
    from plotly.subplots import make_subplots

    places = [f"{speed.size} {speed.what}, batch {speed.batch}" for speed in speeds]
    figure = make_subplots(1, 2, subplot_titles=["share of the machine's limit", "times real time"], shared_yaxes=True)
    for column, field in ((1, "share_of_limit"), (2, "real_time_factor")):
        for name, colour in zip(dict.fromkeys(speed.engine for speed in speeds), COLOURS, strict=False):
            rows = [(p, getattr(s, field)) for p, s in zip(places, speeds, strict=True) if s.engine == name]
            bar = Bar(
                x=[value for _, value in rows],
                y=[place for place, _ in rows],
                orientation="h",
                name=name,
                marker_color=colour,
                showlegend=column == 1,
            )
            figure.add_trace(bar, row=1, col=column)
    figure.update_xaxes(type="log", row=1, col=2)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(title=machine, height=700, template="plotly_white")
    return str(figure.to_html())


def main() -> None:
    """Measure, print a line each, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="draw what was measured")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="clips at once, 1 first (default: 1 32)")
    parser.add_argument("--threads", type=int, default=processors.cores(), help="default: one for each core")
    parser.add_argument("--engine", default="auto", choices=["auto", *processors.runnable()], help="default: fastest")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here that PyTorch can use")
    if options.engine in KEPT_TO:
        os.environ["ONEDNN_MAX_CPU_ISA"] = KEPT_TO[options.engine]
        os.environ["MKL_ENABLE_INSTRUCTIONS"] = KEPT_TO[options.engine].partition("_")[0].replace("SSE41", "SSE4_2")
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    on_gpu = options.device == "cuda"
    machine = torch.cuda.get_device_name() if on_gpu else f"{processor_name()}, {options.threads} threads"

    def show(speed: Speed) -> None:
        if options.json:
            return
        times = f", {speed.times_naive:5.1f} x naive ({speed.times_naive_alone:.0f} x at batch 1)"
        print(
            f"{speed.size:5} {speed.what} {speed.engine:28} batch {speed.batch:3}: "
            f"{speed.samples_per_s:8.0f} samples/s, "
            f"{speed.real_time_factor:7.3f} x real time, {speed.share_of_limit:4.0%} of the limit"
            f"{times if speed.what == 'decoder' else ''}, {speed.memory_mb:.0f} MB",
            flush=True,
        )

    if not options.json:
        print(machine)
    speeds = measure_all(
        batches=options.batch,
        kind=options.engine,
        threads=options.threads,
        device=options.device,
        quick=options.quick,
        progress=show,
    )
    if options.json:
        print(json.dumps({"machine": machine, "speeds": [asdict(speed) for speed in speeds]}))
    if options.plot:
        write_whole(options.plot, drawn(speeds, machine).encode())


if __name__ == "__main__":
    main()
