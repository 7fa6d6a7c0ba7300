"""Maps between latents: spread evenly, or followed by a decoder that knows others."""

import torch
from torch import Tensor

from musicstar.wavenet import Decoder, DecoderLayer

# Of the mean variance of a latent: keeps maps from leaning on what hardly varies.
RIDGE = 3e-3


def whitening(latents: Tensor) -> tuple[Tensor, Tensor]:
    """What spreads latents evenly in all directions in which they differ at all: `(latents - centre) @ matrix`.

    Of all such maps the one that moves them least (Kessy, Lewin and Strimmer 2018, "ZCA").

    Parameters
    ----------
    latents : Tensor[N, C]

    Returns
    -------
    centre : Tensor[C]
    matrix : Tensor[C, C]
    """
    variance, directions = torch.linalg.eigh(torch.cov(latents.double().T))
    scales = (variance.clamp(min=0) + RIDGE * variance.mean()).rsqrt()
    return latents.mean(0), ((directions * scales) @ directions.T).to(latents)


@torch.no_grad()
def follow_other_latents(decoder: Decoder, given: Tensor, known: Tensor) -> None:
    """Let a decoder follow another encoder's latents as it follows those it was trained with.

    The affine map that predicts these from those goes into its 1x1 convolutions of latents; it is found by ridge
    regression (Hoerl and Kennard 1970).

    Parameters
    ----------
    given : Tensor[N, latent_channels], what it is to be given
    known : Tensor[N, latent_channels], what it would have been given for the same stretches of sound
    """
    given, known = given.double(), known.double()
    inputs, targets = given - given.mean(0), known - known.mean(0)
    power = inputs.T @ inputs
    ridge = RIDGE * power.diagonal().mean() * torch.eye(len(power), dtype=power.dtype, device=power.device)
    matrix = torch.linalg.solve(power + ridge, inputs.T @ targets).T
    offset = known.mean(0) - matrix @ given.mean(0)
    for module in decoder.modules():
        if isinstance(module, DecoderLayer | Decoder):
            weight = module.condition.weight[..., 0].double()
            assert module.condition.bias is not None
            module.condition.bias += (weight @ offset).to(module.condition.bias)
            module.condition.weight.copy_((weight @ matrix)[..., None])
