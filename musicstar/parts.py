"""What a method's loss looks at while its own network is in training."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from musicstar import backbones, checkpoint
from musicstar.domains import Domain, Voice
from musicstar.latents import whitening
from musicstar.methods.catalog import Backbone
from musicstar.model import Model

# In spreads. Latents of near silence lie far outside, and would be most of what an encoder is taught.
GUIDED_WITHIN = 4.0


class TrainingParts:
    """The network in training, and the finished ones its loss looks at."""

    def __init__(
        self, recipe: str, net: nn.Module, library: checkpoint.Library, device: torch.device, *, universal: str = ""
    ) -> None:
        self.recipe, self.net, self.library, self.device = recipe, net, library, device
        self.universal = universal  # The sha256 of the finished weights of that recipe, or any.
        self.finished: dict[Path, nn.Module] = {}
        self.backbone = Backbone.WAVENET if isinstance(net, backbones.WaveNetModel) else Backbone.SPECTRAL

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """The model in training for its own recipe, finished weights for any other."""
        if recipe == self.recipe:
            assert isinstance(self.net, Model)
            return self.net
        path = self._path(recipe, voice)
        if path not in self.finished:
            self.finished[path] = backbones.load(path).to(self.device)
        model = self.finished[path]
        assert isinstance(model, Model)
        return model

    def guide(
        self, voice: Voice, *, whitened_on: Iterable[tuple[Tensor, Tensor]] = ()
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Standardised latents, within `GUIDED_WITHIN`, of the finished spectral autoencoder of this recipe.

        Whitened in addition where there are sounds Tensor[B, T], with voices, to learn that from.
        """
        teacher = backbones.load(self._path(self.recipe, voice, backbone=Backbone.SPECTRAL)).to(self.device)
        assert isinstance(teacher, Model)

        @torch.no_grad()
        def standardised(sound: Tensor, voices: Tensor) -> Tensor:
            return teacher.standardised(sound, voices).clamp(-GUIDED_WITHIN, GUIDED_WITHIN)

        known = [standardised(*pair).transpose(1, 2).flatten(0, 1) for pair in whitened_on]
        if not known:
            return standardised
        centre, matrix = whitening(torch.cat(known))

        def whitened(sound: Tensor, voices: Tensor) -> Tensor:
            # Whitening would bring forward what 16 bits lose.
            with torch.autocast(sound.device.type, enabled=False):
                latents = standardised(sound, voices).transpose(1, 2)
                return ((latents - centre) @ matrix).clamp(-GUIDED_WITHIN, GUIDED_WITHIN).transpose(1, 2)

        return whitened

    def partner(self, recipe: str, voice: Voice) -> Model:
        """The universal autoencoder there is; the encoder in training becomes bound to it."""
        return self.autoencoder("universal", voice)

    def separator(self, domain: Domain) -> nn.Module:
        """The separator in training."""
        return self.net

    def sha256(self, recipe: str, voice: Voice) -> str:
        """Which finished weights `autoencoder` gives."""
        return checkpoint.Card.read(self._path(recipe, voice).with_suffix(".json")).sha256

    def _path(self, recipe: str, voice: Voice, *, backbone: Backbone | None = None) -> Path:
        backbone = backbone or self.backbone
        sha256 = self.universal if recipe == "universal" else ""
        path = self.library.find(backbone, recipe, voice.label, sha256=sha256)
        if path is None and sha256:
            raise checkpoint.CheckpointError(
                f"this training of {self.recipe} was begun with {backbone} weights of universal that are there no more "
                f"({sha256[:12]}): begin it anew"
            )
        if path is None:
            raise checkpoint.CheckpointError(
                f"training {self.recipe} needs {backbone} weights of {recipe} for {voice.label}, "
                f"and there are none in {', '.join(map(str, self.library.folders))}: train {recipe} first"
            )
        return path
