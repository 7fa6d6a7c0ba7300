"""A clip cut into chunks that are sampled side by side, and joined where they sound most alike.

A chunk does not know what became of the one before: it begins a little earlier, its warm-up is thrown away, and then
the two say the same notes, with unrelated phases and seldom equally loud. So both are brought to a common level where
they meet, along a ramp; the later one is moved, by at most `search_s`, to where it is most like the end of the earlier
one (Verhelst and Roelands 1993, "WSOLA", section 2), and faded over. The fade keeps the level whatever of the likeness
is lacking: two weights a and b of signals that correlate by r have the level sqrt(a^2 + b^2 + 2 r a b), by which they
are divided.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, room

# The level of so much before a join counts; below the floor differences do not.
LEVEL_S, RAMP_S = 0.03, 0.6
FLOOR_POWER, MOST_DB = 1e-5, 12.0


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """How to cut clips.

    Attributes
    ----------
    chunk_s : from one chunk's beginning to the next one's, rounded to whole latent frames
    overlap_s : length of the cross-fade
    search_s : by how much a chunk may be delayed for the sake of likeness
    warmup_s : sampled before all that may be heard of a chunk and thrown away, so that it is in full swing by then; at
        least so much
    """

    chunk_s: float = 2.0
    overlap_s: float = 0.02
    search_s: float = 0.025
    warmup_s: float = 0.005

    def __post_init__(self) -> None:
        durations_s = (self.chunk_s, self.overlap_s, self.search_s, self.warmup_s)
        if not all(0 <= seconds < math.inf for seconds in durations_s) or self.overlap_s > self.chunk_s:
            raise ValueError(
                f"chunk, overlap, search and warm-up are {durations_s} s: expected none below 0, overlap within chunk"
            )


@dataclass(frozen=True)
class Plan:
    """Where chunks lie in a clip.

    Attributes
    ----------
    frames : length of the clip, in latent frames of `pool` samples
    chunk, lead : from chunk to chunk, and how much earlier each begins, in frames
    overlap, search : as of `Chunking`, in samples
    """

    frames: int
    pool: int
    chunk: int
    lead: int
    overlap: int
    search: int

    @classmethod
    def of(cls, chunking: Chunking, frames: int, pool: int) -> "Plan":
        """The plan for a clip."""
        overlap, search = round(chunking.overlap_s * SAMPLE_RATE), round(chunking.search_s * SAMPLE_RATE)
        chunk = max(round(chunking.chunk_s * SAMPLE_RATE / pool), math.ceil(overlap / pool), 1)
        lead = math.ceil((overlap + search + chunking.warmup_s * SAMPLE_RATE) / pool - 1e-9)
        return cls(frames, pool, chunk, lead, overlap, search)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The frames of each chunk, from and to."""
        return [(max(0, i - self.lead), min(i + self.chunk, self.frames)) for i in range(0, self.frames, self.chunk)]

    def join(self, chunks: Iterable[Tensor]) -> Tensor:
        """The sound of chunks, float Tensor[its frames * pool] each, to the clip, Tensor[frames * pool]."""
        joined = torch.from_numpy(room(self.frames * self.pool))
        for i, ((start, end), sound) in enumerate(zip(self.spans, self._levelled(chunks), strict=True)):
            begin = i * self.chunk * self.pool
            place = begin - start * self.pool
            if begin:
                place -= self._shift(joined[begin - self.overlap : begin], sound[:place])
                fading = slice(begin - self.overlap, begin)
                joined[fading] = _faded(joined[fading], sound[place - self.overlap : place])
            joined[begin : end * self.pool] = sound[place : place + end * self.pool - begin]
        return joined

    def _levelled(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Chunks that are equally loud where they meet: each goes half the way to the other."""
        size = self.chunk * self.pool
        ramp = min(round(RAMP_S * SAMPLE_RATE), size)
        coming = iter(chunks)
        sound, before_db = next(coming), 0.0
        for i, (start, _) in enumerate(self.spans):
            following = next(coming, None)
            after_db = 0.0 if following is None else self._step_db(i + 1, sound, following)
            times = torch.arange(len(sound)) + start * self.pool - i * size
            rise = before_db / 2 * (1 - times / ramp).clamp(0, 1)
            fall = after_db / 2 * (1 - (size - times) / ramp).clamp(0, 1)
            yield sound * 10 ** ((rise - fall) / 20)
            if following is not None:
                sound, before_db = following, after_db

    def _step_db(self, i: int, earlier: Tensor, later: Tensor) -> float:
        """By how much louder the chunk before chunk `i` is where that begins to be heard."""
        place = (i * self.chunk - self.spans[i][0]) * self.pool
        heard = min(round(LEVEL_S * SAMPLE_RATE), place)
        if not heard:
            return 0.0
        powers = [float(sound.square().mean()) for sound in (earlier[-heard:], later[place - heard : place])]
        step_db = 10 * math.log10((powers[0] + FLOOR_POWER) / (powers[1] + FLOOR_POWER))
        return min(max(step_db, -MOST_DB), MOST_DB)

    def _shift(self, heard: Tensor, lead: Tensor) -> int:
        """By how many samples a chunk is to be delayed so that the end of its lead is most like what is heard there."""
        search = min(self.search, len(lead) - self.overlap)
        if not self.overlap or search <= 0:
            return 0
        candidates = lead[len(lead) - self.overlap - search :].unfold(0, self.overlap, 1)
        likeness = F.cosine_similarity(candidates, heard[None], dim=1)
        return search - int(likeness.argmax())


def _faded(out: Tensor, into: Tensor) -> Tensor:
    """From one sound, Tensor[T], to another, on a level."""
    rise = (torch.arange(len(out)) + 0.5) / max(len(out), 1)
    alike = F.cosine_similarity(out, into, dim=0).clamp(min=0)
    level = (rise.square() + (1 - rise).square() + 2 * alike * rise * (1 - rise)).sqrt()
    return ((1 - rise) * out + rise * into) / level
