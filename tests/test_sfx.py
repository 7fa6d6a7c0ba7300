"""The backbone's sizes and layers as published, and its front-end beside computations of others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from torchaudio.functional import melscale_fbanks

from musicstar import checkpoint
from musicstar.concepts import sfx
from musicstar.concepts.sfx import LAYERS, Classifier, Cnn9, FrontEnd

# Of a published VGG: 16 kHz, windows of 3 s.
OTHER = FrontEnd(sample_rate=16_000, n_fft=512, hop=256, scale="slaney", norm="area", patch=187, patch_hop=187)


def sine(frequency_hz: float, *, seconds: float, sample_rate: int = 44_100, amplitude: float = 1.0) -> np.ndarray:
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def test_the_network_has_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in Cnn9().parameters()) == 4_686_144
    net = Cnn9(4)
    assert net(torch.rand(2, 100, 96)).shape == (2, 32)


def test_every_block_can_be_looked_at_by_name() -> None:
    net = Cnn9(4).eval()
    mel = torch.rand(2, 100, 96)
    with torch.no_grad():
        found = net.activations(mel, LAYERS)
        embedding = net(mel)
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {
        "block1": (2, 4, 50, 48),
        "block2": (2, 8, 25, 24),
        "block3": (2, 16, 12, 12),
        "block4": (2, 32, 12, 12),
        "embedding": (2, 32),
    }
    assert torch.equal(found["embedding"], embedding)
    # Mean over frequency, then maximum over time.
    by_hand = found["block4"].numpy().mean(axis=3).max(axis=2)
    np.testing.assert_allclose(embedding.numpy(), by_hand, rtol=1e-5)
    assert list(net.activations(mel, ["block2"])) == ["block2"]
    with pytest.raises(ValueError, match="no layer is called pool5: expected block1"):
        net.activations(mel, ["pool5"])


@pytest.mark.parametrize("front_end", [FrontEnd(), OTHER])
def test_the_filters_are_those_of_torchaudio(front_end: FrontEnd) -> None:
    theirs = melscale_fbanks(
        front_end.n_fft // 2 + 1,
        0.0,
        front_end.sample_rate / 2,
        96,
        front_end.sample_rate,
        norm="slaney" if front_end.norm == "area" else None,
        mel_scale=front_end.scale,
    )
    if front_end.norm == "sum":
        theirs = theirs / theirs.sum(0)
    torch.testing.assert_close(sfx.mel_filters(front_end), theirs, rtol=1e-3, atol=1e-5)


def test_filters_sum_to_one() -> None:
    torch.testing.assert_close(sfx.mel_filters(FrontEnd()).sum(0), torch.ones(96))


def test_the_front_end_is_the_formula() -> None:
    front_end = FrontEnd(level_rms=None)
    wav = sine(440, seconds=3, amplitude=0.3) + sine(3000, seconds=3, amplitude=0.02)
    _, _, spectra = scipy.signal.stft(
        wav, window="hann", nperseg=2048, noverlap=1024, boundary=None, padded=False, scaling="spectrum"
    )
    # SciPy halves a sine's amplitude between the two sides of its spectrum.
    power = (2 * np.abs(spectra.T)) ** 2
    filters = melscale_fbanks(1025, 0.0, 22_050.0, 96, 44_100, mel_scale="htk").numpy()
    expected = np.log10(1e4 * power @ (filters / filters.sum(0)) + 1) / np.log10(1e4 + 1)
    found = front_end.log_mel(wav).numpy()
    assert found.shape == expected.shape == (1 + (3 * 44_100 - 2048) // 1024, 96)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_tone_is_in_its_band_and_values_are_between_0_and_1() -> None:
    mel = FrontEnd().log_mel(sine(1000, seconds=3))
    # HTK: 1000 Hz is 1000 mel; bands lie 3923.3 / 97 mel apart, the first centred on one such step.
    assert int(mel.mean(0).argmax()) == round(1000 / (3923.3 / 97)) - 1
    loud = FrontEnd(level_rms=None).log_mel(sine(1000, seconds=3, amplitude=1000.0))
    assert loud.max() == 1
    assert loud.min() >= 0


def test_loudness_does_not_matter_unless_it_is_asked_for() -> None:
    wav = sine(440, seconds=3, amplitude=0.5)
    torch.testing.assert_close(FrontEnd().log_mel(wav), FrontEnd().log_mel(wav * np.float32(0.01)), atol=1e-5, rtol=0)
    plain = FrontEnd(level_rms=None)
    assert plain.log_mel(wav).max() > plain.log_mel(wav * np.float32(0.01)).max() + 0.2
    assert torch.equal(FrontEnd().log_mel(np.zeros(200_000, dtype=np.float32)).max(), torch.tensor(0.0))


def test_windows_lie_half_over_each_other_and_reach_the_end() -> None:
    front_end = FrontEnd()
    assert front_end.starts(100) == [0]
    assert front_end.starts(125) == [0]
    assert front_end.starts(126) == [0, 26]
    assert front_end.starts(171) == [0, 50]
    assert front_end.starts(250) == [0, 50, 100, 150]
    assert front_end.window_s == pytest.approx(2.345, abs=1e-3)
    assert front_end.hop_s == pytest.approx(1.161, abs=1e-3)
    wav = sine(440, seconds=4)
    mel, windows = front_end.log_mel(wav), front_end.windows(wav)
    assert torch.equal(windows, torch.stack([mel[:100], mel[50:150]]))
    assert OTHER.window_s == pytest.approx(3.0, abs=0.02)
    assert OTHER.windows(sine(440, seconds=9.5, sample_rate=16_000)).shape == (3, 187, 96)


def test_a_short_clip_is_heard_again_and_again() -> None:
    front_end, short = FrontEnd(), sine(440, seconds=0.5)
    repeated = np.tile(short, 5)[: front_end.window_samples]
    assert torch.equal(front_end.windows(short), front_end.windows(repeated))
    assert front_end.windows(short).shape == (1, 100, 96)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Classifier(4, {"program": ("violin", "piano"), "texture.kind": ("alberti", "block", "none")})
    mel = torch.rand(3, 100, 96)
    net(mel)
    card = sfx.save(tmp_path / "net", net, OTHER, {"steps": 2})
    assert (card.recipe, card.backbone, card.training) == ("concepts", "cnn9", {"steps": 2})
    trained = sfx.load(tmp_path / "net.safetensors")
    assert trained.front_end == OTHER
    assert trained.net.groups == net.groups
    with torch.no_grad():
        for found, expected in zip(trained.net(mel), net.eval()(mel), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_fused_network_gives_the_same() -> None:
    net = Cnn9(4)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
            torch.nn.init.uniform_(norm.weight, 0.5, 2)
            torch.nn.init.uniform_(norm.bias, -1, 1)
    mel = torch.rand(8, 100, 96)
    net(mel)
    fused = sfx.fused(net)
    assert sum(parameter.numel() for parameter in fused.parameters()) < sum(p.numel() for p in net.parameters())
    with torch.no_grad():
        expected = net.eval()(mel)
        torch.testing.assert_close(fused(mel), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(dim=0).max() > 1e-2


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    other = checkpoint.Card(backbone="wavenet", recipe="stem", voices=("strings",), config={})
    checkpoint.save(tmp_path / "other", other, {})
    with pytest.raises(checkpoint.CheckpointError, match="recipe stem, expected concepts"):
        sfx.load(tmp_path / "other")
    card = sfx.save(tmp_path / "net", Classifier(2, {"a": ("b", "c")}), FrontEnd(), {})
    changed = replace(card, config=card.config | {"width": 3})
    (tmp_path / "net.json").write_text(json.dumps(changed.__dict__))
    with pytest.raises(checkpoint.CheckpointError, match="not those of its card"):
        sfx.load(tmp_path / "net")
