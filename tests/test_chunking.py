"""Chunks of a clip: where they lie, how they join."""

import math

import pytest
import torch

from musicstar.audio import mulaw_decode, mulaw_encode
from musicstar.chunking import Chunking, Plan
from musicstar.generate import generate
from musicstar.wavenet import Decoder
from tests.decoders import TINY, decoder_of, latents_of


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
        Chunking(chunk_s=0.005, overlap_s=0.0025, warmup_s=0.005, fade="linear"),
        Chunking(chunk_s=0.005, overlap_s=0.005, warmup_s=0, fade="linear"),
        Chunking(chunk_s=0.00875, overlap_s=0, warmup_s=0.00125, fade="equal-power"),
        Chunking(chunk_s=0, overlap_s=0, warmup_s=0),
        Chunking(chunk_s=60),
    ],
)
@pytest.mark.parametrize("frames", [1, 4, 11, 12])
def test_chunks_of_a_decoder_without_memory_join_without_a_trace(chunking: Chunking, frames: int) -> None:
    decoder, latents = deaf_decoder(), latents_of(2, frames)
    whole = generate(decoder, latents, temperature=0)
    assert frames == 1 or whole[0].unique().numel() > 1
    assert torch.equal(generate(decoder, latents, temperature=0, chunking=chunking), whole)


def test_a_clip_of_one_chunk_is_sampled_as_without_chunks() -> None:
    decoder, latents = decoder_of(TINY), latents_of(2, 10)
    assert torch.equal(generate(decoder, latents, chunking=Chunking()), generate(decoder, latents))


def test_chunks_lie_where_worked_by_hand() -> None:
    plan = Plan(chunk=4, overlap=1, warmup=2, equal_power=True, frames=10, pool=1)
    assert plan.starts == [0, 1, 5]
    chunks = plan.cut(torch.arange(10)[None])
    assert [chunk[0].tolist() for chunk in chunks] == [[0, 1, 2, 3], [1, 2, 3, 4, 5, 6, 7], [5, 6, 7, 8, 9]]
    # Chunk i says 128 + 20 i throughout; the frames 3 and 7 are where two chunks meet.
    wav = mulaw_decode(torch.tensor([128, 148, 168]))
    half = math.sqrt(0.5)
    expected = torch.stack(
        [wav[0]] * 3 + [half * (wav[0] + wav[1])] + [wav[1]] * 3 + [half * (wav[1] + wav[2])] + [wav[2]] * 2
    )
    codes = [torch.full((len(chunk[0]),), 128 + 20 * i) for i, chunk in enumerate(chunks)]
    assert plan.join(codes).tolist() == mulaw_encode(expected).tolist()


def test_equal_power_keeps_the_level_of_unrelated_chunks() -> None:
    plan = Plan(chunk=3, overlap=2, warmup=0, equal_power=True, frames=6, pool=4000)
    noise = 0.1 * torch.randn(16, 2, 5 * 4000, generator=torch.Generator().manual_seed(0))
    noise = mulaw_encode(noise)
    joined = mulaw_decode(torch.stack([plan.join([first[:12_000], second]) for first, second in noise]))
    levels = joined.view(16, 24, 1000).square().mean((0, 2)).sqrt()
    assert levels.tolist() == pytest.approx([0.1] * 24, rel=0.05)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap within chunk"):
        Chunking(chunk_s=1, overlap_s=2)
    with pytest.raises(ValueError, match="fade is 'none'"):
        Chunking(fade="none")  # type: ignore[arg-type]
