"""Sampling: the engine says what the network says, seeds repeat, chunks join, the caller stays in charge."""

import gc
import itertools
import math
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from musicstar.engines.base import Ask, Said
from musicstar.engines.unrolled import UnrolledEngine, UnrolledStream
from musicstar.generate import TOGETHER, Line, generate, play
from musicstar.wavenet import Decoder, DecoderConfig
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


class Slow(UnrolledEngine):
    """An engine that takes 5 ms a sample, by a clock of its own, and waits until all have heard of the turn before."""

    def __init__(self) -> None:
        self.now_s, self.turns = 0.0, 0
        self.expected = self.heard = 0
        self.changed = threading.Condition()

    def hear(self) -> None:
        with self.changed:
            self.heard += 1
            self.changed.notify_all()

    def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.heard >= self.expected, timeout=30)
            self.expected += len(asks)
        said = super().play(asks, steps, logits=logits)
        self.now_s += 0.005 * steps
        self.turns += 1
        return said


LONG_FRAMES = DecoderConfig(blocks=1, layers=2, channels=8, skip_channels=8, latent_channels=4, pool=400)


@pytest.mark.parametrize("callers", [1, 4])
def test_progress_comes_four_times_a_second(callers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, decoder = Slow(), decoder_of(LONG_FRAMES)
    monkeypatch.setattr(time, "monotonic", lambda: engine.now_s)

    def called(seed: int) -> list[tuple[float, float]]:
        calls: list[tuple[float, float]] = []

        def hear(share: float) -> None:
            calls.append((engine.now_s, share))
            engine.hear()

        play([Line(decoder=decoder, latents=latents_of(1, 1)[0], seed=(seed,))], engine=engine, progress=hear)
        return calls

    with ThreadPoolExecutor(callers) as threads:
        for calls in threads.map(called, range(callers)):
            times, shares = zip(*calls, strict=True)
            assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 0.25
            assert list(shares) == sorted(set(shares))
            assert shares[0] < 0.1
            assert shares[-1] == 1
    # Nobody's turns come on top of the others'.
    assert engine.turns < 30 + 20 * (callers > 1)


def test_a_caller_may_end_the_work() -> None:
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        assert share < 0.5, "went on after it was stopped"
        raise Enough

    with pytest.raises(Enough):
        generate(decoder_of(TINY), latents_of(2, 50_000), progress=stop)


def test_nobody_plays_for_a_caller_who_is_gone() -> None:
    class Counting(UnrolledEngine):
        begun = ended = 0

        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            self.begun += 1
            time.sleep(0.05)
            said = super().play(asks, steps, logits=logits)
            self.ended += 1
            return said

    def stop(share: float) -> None:
        time.sleep(0.02)
        raise InterruptedError(f"at {share}")

    engine, line = Counting(), Line(decoder=decoder_of(TINY), latents=latents_of(1, 60)[0])
    with pytest.raises(InterruptedError):
        play([line], engine=engine, progress=stop)
    begun = engine.begun
    assert engine.ended == begun
    time.sleep(0.1)
    assert engine.begun == begun


def test_a_process_may_end_while_somebody_plays() -> None:
    program = """
import threading, time
from musicstar.generate import Line, play
from tests.decoders import TINY, decoder_of, latents_of
line = Line(decoder=decoder_of(TINY), latents=latents_of(1, 100_000)[0])
began = threading.Event()
threading.Thread(target=play, args=([line],), kwargs={"progress": lambda share: began.set()}, daemon=True).start()
assert began.wait(60)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr


class Keeping(UnrolledEngine):
    """An engine that tells which of its streams are held by somebody."""

    def __init__(self) -> None:
        self.kept = weakref.WeakSet[UnrolledStream]()

    def stream(self, decoder: Decoder) -> UnrolledStream:
        self.kept.add(made := super().stream(decoder))
        return made


def test_what_is_broken_off_is_not_remembered() -> None:
    class Breaking(Keeping):
        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            raise MemoryError("no room")

    engine = Breaking()
    with pytest.raises(RuntimeError, match="no room"):
        play([Line(decoder=decoder_of(TINY), latents=latents_of(1, 1)[0])], engine=engine)
    gc.collect()
    assert not engine.kept


def test_no_player_waits_for_another() -> None:
    class Held(UnrolledEngine):
        """Holds one decoder's turn until somebody has all of another's."""

        players = 2

        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            assert asks[0].stream.decoder is fast or done.wait(60)
            return super().play(asks, steps, logits=logits)

    engine, done, fast, slow = Held(), threading.Event(), decoder_of(TINY), decoder_of(TINY, seed=1)
    lines = [Line(decoder=decoder, latents=latents_of(1, 40)[0]) for decoder in (slow, fast)]
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(play, lines[:1], engine=engine)
        quick = play(lines[1:], engine=engine)[0]
        done.set()
        assert torch.equal(held.result(60)[0], play(lines[:1], engine=UnrolledEngine())[0])
    assert torch.equal(quick, play(lines[1:], engine=UnrolledEngine())[0])


def test_what_breaks_a_turn_off_is_told_to_all_who_were_in_it_and_to_nobody_else() -> None:
    class Breaking(UnrolledEngine):
        """Breaks in the first turn of three, when a fourth has come meanwhile."""

        broken = 0

        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            began.set()
            if len(asks) == 3 and not self.broken:
                self.broken = len(asks)
                breaking.set()
                time.sleep(0.2)
                raise MemoryError("no room")
            time.sleep(0.01)
            return super().play(asks, steps, logits=logits)

    began, breaking, engine, decoder = threading.Event(), threading.Event(), Breaking(), decoder_of(LONG_FRAMES)

    def called(seed: int) -> Tensor | str:
        assert seed == 0 or (began if seed < 3 else breaking).wait(60)
        try:
            return play([Line(decoder=decoder, latents=latents_of(1, 1)[0], seed=(seed,))], engine=engine)[0]
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        *found, late = threads.map(called, range(4))
    assert found == ["what was played was broken off (MemoryError: no room)"] * 3
    line = Line(decoder=decoder, latents=latents_of(1, 1)[0], seed=(3,))
    assert isinstance(late, Tensor)
    assert torch.equal(play([line], engine=engine)[0], late)


def test_who_goes_on_with_more_does_not_disturb_the_others() -> None:
    engine, decoder, latents = UnrolledEngine(), decoder_of(TINY), latents_of(2, 40)

    def called(seed: int) -> Tensor:
        line = Line(decoder=decoder, latents=latents[0, :, :1], seed=(seed,))
        coming = iter(latents[0].split(1, 1)[1:])
        return play([line], more=lambda: [one] if (one := next(coming, None)) is not None else None, engine=engine)[0]

    with ThreadPoolExecutor(4) as threads:
        for seed, codes in enumerate(threads.map(called, range(4))):
            assert torch.equal(codes, play([Line(decoder=decoder, latents=latents[0], seed=(seed,))], engine=engine)[0])


def test_what_is_done_is_not_remembered() -> None:
    engine, latents = Keeping(), latents_of(1, 1)[0]
    seen: list[int] = []

    def count(share: float) -> None:
        if share > 0.8 and len(seen) < 8:
            gc.collect()
            seen.append(len(engine.kept))

    lines = [Line(decoder=decoder_of(TINY, seed=i), latents=latents, seed=(i,)) for i in range(TOGETHER + 40)]
    play(lines, engine=engine, progress=count)
    # Beside the 40 of the end there may be some that were done just now.
    assert min(seen) <= 50


def test_what_does_not_fit_is_refused() -> None:
    decoder = decoder_of(TINY)
    for wrong in (torch.zeros(4, 3), torch.zeros(1, 5, 3), torch.zeros(0, 4, 3), torch.zeros(1, 4, 0)):
        with pytest.raises(ValueError, match=r"expected \[B, 4, N\]"):
            generate(decoder, wrong)
    for temperature in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature is"):
            generate(decoder, latents_of(1, 1), temperature=temperature)


@pytest.mark.parametrize(
    ("players", "at_once", "together"),
    [(1, 2, TOGETHER), (1, TOGETHER + 9, TOGETHER + 9), (3, 2, math.ceil(TOGETHER / 3))],
)
def test_no_more_play_at_once_than_pays(players: int, at_once: int, together: int) -> None:
    class Counting(UnrolledEngine):
        most = 0

        def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
            self.most = max(self.most, len(asks))
            return [Said(torch.zeros(steps, dtype=torch.int64)) for _ in asks]

    engine = Counting()
    engine.players, engine.at_once = players, at_once
    decoder, latents = decoder_of(TINY), latents_of(1, 1)[0]
    play([Line(decoder=decoder, latents=latents)] * (TOGETHER + 20), engine=engine)
    assert engine.most == together
