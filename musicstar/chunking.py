"""A clip cut into chunks that are sampled side by side, and joined again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, mulaw_decode, mulaw_encode


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """How to cut clips into chunks that are sampled side by side and cross-faded.

    Sampling is then many times faster, but a chunk does not know what became of the one before: the two meet
    with unrelated phases. Durations are rounded to whole latent frames.

    Attributes
    ----------
    chunk_s : from one chunk's beginning to the next one's
    overlap_s : length of the cross-fade, at most `chunk_s`
    warmup_s : sampled before the cross-fade and thrown away, so that a chunk is in full swing when heard
    fade : "equal-power" keeps the level of unrelated signals, "linear" that of alike ones
    """

    chunk_s: float = 2.0
    overlap_s: float = 0.05
    warmup_s: float = 0.25
    fade: Literal["equal-power", "linear"] = "equal-power"

    def __post_init__(self) -> None:
        if self.fade not in ("equal-power", "linear"):
            raise ValueError(f"fade is {self.fade!r}, expected 'equal-power' or 'linear'")
        durations_s = (self.chunk_s, self.overlap_s, self.warmup_s)
        if not all(0 <= seconds < math.inf for seconds in durations_s) or self.overlap_s > self.chunk_s:
            raise ValueError(
                f"chunk, overlap and warm-up are {durations_s} s: expected none below 0, overlap within chunk"
            )


@dataclass(frozen=True)
class Plan:
    """Where chunks lie in clips of `frames` latent frames; all lengths in frames, `pool` samples each."""

    chunk: int
    overlap: int
    warmup: int
    equal_power: bool
    frames: int
    pool: int

    @classmethod
    def of(cls, chunking: Chunking, frames: int, pool: int) -> "Plan":
        rate = SAMPLE_RATE / pool
        chunk = max(round(chunking.chunk_s * rate), 1)
        overlap, warmup = round(chunking.overlap_s * rate), round(chunking.warmup_s * rate)
        return cls(chunk, overlap, warmup, chunking.fade == "equal-power", frames, pool)

    @property
    def starts(self) -> list[int]:
        """The first frame of each chunk, warm-up included."""
        return [max(0, i - self.overlap - self.warmup) for i in range(0, self.frames, self.chunk)]

    def cut(self, latents: Tensor) -> list[Tensor]:
        """A clip, Tensor[C, frames], to what each chunk follows."""
        ends = [min((i + 1) * self.chunk, self.frames) for i in range(len(self.starts))]
        return [latents[:, start:end] for start, end in zip(self.starts, ends, strict=True)]

    def join(self, chunks: Sequence[Tensor]) -> Tensor:
        """Chunks, Tensor[its frames * pool] of codes each, to the clip, Tensor[frames * pool]."""
        starts, faded = self.starts, self.overlap * self.pool
        if len(starts) == 1:
            return chunks[0]
        rise = (torch.arange(faded) + 0.5) / max(faded, 1)
        rise = torch.sin(rise * (math.pi / 2)) if self.equal_power else rise
        joined = torch.zeros(self.frames * self.pool)
        for i, (start, codes) in enumerate(zip(starts, chunks, strict=True)):
            begin = max(0, i * self.chunk - self.overlap) * self.pool
            end = min((i + 1) * self.chunk, self.frames) * self.pool
            heard = mulaw_decode(codes)[begin - start * self.pool : end - start * self.pool]
            if i > 0:
                heard[:faded] *= rise
            if i < len(starts) - 1:
                heard[len(heard) - faded :] *= rise.flip(0)
            joined[begin:end] += heard
        return mulaw_encode(joined)
