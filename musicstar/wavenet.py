"""The networks of the Music-STAR paper: two kinds of encoder, the WaveNet decoder, the domain classifier.

Samples travel as 8-bit mu-law codes and enter every network as `code / 255 - 0.5`. An encoder turns them into
latents, one vector per `pool` samples (50 ms at 16 kHz); a decoder gives, for every sample, the logits of its
code given all codes before it and the latents. Scaled codes of music spread by 0.1 to 0.2: first convolutions
begin with weights as much larger, without which hundreds of steps go by before anything is heard.

Sources: Alinoori and Tzerpos, "Music-STAR" (2022), figure 4; Mor et al., "A Universal Music Translation
Network" (2019), section 3.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar.audio import SAMPLE_RATE

CLASSES = 256

Kind = Literal["universal", "glu"]


def _require_positive(config: object) -> None:
    for name, value in vars(config).items():
        if name != "kind" and (type(value) is not int or value < 1):
            raise ValueError(f"{type(config).__name__}.{name} is {value!r}, expected a whole number above 0")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of an encoder.

    Attributes
    ----------
    kind : "universal" (figure 4a) or "glu" (figure 4b, of the mixture- and embedding-supervised methods)
    blocks, layers : layer i of each block has dilation 2 ** i
    channels : width of the residual stream
    latent_channels : values per latent vector
    pool : samples per latent vector
    """

    kind: Kind
    blocks: int
    layers: int
    channels: int
    latent_channels: int = 64
    pool: int = 800

    def __post_init__(self) -> None:
        if self.kind not in ("universal", "glu"):
            raise ValueError(f"EncoderConfig.kind is {self.kind!r}, expected 'universal' or 'glu'")
        _require_positive(self)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each layer, first to last."""
        return tuple(2**i for _ in range(self.blocks) for i in range(self.layers))


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of a WaveNet decoder.

    Attributes
    ----------
    blocks, layers : layer i of each block has dilation 2 ** i
    channels : width of the residual stream
    skip_channels : width of the sum of skips and of the output layers
    latent_channels : values per latent vector
    pool : samples per latent vector
    """

    blocks: int
    layers: int
    channels: int
    skip_channels: int
    latent_channels: int = 64
    pool: int = 800

    def __post_init__(self) -> None:
        _require_positive(self)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each layer, first to last."""
        return tuple(2**i for _ in range(self.blocks) for i in range(self.layers))


def scale(codes: Tensor) -> Tensor:
    """Codes 0..255 as the networks read them: float32 in [-0.5, 0.5], same shape."""
    return codes.to(torch.float32) / (CLASSES - 1) - 0.5


class EncoderLayer(nn.Module):
    """Dilated convolution, ReLU, 1x1 convolution (and GLU), added to the input; keeps the length."""

    def __init__(self, kind: Kind, channels: int, dilation: int) -> None:
        super().__init__()
        self.gated = kind == "glu"
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.pointwise = nn.Conv1d(channels, channels * 2 if self.gated else channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor[B, channels, T] to the same shape."""
        dilation = self.dilated.dilation[0]
        return self.within(F.pad(x, (dilation, dilation)))

    def within(self, x: Tensor) -> Tensor:
        """Tensor[B, channels, T + 2 dilation] to the moments T whose neighbours are all there."""
        dilation = self.dilated.dilation[0]
        update = self.pointwise(F.relu(self.dilated(x)))
        return x[..., dilation:-dilation] + (F.glu(update, dim=1) if self.gated else update)


class Encoder(nn.Module):
    """Codes to latents; sees past and future alike."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.first_conv = nn.Conv1d(1, config.channels, 3)
        self.layers = nn.Sequential(*(EncoderLayer(config.kind, config.channels, d) for d in config.dilations))
        self.last_conv = nn.Conv1d(config.channels, config.latent_channels, 1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv1d):
                nn.init.normal_(conv.weight, std=(conv.in_channels * conv.kernel_size[0]) ** -0.5)
        nn.init.normal_(self.first_conv.weight, std=2.0)

    def forward(self, codes: Tensor) -> Tensor:
        """Encode clips.

        Parameters
        ----------
        codes : Tensor[B, T], integer in 0..255; samples past the last whole `pool` are seen but get no vector

        Returns
        -------
        Tensor[B, latent_channels, T // pool], float32
        """
        if codes.ndim != 2 or codes.shape[1] < self.config.pool:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}, expected [B, T] with T at least {self.config.pool}"
            )
        x = self.layers(self.first_conv(F.pad(scale(codes)[:, None], (1, 1))))
        # Pooling commutes with a 1x1 convolution, which is then 800 times cheaper.
        return cast(Tensor, self.last_conv(F.avg_pool1d(x, self.config.pool)))

    def read(self, blocks: Iterable[Tensor]) -> Tensor:
        """Encode a clip of any length in memory that does not grow with it; the same up to rounding.

        Each layer keeps its last inputs, two dilations of them, and gives what it has heard the future of; before
        the clip and behind it there are zeros at every layer.

        Parameters
        ----------
        blocks : the codes, Tensor[T] in stretches of any size

        Returns
        -------
        Tensor[latent_channels, T // pool]

        Raises
        ------
        ValueError
            T is less than `pool`.
        """
        config = self.config
        layers = [cast(EncoderLayer, layer) for layer in self.layers]
        weight = self.first_conv.weight
        levels = weight.new_zeros(1, 1, 1)
        kept = [weight.new_zeros(1, config.channels, dilation) for dilation in config.dilations]
        rest, means = weight.new_zeros(1, config.channels, 0), []
        for block, last in marking_last(blocks):
            heard = scale(block.to(weight.device))[None, None].to(weight.dtype)
            levels = F.pad(torch.cat([levels, heard], 2), (0, int(last)))
            if levels.shape[2] < 3:
                continue
            x = F.conv1d(levels, weight, self.first_conv.bias)
            levels = levels[..., -2:]
            for i, (layer, dilation) in enumerate(zip(layers, config.dilations, strict=True)):
                inputs = F.pad(torch.cat([kept[i], x], 2), (0, dilation * last))
                ready = inputs.shape[2] - 2 * dilation
                x = layer.within(inputs) if ready > 0 else inputs[..., :0]
                kept[i] = inputs[..., max(ready, 0) :]
            rest = torch.cat([rest, x], 2)
            whole = rest.shape[2] // config.pool * config.pool
            if whole:
                means.append(F.avg_pool1d(rest[..., :whole], config.pool))
            rest = rest[..., whole:]
        return self.latents_from(means)

    def latents_from(self, means: Sequence[Tensor]) -> Tensor:
        """What a clip's means over latent frames, Tensor[1, channels, n] in stretches, come to.

        Returns
        -------
        Tensor[latent_channels, N]

        Raises
        ------
        ValueError
            The clip has no whole frame.
        """
        if not any(stretch.shape[2] for stretch in means):
            raise ValueError(f"a clip to encode has fewer samples than one latent frame, which is {self.config.pool}")
        return cast(Tensor, self.last_conv(torch.cat(list(means), 2)))[0]


def marking_last(blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each block, and whether none follows."""
    held = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


class CausalConv1d(nn.Conv1d):
    """Convolution of kernel 2 over the present sample and the one `dilation` before; zeros come first."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 2, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor[B, in_channels, T] to Tensor[B, out_channels, T]."""
        return super().forward(F.pad(x, (self.dilation[0], 0)))


class DecoderLayer(nn.Module):
    """One gated layer; half of its channels decide how much of the other half passes."""

    def __init__(self, config: DecoderConfig, dilation: int) -> None:
        super().__init__()
        self.causal = CausalConv1d(config.channels, 2 * config.channels, dilation)
        self.condition = nn.Conv1d(config.latent_channels, 2 * config.channels, 1)
        self.residual = nn.Conv1d(config.channels, config.channels, 1)
        self.skip = nn.Conv1d(config.channels, config.skip_channels, 1)

    def forward(self, x: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The next layer's input and this layer's skip.

        Parameters
        ----------
        x : Tensor[B, channels, N * pool]
        latents : Tensor[B, latent_channels, N]
        """
        gate, signal = _condition(self.causal(x), self.condition(latents)).chunk(2, dim=1)
        z = torch.sigmoid(gate) * torch.tanh(signal)
        return x + self.residual(z), self.skip(z)


def _condition(x: Tensor, bias: Tensor) -> Tensor:
    """Add to x, Tensor[B, C, N * pool], each column of bias, Tensor[B, C, N], over its own `pool` samples."""
    batch, channels, frames = bias.shape
    return (x.reshape(batch, channels, frames, -1) + bias[..., None]).flatten(2)


class Decoder(nn.Module):
    """Latents, and the codes so far, to the logits of each next code."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.first_conv = CausalConv1d(1, config.channels)
        nn.init.normal_(self.first_conv.weight, std=4.0)
        self.skip_conv = nn.Conv1d(config.channels, config.skip_channels, 1)
        self.layers = nn.ModuleList(DecoderLayer(config, dilation) for dilation in config.dilations)
        self.condition = nn.Conv1d(config.latent_channels, config.skip_channels, 1)
        self.fc = nn.Conv1d(config.skip_channels, config.skip_channels, 1)
        self.logits = nn.Conv1d(config.skip_channels, CLASSES, 1)

    def forward(self, codes: Tensor, latents: Tensor) -> Tensor:
        """Teacher-forced pass: logits of each code given the true codes before it.

        Parameters
        ----------
        codes : Tensor[B, T], integer in 0..255, the codes to predict. They are shifted right by one sample
            inside; in place of the one before the first enters 0.0, silence as scaled (as in the authors'
            network; the mid code 128 would enter as 0.002).
        latents : Tensor[B, latent_channels, N], with N * pool >= T

        Returns
        -------
        Tensor[B, 256, T]
        """
        samples = codes.shape[-1]
        padded = latents.shape[-1] * self.config.pool
        if codes.ndim != 2 or latents.ndim != 3 or not 0 < samples <= padded:
            raise ValueError(
                f"codes {tuple(codes.shape)} and latents {tuple(latents.shape)} do not fit: expected "
                f"[B, T] and [B, {self.config.latent_channels}, N] with 0 < T <= {self.config.pool} N"
            )
        x = self.first_conv(F.pad(scale(codes)[:, None], (1, padded - samples - 1)))
        skips = self.skip_conv(x)
        for layer in self.layers:
            x, skip = layer(x, latents)
            skips = skips + skip
        hidden = _condition(self.fc(F.relu(skips)), self.condition(latents))
        return cast(Tensor, self.logits(F.relu(hidden)))[..., :samples]


class DomainClassifier(nn.Module):
    """Tells from latents which voice was encoded; the adversary of universal training.

    Parameters
    ----------
    domains : how many voices it tells apart
    channels : width of the three hidden layers
    dropout : share of the latents' values that are hidden while training, 0 to below 1. The default is our choice: it
        keeps the classifier from leaning on a few values, which the encoder could then hide by themselves.
    """

    def __init__(self, latent_channels: int, domains: int, *, channels: int = 100, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.convs = nn.Sequential(
            nn.Conv1d(latent_channels, channels, 1),
            nn.ELU(),
            nn.Conv1d(channels, channels, 1),
            nn.ELU(),
            nn.Conv1d(channels, channels, 1),
            nn.ELU(),
            nn.Conv1d(channels, domains, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Latents, Tensor[B, latent_channels, N], to logits, Tensor[B, domains]."""
        return cast(Tensor, self.convs(self.dropout(latents)).mean(2))


def shift_stretches(wav: Tensor, *, semitones: float, generator: torch.Generator) -> Tensor:
    """Bend the pitch of a stretch of 0.25 to 0.5 s of each signal (Mor et al., section 3.1).

    The stretch is read too fast by up to `semitones`, then as much too slow, or the other way about, so that
    it keeps its length and joins its surroundings without a jump.

    Parameters
    ----------
    wav : Tensor[B, T] at 16 kHz; signals shorter than 0.25 s are bent whole
    """
    batch, total = wav.shape
    draw = torch.rand((3, batch, 1), generator=generator, device=wav.device)
    length = ((0.25 + 0.25 * draw[0]) * SAMPLE_RATE).clamp(max=total)
    start = draw[1] * (total - length)
    rate = torch.exp2(semitones * (2 * draw[2] - 1) / 12) - 1
    times = torch.arange(total, device=wav.device)
    inside = ((times - start) / length).clamp(0, 1)
    read_at = (times + rate * length * torch.minimum(inside, 1 - inside)).clamp(0, total - 1.001)
    before = read_at.long()
    return torch.lerp(wav.gather(1, before), wav.gather(1, before + 1), read_at - before)


def with_noise(codes: Tensor, *, spread: float, generator: torch.Generator) -> Tensor:
    """Codes, Tensor[B, T], with normal noise on each; an item's standard deviation is drawn from 0 to `spread`."""
    own = spread * torch.rand(len(codes), 1, generator=generator, device=codes.device)
    noise = torch.randn(codes.shape, generator=generator, device=codes.device)
    return (codes + (own * noise).round().long()).clamp(0, CLASSES - 1)
