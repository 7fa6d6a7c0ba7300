"""What passes between a method's loss and the training loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossConfig:
    """What training asks for beside the plain distance to the gold standard.

    Attributes
    ----------
    power : weight of the distance of magnitudes to the 0.4, which strong partials decide
    salience : weight of the distance of pitch salience, which tells what is heard as the notes
    waveform : weight of the resynthesised signal's spectral distance, which teaches the phase head
    waveform_from : share of the run, 0 to 1, after which it counts
    energy_from : share of the run after which outputs are drawn and scored in pairs, so that they vary as the gold
        standard does; 1 is never
    latent_noise : standard deviation of noise on the latents
    warp_semitones : largest local pitch shift of the input
    equaliser_db : largest random equalisation of the input
    guided_until : share of the run during which a WaveNet's decoder is given the latents of a finished spectral
        autoencoder, and its encoder is taught to give the same
    guide_whitened : whether these latents are spread evenly in all directions beforehand: where nearly all they differ
        by is how loud it is, an encoder learns nothing else
    history_codes : spread of noise, in codes, on the samples that a WaveNet's decoder is given of the gold standard:
        each item's standard deviation is drawn from 0 to this, so that the decoder must listen to its latents
    adversary : weight of the reversed gradient of the domain classifier
    adversary_ramp_steps : over which that weight grows from nothing
    adversary_steps : steps of the classifier for each step of the model
    """

    power: float = 3.0
    salience: float = 0.0
    waveform: float = 0.0
    waveform_from: float = 0.0
    energy_from: float = 1.0
    latent_noise: float = 0.0
    warp_semitones: float = 0.0
    equaliser_db: float = 0.0
    guided_until: float = 0.0
    guide_whitened: bool = False
    history_codes: float = 0.0
    adversary: float = 0.0
    adversary_ramp_steps: int = 0
    adversary_steps: int = 1

    def __post_init__(self) -> None:
        if self.guide_whitened and not self.guided_until:
            raise ValueError("guide_whitened needs a guide: guided_until is 0")


@dataclass(frozen=True, eq=False)
class Step:
    """Where training stands when a loss is asked for.

    Attributes
    ----------
    index : steps done before this one
    share : of the run that is done, 0 to 1
    generator : of every random number this step draws
    config : the loss's settings
    augment : whether inputs are distorted (false in validation)
    fit_adversary : minimises a loss of the domain classifier's parameters for this batch
    guide : latents of a finished autoencoder, where there is one: sound Tensor[B, T], voices -> Tensor[B, 64, N]
    """

    index: int
    share: float
    generator: torch.Generator
    config: LossConfig
    augment: bool = True
    fit_adversary: Callable[[Callable[[], Tensor]], None] = field(default=lambda loss: None)
    guide: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def ramp(self) -> float:
        """Share of the adversary's full weight at this step, 0 to 1."""
        ramp_steps = self.config.adversary_ramp_steps
        return min(1.0, self.index / ramp_steps) if ramp_steps else 1.0


@dataclass(frozen=True, eq=False)
class Losses:
    """A loss by its terms; `total` is what is minimised."""

    total: Tensor
    terms: Mapping[str, Tensor]

    def plus(self, terms: Mapping[str, Tensor]) -> "Losses":
        """With further terms, each added to the total."""
        return Losses(sum(terms.values(), start=self.total), {**self.terms, **terms})
