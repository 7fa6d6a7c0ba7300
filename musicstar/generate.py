"""Sampling of WaveNet decoders: any number of clips side by side, each by the decoder that plays it."""

import atexit
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, blocks, mulaw_decode, room
from musicstar.chunking import Chunking, Plan
from musicstar.engines.base import Ask, Engine, Said
from musicstar.engines.choice import engine_for
from musicstar.wavenet import Decoder

# A turn is as many samples as take about so long: callers hear of progress in between, and others may join. How many
# these are a line finds out, beginning with a few.
TURN_S, FIRST_STEPS = 0.12, 16
# Past so many streams, or those that an engine is busy with, a step costs as much more as there are more of them; the
# rest wait.
TOGETHER = 64
FIRST_HEARD_S = 1.0
SHORTEST_CHUNK_S = 0.3
# Of a decoder with more a processor's caches hold too little to find it there a sample later.
CACHED_WEIGHTS = 1_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """A clip to be sampled.

    Attributes
    ----------
    latents : Tensor[latent_channels, N] for N * pool samples
    seed : of the draws, whole numbers of at least 0; the same seed, latents and temperature give the same clip in any
        company, on the same engine
    temperature : divides the logits; 1 samples what was learned, 0 picks the most likely code each time
    """

    decoder: Decoder
    latents: Tensor
    seed: tuple[int, ...] = (0,)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        width = self.decoder.config.latent_channels
        if self.latents.ndim != 2 or self.latents.shape[0] != width or not self.latents.numel():
            raise ValueError(f"latents have shape {tuple(self.latents.shape)}, expected [{width}, N], none of them 0")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}, expected a number of at least 0")

    @property
    def samples(self) -> int:
        """Its length."""
        return self.latents.shape[1] * self.decoder.config.pool


More = Callable[[], Sequence[Tensor] | None]


class Playing:
    """A line on its way.

    Attributes
    ----------
    codes : Tensor[N * pool], uint8 mu-law codes; those up to `done` are there
    steps : how many are to be made in its next turn, at most
    busy : whether it has its turn just now
    failure : what broke off a turn of it
    """

    def __init__(self, line: Line, engine: Engine) -> None:
        self.line, self.done, self.steps, self.busy = line, 0, FIRST_STEPS, False
        self.failure: BaseException | None = None
        self.codes = torch.empty(line.samples, dtype=torch.uint8)
        self._stream: Any = engine.stream(line.decoder)
        seed = int(np.random.SeedSequence(line.seed).generate_state(1, np.uint64)[0] >> 1)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def left(self) -> int:
        """How many samples are to come."""
        return self.line.samples - self.done

    @property
    def left_in_frame(self) -> int:
        """How many samples follow the present latents."""
        return self.line.decoder.config.pool - self.done % self.line.decoder.config.pool

    @property
    def waits(self) -> bool:
        """Whether it is to be carried on, and nobody does."""
        return self.left > 0 and not self.busy and not self.failure

    def ask(self, steps: int) -> Ask[object]:
        """What it asks of its engine, for `steps` of the samples that are left in the frame."""
        frame, within = divmod(self.done, self.line.decoder.config.pool)
        # A draw of 0 would pick the first code of all, however unlikely: a click.
        drawn = torch.rand(steps, generator=self._generator).clamp_(min=2**-25) if self.line.temperature else None
        return Ask(
            stream=self._stream,
            latents=None if within else self.line.latents[:, frame],
            draws=drawn,
            temperature=self.line.temperature or 1.0,
        )

    def extend(self, latents: Tensor) -> None:
        """Go on with further latents, Tensor[latent_channels, N]."""
        line = replace(self.line, latents=torch.cat([self.line.latents, latents], 1))
        self.codes = torch.cat([self.codes, torch.empty(line.samples - len(self.codes), dtype=torch.uint8)])
        # From here on somebody else may carry it on.
        self.line = line

    def take(self, said: Said) -> None:
        """Keep what the engine made of it."""
        self.codes[self.done : self.done + len(said.codes)] = said.codes
        self.done += len(said.codes)

    def forget(self) -> None:
        """Give up what its decoder remembers: it is not to be carried on."""
        self._stream = self.failure = None


class Ensemble:
    """Lines that an engine plays side by side, of any number of callers, each in a thread of its own.

    Players, as many threads as the engine says, take turns with lines that nobody plays just now, those that have
    waited longest before others of their decoder. So none waits for another, and no line for long.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._playing: list[Playing] = []
        self._players: list[threading.Thread] = []
        self._changed = threading.Condition()
        # Nobody may be at an engine when the interpreter goes.
        atexit.register(self._close)

    def play(self, lines: Sequence[Line], more: More | None, tell: Callable[[Sequence[Playing]], None]) -> list[Tensor]:
        """Have lines carried on until they are done, no more of them at once than pays.

        `tell` hears of those that have begun.

        Raises
        ------
        RuntimeError
            A turn was broken off, by what it says.
        """
        waiting, playing, told = deque(lines), list[Playing](), 0
        together = max(TOGETHER, self._engine.at_once)

        def is_news() -> bool:
            return sum(one.done for one in playing) != told or any(one.failure for one in playing)

        try:
            while True:
                if not waiting and not any(one.left for one in playing):
                    coming = more() if more else None
                    if coming is None:
                        if is_news():
                            tell(playing)
                        break
                    for one, latents in zip(playing, coming, strict=True):
                        one.extend(latents)
                    with self._changed:
                        self._playing += [one for one in playing if one not in self._playing]
                    continue
                begun = len(playing)
                while waiting and sum(1 for one in playing if one.left) < together:
                    playing.append(Playing(waiting.popleft(), self._engine))
                with self._changed:
                    self._playing += playing[begun:]
                    self._summon()
                    self._changed.wait_for(is_news)
                for one in playing:
                    if one.failure:
                        broken = f"{type(one.failure).__name__}: {one.failure}"
                        raise RuntimeError(f"what was played was broken off ({broken})") from one.failure
                    if not more and not one.left:
                        one.forget()
                told = sum(one.done for one in playing)
                tell(playing)
        finally:
            with self._changed:
                self._playing = [one for one in self._playing if one not in playing]
                self._changed.wait_for(lambda: not any(one.busy for one in playing))
            for one in playing:
                one.forget()
        return [one.codes for one in playing]

    def _summon(self) -> None:
        """Have another player begin where lines wait; it has others follow."""
        self._players = [player for player in self._players if player.is_alive()]
        if len(self._players) < self._engine.players and any(one.waits for one in self._playing):
            self._players.append(threading.Thread(target=self._carry, daemon=True))
            try:
                self._players[-1].start()
            except RuntimeError:  # no more threads are to be had; those there are play all
                self._players.pop()
                if not self._players:
                    raise

    @torch.inference_mode()
    def _carry(self) -> None:
        """A player: takes turns for as long as lines wait."""
        while True:
            with self._changed:
                hand, turn_s = self._hand()
                if not hand:
                    self._players.remove(threading.current_thread())
                    return
                for one in hand:
                    one.busy = True
            failure = None
            try:
                with self._changed:
                    self._summon()
                self._turn(hand, turn_s)
            except BaseException as error:  # noqa: BLE001  told to all: nobody knows how far their streams came
                failure = error
            with self._changed:
                for one in hand:
                    one.busy, one.failure = False, failure
                self._changed.notify_all()
            del hand, failure

    def _close(self) -> None:
        """Have players end after their turns."""
        with self._changed:
            self._playing, players = [], list(self._players)
        for player in players:
            player.join()

    def _hand(self) -> tuple[list[Playing], float]:
        """What a player takes next, of one decoder, and for about how long, so that all lines come up in `TURN_S`."""
        self._playing = [one for one in self._playing if one.left and not one.failure]
        waiting = [one for one in self._playing if one.waits]
        if not waiting:
            return [], 0.0
        share = math.ceil(len(self._playing) / self._engine.players)
        hand = [one for one in waiting if one.line.decoder is waiting[0].line.decoder][:share]
        self._playing = [one for one in self._playing if one not in hand] + hand
        return hand, TURN_S * min(1.0, len(hand) * self._engine.players / len(self._playing))

    def _turn(self, hand: Sequence[Playing], turn_s: float) -> None:
        """Carry some lines on."""
        steps = min(min(one.steps, one.left_in_frame) for one in hand)
        began_s = time.monotonic()
        asks = [one.ask(steps) for one in hand]
        for one, said in zip(hand, self._engine.play(asks, steps), strict=True):
            one.take(said)
        possible = int(steps * turn_s / max(time.monotonic() - began_s, 1e-6))
        for one in hand:
            one.steps = max(1, min(2 * one.steps, possible))


# One for each engine of this process, of which there are few.
_ENSEMBLES: dict[Engine, Ensemble] = {}


def play(
    lines: Sequence[Line],
    *,
    more: More | None = None,
    total: int = 0,
    engine: Engine | None = None,
    progress: Callable[[float], None] | None = None,
    heard: Callable[[list[Tensor]], None] | None = None,
) -> list[Tensor]:
    """Sample lines side by side, and beside those of other threads: their codes, uint8 Tensor[N * pool] each.

    Parameters
    ----------
    more : asked when all are done for what each is to go on with, Tensor[latent_channels, N]; None ends them
    total : how many samples there will be of all lines; by default what there is
    engine : the one that suits the first decoder's device, by default
    progress : called at least every 0.25 s with the share done, 0 to 1; what it raises ends the work
    heard : called with the codes so far once there are `FIRST_HEARD_S` of all lines, and whenever these have doubled

    Raises
    ------
    RuntimeError
        The engine broke a turn off; its own error is the cause.
    """
    total, due = total or sum(line.samples for line in lines), round(FIRST_HEARD_S * SAMPLE_RATE)

    def tell(playing: Sequence[Playing]) -> None:
        nonlocal due
        if progress:
            progress(sum(one.done for one in playing) / total)
        done = min(one.done for one in playing) if len(playing) == len(lines) else 0
        if heard and done >= due and sum(one.done for one in playing) < total:
            heard([one.codes[:done] for one in playing])
            due = 2 * done

    engine = engine or engine_for(lines[0].decoder)
    ensemble = _ENSEMBLES.setdefault(engine, Ensemble(engine))
    return ensemble.play(lines, more, tell)


def perform(
    lines: Sequence[Line],
    *,
    more: More | None = None,
    total: int = 0,
    chunking: Chunking | None = None,
    engine: Engine | None = None,
    progress: Callable[[float], None] | None = None,
    heard: Callable[[list[Tensor]], None] | None = None,
) -> list[Tensor]:
    """The sound of lines, each float32 Tensor[N * pool], nominally in [-1, 1).

    Parameters
    ----------
    chunking : cut lines longer than a chunk, for speed; None samples each from beginning to end
    more, total, engine, progress : see `play`; all there is is asked for before chunks are cut
    heard : as of `play`, with the sound so far; of what is played in chunks nothing is heard before its end
    """
    if chunking is None:
        tell = (lambda codes: heard(list(map(mulaw_decode, codes)))) if heard else None
        played = play(lines, more=more, total=total, engine=engine, progress=progress, heard=tell)
        return [_decoded(codes) for codes in played]
    while more and (coming := more()) is not None:
        lines = [
            replace(line, latents=torch.cat([line.latents, latents], 1))
            for line, latents in zip(lines, coming, strict=True)
        ]
    plans = [Plan.of(chunking, line.latents.shape[1], line.decoder.config.pool) for line in lines]
    chunks = [
        replace(line, latents=line.latents[:, start:end], seed=(*line.seed, i) if i else line.seed)
        for plan, line in zip(plans, lines, strict=True)
        for i, (start, end) in enumerate(plan.spans)
    ]
    sounds = map(mulaw_decode, play(chunks, engine=engine, progress=progress))
    return [plan.join(itertools.islice(sounds, len(plan.spans))) for plan in plans]


def suited(lines: Sequence[Line], engine: Engine, *, total: int) -> Chunking | None:
    """Chunks enough to keep an engine busy, where the decoders gain by it; None where they do not.

    `total` is how many samples there will be of all lines.

    One stream of a small decoder finds its weights in the processor's cache. Those of a large one are fetched anew for
    each sample, which several streams share.
    """
    total_s, frame_s = total / SAMPLE_RATE, lines[0].decoder.config.pool / SAMPLE_RATE
    chunk_s = max(SHORTEST_CHUNK_S, math.ceil(total_s / engine.at_once / frame_s) * frame_s)
    weights = max(sum(weight.numel() for weight in line.decoder.parameters()) for line in lines)
    return Chunking(chunk_s=chunk_s) if weights > CACHED_WEIGHTS and total_s > 2 * chunk_s * len(lines) else None


def _decoded(codes: Tensor) -> Tensor:
    """Codes, uint8 Tensor[T], as sound; whatever their number, few of them at a time."""
    wav = room(len(codes))
    for heard, said in zip(blocks(wav), blocks(codes.numpy()), strict=True):
        heard[:] = mulaw_decode(torch.from_numpy(said)).numpy()
    return torch.from_numpy(wav)


def generate(
    decoder: Decoder,
    latents: Tensor,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Sample clips of one decoder from their latents.

    Parameters
    ----------
    latents : Tensor[B, latent_channels, N]; each item is a clip of its own
    temperature, seed, progress : see `Line` and `play`

    Returns
    -------
    Tensor[B, N * pool], int64 mu-law codes in 0..255

    Raises
    ------
    ValueError
        The latents do not fit the decoder, or the temperature is negative or not a number.
    """
    width = decoder.config.latent_channels
    if latents.ndim != 3 or latents.shape[1] != width or not latents.numel():
        raise ValueError(f"latents have shape {tuple(latents.shape)}, expected [B, {width}, N], none of them 0")
    lines = [
        Line(decoder=decoder, latents=item, seed=(seed, b), temperature=temperature) for b, item in enumerate(latents)
    ]
    return torch.stack(play(lines, progress=progress)).long()
