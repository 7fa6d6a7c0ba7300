"""Sampling: the engine says what the network says, seeds repeat, chunks join, the caller stays in charge."""

import itertools
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from musicstar.engines.base import Ask, Said
from musicstar.engines.unrolled import UnrolledEngine, UnrolledStream
from musicstar.generate import TOGETHER, Line, generate, play
from tests.decoders import TINY, decoder_of, latents_of


@pytest.fixture(params=["torch", "auto"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What holds for one engine holds for all."""
    monkeypatch.setenv("MUSICSTAR_ENGINE", request.param)
    return str(request.param)


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


def test_lines_of_several_decoders_join_and_leave_without_hearing_each_other() -> None:
    first, second = decoder_of(TINY), decoder_of(TINY, seed=1)
    long, short = latents_of(2, 30)[0], latents_of(1, 9)[0]
    lines = [
        Line(decoder=first, latents=long, seed=(1,)),
        Line(decoder=second, latents=long, seed=(1,)),
        Line(decoder=first, latents=short, seed=(2,), temperature=0.7),
        Line(decoder=first, latents=long, temperature=0),
    ]
    alone = [play([line])[0] for line in lines]
    assert not torch.equal(alone[0], alone[1])

    def late(line: Line) -> Tensor:
        time.sleep(0.005 * lines.index(line))
        return play([line])[0]

    with ThreadPoolExecutor(len(lines)) as threads:
        for _ in range(5):
            assert all(map(torch.equal, threads.map(late, lines), alone))


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
        latents_of(2, 20),
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
        generate(decoder_of(TINY), latents_of(2, 20), progress=stop)


def test_what_does_not_fit_is_refused() -> None:
    decoder = decoder_of(TINY)
    for wrong in (torch.zeros(4, 3), torch.zeros(1, 5, 3), torch.zeros(0, 4, 3), torch.zeros(1, 4, 0)):
        with pytest.raises(ValueError, match=r"expected \[B, 4, N\]"):
            generate(decoder, wrong)
    for temperature in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature is"):
            generate(decoder, latents_of(1, 1), temperature=temperature)


@pytest.mark.parametrize(("at_once", "together"), [(2, TOGETHER), (TOGETHER + 9, TOGETHER + 9)])
def test_no_more_play_at_once_than_pays(at_once: int, together: int) -> None:
    class Counting(UnrolledEngine):
        most = 0

        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            self.most = max(self.most, len(asks))
            return super().play(asks, steps, logits=logits)

    engine = Counting()
    engine.at_once = at_once
    decoder, latents = decoder_of(TINY), latents_of(1, 1)[0]
    play([Line(decoder=decoder, latents=latents)] * (TOGETHER + 20), engine=engine)
    assert engine.most == together
