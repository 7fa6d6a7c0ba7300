"""The paper's networks: their sizes, what they can see, and small ones worked by hand."""

import pytest
import torch
from torch import nn

from musicstar import backbones, config
from musicstar.audio import mulaw_encode
from musicstar.domains import Voice
from musicstar.wavenet import (
    Decoder,
    DecoderConfig,
    DomainClassifier,
    Encoder,
    EncoderConfig,
    Kind,
    scale,
    shift_stretches,
)


def set_weights(module: nn.Module, values: dict[str, list[float] | float]) -> None:
    """Zero all weights except these, in the order of the tensor or one number for all."""
    state = module.state_dict()
    for name, tensor in state.items():
        tensor.copy_(torch.tensor(values.get(name, 0.0)).expand(tensor.numel()).view_as(tensor))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel + outputs


def shipped(name: str) -> backbones.WaveNetModel:
    """The networks of a shipped configuration, on no device: only their shapes."""
    table = config.load_table(name)
    with torch.device("meta"):
        net = backbones.build("wavenet", table["recipe"], [Voice.SP], table["network"])
    assert isinstance(net, backbones.WaveNetModel)
    return net


def test_the_paper_s_configurations_have_the_paper_s_sizes() -> None:
    universal, glu = shipped("wavenet-universal"), shipped("wavenet-mixture")
    ends = conv(1, 128, 3) + conv(128, 64, 1)
    layer = conv(128, 128, 3)
    assert count(universal.encoder) == ends + 3 * 10 * (layer + conv(128, 128, 1))
    assert count(glu.encoder) == ends + 4 * 14 * (layer + conv(128, 256, 1))
    layer = conv(128, 256, 2) + conv(64, 256, 1) + 2 * conv(128, 128, 1)
    ends = conv(1, 128, 2) + 2 * conv(128, 128, 1) + conv(64, 128, 1) + conv(128, 256, 1)
    for net in (universal, glu):
        assert count(net.decoders) == ends + 4 * 10 * layer
        assert net.config.decoder.dilations[:10] == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@pytest.mark.parametrize("name", [name for name in config.names() if name.startswith("wavenet-")])
def test_each_configuration_fits_together(name: str) -> None:
    net = shipped(name)
    assert (net.config.decoder.latent_channels, net.config.decoder.pool) == (64, 800)
    assert (net.config.encoder.latent_channels, net.config.encoder.pool) == (64, 800)
    blocks, channels = (1, 64) if "small" in name else (4, 128)
    assert (net.config.decoder.blocks, net.config.decoder.channels) == (blocks, channels)


@pytest.mark.parametrize("kind", ["universal", "glu"])
def test_a_fresh_encoder_tells_one_tone_from_another(kind: Kind) -> None:
    """At the level of music; with the usual random weights they are 0.01 apart and training hardly begins."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(kind=kind, blocks=1, layers=10, channels=64))
    times = torch.arange(8_000) / 16_000
    tones = torch.stack([0.07 * torch.sin(2 * torch.pi * hertz * times) for hertz in (262.0, 1047.0)])
    with torch.no_grad():
        low, high = encoder(mulaw_encode(tones))[..., 3:7]
    assert (low - high).pow(2).mean().sqrt() > 0.2


@pytest.mark.parametrize(("kind", "expected"), [("universal", 1.0), ("glu", 0.5)])
def test_an_encoder_layer_worked_by_hand(kind: Kind, expected: float) -> None:
    """One channel, one layer: x + 2 relu(-x) is |x|; as the half of a GLU whose gate is 1/2, x + relu(-x)."""
    encoder = Encoder(EncoderConfig(kind=kind, blocks=1, layers=1, channels=1, latent_channels=1, pool=4))
    weights: dict[str, list[float] | float] = {"layers.0.dilated.weight": [0, -1, 0], "last_conv.weight": 10}
    weights |= {
        "first_conv.weight": [0, 1, 0],
        "layers.0.pointwise.weight": [2] if kind == "universal" else [2, 0],
    }
    set_weights(encoder, weights)
    with torch.no_grad():
        latents = encoder(torch.tensor([[0, 0, 255, 255, 255, 255, 255, 255, 0]]))
    # Two samples of -0.5 and two of 0.5, then four of 0.5; the ninth is no whole frame.
    first = 10 * (2 * (-0.5 + 2 * expected * 0.5) + 2 * 0.5) / 4
    assert latents.tolist() == [[[pytest.approx(first), pytest.approx(5.0)]]]


def test_an_encoder_sees_as_far_back_as_ahead() -> None:
    config = EncoderConfig(kind="universal", blocks=2, layers=3, channels=1, latent_channels=1, pool=1)
    encoder = Encoder(config)
    set_weights(encoder, {name: 1.0 for name in encoder.state_dict() if name.endswith("weight")})
    codes = torch.full((1, 61), 128)
    pressed = codes.clone()
    pressed[0, 30] = 255
    with torch.no_grad():
        touched = (encoder(codes) != encoder(pressed)).any(1)[0].nonzero().flatten().tolist()
    reach = 1 + 2 * (1 + 2 + 4)
    assert touched == list(range(30 - reach, 30 + reach + 1))


def test_a_decoder_worked_by_hand() -> None:
    """A gate of 1/2 on a signal of 1, times a skip of 4, is 2; less 1, plus the latent, is cut at 0."""
    config = DecoderConfig(blocks=1, layers=1, channels=1, skip_channels=1, latent_channels=1, pool=3)
    decoder = Decoder(config)
    ones: dict[str, list[float] | float] = {f"{name}.weight": 1.0 for name in ("fc", "condition", "logits")}
    set_weights(decoder, ones | {"layers.0.causal.bias": [0, 100], "layers.0.skip.weight": 4, "fc.bias": -1})
    with torch.no_grad():
        logits = decoder(torch.zeros(1, 5, dtype=torch.int64), torch.tensor([[[2.0, -5.0]]]))
    assert logits.shape == (1, 256, 5)
    assert (logits == torch.tensor([3.0, 3.0, 3.0, 0.0, 0.0])).all()


def test_a_decoder_sees_the_4094_samples_before_and_nothing_after() -> None:
    config = DecoderConfig(blocks=4, layers=10, channels=1, skip_channels=1, latent_channels=1)
    decoder = Decoder(config)
    # Each layer takes off half the tangent of twice its past: silence stays, the longest way loses little.
    weights: dict[str, list[float] | float] = {name: 1.0 for name in decoder.state_dict() if "weight" in name}
    for i in range(40):
        weights |= {f"layers.{i}.causal.weight": [0, 0, 2, 0], f"layers.{i}.residual.weight": -1}
    # No rectifier is to hide anything.
    set_weights(decoder, weights | {"skip_conv.bias": 50})
    codes = torch.full((1, 4200), 128)
    pressed = codes.clone()
    pressed[0, 50] = 255
    latents = torch.zeros(1, 1, 6)
    with torch.no_grad():
        touched = (decoder(codes, latents) != decoder(pressed, latents)).any(1)[0].nonzero().flatten().tolist()
    assert (touched[0], touched[-1]) == (51, 50 + 4094)


def test_codes_enter_within_half_of_full_scale() -> None:
    assert scale(torch.tensor([0, 51, 255])).tolist() == pytest.approx([-0.5, -0.3, 0.5])


def test_a_domain_classifier_averages_over_time() -> None:
    torch.manual_seed(0)
    classifier = DomainClassifier(64, 4)
    assert count(classifier) == conv(64, 100, 1) + 2 * conv(100, 100, 1) + conv(100, 4, 1)
    latents = torch.randn(3, 64, 20)
    assert not torch.equal(classifier(latents), classifier(latents))
    still = DomainClassifier(64, 4, dropout=0)
    assert torch.equal(still(latents), still(latents))
    classifier.eval()
    logits = classifier(latents)
    assert logits.shape == (3, 4)
    frames = torch.stack([classifier(latents[..., i : i + 1]) for i in range(20)])
    torch.testing.assert_close(logits, frames.mean(0))


def test_what_does_not_fit_is_refused() -> None:
    encoder = Encoder(EncoderConfig(kind="universal", blocks=1, layers=1, channels=2, pool=10))
    sizes = {"blocks": 1, "layers": 1, "channels": 2, "skip_channels": 2}
    decoder = Decoder(DecoderConfig(**sizes, pool=10))
    with pytest.raises(ValueError, match="T at least 10"):
        encoder(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="0 < T <= 10 N"):
        decoder(torch.zeros(1, 21, dtype=torch.int64), torch.zeros(1, 64, 2))
    with pytest.raises(ValueError, match=r"DecoderConfig\.layers is 0"):
        DecoderConfig(**sizes | {"layers": 0})
    with pytest.raises(ValueError, match="expected 'universal' or 'glu'"):
        EncoderConfig(kind="tanh", blocks=1, layers=1, channels=1)  # type: ignore[arg-type]


def test_a_bent_stretch_keeps_its_length_and_its_surroundings() -> None:
    wav = torch.sin(torch.arange(16_000) * 2 * torch.pi * 440 / 16_000).expand(8, -1)
    bent = shift_stretches(wav, semitones=0.5, generator=torch.Generator().manual_seed(0))
    assert bent.shape == wav.shape
    for signal, original in zip(bent, wav, strict=True):
        changed = ((signal - original).abs() > 1e-3).nonzero().flatten()
        assert 0.1 * 16_000 < changed[-1] - changed[0] <= 0.5 * 16_000
        assert (signal.diff().abs() <= original.diff().abs().max() * 1.04).all()
