"""Autoregressive sampling of the WaveNet decoder, sample after sample for any number of clips at once.

What a decoder computes for one sample depends on its layers' inputs `dilation` samples ago. They are kept in
rings, so that a sample costs one column of the teacher-forced pass. Products are few and large: the rings'
share of all layers is known before a sample begins and is one batched product, the latents' share changes
once per latent frame, and a single product sums all skips.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, mulaw_decode, mulaw_encode
from musicstar.wavenet import CLASSES, Decoder, scale

START = CLASSES
"""Stands for the sample before the first, which enters the network as 0.0 and is none of the 256 codes."""

PROGRESS_EVERY_S = 0.1


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


class Engine:
    """A decoder unrolled in time for `batch` clips.

    Three foldings save work without changing the result. A gate is sigmoid(g) = (tanh(g / 2) + 1) / 2: one
    tanh serves gate and signal, the halves go into the weights around. The residual biases summed up to a
    layer, its `drift`, leave the stream for that layer's bias. The first convolution is a table of codes.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, batch: int) -> None:
        config = decoder.config
        width, depth = config.channels, len(config.dilations)
        state = {name: tensor.float() for name, tensor in decoder.state_dict().items()}
        device = state["first_conv.weight"].device

        def of_layers(name: str) -> Tensor:
            return torch.stack([state[f"layers.{i}.{name}"] for i in range(depth)])

        halves = torch.tensor([0.5, 1.0], device=device).repeat_interleave(width)
        causal = of_layers("causal.weight").transpose(1, 2) * halves[:, None]
        self._past_weight = causal[..., 0].contiguous()
        self._present_weights = causal[..., 1].contiguous().unbind(0)
        residual = of_layers("residual.weight")[..., 0].transpose(1, 2) / 2
        self._residual_weights = residual.contiguous().unbind(0)
        drift = (of_layers("residual.bias").cumsum(0) - of_layers("residual.bias"))[:, None]
        bias = (of_layers("causal.bias") + of_layers("condition.bias")) * halves
        self._bias = bias[:, None] + drift @ causal.sum(-1)
        self._latent_weight = of_layers("condition.weight")[..., 0].transpose(1, 2) * halves

        skips = (of_layers("skip.weight")[..., 0].transpose(1, 2) / 2).flatten(0, 1)
        self._skip_weight = torch.cat([skips, state["skip_conv.weight"][..., 0].t()])
        self._skip_bias = state["skip_conv.bias"] + of_layers("skip.bias").sum(0)
        self._hidden_weight = state["fc.weight"][..., 0].t().contiguous()
        self._hidden_bias = state["fc.bias"] + state["condition.bias"]
        self._hidden_latent_weight = state["condition.weight"][..., 0].t().contiguous()
        self._logits_weight = state["logits.weight"][..., 0].t().contiguous()
        self._logits_bias = state["logits.bias"]

        levels = torch.zeros(CLASSES + 1, 1, 1, device=device)
        levels[:CLASSES, 0, 0] = scale(torch.arange(CLASSES, device=device))
        self._previous_table, present = (levels * state["first_conv.weight"][:, 0]).unbind(-1)
        self._present_table = present + state["first_conv.bias"]
        self._previous = torch.full((batch,), START, device=device)

        # All rings share a buffer, `dilation` rows per layer; a moment's rows are read, then overwritten.
        dilations = torch.tensor(config.dilations, device=device)
        moments = torch.arange(max(config.dilations), device=device)[:, None] % dilations
        self._rows = (dilations.cumsum(0) - dilations + moments).unbind(0)
        self._rings = (-drift).expand(-1, batch, -1).repeat_interleave(dilations, 0)
        self._past = torch.empty(depth, batch, width, device=device)
        self._inputs = torch.empty(depth, batch, width, device=device)
        self._input_of = self._inputs.unbind(0)
        self._gated = torch.empty(depth, batch, 2 * width, device=device)
        self._gated_of = [(layer, layer[:, :width], layer[:, width:]) for layer in self._gated]
        self._outputs = torch.empty(batch, (depth + 1) * width, device=device)
        self._output_of = torch.split(self._outputs, width, dim=1)
        self._time = 0

    @torch.inference_mode()
    def listen(self, latents: Tensor) -> None:
        """Condition the following samples on latents, Tensor[batch, latent_channels]."""
        shared = latents.expand(len(self._input_of), -1, -1)
        self._conditions = torch.baddbmm(self._bias, shared, self._latent_weight)
        self._hidden_condition = torch.addmm(self._hidden_bias, latents, self._hidden_latent_weight)

    @torch.inference_mode()
    def step(self, codes: Tensor) -> Tensor:
        """Logits of the next sample.

        Parameters
        ----------
        codes : Tensor[batch], int64, the sample before it; `START` at first

        Returns
        -------
        Tensor[batch, 256], float32
        """
        rows = self._rows[self._time % len(self._rows)]
        self._time += 1
        torch.index_select(self._rings, 0, rows, out=self._past)
        torch.baddbmm(self._conditions, self._past, self._past_weight, out=self._gated)
        x = self._input_of[0]
        torch.add(self._previous_table[self._previous], self._present_table[codes], out=x)
        self._output_of[-1].copy_(x)
        self._previous = codes
        last = len(self._input_of) - 1
        for i, (both, gate, signal) in enumerate(self._gated_of):
            both.addmm_(x, self._present_weights[i]).tanh_()
            z = torch.addcmul(signal, gate, signal, out=self._output_of[i])
            if i < last:
                x = torch.addmm(x, z, self._residual_weights[i], out=self._input_of[i + 1])
        self._rings.index_copy_(0, rows, self._inputs)
        hidden = torch.addmm(self._skip_bias, self._outputs, self._skip_weight).relu_()
        hidden = torch.addmm(self._hidden_condition, hidden, self._hidden_weight).relu_()
        return torch.addmm(self._logits_bias, hidden, self._logits_weight)


def replay(decoder: Decoder, codes: Tensor, latents: Tensor) -> Tensor:
    """The engine's logits while it is made to say given codes: `decoder(codes, latents)` up to rounding.

    Parameters
    ----------
    codes : Tensor[B, T], int64 in 0..255
    latents : Tensor[B, latent_channels, N], with N * pool >= T

    Returns
    -------
    Tensor[B, 256, T]
    """
    engine = Engine(decoder, len(codes))
    code = torch.full_like(codes[:, 0], START)
    logits = []
    for t, following in enumerate(codes.unbind(1)):
        if t % decoder.config.pool == 0:
            engine.listen(latents[..., t // decoder.config.pool])
        logits.append(engine.step(code))
        code = following
    return torch.stack(logits, 2)


def generate(
    decoder: Decoder,
    latents: Tensor,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    chunking: Chunking | None = None,
) -> Tensor:
    """Sample clips from their latents.

    Parameters
    ----------
    latents : Tensor[B, latent_channels, N]; each item is a clip of its own
    temperature : divides the logits; 1 samples what was learned, 0 picks the most likely code each time
    seed : of the draws; the same seed, latents and options give the same clips on the same machine
    progress : called at least every 0.25 s with the share done, 0 to 1; what it raises ends the work
    chunking : cut clips longer than a chunk, for speed; None samples each from beginning to end

    Returns
    -------
    Tensor[B, N * pool], int64 mu-law codes in 0..255, on the decoder's device

    Raises
    ------
    ValueError
        The latents do not fit the decoder, or the temperature is negative or not a number.
    """
    width = decoder.config.latent_channels
    if latents.ndim != 3 or latents.shape[1] != width or not latents.numel():
        raise ValueError(f"latents have shape {tuple(latents.shape)}, expected [B, {width}, N], none of them 0")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}, expected a number of at least 0")
    tell = progress or (lambda share: None)
    latents = latents.detach().to(decoder.first_conv.weight)
    if chunking is None:
        return _sample(decoder, latents, temperature, seed, tell)
    plan = _Plan.of(chunking, latents.shape[2], decoder.config.pool)
    return plan.join(_sample(decoder, plan.cut(latents), temperature, seed, tell))


@torch.inference_mode()
def _sample(
    decoder: Decoder, latents: Tensor, temperature: float, seed: int, progress: Callable[[float], None]
) -> Tensor:
    batch, frames, pool = len(latents), latents.shape[2], decoder.config.pool
    engine = Engine(decoder, batch)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.empty(frames * pool, batch, dtype=torch.int64, device=latents.device)
    code = torch.full_like(codes[0], START)
    told = time.monotonic()
    for frame, condition in enumerate(latents.unbind(2)):
        engine.listen(condition)
        draws = torch.rand(pool, batch, 1, generator=generator).to(latents.device)
        for t, draw in enumerate(draws, start=frame * pool):
            logits = engine.step(code)
            code = _pick(logits / temperature, draw) if temperature else logits.argmax(1)
            codes[t] = code
            if time.monotonic() - told > PROGRESS_EVERY_S:
                progress(t / len(codes))
                told = time.monotonic()
    progress(1.0)
    return codes.t().contiguous()


def _pick(logits: Tensor, draw: Tensor) -> Tensor:
    """The code, Tensor[B], where the distribution of logits, Tensor[B, 256], passes a draw, Tensor[B, 1]."""
    cumulated = logits.softmax(1).cumsum(1)
    # Rounding may leave the whole distribution just below a draw close to 1.
    return torch.searchsorted(cumulated, draw, right=True).squeeze(1).clamp_(max=CLASSES - 1)


@dataclass(frozen=True)
class _Plan:
    """Where chunks lie in clips of `frames` latent frames; all lengths in frames, `pool` samples each."""

    chunk: int
    overlap: int
    warmup: int
    equal_power: bool
    frames: int
    pool: int

    @classmethod
    def of(cls, chunking: Chunking, frames: int, pool: int) -> "_Plan":
        rate = SAMPLE_RATE / pool
        chunk = max(round(chunking.chunk_s * rate), 1)
        overlap, warmup = round(chunking.overlap_s * rate), round(chunking.warmup_s * rate)
        return cls(chunk, overlap, warmup, chunking.fade == "equal-power", frames, pool)

    @property
    def starts(self) -> list[int]:
        """The first frame of each chunk, warm-up included."""
        return [max(0, i - self.overlap - self.warmup) for i in range(0, self.frames, self.chunk)]

    def cut(self, latents: Tensor) -> Tensor:
        """Clips, Tensor[B, C, frames], to chunks, Tensor[B * chunks, C, longest]; the last frame fills up."""
        starts = torch.tensor(self.starts, device=latents.device)
        longest = min(self.chunk + self.overlap + self.warmup, self.frames)
        frames = (starts[:, None] + torch.arange(longest, device=latents.device)).clamp_(max=self.frames - 1)
        return latents[:, :, frames].transpose(1, 2).flatten(0, 1)

    def join(self, codes: Tensor) -> Tensor:
        """Chunks, Tensor[B * chunks, longest * pool], to clips, Tensor[B, frames * pool]."""
        starts, faded = self.starts, self.overlap * self.pool
        if len(starts) == 1:
            return codes
        wav = mulaw_decode(codes).view(-1, len(starts), codes.shape[1])
        rise = (torch.arange(faded, device=codes.device) + 0.5) / max(faded, 1)
        rise = torch.sin(rise * (math.pi / 2)) if self.equal_power else rise
        joined = wav.new_zeros(len(wav), self.frames * self.pool)
        for i, start in enumerate(starts):
            begin = max(0, i * self.chunk - self.overlap) * self.pool
            end = min((i + 1) * self.chunk, self.frames) * self.pool
            heard = wav[:, i, begin - start * self.pool : end - start * self.pool].clone()
            if i > 0:
                heard[:, :faded] *= rise
            if i < len(starts) - 1:
                heard[:, heard.shape[1] - faded :] *= rise.flip(0)
            joined[:, begin:end] += heard
        return mulaw_encode(joined)
