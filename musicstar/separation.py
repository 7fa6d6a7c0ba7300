"""Waveform source separation by Demucs (Defossez et al. 2019), one model for the two stems of a domain."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from musicstar.audio import LEVEL_RMS, SAMPLE_RATE
from musicstar.domains import Voice


@dataclass(frozen=True)
class DemucsConfig:
    """Sizes of the demucs package's `Demucs`: channels of the first layer, and layers."""

    channels: int = 24
    depth: int = 5


class Separator(nn.Module):
    """Splits a domain's mixture into its stems.

    Parameters
    ----------
    voices : the stems it yields, in order
    """

    def __init__(self, config: DemucsConfig, voices: Sequence[Voice]) -> None:
        # The demucs package is needed by nothing else, and takes seconds to import.
        from demucs.demucs import Demucs

        super().__init__()
        self.config = config
        self.voices = tuple(voices)
        self.net = Demucs(
            [voice.label for voice in voices],
            audio_channels=1,
            samplerate=SAMPLE_RATE,
            # Its own normalisation looks at the whole input, so that a clip in pieces would change level at the seams.
            normalize=False,
            **asdict(config),
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Tensor[B, T] with an RMS near 0.05 -> Tensor[B, voices, T]."""
        length = mixture.shape[-1]
        padded = F.pad(mixture / LEVEL_RMS, (0, self.net.valid_length(length) - length))
        stems: Tensor = self.net(padded[:, None])[:, :, 0, :length]
        return stems * LEVEL_RMS
