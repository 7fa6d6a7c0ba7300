"""How fast the WaveNet decoder is sampled, against a plain generator and against the machine's own limit.

Run as `python -m benchmarks.generate` from the root of the repository; `--quick` stays below 50 s, `--json`
prints one JSON object. Weights are random: the time does not depend on them. The plain generator keeps a
queue for each layer and does, sample by sample, what the network's description says, as a reader of the
paper would. The machine's limit is the rate of a large float32 matrix product on the same threads; products
with the latents are not counted as work, since they are done once per 50 ms. One thread is the default:
products of one clip are too small to share, and a second thread that waits for a busy core makes them many
times slower.
"""

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar.audio import SAMPLE_RATE
from musicstar.config import load_table
from musicstar.generate import generate
from musicstar.wavenet import Decoder, DecoderConfig, scale

CONFIGURATIONS = {"paper": "wavenet-mixture", "small": "wavenet-small-mixture"}


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes
    ----------
    size : of the decoder, one of `CONFIGURATIONS`
    samples_per_s : over all clips of the batch
    real_time_factor : seconds of audio made per second; above 1 is faster than real time
    gflops : billions of multiplications and additions per second
    share_of_gemm : of the machine's rate, 0 to 1
    times_plain : speed over the plain generator's at the same batch
    """

    size: str
    batch: int
    samples_per_s: float
    real_time_factor: float
    gflops: float
    share_of_gemm: float
    times_plain: float


def flops_per_sample(config: DecoderConfig) -> int:
    """Multiplications and additions of a decoder's products for one sample, latents aside."""
    width, skip = config.channels, config.skip_channels
    layer = 2 * width * 2 * width + width * width + width * skip
    return 2 * (len(config.dilations) * layer + width * skip + skip * skip + skip * 256)


def best_s(work: Callable[[], object], *, repeats: int) -> float:
    """Seconds of the fastest of some runs; the others were disturbed."""
    durations_s = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        durations_s.append(time.perf_counter() - began)
    return min(durations_s)


def gemm_gflops() -> float:
    """The machine's rate at a float32 product of two 2048 x 2048 matrices."""
    a, b = torch.randn(2, 2048, 2048)
    a @ b
    return 2 * 2048**3 / best_s(lambda: a @ b, repeats=5) / 1e9


@torch.inference_mode()
def plain(decoder: Decoder, latents: Tensor, samples: int) -> Tensor:
    """Sample codes, Tensor[B, samples], from latents of one frame, Tensor[B, C, 1]."""
    state = {name: tensor.squeeze(-1) for name, tensor in decoder.state_dict().items()}
    batch, width = len(latents), decoder.config.channels
    queues = [deque([torch.zeros(batch, width)] * d, maxlen=d) for d in decoder.config.dilations]
    latents = latents[..., 0]

    def product(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    before = previous = torch.zeros(batch, 1)
    codes = []
    for _ in range(samples):
        taps = state["first_conv.weight"][:, 0]
        x = before * taps[:, 0] + previous * taps[:, 1] + state["first_conv.bias"]
        skips = product("skip_conv", x)
        for i, queue in enumerate(queues):
            name = f"layers.{i}"
            past, present = state[f"{name}.causal.weight"].unbind(-1)
            mixed = F.linear(queue[0], past) + F.linear(x, present, state[f"{name}.causal.bias"])
            gate, signal = (mixed + product(f"{name}.condition", latents)).chunk(2, 1)
            z = torch.sigmoid(gate) * torch.tanh(signal)
            queue.append(x)
            x = x + product(f"{name}.residual", z)
            skips = skips + product(f"{name}.skip", z)
        hidden = F.relu(product("fc", F.relu(skips)) + product("condition", latents))
        code = torch.multinomial(torch.softmax(product("logits", hidden), 1), 1)
        codes.append(code)
        before, previous = previous, scale(code)
    return torch.cat(codes, 1)


def measure(size: str, batch: int, *, gemm: float, frames: int, repeats: int) -> Speed:
    """Sample `frames` latent frames of `batch` clips, and fewer with the plain generator."""
    config = DecoderConfig(**load_table(CONFIGURATIONS[size])["network"]["decoder"])
    decoder = Decoder(config)
    latents = torch.randn(batch, config.latent_channels, frames)
    plain(decoder, latents[..., :1], 5)
    samples = frames * config.pool
    rate = samples * batch / best_s(lambda: generate(decoder, latents), repeats=repeats)
    few = 100
    plain_rate = few * batch / best_s(lambda: plain(decoder, latents[..., :1], few), repeats=repeats)
    gflops = rate * flops_per_sample(config) / 1e9
    return Speed(size, batch, rate, rate / SAMPLE_RATE, gflops, gflops / gemm, rate / plain_rate)


def main() -> None:
    """Measure both sizes at both batches and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one latent frame once instead of four, three times")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="clips at once (default: 1 32)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    frames, repeats = (1, 1) if options.quick else (4, 3)
    gemm = gemm_gflops()
    if not options.json:
        print(f"{options.threads} threads, GEMM {gemm:.1f} GFLOP/s in float32")
    speeds = []
    for size in CONFIGURATIONS:
        for batch in options.batch:
            speed = measure(size, batch, gemm=gemm, frames=frames, repeats=repeats)
            speeds.append(speed)
            if not options.json:
                print(
                    f"{size:6} batch {batch:3}: {speed.samples_per_s:8.0f} samples/s, "
                    f"real-time factor {speed.real_time_factor:6.3f}, {speed.gflops:6.1f} GFLOP/s = "
                    f"{speed.share_of_gemm:4.0%} of GEMM, {speed.times_plain:5.1f} x plain",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"threads": options.threads, "gemm_gflops": gemm, "speeds": [asdict(s) for s in speeds]}))


if __name__ == "__main__":
    main()
