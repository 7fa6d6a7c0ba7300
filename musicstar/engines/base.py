"""What an engine is: it carries decoders on, sample by sample, for any number of clips at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from musicstar.wavenet import CLASSES, Decoder, Encoder

START = CLASSES
"""Stands for the sample before the first, which enters the network as 0.0 and is none of the 256 codes."""


Stream = TypeVar("Stream")
"""One clip on its way through a decoder, whose weights must not change meanwhile; what it is, its engine knows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Ask(Generic[Stream]):
    """What a stream is asked to do next.

    Attributes
    ----------
    latents : Tensor[latent_channels] to follow from here on; None goes on with those before
    draws : Tensor[steps] in [0, 1), where to draw from each sample's distribution; None takes the likeliest code
    temperature : divides the logits before a code is drawn
    forced : Tensor[steps], codes to say whatever the network thinks
    """

    stream: Stream
    latents: Tensor | None = None
    draws: Tensor | None = None
    temperature: float = 1.0
    forced: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Said:
    """What became of it.

    Attributes
    ----------
    codes : Tensor[steps], int64 in 0..255
    logits : Tensor[steps, 256], float32; None where nobody asked
    """

    codes: Tensor
    logits: Tensor | None = None


class Engine(Protocol):
    """Carries streams on side by side; what one says does not depend on its company.

    Attributes
    ----------
    name : as `musicstar doctor` calls it
    """

    name: str

    @property
    def players(self) -> int:
        """How many threads may play at once, each its own streams."""

    @property
    def at_once(self) -> int:
        """How many streams keep it busy."""

    def stream(self, decoder: Decoder) -> Any:
        """A new clip."""

    def play(self, asks: Sequence[Ask[Any]], steps: int, *, logits: bool = False) -> list[Said]:
        """Carry streams on by `steps` samples each, in which their latents do not change; by the calling thread.

        Raises
        ------
        MemoryError
            There is no room for so many; nobody knows how far they came.
        """

    def encode(self, encoder: Encoder, blocks: Iterable[Tensor]) -> Tensor:
        """One clip to latents, Tensor[latent_channels, T // pool]; its codes Tensor[T] come in blocks of any size.

        Raises
        ------
        ValueError
            T is less than `pool`.
        """
