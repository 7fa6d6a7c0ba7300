"""Training runs as the files of `musicstar/configs` describe them."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from musicstar import config
from musicstar.domains import STEMS, Domain, stems_of
from musicstar.losses import LossConfig

# All shipped parts, in an order in which each finds what it builds on.
EVERYTHING = (
    "guess-domain",
    "style-triplet",
    "style-judge",
    "spectral-mixture",
    "spectral-universal",
    "spectral-decoders",
    "separation-cv",
    "separation-sp",
    "spectral-embedding",
    "spectral-stem",
    "wavenet-small-mixture",
    "wavenet-small-stem",
    "wavenet-small-universal",
    "wavenet-small-decoders",
    "wavenet-small-embedding",
)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate over the steps.

    Attributes
    ----------
    schedule : "cosine" falls to 2 % at the last step; "exponential" multiplies by `decay` every `epoch_steps`
    """

    learning_rate: float
    betas: tuple[float, ...] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 150
    schedule: Literal["cosine", "exponential"] = "cosine"
    decay: float = 1.0
    epoch_steps: int = 1000
    clip_norm: float = 2.0
    adversary_learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or self.epoch_steps < 1:
            raise ValueError("the optimizer has two betas, and epochs of 1 step or more")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step out of `steps`."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.schedule == "cosine":
            return self.learning_rate * warm * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
        return self.learning_rate * warm * float(self.decay ** (step // self.epoch_steps))


@dataclass(frozen=True)
class TrainConfig:
    """A training run, as a file of `musicstar/configs` describes it.

    Attributes
    ----------
    recipe : which part it trains; the method of that part knows its loss
    voices : labels of what the model is for, see `checkpoint.Card`; one named twice is trained twice as often,
        one whose domain the set has not is left out
    steps : at which the learning rate's schedule ends
    balance_db : largest random change of the accompaniment's level
    network : sizes, as the backbone's own configuration class knows them
    freeze : submodules that are not trained, such as "encoder"
    begin_with : another configuration whose trained weights are the start; empty for random weights
    begin_parts : the submodules that start with them, such as "encoder"; empty for all
    decoders_from : another configuration, of a WaveNet for each voice, whose decoders are the start and are brought to
        follow this network's latents; for the universal recipe
    separate_voices : whether each voice gets a run and a model of its own
    budget_share : of a budget over several runs, relative to the others
    """

    backbone: Literal["spectral", "wavenet", "demucs"]
    recipe: Literal["universal", "separation", "embedding", "stem", "mixture", "guess", "style", "judge"]
    voices: tuple[str, ...]
    steps: int
    optimizer: OptimizerConfig
    network: dict  # type: ignore[type-arg]
    loss: LossConfig = LossConfig()
    seed: int = 0
    batch_size: int = 12
    window_samples: int = 32_000
    balance_db: float = 7.0
    autocast: bool = True
    save_minutes: float = 3.0
    freeze: tuple[str, ...] = ()
    begin_with: str = ""
    begin_parts: tuple[str, ...] = ()
    decoders_from: str = ""
    separate_voices: bool = False
    budget_share: float = 1.0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.window_samples) < 1:
            raise ValueError("steps, batch_size and window_samples are 1 or more")
        if not self.budget_share > 0:
            raise ValueError(f"budget_share is {self.budget_share}, expected above 0")
        if not self.voices:
            raise ValueError("voices names nothing to train for")
        instruments = [voice.label for voice in stems_of(tuple(Domain))]
        if self.recipe in ("universal", "embedding", "stem") and not set(self.voices) <= set(instruments):
            raise ValueError(f"{self.recipe} is for single instruments, of {', '.join(instruments)}")
        if self.recipe == "mixture" and not set(self.voices) <= set(Domain):
            raise ValueError(f"mixture is for pairs of instruments, of {', '.join(Domain)}")
        if self.recipe == "universal" and self.loss.adversary and not set(self.voices) <= {one.label for one in STEMS}:
            raise ValueError(f"loss.adversary tells {', '.join(one.label for one in STEMS)} apart, and no others")
        if self.begin_parts and not self.begin_with:
            raise ValueError(f"begin_parts names {', '.join(self.begin_parts)}, and begin_with says not of what")
        if self.decoders_from and (self.backbone, self.recipe) != ("wavenet", "universal"):
            raise ValueError(f"decoders_from is for universal WaveNets, not for {self.backbone} {self.recipe}")


def runs(name: str) -> dict[str, TrainConfig]:
    """The runs a configuration stands for, by name: one, or one for each voice."""
    settings = config.parse(TrainConfig, config.load_table(name), where=name)
    stem = Path(name).stem
    if not settings.separate_voices:
        return {stem: settings}
    return {f"{stem}-{voice}": replace(settings, voices=(voice,)) for voice in settings.voices}
