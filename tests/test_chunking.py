"""Chunks of a clip: where they lie, how they join."""

import math
from dataclasses import replace

import pytest
import torch

from musicstar.audio import SAMPLE_RATE
from musicstar.chunking import Chunking, Plan
from musicstar.engines.unrolled import UnrolledEngine
from musicstar.generate import Line, perform, suited
from musicstar.wavenet import Decoder
from tests.decoders import PAPER, SMALL, TINY, decoder_of, latents_of


def deaf_decoder() -> Decoder:
    """Its codes depend on the latents of the moment alone."""
    decoder = decoder_of(TINY)
    for name, tensor in decoder.state_dict().items():
        if name == "first_conv.weight" or name.endswith("causal.weight"):
            tensor.zero_()
    return decoder


@pytest.mark.parametrize(
    "chunking",
    [
        Chunking(chunk_s=0.005, overlap_s=0.0025, search_s=0, warmup_s=0.005),
        Chunking(chunk_s=0.005, overlap_s=0.005, search_s=0, warmup_s=0),
        Chunking(chunk_s=0.00875, overlap_s=0, search_s=0.001, warmup_s=0.00125),
        Chunking(chunk_s=0, overlap_s=0, search_s=0, warmup_s=0),
        Chunking(chunk_s=60),
    ],
)
@pytest.mark.parametrize("frames", [1, 4, 11, 12])
def test_chunks_of_a_decoder_without_memory_join_without_a_trace(chunking: Chunking, frames: int) -> None:
    line = Line(decoder=deaf_decoder(), latents=latents_of(1, frames)[0], temperature=0)
    (whole,) = perform([line])
    assert frames == 1 or whole.unique().numel() > 1
    (joined,) = perform([line], chunking=chunking)
    torch.testing.assert_close(joined, whole, atol=1e-6, rtol=0)


def test_a_clip_of_one_chunk_is_sampled_as_without_chunks() -> None:
    lines = [Line(decoder=decoder_of(TINY), latents=latents) for latents in latents_of(2, 10)]
    for whole, chunked in zip(perform(lines), perform(lines, chunking=Chunking()), strict=True):
        assert torch.equal(chunked, whole)


def test_chunks_lie_where_worked_by_hand() -> None:
    plan = Plan(frames=10, pool=2, chunk=4, lead=2, overlap=2, search=1)
    assert plan.spans == [(0, 4), (2, 8), (6, 10)]
    chunks = [torch.tensor([1.0, -1.0]).repeat(4), torch.tensor([-1.0, 1.0]).repeat(6), torch.ones(8)]
    # At 6 and 7 the second, a sample late, goes on as the first does;
    # at 14 and 15 the third is neither like it nor unlike.
    joined = plan.join(chunks)
    assert joined.tolist() == pytest.approx(
        [1, -1] * 7 + [1 / math.sqrt(0.625), (-0.25 + 0.75) / math.sqrt(0.625)] + [1] * 4
    )


def test_chunks_meet_at_a_common_level() -> None:
    """The later is softer by 6 dB: the earlier falls by 3 before they meet, the later begins 3 louder."""
    plan = Plan.of(Chunking(chunk_s=2.0, overlap_s=0.02, search_s=0, warmup_s=0.03), frames=120, pool=800)
    loud = 0.2 * torch.randn(120 * 800, generator=torch.Generator().manual_seed(2))
    chunks = [loud[start * 800 : end * 800] * 0.5**i for i, (start, end) in enumerate(plan.spans)]
    joined = plan.join(chunks)
    heard = (joined.view(-1, 400).square().mean(1) / loud.view(-1, 400).square().mean(1)).log10() * 10
    assert heard[:56].tolist() == pytest.approx([0.0] * 56, abs=0.1)
    assert heard[[78, 79, 80, 81]].tolist() == pytest.approx([-3] * 4, abs=0.7)
    assert heard[106:134].tolist() == pytest.approx([-6.02] * 28, abs=0.1)
    assert heard.diff().abs().max() < 0.7


def test_a_chunk_is_moved_to_where_it_continues_what_is_heard() -> None:
    """A tone that begins anew in each chunk, at any phase, becomes one tone again."""
    plan = Plan.of(Chunking(chunk_s=0.5, overlap_s=0.02, search_s=0.0125, warmup_s=0.05), frames=60, pool=800)
    tone = 2 * math.pi * 110 / SAMPLE_RATE
    chunks = []
    for i, (start, end) in enumerate(plan.spans):
        chunks.append(0.3 * torch.sin(tone * torch.arange((end - start) * 800) + 2.4 * i))

    def foreign(joined: torch.Tensor) -> float:
        """At most how far a sample is from what two before it make it where the tone goes on."""
        return float((joined[2:] + joined[:-2] - 2 * math.cos(tone) * joined[1:-1]).abs().max())

    moved, unmoved = foreign(plan.join(chunks)), foreign(replace(plan, search=0).join(chunks))
    assert 10 * moved < unmoved


def test_a_fade_keeps_the_level_of_unrelated_and_of_alike_chunks() -> None:
    plan = Plan(frames=6, pool=4000, chunk=3, lead=2, overlap=8000, search=0)
    noise = 0.1 * torch.randn(16, 2, 5 * 4000, generator=torch.Generator().manual_seed(0))
    joined = torch.stack([plan.join([first[:12_000], second]) for first, second in noise])
    levels = joined.view(16, 24, 1000).square().mean((0, 2)).sqrt()
    assert levels.tolist() == pytest.approx([0.1] * 24, rel=0.06)
    whole = noise[0].flatten()[:24_000]
    assert torch.allclose(plan.join([whole[:12_000], whole[4_000:]]), whole, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap within chunk"):
        Chunking(chunk_s=1, overlap_s=2)
    with pytest.raises(ValueError, match="none below 0"):
        Chunking(search_s=-0.1)


@pytest.mark.parametrize(("at_once", "chunk_s"), [(16, 0.65), (32, 0.35), (512, 0.3)])
def test_a_large_decoder_is_cut_into_chunks_that_keep_its_engine_busy(at_once: int, chunk_s: float) -> None:
    engine = UnrolledEngine()
    engine.at_once = at_once
    line = Line(decoder=decoder_of(PAPER), latents=latents_of(1, 200, 64)[0])
    chosen = suited([line], engine, total=line.samples)
    assert chosen is not None
    assert chosen.chunk_s == pytest.approx(chunk_s)
    assert suited([line] * at_once, engine, total=at_once * line.samples) is None


def test_small_decoders_and_short_clips_are_not_cut() -> None:
    engine = UnrolledEngine()
    small = Line(decoder=decoder_of(SMALL), latents=latents_of(1, 200, 64)[0])
    assert suited([small], engine, total=small.samples) is None
    short = Line(decoder=decoder_of(PAPER), latents=latents_of(1, 10, 64)[0])
    assert suited([short], engine, total=short.samples) is None
