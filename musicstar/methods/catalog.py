"""What the five methods are called, in words; nothing here loads a model."""

from dataclasses import dataclass
from enum import StrEnum


class Backbone(StrEnum):
    """The family of networks that stands under a method."""

    SPECTRAL = "spectral"
    WAVENET = "wavenet"


@dataclass(frozen=True)
class MethodInfo:
    """How a method is presented.

    Attributes
    ----------
    name : as on the command line and in file names
    title : as a person reads it
    summary : one sentence on how it works
    needs_stems : whether it translates two stem recordings instead of a mixture
    recipes : the trained parts it speaks with, as named in `musicstar/weights`
    """

    name: str
    title: str
    summary: str
    needs_stems: bool
    recipes: tuple[str, ...]


METHODS = {
    info.name: info
    for info in (
        MethodInfo(
            "single",
            "Single-instrument",
            "Translates each stem alone through a universal encoder and its counterpart's decoder, then adds them.",
            True,
            ("universal",),
        ),
        MethodInfo(
            "separation",
            "Separation-based",
            "Separates the mixture into its two stems first, then translates each as single-instrument does.",
            False,
            ("separation", "universal"),
        ),
        MethodInfo(
            "embedding",
            "Embedding-supervised",
            "Reads one instrument's latents straight out of the mixture, trained to match the universal encoder's.",
            False,
            ("embedding", "universal"),
        ),
        MethodInfo(
            "stem",
            "Stem-supervised",
            "Two autoencoders, each from the source mixture to one stem of the target; their outputs are added.",
            False,
            ("stem",),
        ),
        MethodInfo(
            "mixture",
            "Mixture-supervised (Music-STAR)",
            "One autoencoder straight from the source mixture to the target mixture.",
            False,
            ("mixture",),
        ),
    )
}
