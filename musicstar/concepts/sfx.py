"""CNN9-max and the log-mel windows it hears (Ma and Lerch 2022): 512 values for each two seconds of any sound.

The front-end is a set of figures, so that those of other published backbones are one `FrontEnd(...)` away.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from musicstar import checkpoint

# The name of the checkpoint that is looked for, and that training writes.
SHIPPED = "concepts-cnn9"
POOLS = (2, 2, 2, 1)
LAYERS = ("block1", "block2", "block3", "block4", "embedding")
# Of a window: less than this at a clip's end is not worth a window of its own.
UNHEARD = 0.25
FRAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class FrontEnd:
    """How sound becomes log-mel windows.

    Power spectra of Hann frames, scaled so that a sine of amplitude 1 has a peak of 1; mel bands of them; then
    log10(compression x + 1) divided by log10(compression + 1), which is 1 for a full-scale sine that a band holds
    alone, and limited to 0..1.

    Attributes
    ----------
    n_fft, hop : of frames, in samples; the first begins with the clip and none reaches beyond its end
    scale, norm : of mel bands from `low_hz` to `high_hz` (None: half the rate): filters whose weights sum to one, or of
        one area in Hz
    level_rms : to which a clip is brought first, so that a quiet recording is heard as a loud one is; None: as it is
    patch, patch_hop : length of a window and from one to the next, in frames
    """

    sample_rate: int = 44_100
    n_fft: int = 2048
    hop: int = 1024
    bands: int = 96
    low_hz: float = 0.0
    high_hz: float | None = None
    scale: Literal["htk", "slaney"] = "htk"
    norm: Literal["sum", "area"] = "sum"
    compression: float = 1e4
    level_rms: float | None = 0.2
    patch: int = 100
    patch_hop: int = 50

    @property
    def window_samples(self) -> int:
        """Length of a window, in samples."""
        return self.n_fft + (self.patch - 1) * self.hop

    @property
    def window_s(self) -> float:
        """Length of a window, in seconds."""
        return self.window_samples / self.sample_rate

    @property
    def hop_s(self) -> float:
        """From one window to the next, in seconds."""
        return self.patch_hop * self.hop / self.sample_rate

    def starts(self, frames: int) -> list[int]:
        """First frames of the windows of a clip of `frames`, at least `patch` of them.

        The last window lies flush with the clip's end where more than a quarter of one would go unheard.
        """
        starts = list(range(0, frames - self.patch + 1, self.patch_hop))
        last = frames - self.patch
        return [*starts, last] if last - starts[-1] > UNHEARD * self.patch else starts

    def log_mel(self, wav: np.ndarray) -> Tensor:
        """Tensor[frames, bands], float32 in 0..1, of float32[T] at `sample_rate`.

        A clip shorter than a window is repeated to the length of one.
        """
        if len(wav) < self.window_samples:
            wav = np.resize(wav, self.window_samples)
        samples = torch.from_numpy(np.ascontiguousarray(wav, dtype=np.float32))
        if self.level_rms is not None:
            rms = math.sqrt(float(np.mean(np.square(wav, dtype=np.float64))))
            samples = samples * (self.level_rms / rms if rms else 1.0)
        window, filters = _window(self.n_fft), mel_filters(self)
        frames = samples.unfold(0, self.n_fft, self.hop)
        # In pieces, or the spectra of a long clip would take gigabytes.
        mel = [
            torch.view_as_real(torch.fft.rfft(some * window)).square().sum(-1) @ filters
            for some in frames.split(FRAMES_AT_ONCE)
        ]
        scaled = torch.log1p(torch.cat(mel) * self.compression) / math.log1p(self.compression)
        return scaled.clamp(0, 1)

    def windows(self, wav: np.ndarray) -> Tensor:
        """Tensor[W, patch, bands], float32 in 0..1, of float32[T] at `sample_rate`; W is 1 or more."""
        mel = self.log_mel(wav)
        return torch.stack([mel[start : start + self.patch] for start in self.starts(len(mel))])


@lru_cache(maxsize=8)
def _window(n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft)
    return window * (2 / window.sum())


@lru_cache(maxsize=8)
def mel_filters(front_end: FrontEnd) -> Tensor:
    """Triangles over frequency, Tensor[n_fft / 2 + 1, bands], float32; 0 in a band too narrow to hold a bin."""
    nyquist = front_end.sample_rate / 2
    edges_mel = np.linspace(
        _to_mel(front_end.low_hz, front_end.scale),
        _to_mel(front_end.high_hz or nyquist, front_end.scale),
        front_end.bands + 2,
    )
    edges = np.array([_to_hz(mel, front_end.scale) for mel in edges_mel])
    bins = np.linspace(0, nyquist, front_end.n_fft // 2 + 1)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    sums = filters.sum(0) if front_end.norm == "sum" else (high - low) / 2
    return torch.from_numpy((filters / np.where(sums > 0, sums, 1)).astype(np.float32))


def _to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hz / 700)
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _to_hz(mel: float, scale: str) -> float:
    if scale == "htk":
        return float(700 * (10 ** (mel / 2595) - 1))
    return float(200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27))


class Cnn9(nn.Module):
    """CNN9-max: four blocks of two convolutions, mean over frequency, maximum over time.

    Parameters
    ----------
    width : channels of the first block, doubled in each that follows; 64 as published (4,686,144 parameters)
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        channels = [1, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after in pairwise(channels)
        )
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, mel: Tensor) -> Tensor:
        """Tensor[B, T, bands] in 0..1 -> Tensor[B, 8 width], 0 or more."""
        return self.activations(mel, ["embedding"])["embedding"]

    def activations(self, mel: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """What some of `LAYERS` make of Tensor[B, T, bands].

        Returns
        -------
        dict of Tensor
            Blocks, behind their pooling, Tensor[B, channels, T', bands']; the embedding Tensor[B, 8 width].

        Raises
        ------
        ValueError
            A name is none of `LAYERS`.
        """
        if unknown := [name for name in names if name not in LAYERS]:
            raise ValueError(f"no layer is called {', '.join(unknown)}: expected {', '.join(LAYERS)}")
        hidden = mel[:, None].contiguous(memory_format=torch.channels_last)
        found: dict[str, Tensor] = {}
        for name, block, pool in zip(LAYERS, self.blocks, POOLS, strict=False):
            hidden = block(hidden)
            if pool > 1:
                hidden = F.max_pool2d(hidden, pool)
            found[name] = hidden
        found["embedding"] = hidden.mean(dim=3).amax(dim=2)
        return {name: found[name] for name in names}


def fused(net: Cnn9) -> Cnn9:
    """A copy with its batch norms inside its convolutions, a fifth faster; not to be trained."""
    copied = copy.deepcopy(net).eval()
    for block in copied.blocks:
        assert isinstance(block, nn.Sequential)
        for place in (0, 3):
            convolution, norm = block[place], block[place + 1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            block[place] = fuse_conv_bn_eval(convolution, norm)
            block[place + 1] = nn.Identity()
    return copied


class Classifier(nn.Module):
    """The backbone with a head for each group of labels, as it is trained.

    Parameters
    ----------
    groups : labels of each group
    """

    def __init__(self, width: int, groups: Mapping[str, Iterable[str]]) -> None:
        super().__init__()
        self.backbone = Cnn9(width)
        self.groups = {name: tuple(labels) for name, labels in groups.items()}
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(8 * width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, len(labels))
            )
            for labels in self.groups.values()
        )

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Tensor[B, T, bands] in 0..1 -> of each group, logits Tensor[B, labels]."""
        hidden = self.backbone(mel)
        return [head(hidden) for head in self.heads]


@dataclass(frozen=True)
class Trained:
    """A classifier with the front-end it was trained on, and its card."""

    net: Classifier
    front_end: FrontEnd
    card: checkpoint.Card


def save(path: str | Path, net: Classifier, front_end: FrontEnd, training: Mapping[str, Any]) -> checkpoint.Card:
    """Write NAME.safetensors and NAME.json; raises CheckpointError as `checkpoint.save` does."""
    config = {"width": net.backbone.width, "front_end": asdict(front_end), "groups": net.groups}
    card = checkpoint.Card(backbone="cnn9", recipe="concepts", voices=(), config=config, training=dict(training))
    return checkpoint.save(path, card, net.state_dict())


def load(path: str | Path) -> Trained:
    """Read what `save` wrote.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or changed, or holds another kind of network.
    """
    card, tensors = checkpoint.load(path)
    if card.recipe != "concepts":
        raise checkpoint.CheckpointError(f"{path}: holds a network of recipe {card.recipe}, expected concepts")
    try:
        net = Classifier(card.config["width"], card.config["groups"])
        net.load_state_dict(tensors)
        front_end = FrontEnd(**card.config["front_end"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise checkpoint.CheckpointError(
            f"{path}: its tensors are not those of its card's width, groups and front_end ({error})"
        ) from error
    return Trained(net.eval(), front_end, card)
