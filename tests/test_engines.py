"""Engines: each says what the network says, whatever its company."""

import math
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from musicstar.engines import native, processors
from musicstar.engines.base import Ask, Engine
from musicstar.engines.choice import EngineConfig, choose, engine_for
from musicstar.engines.native import NativeEngine
from musicstar.engines.processors import SETS
from musicstar.engines.unrolled import UnrolledEngine
from musicstar.wavenet import Decoder, DecoderConfig, Encoder, EncoderConfig
from tests.decoders import PAPER, SMALL, TINY, decoder_of, latents_of

COMPILER = shlex.split(native.compiler()[0]) if native.compiler()[1] else []
NEEDS_COMPILER = pytest.mark.skipif(not COMPILER, reason="there is no compiler to build the engine with")


@dataclass(frozen=True)
class Case:
    """An engine, and how far its logits may be from the network's: the largest error, and its root mean square."""

    make: Callable[[], Engine]
    largest: float
    typical: float


@cache
def _native(name: str, bfloat16: bool) -> Engine:
    return NativeEngine(name, bfloat16=bfloat16)


@cache
def _by_hand() -> Engine:
    """The engine for a matrix unit, with `tiles.h` in its place."""
    if not COMPILER:
        pytest.skip("there is no compiler to build the engine with")
    path = native.cache_folder() / "tiles.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = [*native.FLAGS, "-shared", "-fPIC"]
    header = Path(__file__).with_name("tiles.h")
    subprocess.run([*COMPILER, *flags, "-include", header, native.SOURCE, "-o", path], check=True)
    library = native.Library(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "load", lambda _: library)
        return NativeEngine("amx", bfloat16=True)


def case(name: str) -> Case:
    """The case of an engine's name; a native one skips where this machine has not got it."""
    if name == "torch":
        return Case(UnrolledEngine, 1e-3, 1e-4)
    instructions, _, precision = name.partition("/")
    if instructions == "tiles":
        return Case(_by_hand, 0.6, 0.08)
    if instructions not in processors.runnable():
        pytest.skip(f"this processor has no {instructions}")
    if not COMPILER:
        pytest.skip("there is no compiler to build the engine with")
    # Logits here spread by 3 to 5.
    bounds = (1e-3, 1e-4) if precision == "float32" else (0.6, 0.08)
    return Case(lambda: _native(instructions, precision == "bfloat16"), *bounds)


NATIVE = [f"{name}/{precision}" for name in SETS for precision in ("float32", "bfloat16")]
NATIVE.append("tiles/bfloat16")
ALL = ["torch", *NATIVE]
# Layers of so many channels filter: `Decoder::WIDE` of decoder.h.
WIDE = 128


def replay(engine: Engine, decoder: Decoder, codes: Tensor, latents: Tensor) -> Tensor:
    """The logits, Tensor[B, 256, T], of an engine that is made to say given codes."""
    streams = [engine.stream(decoder) for _ in codes]
    pool, logits = decoder.config.pool, []
    for start in range(0, codes.shape[1], pool):
        steps = min(pool, codes.shape[1] - start)
        asks = [
            Ask(stream=stream, latents=latent[:, start // pool], forced=own[start : start + steps])
            for stream, latent, own in zip(streams, latents, codes, strict=True)
        ]
        said = engine.play(asks, steps, logits=True)
        assert torch.equal(torch.stack([one.codes for one in said]), codes[:, start : start + steps])
        logits.append(torch.stack([one.logits for one in said if one.logits is not None]))
    return torch.cat(logits, 1).transpose(1, 2)


@pytest.mark.parametrize(("config", "batch"), [(PAPER, 1), (SMALL, 2), (TINY, 9)], ids=["paper", "small", "tiny"])
@pytest.mark.parametrize("name", ALL)
def test_an_engine_gives_the_logits_of_the_teacher_forced_pass(name: str, config: DecoderConfig, batch: int) -> None:
    engine = case(name)
    samples = 400 if name.startswith("tiles") else 3000
    decoder = decoder_of(config)
    latents = latents_of(batch, math.ceil(samples / config.pool), config.latent_channels)
    codes = torch.randint(0, 256, (batch, samples))
    with torch.no_grad():
        expected = decoder(codes, latents)
    assert expected.std(1).mean() > 0.5
    assert expected.argmax(1).unique().numel() > 10
    error = replay(engine.make(), decoder, codes, latents) - expected
    assert error.abs().max() < engine.largest
    assert error.square().mean().sqrt() < engine.typical


@pytest.mark.parametrize("channels", [TINY.channels, WIDE])
@pytest.mark.parametrize("name", NATIVE)
def test_company_changes_not_a_bit(name: str, channels: int) -> None:
    """Few streams take products with the past for several steps at once, which may be cut short; many do not."""
    engine = case(name).make()
    decoder, batch = decoder_of(replace(TINY, channels=channels, layers=5, pool=13)), 35
    latents, codes = latents_of(batch, 4), torch.randint(0, 256, (batch, 50))
    together = replay(engine, decoder, codes, latents)
    for few in (1, 2, 3, 5, 7, 8, 16):
        assert torch.equal(replay(engine, decoder, codes[-few:], latents[-few:]), together[-few:])


@pytest.mark.parametrize("name", NATIVE)
def test_streams_begun_at_different_times_do_not_disturb_each_other(name: str) -> None:
    """What one keeps for later in a step others take up, in one band."""
    engine = case(name).make()
    decoder, batch, steps = decoder_of(replace(TINY, channels=WIDE)), 40, 12
    latents, codes = latents_of(batch, 1), torch.randint(0, 256, (batch, batch // 2 + steps))
    alone = replay(engine, decoder, codes, latents.expand(-1, -1, 4))
    streams = [engine.stream(decoder) for _ in codes]
    for b, stream in enumerate(streams):
        for step in range(b // 2):
            engine.play([Ask(stream=stream, latents=latents[b, :, 0], forced=codes[b, step : step + 1])], 1)
    asks = [
        Ask(stream=streams[b], latents=latents[b, :, 0], forced=codes[b, b // 2 : b // 2 + steps]) for b in range(batch)
    ]
    for b, said in enumerate(engine.play(asks, steps, logits=True)):
        assert said.logits is not None
        assert torch.equal(said.logits.t(), alone[b][:, b // 2 : b // 2 + steps])


@pytest.mark.parametrize("channels", [TINY.channels, WIDE])
@pytest.mark.parametrize("name", ["torch", "portable/float32"])
def test_streams_keep_their_past_when_their_company_changes(name: str, channels: int) -> None:
    engine = case(name).make()
    decoder, latents = decoder_of(replace(TINY, channels=channels)), latents_of(3, 1)[..., 0]
    codes = torch.randint(0, 256, (3, 60))
    alone = replay(engine, decoder, codes, latents[..., None].expand(-1, -1, 3))
    streams = [engine.stream(decoder) for _ in range(3)]
    done = [0, 0, 0]
    heard: list[list[Tensor]] = [[], [], []]
    for turn, members in enumerate(([0, 1], [0, 1, 2], [2], [1, 2], [0, 2], [0, 1, 2], [1], [0, 1])):
        asks = [
            Ask(
                stream=streams[b],
                latents=None if done[b] else latents[b],
                forced=codes[b, done[b] : done[b] + 7 + turn % 3],
            )
            for b in members
        ]
        steps = 7 + turn % 3
        for b, said in zip(members, engine.play(asks, steps, logits=True), strict=True):
            assert said.logits is not None
            heard[b].append(said.logits)
            done[b] += steps
    for b in range(3):
        own = torch.cat(heard[b]).t()
        torch.testing.assert_close(own, alone[b][:, : own.shape[1]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["universal", "glu"])
@pytest.mark.parametrize("sizes", [[1700], [500, 1, 2, 300, 897], [90] * 18 + [80]])
def test_an_engine_reads_a_clip_as_the_encoder_does(name: str, kind: str, sizes: list[int]) -> None:
    engine = case(name).make()
    torch.manual_seed(0)
    sizes_of = {"blocks": 2, "layers": 5, "channels": 12, "latent_channels": 7, "pool": 80}
    config = EncoderConfig(kind=kind, **sizes_of)  # type: ignore[arg-type]
    encoder = Encoder(config)
    codes = torch.randint(0, 256, (1700,))
    with torch.inference_mode():
        expected = encoder(codes[None])[0]
        read = engine.encode(encoder, torch.split(codes, sizes))
    assert expected.std() > 0.1
    bound = 2e-2 if name.endswith("bfloat16") else 1e-5
    torch.testing.assert_close(read, expected, atol=bound * float(expected.std()), rtol=0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sizes", [[3071], [3072], [1, 4608], [1539, 1536], [4097, 1536]])
def test_it_does_not_matter_in_what_blocks_a_clip_comes(name: str, sizes: list[int]) -> None:
    engine = case(name).make()
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(kind="glu", blocks=1, layers=4, channels=12, latent_channels=7, pool=1))
    codes = torch.randint(0, 256, (sum(sizes),))
    with torch.inference_mode():
        expected = encoder(codes[None])[0]
        read = engine.encode(encoder, torch.split(codes, sizes))
        if name != "torch":
            assert torch.equal(read, engine.encode(encoder, [codes]))
    # Of single moments, of which 800 are averaged in a latent frame.
    bound = 4e-2 if name.endswith("bfloat16") else 1e-5
    torch.testing.assert_close(read, expected, atol=bound * float(expected.std()), rtol=0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sizes", [[], [0], [79], [40, 39]])
def test_less_than_a_latent_frame_is_refused(name: str, sizes: list[int]) -> None:
    encoder = Encoder(EncoderConfig(kind="glu", blocks=1, layers=2, channels=12, pool=80))
    with pytest.raises(ValueError, match="fewer samples than one latent frame, which is 80"):
        case(name).make().encode(encoder, [torch.zeros(size, dtype=torch.int64) for size in sizes])


def test_a_paper_size_encoder_is_read_alike() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(kind="glu", blocks=1, layers=14, channels=128))
    codes = torch.randint(0, 256, (26_000,))
    engine = choose(EngineConfig()).engine
    with torch.inference_mode():
        expected = encoder(codes[None])[0]
        read = engine.encode(encoder, torch.split(codes, 4_000))
    assert read.shape == expected.shape == (64, 32)
    torch.testing.assert_close(read, expected, atol=1e-4 * float(expected.std()), rtol=0)


@NEEDS_COMPILER
def test_threads_are_kept_busy_by_as_many_streams_as_pay() -> None:
    engine = NativeEngine("portable", threads=3)
    assert engine.players == 3
    assert engine.at_once == 3 * SETS["portable"].streams_per_thread


@NEEDS_COMPILER
def test_weights_that_change_are_packed_anew() -> None:
    engine = _native("portable", False)
    decoder, latents = decoder_of(TINY), latents_of(1, 1)
    codes = torch.randint(0, 256, (1, 20))
    before = replay(engine, decoder, codes, latents)
    with torch.no_grad():
        decoder.get_parameter("logits.bias").add_(1.0)
    torch.testing.assert_close(replay(engine, decoder, codes, latents), before + 1)


def test_a_parameter_in_place_of_another_is_packed_anew() -> None:
    """Also where the new one lies where the old one was."""
    engine = choose(EngineConfig()).engine
    encoder = Encoder(EncoderConfig(kind="glu", blocks=1, layers=1, channels=16, latent_channels=4, pool=1))
    codes = torch.randint(0, 256, (50,))
    with torch.no_grad():
        for value in range(20):
            del encoder.first_conv.weight
            encoder.first_conv.weight = torch.nn.Parameter(torch.full((16, 1, 3), float(value)))
            torch.testing.assert_close(engine.encode(encoder, [codes]), encoder(codes[None])[0], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", ALL)
def test_however_cold_the_likeliest_is_said(name: str) -> None:
    engine, decoder = case(name).make(), decoder_of(TINY)
    latents = latents_of(1, 1)[0][:, 0]
    said = [
        engine.play([Ask(stream=engine.stream(decoder), latents=latents, draws=draws, temperature=1e-40)], 10)[0].codes
        for draws in (None, torch.full((10,), 0.5))
    ]
    assert torch.equal(*said)


# What the one takes to compile with optimisation the other takes to run without it.
@pytest.mark.parametrize(("sanitizer", "optimisation"), [("address,undefined", "-O0"), ("thread", "-O1")])
@NEEDS_COMPILER
def test_sanitizers_find_nothing(sanitizer: str, optimisation: str, tmp_path: Path) -> None:
    program = tmp_path / "check"
    flags = ["-std=c++17", optimisation, "-g1", "-Wno-psabi", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    flags += SETS[processors.runnable()[0]].flags
    source = Path(__file__).with_name("engine_check.cpp")
    built = subprocess.run(
        [*COMPILER, *flags, source, "-o", program, "-pthread"], capture_output=True, text=True, check=False
    )
    if "cannot find" in built.stderr:
        pytest.skip(f"the compiler has no {sanitizer} sanitizer")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    numbers = [float(line) for line in ran.stdout.split()]
    assert len(numbers) == 16
    assert all(map(math.isfinite, numbers))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_graphs_play_what_steps_play() -> None:
    decoder = decoder_of(SMALL).cuda()
    latents, draws = latents_of(3, 1, SMALL.latent_channels)[..., 0], torch.rand(3, 180)

    def said(decoder: Decoder) -> Tensor:
        engine = engine_for(decoder) if decoder.logits.weight.is_cuda else UnrolledEngine()
        streams = [engine.stream(decoder) for _ in latents]
        asks = [Ask(stream=s, latents=z, draws=d) for s, z, d in zip(streams, latents, draws, strict=True)]
        first = engine.play(asks, 130)
        later = [Ask(stream=s, draws=d[130:]) for s, d in zip(streams, draws, strict=True)]
        second = engine.play(later, 50)
        return torch.stack([torch.cat([a.codes, b.codes]) for a, b in zip(first, second, strict=True)]).cpu()

    on_gpu = said(decoder)
    assert (on_gpu == said(decoder.cpu())).float().mean() > 0.9
