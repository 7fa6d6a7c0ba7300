"""The five methods on both backbones, with small random weights: one contract, shared work, clear refusals."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musicstar import backbones, checkpoint
from musicstar.audio import AudioError, Clip
from musicstar.domains import PAPER, STEMS, Direction, Domain, Voice
from musicstar.methods import studio, translating
from musicstar.methods.base import Cancelled, NeedsStems, NotOffered, Options, Source, Translation
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.shelf import StoredParts, library, why_not_offered
from musicstar.methods.single import gradient_reversed
from musicstar.methods.stem import StemSupervised
from musicstar.model import LATENT_SAMPLES, Part, Sampling

SPECTRAL = {"width": 16, "hidden": 24, "phase_rank": 8}
WAVENET = {
    "encoder": {"kind": "glu", "blocks": 1, "layers": 3, "channels": 8},
    "decoder": {"blocks": 1, "layers": 3, "channels": 8, "skip_channels": 8},
}


def keep(folder: Path, name: str, family: str, recipe: str, voices: tuple[Voice, ...], **training: float) -> None:
    """Store random networks of a small size as a checkpoint."""
    shrunk: dict[str, dict[str, Any]] = {
        "spectral": SPECTRAL,
        "wavenet": WAVENET,
        "demucs": {"channels": 4, "depth": 2},
    }
    sizes = shrunk[family]
    torch.manual_seed(len(name))
    net = backbones.build(family, recipe, voices, sizes)
    labels = tuple(voice.label for voice in voices)
    training.setdefault("content_similarity", 0.5)
    card = checkpoint.Card(backbone=family, recipe=recipe, voices=labels, config=sizes, training=dict(training))
    checkpoint.save(folder / name, card, net.state_dict())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.Library:
    """A full set of small random checkpoints."""
    folder = tmp_path_factory.mktemp("weights")
    for domain in Domain:
        keep(folder, f"separation-{domain}", "demucs", "separation", domain.stems)
    for family in ("spectral", "wavenet"):
        keep(folder, f"{family}-universal", family, "universal", STEMS)
        keep(folder, f"{family}-mixture", family, "mixture", (Voice.CV, Voice.SP))
        for voice in STEMS:
            keep(folder, f"{family}-stem-{voice.label}", family, "stem", (voice,))
            keep(folder, f"{family}-embedding-{voice.label}", family, "embedding", (voice,))
    return checkpoint.Library([folder])


@pytest.fixture
def source(two_voices: tuple[Clip, Clip]) -> Source:
    """Half a second in the strings-piano domain, not a whole number of latent frames, no bin without energy."""
    noise = 0.002 * np.random.default_rng(0).standard_normal((2, 8_123)).astype(np.float32)
    stems = tuple(Clip(clip.wav[:8_123] + hiss) for clip, hiss in zip(two_voices, noise, strict=True))
    return Source(Domain.SP, Clip(stems[0].wav + stems[1].wav), (stems[0], stems[1]))


def run(
    shelf: checkpoint.Library, source: Source, names: list[str], backbone: Backbone, options: Options | None = None
) -> Iterator[Translation]:
    return studio.translate_all(names, source, source.domain.others[0], backbone=backbone, options=options, shelf=shelf)


@pytest.mark.parametrize("backbone", Backbone)
def test_all_five_give_a_clip_as_long_as_the_source(
    shelf: checkpoint.Library, source: Source, backbone: Backbone
) -> None:
    made = list(run(shelf, source, list(METHODS), backbone))
    assert [translation.method for translation in made] == list(METHODS)
    assert source.mixture is not None
    for translation in made:
        assert translation.backbone is backbone
        assert (translation.source, translation.target) == (Domain.SP, Domain.CV)
        assert len(translation.mix.wav) == len(source.mixture.wav)
        assert np.isfinite(translation.mix.wav).all()
        assert np.abs(translation.mix.wav).max() > 0
        assert translation.seconds["total"] > 0
        if translation.method == "mixture":
            assert translation.stems == {}
        else:
            assert set(translation.stems) == set(Domain.CV.stems)
            total = sum(clip.wav for clip in translation.stems.values())
            assert np.allclose(total, translation.mix.wav, atol=1e-6)


@pytest.mark.parametrize("backbone", Backbone)
def test_together_gives_what_each_gives_alone(shelf: checkpoint.Library, source: Source, backbone: Backbone) -> None:
    options = Options(temperature=0.0)
    together = {made.method: made for made in run(shelf, source, list(METHODS), backbone, options)}
    for name in METHODS:
        (alone,) = run(shelf, source, [name], backbone, options)
        assert np.allclose(alone.mix.wav, together[name].mix.wav, atol=1e-4)


def test_methods_that_share_a_decoder_decode_once(
    shelf: checkpoint.Library, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    play = backbones.SpectralModel.play

    def counted(self: backbones.SpectralModel, parts: list[Part], sampling: Sampling) -> torch.Tensor:
        batches.append(len(parts))
        return play(self, parts, sampling)

    monkeypatch.setattr(backbones.SpectralModel, "play", counted)
    list(run(shelf, source, ["single", "separation", "embedding"], Backbone.SPECTRAL))
    assert batches == [6]


def test_level_follows_the_source(shelf: checkpoint.Library, source: Source) -> None:
    assert source.mixture is not None
    assert source.stems is not None
    louder = Source(
        source.domain,
        source.mixture.amplified(6.0),
        (source.stems[0].amplified(6.0), source.stems[1].amplified(6.0)),
    )
    for plain, loud in zip(
        run(shelf, source, list(METHODS), Backbone.SPECTRAL),
        run(shelf, louder, list(METHODS), Backbone.SPECTRAL),
        strict=True,
    ):
        # Phases of bins with next to no energy turn on rounding, so the sounds are compared by their energy.
        expected = plain.mix.amplified(6.0).wav
        assert np.linalg.norm(loud.mix.wav - expected) < 1e-2 * np.linalg.norm(expected)


def test_long_clips_go_through_in_pieces(
    shelf: checkpoint.Library, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source.mixture is not None
    long = replace(source, mixture=Clip(np.tile(source.mixture.wav, 12)), stems=None)
    names = ["embedding", "stem", "mixture"]
    whole = list(run(shelf, long, names, Backbone.SPECTRAL))
    monkeypatch.setitem(translating.STRETCH_SAMPLES, Backbone.SPECTRAL, 20 * LATENT_SAMPLES)
    for one, pieced in zip(whole, run(shelf, long, names, Backbone.SPECTRAL), strict=True):
        assert np.allclose(one.mix.wav, pieced.mix.wav, atol=1e-5)


def test_a_wavenet_reads_long_clips_in_pieces(
    shelf: checkpoint.Library, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source.mixture is not None
    long = replace(source, mixture=Clip(np.tile(source.mixture.wav, 12)), stems=None)
    options = Options(temperature=0)
    names = ["embedding", "stem", "mixture"]
    whole = list(run(shelf, long, names, Backbone.WAVENET, options))
    monkeypatch.setitem(translating.STRETCH_SAMPLES, Backbone.WAVENET, 30 * LATENT_SAMPLES)
    for one, pieced in zip(whole, run(shelf, long, names, Backbone.WAVENET, options), strict=True):
        assert np.allclose(one.mix.wav, pieced.mix.wav, atol=1e-4)


@pytest.mark.parametrize("backbone", Backbone)
def test_a_beginning_is_told_of_as_it_will_be(
    shelf: checkpoint.Library, source: Source, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source.mixture is not None
    long = replace(source, mixture=Clip(np.tile(source.mixture.wav, 12)), stems=None)
    monkeypatch.setattr(translating, "FIRST_SAMPLES", 20 * LATENT_SAMPLES)
    heard: dict[str, list[Clip]] = {}
    options = Options(temperature=0, on_sound=lambda name, mix: heard.setdefault(name, []).append(mix))
    for made in run(shelf, long, ["stem", "mixture"], backbone, options):
        assert heard[made.method]
        for beginning in heard[made.method]:
            assert 16_000 <= len(beginning.wav) < len(made.mix.wav)
            # The last 50 ms may still be faded over.
            settled = len(beginning.wav) - LATENT_SAMPLES
            assert np.allclose(beginning.wav[:settled], made.mix.wav[:settled], atol=1e-4)


def test_same_seed_same_samples(shelf: checkpoint.Library, source: Source) -> None:
    first, again, other = (
        next(run(shelf, source, ["mixture"], Backbone.WAVENET, Options(seed=seed))).mix.wav for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cancelling_stops(shelf: checkpoint.Library, source: Source) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        list(run(shelf, source, list(METHODS), Backbone.WAVENET, Options(cancelled=cancelled)))


def test_progress_of_each_method_rises_to_one(shelf: checkpoint.Library, source: Source) -> None:
    heard: dict[str, list[float]] = {}
    list(
        studio.translate_all(
            list(METHODS),
            source,
            Domain.CV,
            backbone=Backbone.WAVENET,
            on_progress=lambda name, share: heard.setdefault(name, []).append(share),
            shelf=shelf,
        )
    )
    assert set(heard) == set(METHODS)
    for shares in heard.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_single_without_stems_says_what_it_needs(shelf: checkpoint.Library, source: Source) -> None:
    with pytest.raises(NeedsStems, match="separation-based"):
        list(run(shelf, replace(source, stems=None), ["single"], Backbone.SPECTRAL))


def test_stems_alone_are_enough(shelf: checkpoint.Library, source: Source) -> None:
    (from_stems,) = run(shelf, replace(source, mixture=None), ["mixture"], Backbone.SPECTRAL)
    (from_mixture,) = run(shelf, source, ["mixture"], Backbone.SPECTRAL)
    assert np.allclose(from_stems.mix.wav, from_mixture.mix.wav, atol=1e-5)


def test_what_cannot_be_translated_is_refused(shelf: checkpoint.Library, source: Source) -> None:
    assert source.stems is not None
    silent = Source(Domain.SP, Clip(np.zeros(16_000, np.float32)))
    with pytest.raises(AudioError, match="silent"):
        list(run(shelf, silent, ["mixture"], Backbone.SPECTRAL))
    with pytest.raises(AudioError, match="nothing to translate"):
        list(run(shelf, Source(Domain.SP), ["mixture"], Backbone.SPECTRAL))
    uneven = Source(Domain.SP, None, (source.stems[0], Clip(source.stems[1].wav[:-4_100])))
    with pytest.raises(AudioError, match="one length"):
        list(run(shelf, uneven, ["mixture"], Backbone.SPECTRAL))
    with pytest.raises(ValueError, match="unknown method"):
        list(run(shelf, source, ["magic"], Backbone.SPECTRAL))
    with pytest.raises(ValueError, match="other domain"):
        list(studio.translate_all(["mixture"], source, Domain.SP, shelf=shelf))


def test_a_separators_pieces_are_joined_softly(
    shelf: checkpoint.Library, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is near a join is no rougher than the rest, although the separator hears more than the context."""
    assert source.mixture is not None
    long = replace(source, mixture=Clip(np.tile(source.mixture.wav, 12)), stems=None)
    block = 20 * LATENT_SAMPLES
    (whole,) = run(shelf, long, ["separation"], Backbone.SPECTRAL)
    monkeypatch.setitem(translating.STRETCH_SAMPLES, Backbone.SPECTRAL, block)
    (pieced,) = run(shelf, long, ["separation"], Backbone.SPECTRAL)
    steps = np.abs(np.diff(pieced.mix.wav))
    joins = [steps[at - 1 : at + 1].max() for at in range(block, len(steps), block)]
    assert max(joins) <= np.abs(np.diff(whole.mix.wav)).max()


def test_stems_may_end_a_little_earlier(shelf: checkpoint.Library, source: Source) -> None:
    assert source.stems is not None
    shorter = replace(source, stems=(source.stems[0], Clip(source.stems[1].wav[:-500])))
    (made,) = run(shelf, shorter, ["single"], Backbone.SPECTRAL)
    assert len(made.mix.wav) == len(source.stems[0].wav)


def test_one_direction_is_enough_to_be_offered(tmp_path: Path) -> None:
    """The paper has a model per direction: with one imported, its direction is offered and the other is not."""
    keep(tmp_path, "mixture-cv", "wavenet", "mixture", (Voice.CV,))
    one = checkpoint.Library([tmp_path])
    assert "mixture" not in why_not_offered(Backbone.WAVENET, shelf=one)
    assert "mixture" not in why_not_offered(Backbone.WAVENET, direction=PAPER[0], shelf=one)
    assert "for sp" in why_not_offered(Backbone.WAVENET, direction=PAPER[1], shelf=one)["mixture"]


def test_what_was_never_heard_is_not_offered(tmp_path: Path, source: Source) -> None:
    """Weights for StarNet's voices have heard StarNet's domains; those for every voice have heard all."""
    keep(tmp_path, "stem", "spectral", "stem", STEMS)
    keep(tmp_path, "mixture", "spectral", "mixture", tuple(domain.mixture for domain in Domain))
    kept = checkpoint.Library([tmp_path])
    reasons = why_not_offered(Backbone.SPECTRAL, direction=Direction(Domain.FG, Domain.CV), shelf=kept)
    assert "mixture" not in reasons
    assert reasons["stem"].startswith("The spectral weights of stem have heard no flute and guitar")
    assert "stem" not in why_not_offered(Backbone.SPECTRAL, direction=PAPER[0], shelf=kept)
    with pytest.raises(NotOffered, match="have heard no flute and guitar"):
        StemSupervised(StoredParts(Backbone.SPECTRAL, kept)).require(Direction(Domain.FG, Domain.CV))


def test_an_encoder_keeps_to_its_partner(tmp_path: Path, shelf: checkpoint.Library, source: Source) -> None:
    """Another universal model on the shelf before it is not what an embedding encoder was taught on."""
    for voice in STEMS:
        keep(tmp_path, f"embedding-{voice.label}", "spectral", "embedding", (voice,))
        path = tmp_path / f"embedding-{voice.label}.json"
        card = json.loads(path.read_text())
        card["partner"] = checkpoint.Card.read(shelf.folders[0] / "spectral-universal.json").sha256
        path.write_text(json.dumps(card))
    other = tmp_path / "other"
    other.mkdir()
    keep(other, "universal-of-another", "spectral", "universal", STEMS)
    bound = checkpoint.Library([other, tmp_path, *shelf.folders])
    parts = StoredParts(Backbone.SPECTRAL, bound)
    assert parts.partner("embedding", Voice.PIANO) is not parts.autoencoder("universal", Voice.PIANO)
    alone = checkpoint.Library([other, tmp_path])
    with pytest.raises(NotOffered, match="are bound to other spectral weights of universal"):
        list(run(alone, source, ["embedding"], Backbone.SPECTRAL))
    reasons = why_not_offered(Backbone.SPECTRAL, direction=PAPER[0], shelf=alone)
    assert reasons["embedding"].startswith("The spectral encoders of embedding are bound to other")
    assert "single" not in reasons


def test_folders_of_weights_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICSTAR_WEIGHTS", str(tmp_path))
    assert library().folders[0] == tmp_path
    monkeypatch.setenv("MUSICSTAR_WEIGHTS", str(tmp_path / "typo"))
    with pytest.raises(checkpoint.CheckpointError, match=r"MUSICSTAR_WEIGHTS names .*typo, and there is no such"):
        library()


def test_reversed_gradient() -> None:
    x = torch.ones(3, requires_grad=True)
    y = gradient_reversed(x, 0.25)
    assert torch.equal(y, x)
    torch.autograd.backward(y.sum())
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.full((3,), -0.25))


def test_what_is_not_trained_is_not_offered(tmp_path: Path, source: Source) -> None:
    keep(tmp_path, "mixture", "wavenet", "mixture", (Voice.CV, Voice.SP), content_similarity=0.11)
    poor = checkpoint.Library([tmp_path])
    reasons = why_not_offered(Backbone.WAVENET, shelf=poor)
    assert set(reasons) == set(METHODS)
    assert "0.11" in reasons["mixture"]
    assert "musicstar train wavenet-stem" in reasons["stem"]
    assert "musicstar checkpoint convert" in reasons["stem"]
    with pytest.raises(NotOffered, match="musicstar train wavenet-stem"):
        list(run(poor, source, ["stem"], Backbone.WAVENET))
    for nonsense in ("high", None, float("nan")):
        card = tmp_path / "mixture.json"
        told = json.loads(card.read_text())
        card.write_text(json.dumps(told | {"training": {"content_similarity": nonsense}}))
        assert "have not been measured" in why_not_offered(Backbone.WAVENET, shelf=poor)["mixture"]
    keep(tmp_path, "mixture", "wavenet", "mixture", (Voice.CV, Voice.SP), content_similarity=0.31)
    assert "mixture" not in why_not_offered(Backbone.WAVENET, shelf=poor)
    # What plays are those of the first folder.
    (tmp_path / "own").mkdir()
    keep(tmp_path / "own", "mixture", "wavenet", "mixture", (Voice.CV, Voice.SP), content_similarity=0.11)
    assert (
        "0.11" in why_not_offered(Backbone.WAVENET, shelf=checkpoint.Library([tmp_path / "own", tmp_path]))["mixture"]
    )
