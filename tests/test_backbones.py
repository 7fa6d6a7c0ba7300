"""The families of networks behind one face: what is drawn, and how it is scored."""

from collections import Counter

import pytest
import torch

from musicstar import backbones, recipes
from musicstar.backbones import SpectralModel, WaveNetModel
from musicstar.domains import DIRECTIONS, PAPER, STARNET, Voice, known_domains
from musicstar.losses import LossConfig, Step
from musicstar.methods.method import take_sources, take_turns
from musicstar.model import Part, Sampling
from musicstar.spectral import LATENT_SAMPLES, SpectralConfig

TINY = SpectralConfig(width=16, hidden=24, phase_rank=8)


@pytest.fixture(scope="module")
def model() -> SpectralModel:
    torch.manual_seed(0)
    model = SpectralModel(TINY, (Voice.CV, Voice.SP)).eval()
    torch.nn.init.normal_(model.decoder.magnitude.weight, std=0.5)
    return model


def draw(model: SpectralModel, sampling: Sampling, *, frames: int = 30, first: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 64, 30, generator=generator)[..., first : first + frames]
    cue = 0.05 * torch.randn(2, 30 * LATENT_SAMPLES, generator=generator)
    cue = cue[:, first * LATENT_SAMPLES : (first + frames) * LATENT_SAMPLES]
    with torch.inference_mode():
        voices = (Voice.CV, Voice.SP)
        parts = [Part(model, *part) for part in zip(latents, voices, cue, strict=True)]
        return torch.stack(model.decode(parts, sampling=sampling, progress=lambda share: None))


def test_a_seed_repeats_and_another_varies_as_much_as_the_temperature_says(model: SpectralModel) -> None:
    first = draw(model, Sampling(seed=1))
    assert torch.equal(draw(model, Sampling(seed=1)), first)
    still = draw(model, Sampling(seed=1, temperature=0.0))
    assert torch.equal(draw(model, Sampling(seed=2, temperature=0.0)), still)
    apart = [(draw(model, Sampling(seed=2, temperature=t)) - still).norm() for t in (0.1, 1.0)]
    assert 0 < 3 * apart[0] < apart[1]
    assert not torch.allclose(draw(model, Sampling(seed=2)), first)


def test_a_stretch_of_a_clip_varies_as_the_whole_does(model: SpectralModel) -> None:
    whole = draw(model, Sampling())
    part = draw(model, Sampling(start_samples=8 * LATENT_SAMPLES), frames=22, first=8)
    # The networks look a bounded way; past that the samples are the same.
    assert torch.allclose(part[:, 10 * LATENT_SAMPLES :], whole[:, 18 * LATENT_SAMPLES :], atol=1e-5)
    elsewhere = draw(model, Sampling(), frames=22, first=8)
    assert not torch.allclose(elsewhere[:, 10 * LATENT_SAMPLES :], whole[:, 18 * LATENT_SAMPLES :], atol=1e-5)


def test_in_pairs_outputs_that_vary_as_the_gold_score_better_than_their_mean() -> None:
    """Worked by hand on standard normals: 2 / sqrt(pi) - 1 / sqrt(pi) = 0.564 against sqrt(2 / pi) = 0.798."""
    generator = torch.Generator().manual_seed(0)
    gold, one, other = torch.randn(3, 100_000, generator=generator)

    def distance(a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"l1": (a - b).abs().mean()}

    varied = backbones._less_half(backbones._scores([distance(one, gold), distance(other, gold)]), distance(one, other))
    mean = backbones._scores([distance(torch.zeros_like(gold), gold)])
    assert varied["l1"] == pytest.approx(0.564, abs=0.01)
    assert mean["l1"] == pytest.approx(0.798, abs=0.01)


def test_energy_is_asked_for_from_its_share_on(model: SpectralModel) -> None:
    generator = torch.Generator().manual_seed(3)
    sound = 0.05 * torch.randn(3, 16_000, generator=generator)
    voices = torch.tensor([Voice.CV, Voice.SP, Voice.CV])
    config = LossConfig(waveform=0.5, waveform_from=0.5, energy_from=0.5)
    terms, moved = {}, {}
    for share in (0.4, 0.6):
        model.zero_grad()
        step = Step(0, share, torch.Generator().manual_seed(4), config)
        losses = model.reconstruction(model.encode(sound, voices), sound, sound, voices, step)
        torch.autograd.backward(losses.total)
        terms[share] = set(losses.terms)
        moved[share] = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert "decoder.noise.weight" in moved[0.6] - moved[0.4]
    assert terms[0.6] - terms[0.4] == {"waveform"}


def test_a_wavenet_hears_its_history_through_noise() -> None:
    """Only the history is noisy, not what is to be told: a decoder deaf to its history loses nothing by it."""
    torch.manual_seed(0)
    sizes = {"blocks": 1, "layers": 2, "channels": 4}
    network = {"encoder": {"kind": "glu", **sizes}, "decoder": {"skip_channels": 4, **sizes}}
    model = backbones.build("wavenet", "mixture", [Voice.CV], network)
    assert isinstance(model, WaveNetModel)
    sound = 0.05 * torch.randn(2, 1_600)
    voices = torch.tensor([Voice.CV, Voice.CV])
    latents = model.encode(sound, voices)

    def loss(history_codes: float, *, augment: bool = True) -> float:
        config = LossConfig(history_codes=history_codes)
        step = Step(0, 0.0, torch.Generator().manual_seed(1), config, augment=augment)
        return model.reconstruction(latents, sound, sound, voices, step).total.item()

    assert loss(20.0) != loss(0.0)
    assert loss(20.0, augment=False) == loss(0.0)
    torch.nn.init.zeros_(model.decoders["cv"].get_submodule("first_conv").get_parameter("weight"))
    assert loss(20.0) == loss(0.0)


def test_every_direction_is_learned_and_starnets_own_most() -> None:
    """Of what a voice of StarNet learns from, half is StarNet's other domain; with the turns of the shipped file."""
    (settings,) = recipes.runs("spectral-mixture").values()
    voices = tuple(Voice.from_label(label) for label in settings.voices)
    heard = Counter(
        (source.domain, target.domain)
        for index in range(300)
        for targets, step in [(take_turns(voices, 12, step_of(index)), step_of(index))]
        for target, source in zip(targets, take_sources(targets, known_domains(voices), step), strict=True)
    )
    assert set(heard) == {(direction.source, direction.target) for direction in DIRECTIONS}
    for direction in PAPER:
        assert heard[direction.source, direction.target] == pytest.approx(600, abs=60)
    others = [count for (source, target), count in heard.items() if target in STARNET and source not in STARNET]
    assert others == pytest.approx([300] * 4, abs=60)


def test_the_papers_methods_learn_from_the_papers_domains() -> None:
    targets = take_turns((Voice.STRINGS, Voice.CLARINET), 12, step_of(0))
    heard = take_sources(targets, known_domains((Voice.STRINGS, Voice.CLARINET)), step_of(0))
    assert heard == [Voice.CV, Voice.SP] * 6


def step_of(index: int) -> Step:
    return Step(index, 0.0, torch.Generator().manual_seed(index), LossConfig())
