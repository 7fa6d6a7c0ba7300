"""The judges of style: MFCCs, triplets, domains, and what is said of a clip."""

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor, nn

from musicstar import audio, spectral
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.checkpoint import Library
from musicstar.domains import Domain, Voice
from musicstar.evaluation import judges as judging
from musicstar.evaluation import style
from musicstar.evaluation.judges import Judges, OtherGolds, fit, frechet_distance, stretches
from musicstar.evaluation.style import (
    DomainJudge,
    JudgeConfig,
    JudgeTraining,
    StyleConfig,
    StyleNet,
    StyleTraining,
    triplet_similarities,
)
from musicstar.losses import LossConfig, Step
from musicstar.starnet import Windows

MIXTURES = tuple(domain.mixture for domain in Domain)


def step(*, augment: bool = True) -> Step:
    return Step(0, 0.0, torch.Generator().manual_seed(0), LossConfig(), augment=augment)


def fresh() -> Judges:
    """Networks whose weights are random, the same each time."""
    torch.manual_seed(0)
    return Judges(StyleNet(StyleConfig(channels=16)), DomainJudge(JudgeConfig(bands=40, channels=(8, 8)), MIXTURES))


def noise(seconds: float, seed: int = 0) -> Clip:
    """Noise below 5 kHz that swells twice a second."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(round(seconds * SAMPLE_RATE)))
    spectrum[round(5_000 * seconds) :] = 0
    wav = np.fft.irfft(spectrum, round(seconds * SAMPLE_RATE))
    swell = 0.6 + 0.4 * np.sin(4 * np.pi * np.arange(len(wav)) / SAMPLE_RATE)
    return Clip((0.05 * wav * swell / wav.std()).astype(np.float32))


def alternating(batch: int, seconds: float) -> Windows:
    """Windows in whose first domain tones are steady and in whose second they are struck four times a second."""
    times = torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitches = 220 * 2 ** (torch.rand(batch, 1, generator=torch.Generator().manual_seed(3)) * 2)
    tones = 0.07 * sum(torch.sin(2 * torch.pi * order * pitches * times) / order for order in (1, 2, 3))
    assert isinstance(tones, Tensor)
    heard = torch.zeros(batch, len(Voice), len(times))
    heard[:, Voice.CV] = tones
    heard[:, Voice.SP] = tones * torch.exp(-12 * (times % 0.25))
    return Windows(heard, heard)


def test_mfccs_are_those_of_the_textbook() -> None:
    """Spectra by numpy, mel bands by hand from the filters, the cosine transform by scipy."""
    wav = noise(1.0).wav
    found = style.mfcc(torch.from_numpy(wav)[None])[0].numpy()
    assert found.shape == (12, 32)
    padded = np.pad(wav.astype(np.float64), 1024)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    power = np.stack([np.abs(np.fft.rfft(hann * padded[500 * i : 500 * i + 2048])) ** 2 for i in range(32)], axis=1)
    filters = spectral.mel_filters(torch.device("cpu"), mels=128).double().numpy()
    highest = np.array([np.flatnonzero(row).max() for row in filters]) * SAMPLE_RATE / 2048
    mel = filters[highest < 7_200] @ power
    assert 115 < len(mel) < 128
    level_db = 10 * np.log10(np.maximum(mel, mel.max() * 1e-8))
    expected = scipy.fft.dct(level_db, type=2, norm="ortho", axis=0)[1:13]
    assert np.allclose(found, expected, atol=0.02)


def test_mfccs_know_no_level() -> None:
    wav = torch.from_numpy(noise(1.0).wav)[None]
    assert torch.allclose(style.mfcc(wav), style.mfcc(0.01 * wav), atol=0.01)
    assert torch.allclose(style.mfcc(0 * wav), torch.zeros(12, 32), atol=1e-3)


def test_the_network_is_the_published_one() -> None:
    """Four blocks of 64 filters of lengths 4, 4, 4, 2: 12 * 4 * 64 weights, twice 64 * 4 * 64, and 64 * 2 * 64."""
    net = StyleNet(StyleConfig())
    convolutions = [layer for layer in net.layers if isinstance(layer, nn.Conv1d)]
    assert [layer.kernel_size[0] for layer in convolutions] == [4, 4, 4, 2]
    assert sum(p.numel() for p in net.parameters()) == 3_072 + 2 * 16_384 + 8_192 + 4 * 64 + 4 * 128
    embeddings = net.eval()(0.05 * torch.randn(2, style.SEGMENT_SAMPLES, generator=torch.Generator().manual_seed(0)))
    assert embeddings.shape == (2, 64)
    assert embeddings.min() >= 0


def test_triplets_worked_by_hand() -> None:
    """Piece 0 is (1, 0) and (0, 2), piece 1 is (3, 4) and (0, 1): lengths do not count."""
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [0.0, 1.0]]])
    positive, negative = triplet_similarities(embeddings)
    assert torch.allclose(positive, torch.tensor([[[0.6], [1.0]], [[0.6], [1.0]]]))
    assert torch.allclose(negative, torch.tensor([[[0.0], [0.0]], [[0.8], [0.8]]]))


def test_each_other_domain_gives_a_negative() -> None:
    embeddings = torch.eye(3)[None].repeat(2, 1, 1)
    embeddings[0, 2] = torch.tensor([1.0, 0.0, 0.0])
    positive, negative = triplet_similarities(embeddings)
    assert positive.shape == negative.shape == (2, 3, 2)
    assert negative[0].tolist() == [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert positive[:, :, 0].tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]


class Told(nn.Module):
    """Gives the embeddings it was told."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, wav: Tensor) -> Tensor:
        return self.embeddings.flatten(0, 1)


def test_the_hinge_worked_by_hand() -> None:
    """Of the four triplets above two are far enough apart; 0.1 + 0.8 - 0.6 is 0.3, 0.1 + 0.8 - 1 nothing."""
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [0.0, 1.0]]])
    windows = Windows(torch.zeros(2, len(Voice), 8), torch.zeros(2, len(Voice), 8))
    training = StyleTraining(Told(embeddings))  # type: ignore[arg-type]
    losses = training.loss(windows, (Voice.CV, Voice.SP), step())
    assert losses.total.item() == pytest.approx(0.3 / 4)
    assert losses.terms["accuracy"].item() == 0.75


def test_triplets_teach_timbre() -> None:
    torch.manual_seed(0)
    net = StyleNet(StyleConfig(channels=16))
    training, batch = StyleTraining(net), alternating(4, 4.0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    first = training.loss(batch, (Voice.CV, Voice.SP), step()).total.item()
    for _ in range(12):
        optimizer.zero_grad()
        losses = training.loss(batch, (Voice.CV, Voice.SP), step())
        torch.autograd.backward(losses.total)
        optimizer.step()
    assert losses.total.item() < first / 2
    assert losses.terms["accuracy"] == 1


def test_the_classifier_learns_its_domains() -> None:
    torch.manual_seed(0)
    judge = DomainJudge(JudgeConfig(bands=32, channels=(8, 16)), (Voice.CV, Voice.SP))
    training, batch = JudgeTraining(judge), alternating(4, 1.0)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        losses = training.loss(batch, (Voice.CV, Voice.SP), step())
        torch.autograd.backward(losses.total)
        optimizer.step()
    judge.eval()
    unspoilt = training.loss(batch, (Voice.SP, Voice.CV), step(augment=False))
    assert unspoilt.terms["accuracy"] == 1
    assert judge(batch.heard[:, Voice.SP]).argmax(dim=1).tolist() == [1] * 4


def test_a_classifier_for_any_number_of_domains() -> None:
    judge = DomainJudge(JudgeConfig(bands=32, channels=(4,)), MIXTURES).eval()
    assert judge.domains == tuple(Domain)
    assert judge(0.05 * torch.ones(3, 16_000)).shape == (3, len(Domain))


def test_what_is_spoilt_follows_from_the_generator() -> None:
    judge = DomainJudge(JudgeConfig(bands=32, channels=(4,)), MIXTURES).eval()
    wav = torch.from_numpy(noise(1.0).wav)[None]
    spoilt = [judge.embed(wav, spoilt=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(spoilt[0], spoilt[1])
    assert not torch.allclose(spoilt[0], spoilt[2])
    assert torch.equal(judge.embed(wav), judge.embed(wav))


@pytest.mark.parametrize(("seconds", "starts_s"), [(8, [0]), (10, [0, 2]), (17, [0, 4.5, 9])])
def test_stretches_are_whole_and_cover_a_clip(seconds: int, starts_s: list[float]) -> None:
    clip = noise(seconds)
    found = stretches(clip, 8 * SAMPLE_RATE).numpy()
    scale = 0.05 / np.sqrt(np.mean(clip.wav**2))
    for row, start_s in zip(found, starts_s, strict=True):
        start = round(start_s * SAMPLE_RATE)
        assert np.allclose(row, scale * clip.wav[start : start + 8 * SAMPLE_RATE], atol=1e-6)


def test_a_short_clip_is_repeated() -> None:
    clip = noise(3.0)
    (row,) = stretches(clip, 8 * SAMPLE_RATE).numpy()
    assert np.array_equal(row[:48_000], row[48_000:96_000])
    assert np.array_equal(row[:32_000], row[96_000:])


def test_gain_and_sample_rate_do_not_count() -> None:
    judges, clip = fresh(), noise(9.0)
    for other in (clip.amplified(-30), clip.resampled(44_100), clip.resampled(48_000)):
        assert judges.embed(other) @ judges.embed(clip) == pytest.approx(1, abs=1e-4)
        assert frechet_distance(judges.frames(other), judges.frames(clip)) == pytest.approx(0, abs=1e-3)
        for domain in Domain:
            expected = judges.target_probability(clip, domain)
            assert judges.target_probability(other, domain) == pytest.approx(expected, abs=2e-3)


def test_probabilities_of_all_domains_are_one() -> None:
    judges, clip = fresh(), noise(5.0)
    assert sum(judges.target_probability(clip, domain) for domain in Domain) == pytest.approx(1)


def test_fewer_domains_share_what_the_others_had() -> None:
    judges, clip = fresh(), noise(4.0)
    cv, sp = (judges.target_probability(clip, domain) for domain in (Domain.CV, Domain.SP))
    pair = (Domain.SP, Domain.CV)
    assert judges.target_probability(clip, Domain.CV, among=pair) == pytest.approx(cv / (cv + sp))
    with pytest.raises(ValueError, match="cv is not among sp"):
        judges.target_probability(clip, Domain.CV, among=(Domain.SP,))


def test_a_gold_standard_is_like_itself_and_silence_like_nothing() -> None:
    judges, clip = fresh(), noise(5.0)
    silence = Clip(np.zeros(80_000, np.float32))
    assert judges.embed(clip) @ judges.embed(clip) == pytest.approx(1)
    assert judges.embed(silence) @ judges.embed(clip) == 0
    assert judges.frames(silence).shape == (0, 16)
    assert judges.target_probability(silence, Domain.CV) == 0
    gold = OtherGolds(judges, {("001", Domain.CV): judges.judged(clip)})
    assert gold.target_probability(silence, Domain.CV, piece="002") == 0


def test_a_regression_worked_by_hand() -> None:
    """Without features it finds the shares of the classes, three of four; a strong ridge keeps to the prior."""
    rows, classes = np.zeros((4, 0)), np.array([0, 0, 0, 1])
    layer = fit(np.zeros((2, 1)), rows, classes, ridge=1e-6)
    assert layer[0, 0] - layer[1, 0] == pytest.approx(np.log(3), abs=1e-3)
    prior = np.array([[2.0], [-1.0]])
    assert np.allclose(fit(prior, rows, classes, ridge=1e6), prior, atol=1e-4)
    assert fit(prior, rows[:0], classes[:0], ridge=1.0) is prior


def test_a_piece_is_never_judged_by_its_own_gold() -> None:
    judges = fresh()
    rng = np.random.default_rng(0)
    golds = {
        (piece, domain): rng.random((3, 8)) for piece in ("001", "002", "003") for domain in (Domain.CV, Domain.SP)
    }
    changed = {**golds, ("001", Domain.CV): rng.random((3, 8)) + 5}
    before, after = OtherGolds(judges, golds), OtherGolds(judges, dict(reversed(changed.items())))
    assert np.allclose(before.layer("001"), after.layer("001"))
    assert not np.allclose(before.layer("002"), after.layer("002"))


def test_other_golds_teach_what_the_renderings_did_not() -> None:
    """Domains that only the second column tells apart, of which the prior knows nothing."""
    judges = fresh()
    rng = np.random.default_rng(1)
    golds = {
        (f"{number:03d}", domain): rng.random((3, 8)) + 4 * place * np.eye(8)[1]
        for number in range(8)
        for place, domain in enumerate((Domain.CV, Domain.SP))
    }
    taught = OtherGolds(judges, golds, ridge=1e-3)
    rows = np.hstack([golds["000", Domain.SP], np.ones((3, 1))])
    logits = rows @ taught.layer("000").T
    assert (logits[:, 1] > logits[:, 0] + 1).all()


def test_domains_without_gold_are_refused() -> None:
    judges = fresh()
    gold = OtherGolds(judges, {("001", Domain.CV): np.zeros((1, 8))})
    with pytest.raises(ValueError, match="no gold standard in sp; expected one of cv"):
        gold.target_probability(noise(4.0), Domain.SP, piece="001")


def test_without_weights_there_are_no_judges(tmp_path: Path) -> None:
    assert judging.load_judges(Library([tmp_path])) is None


@pytest.fixture(scope="module")
def shipped() -> Judges:
    judges = judging.load_judges()
    if judges is None:
        pytest.skip("no weights of the judges of style among the shipped ones")
    return judges


def test_shipped_judges_on_real_golds(shipped: Judges, excerpts: Path) -> None:
    """The classifier, which heard none, calls 0.8 of them right; those of other pieces make it no worse than that."""
    golds = {
        (path.name[:3], domain): audio.read(path)
        for domain in (Domain.CV, Domain.SP)
        for path in sorted(excerpts.glob(f"*.{domain.mixture.value}.wav"))
    }
    others = shipped.other_golds(golds)
    by_fonts = [shipped.target_probability(clip, domain) > 0.5 for (_, domain), clip in golds.items()]
    by_golds = [others.target_probability(clip, domain, piece=piece) > 0.5 for (piece, domain), clip in golds.items()]
    assert np.mean(by_fonts) >= 0.8
    assert np.mean(by_golds) >= 0.8
    embeddings = {place: shipped.embed(clip) for place, clip in golds.items()}
    nearer = [
        anchor @ embeddings[other, domain] > anchor @ embeddings[piece, Domain.SP if domain is Domain.CV else Domain.CV]
        for (piece, domain), anchor in embeddings.items()
        for other in {name for name, _ in golds} - {piece}
    ]
    assert np.mean(nearer) >= 0.75
