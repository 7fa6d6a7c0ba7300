"""Sampling: the engine says what the network says, seeds repeat, chunks join, the caller stays in charge."""

import itertools
import math
import time

import pytest
import torch
from torch import Tensor

from musicstar.audio import mulaw_decode, mulaw_encode
from musicstar.config import load_table
from musicstar.generate import Chunking, _Plan, generate, replay
from musicstar.wavenet import Decoder, DecoderConfig

PAPER, SMALL = (
    DecoderConfig(**load_table(name)["network"]["decoder"]) for name in ("wavenet-mixture", "wavenet-small-mixture")
)
# 50 ms frames of 20 samples only, so that clips of many frames are cheap.
TINY = DecoderConfig(blocks=2, layers=3, channels=6, skip_channels=5, latent_channels=4, pool=20)


def decoder_of(config: DecoderConfig, *, gain: float = 2.0) -> Decoder:
    """Random weights, larger than fresh ones so that every layer matters and no logit is near another."""
    torch.manual_seed(0)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(gain)
    return decoder


def latents_of(batch: int, frames: int, channels: int = 4) -> Tensor:
    return torch.randn(batch, channels, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", [PAPER, SMALL, TINY], ids=["paper", "small", "tiny"])
def test_the_engine_gives_the_logits_of_the_teacher_forced_pass(config: DecoderConfig) -> None:
    samples = 3000
    decoder = decoder_of(config)
    latents = latents_of(2, math.ceil(samples / config.pool), config.latent_channels)
    codes = torch.randint(0, 256, (2, samples))
    with torch.no_grad():
        expected = decoder(codes, latents)
    assert expected.std(1).mean() > 0.5
    assert expected.argmax(1).unique().numel() > 10
    torch.testing.assert_close(replay(decoder, codes, latents), expected, atol=1e-3, rtol=0)


def test_greedy_codes_are_the_likeliest_given_themselves() -> None:
    decoder, latents = decoder_of(TINY), latents_of(3, 20)
    codes = generate(decoder, latents, temperature=0)
    assert codes.shape == (3, 400)
    assert codes.dtype == torch.int64
    with torch.no_grad():
        assert torch.equal(decoder(codes, latents).argmax(1), codes)
    assert torch.equal(generate(decoder, latents, temperature=0, seed=5), codes)


def test_items_of_a_batch_do_not_hear_each_other() -> None:
    decoder, latents = decoder_of(TINY), latents_of(3, 20)
    together = generate(decoder, latents, temperature=0)
    alone = [generate(decoder, item[None], temperature=0) for item in latents]
    assert torch.equal(together, torch.cat(alone))


def test_the_same_seed_gives_the_same_clip() -> None:
    decoder, latents = decoder_of(TINY), latents_of(2, 10)
    codes = generate(decoder, latents, seed=3)
    torch.manual_seed(99)
    assert torch.equal(generate(decoder, latents, seed=3), codes)
    assert (generate(decoder, latents, seed=4) != codes).float().mean() > 0.5
    assert not torch.equal(codes[0], codes[1])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_codes_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    decoder = decoder_of(TINY, gain=0.0)
    bias = decoder.state_dict()["logits.bias"].fill_(-math.inf)
    bias[[3, 100, 255]] = torch.tensor([0.6, 0.3, 0.1]).log()
    codes = generate(decoder, latents_of(32, 20), temperature=temperature)
    weights = torch.tensor([0.6, 0.3, 0.1]) ** (1 / temperature)
    expected = weights / weights.sum()
    found = torch.bincount(codes.flatten(), minlength=256)[[3, 100, 255]] / codes.numel()
    assert found.sum() == 1
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / codes.numel()).sqrt()).all()


def test_progress_comes_four_times_a_second_and_may_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 0.02)
    calls: list[tuple[float, float]] = []
    generate(
        decoder_of(TINY),
        latents_of(2, 5),
        progress=lambda share: calls.append((time.monotonic(), share)),
    )
    times, shares = zip(*calls, strict=True)
    assert max(later - earlier for earlier, later in itertools.pairwise((0.0, *times))) <= 0.25
    assert list(shares) == sorted(set(shares))
    assert shares[0] < 0.1
    assert shares[-1] == 1

    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        assert share < 0.5, "went on after it was stopped"
        raise Enough

    with pytest.raises(Enough):
        generate(decoder_of(TINY), latents_of(2, 5), progress=stop, chunking=Chunking(chunk_s=0.1))


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
    plan = _Plan(chunk=4, overlap=1, warmup=2, equal_power=True, frames=10, pool=1)
    assert plan.starts == [0, 1, 5]
    chunks = plan.cut(torch.arange(20.0).view(2, 1, 10))
    first = [[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7], [5, 6, 7, 8, 9, 9, 9]]
    assert chunks[:, 0].tolist() == first + [[value + 10 for value in row] for row in first]
    # Chunk i says 128 + 20 i throughout; the frames 3 and 7 are where two chunks meet.
    wav = mulaw_decode(torch.tensor([128, 148, 168]))
    half = math.sqrt(0.5)
    expected = torch.stack(
        [wav[0]] * 3 + [half * (wav[0] + wav[1])] + [wav[1]] * 3 + [half * (wav[1] + wav[2])] + [wav[2]] * 2
    )
    codes = torch.tensor([128, 148, 168]).repeat(2)[:, None].expand(-1, 7)
    assert plan.join(codes).tolist() == [mulaw_encode(expected).tolist()] * 2


def test_equal_power_keeps_the_level_of_unrelated_chunks() -> None:
    plan = _Plan(chunk=3, overlap=2, warmup=0, equal_power=True, frames=6, pool=4000)
    noise = 0.1 * torch.randn(16, 2, 5 * 4000, generator=torch.Generator().manual_seed(0))
    joined = mulaw_decode(plan.join(mulaw_encode(noise).flatten(0, 1)))
    levels = joined.view(16, 24, 1000).square().mean((0, 2)).sqrt()
    assert levels.tolist() == pytest.approx([0.1] * 24, rel=0.05)


def test_what_does_not_fit_is_refused() -> None:
    decoder = decoder_of(TINY)
    for wrong in (torch.zeros(4, 3), torch.zeros(1, 5, 3), torch.zeros(0, 4, 3), torch.zeros(1, 4, 0)):
        with pytest.raises(ValueError, match=r"expected \[B, 4, N\]"):
            generate(decoder, wrong)
    for temperature in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature is"):
            generate(decoder, latents_of(1, 1), temperature=temperature)
    with pytest.raises(ValueError, match="overlap within chunk"):
        Chunking(chunk_s=1, overlap_s=2)
    with pytest.raises(ValueError, match="fade is 'none'"):
        Chunking(fade="none")  # type: ignore[arg-type]
