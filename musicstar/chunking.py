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
    chunk_s : from one chunk's beginning to the next one's, rounded up to quarters of a latent frame, so that streams
        ask for latents together or some quarters of a frame apart
    overlap_s : length of the cross-fade
    search_s : by how much a chunk may be delayed for the sake of likeness
    warmup_s : sampled before all that may be heard of a chunk and thrown away, so that it is in full swing by then
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

    @property
    def lead_s(self) -> float:
        """How much of a chunk, but for the first, comes before it is heard alone."""
        return self.overlap_s + self.search_s + self.warmup_s


@dataclass(frozen=True)
class Plan:
    """Where chunks lie in a clip, all in samples.

    Attributes
    ----------
    samples : length of the clip
    chunk : from one chunk's beginning to the next one's
    lead : how much of a chunk, but for the first, comes before it is heard alone
    overlap, search : as of `Chunking`
    """

    samples: int
    chunk: int
    lead: int
    overlap: int
    search: int

    @classmethod
    def of(cls, chunking: Chunking, samples: int, pool: int) -> "Plan":
        """The plan for a clip whose latent frames are `pool` samples long."""
        grain = max(pool // 4, 1)
        chunk, lead, overlap, search = (
            round(seconds * SAMPLE_RATE)
            for seconds in (chunking.chunk_s, chunking.lead_s, chunking.overlap_s, chunking.search_s)
        )
        return cls(samples, max(math.ceil(max(chunk, overlap) / grain), 1) * grain, lead, overlap, search)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The samples of each chunk, from and to: but for the last one equally many, for they are sampled together."""
        count = max(math.ceil((self.samples - self.lead) / self.chunk), 1)
        return [(i * self.chunk, min((i + 1) * self.chunk + self.lead, self.samples)) for i in range(count)]

    @property
    def joins(self) -> list[int]:
        """From where each chunk but the first is heard alone."""
        return [start + self.lead for start, _ in self.spans[1:]]

    def join(self, chunks: Iterable[Tensor]) -> Tensor:
        """The sound of chunks, float Tensor[their lengths], to the clip, Tensor[samples]."""
        joined = torch.from_numpy(room(self.samples))
        for (start, end), sound in zip(self.spans, self._levelled(chunks), strict=True):
            begin, place = start, 0
            if start:
                begin, place = start + self.lead, self.lead
                place -= self._shift(joined[begin - self.overlap : begin], sound[:place])
                fading = slice(begin - self.overlap, begin)
                joined[fading] = _faded(joined[fading], sound[place - self.overlap : place])
            joined[begin:end] = sound[place : place + end - begin]
        return joined

    def _levelled(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Chunks that are equally loud where they meet: each goes half the way to the other."""
        ramp = min(round(RAMP_S * SAMPLE_RATE), self.chunk)
        coming = iter(chunks)
        sound, before_db = next(coming), 0.0
        for _ in self.spans:
            following = next(coming, None)
            after_db = 0.0 if following is None else self._step_db(sound, following)
            times = torch.arange(len(sound))
            rise = before_db / 2 * (1 - (times - self.lead) / ramp).clamp(0, 1)
            fall = after_db / 2 * (1 - (len(sound) - times) / ramp).clamp(0, 1)
            yield sound * 10 ** ((rise - fall) / 20)
            if following is not None:
                sound, before_db = following, after_db

    def _step_db(self, earlier: Tensor, later: Tensor) -> float:
        """By how much louder a chunk ends than the next one is where that begins to be heard."""
        heard = min(round(LEVEL_S * SAMPLE_RATE), self.lead)
        if not heard:
            return 0.0
        powers = [float(sound.square().mean()) for sound in (earlier[-heard:], later[self.lead - heard : self.lead])]
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
