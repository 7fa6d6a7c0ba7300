"""The training loop: every shipped configuration, shrunk, learns, stops, resumes, and speaks."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from musicstar import audio, backbones, checkpoint, config, recipes, starnet, train, training
from musicstar.audio import Clip
from musicstar.checkpoint import Library
from musicstar.domains import Domain
from musicstar.losses import Step
from musicstar.methods import studio
from musicstar.methods.base import Source
from musicstar.methods.catalog import Backbone
from musicstar.methods.method import Method
from musicstar.methods.registry import CLASSES
from musicstar.parts import GUIDED_WITHIN
from musicstar.recipes import TrainConfig
from musicstar.runfolder import RunError
from musicstar.train import Run
from tests.small_runs import logging_each, metrics, shrink


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All shipped configurations after two steps, in the order of `train --all`, then the paper's sizes."""
    folder = tmp_path_factory.mktemp("runs")
    rest = [name for name in config.names() if name not in recipes.EVERYTHING]
    rest.sort(key=lambda name: ["universal" not in name, "decoders" not in name])
    for names in (recipes.EVERYTHING, rest):
        training.train([str(shrink(name, folder)) for name in names], data=data, out=folder)
    return folder


def test_every_shipped_configuration_trains_and_saves(trained: Path) -> None:
    for name in config.names():
        for run in recipes.runs(name):
            assert (trained / run / "run.json").is_file(), run
            card, _ = checkpoint.load(trained / run / run)
            assert card.training["steps"] == 2
            assert card.training["configuration"] == run
            backbones.load(trained / run / f"{run}.safetensors")


def test_a_frozen_encoder_stays_to_the_last_bit(trained: Path) -> None:
    """Its latents too are not measured anew: other encoders are bound to them."""
    begun, kept = (checkpoint.load(trained / name / name)[1] for name in ("spectral-universal", "spectral-decoders"))
    names = [name for name in begun if name.startswith(("encoder.", "latent_"))]
    assert any("running_mean" in name for name in names)
    for name in names:
        assert torch.equal(kept[name], begun[name]), name


@pytest.mark.parametrize("family", ["spectral", "wavenet-small", "wavenet"])
def test_what_was_trained_translates(trained: Path, data: Path, family: str) -> None:
    backbone = Backbone(family.split("-", maxsplit=1)[0])
    small = family == "wavenet-small"
    folders = [
        path
        for path in sorted(trained.glob("*/"))
        if not path.name.startswith("wavenet") or path.name.startswith("wavenet-small") == small
    ]
    for card in (path for folder in folders for path in folder.glob("wavenet-*.json")):
        checkpoint.annotate(card, {checkpoint.SIMILARITY: 0.5})
    stems = tuple(Clip(audio.read(data / f"000.{voice.value}.wav").wav[:4_000]) for voice in Domain.SP.stems)
    source = Source(Domain.SP, None, (stems[0], stems[1]))
    made = list(
        studio.translate_all(list(CLASSES), source, Domain.CV, backbone=backbone, shelf=checkpoint.Library(folders))
    )
    assert {translation.method for translation in made} == set(CLASSES)
    for translation in made:
        assert len(translation.mix.wav) == 4_000
        assert np.abs(translation.mix.wav).max() > 0


@pytest.mark.parametrize(
    "name", ["spectral-universal", "separation-sp", "guess-domain", "style-triplet", "style-judge", "wavenet-mixture"]
)
def test_same_seed_same_losses_and_resuming_changes_nothing(name: str, data: Path, tmp_path: Path) -> None:
    whole, again, parted = (tmp_path / part for part in ("whole", "again", "parted"))
    run = next(iter(recipes.runs(name)))
    for out in (whole, again):
        out.mkdir()
        training.train([str(logging_each(shrink(name, out, steps=4)))], data=data, out=out)
    assert metrics(whole / run) == metrics(again / run)
    assert len(metrics(whole / run)) == 4
    parted.mkdir()
    _stop_after(2, logging_each(shrink(name, parted, steps=4)), data, parted)
    assert [row[0] for row in metrics(parted / run)] == [1, 2]
    training.train([str(parted / f"{name}.toml")], data=data, out=parted, resume=True)
    assert metrics(parted / run) == metrics(whole / run)


def _stop_after(steps: int, path: Path, data: Path, out: Path) -> None:
    """Begin a run and give it up in the middle, as a machine that goes away does."""

    class GoneError(Exception):
        pass

    seen = []

    def progress(line: str) -> None:
        seen.append(line)
        if len(seen) == steps:
            raise GoneError

    with pytest.raises(GoneError):
        training.train([str(path)], data=data, out=out, progress=progress)


def test_a_resumed_run_tells_that_it_keeps_its_steps(data: Path, tmp_path: Path) -> None:
    training.train([str(shrink("guess-domain", tmp_path))], data=data, out=tmp_path / "runs")
    told: list[str] = []
    longer = [str(shrink("guess-domain", tmp_path, steps=3))]
    training.train(longer, data=data, out=tmp_path / "runs", resume=True, progress=told.append)
    assert told == ["guess-domain: goes on to the 2 steps it was begun with, not to 3"]
    assert len(metrics(tmp_path / "runs" / "guess-domain")) == 1


def test_a_used_up_budget_leaves_no_weights(data: Path, tmp_path: Path) -> None:
    told: list[str] = []
    path = shrink("spectral-mixture", tmp_path)
    with pytest.raises(RunError, match="nothing was trained: the budget of 0 minutes"):
        training.train([str(path)], data=data, out=tmp_path, budget_minutes=0.0, progress=told.append)
    assert told == ["spectral-mixture: left out, the budget is used up"]
    assert not (tmp_path / "spectral-mixture").exists()


def test_the_classifier_learns_between_its_steps(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its steps sees what the one before changed, under autocast too."""
    monkeypatch.setattr(train, "computes_in_bfloat16", lambda device: True)
    settings = config.parse(TrainConfig, config.load_table(shrink("spectral-universal", tmp_path)))
    run = Run(
        "universal", settings, starnet.reduce(data, tmp_path / "c"), tmp_path / "r", library=Library([]), resume=False
    )
    losses: list[float] = []
    fit = run._fit_adversary

    def watched(loss: Callable[[], torch.Tensor]) -> None:
        def noted() -> torch.Tensor:
            value = loss()
            losses.append(value.item())
            return value

        fit(noted)

    monkeypatch.setattr(run, "_fit_adversary", watched)
    run.rehearse(1)
    assert len(losses) == 3
    assert len(set(losses)) == 3


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_bfloat16_only_where_the_processor_computes_in_it(
    capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = {"avx512_bf16": False, "amx_bf16": False, "avx2": True, "num_sockets": 1, capability: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert train.computes_in_bfloat16(torch.device("cpu")) is expected


def test_budget_ends_in_time_and_keeps_the_weights(data: Path, tmp_path: Path) -> None:
    name = "spectral-mixture"
    started = time.monotonic()
    training.train([str(shrink(name, tmp_path, steps=10**6))], data=data, out=tmp_path, budget_minutes=0.02)
    assert time.monotonic() - started < 60
    card, _ = checkpoint.load(tmp_path / name / name)
    assert 0 < card.training["steps"] < 10**4
    before = card.training["steps"]
    training.train([str(tmp_path / f"{name}.toml")], data=data, out=tmp_path, budget_minutes=0.01, resume=True)
    assert checkpoint.load(tmp_path / name / name)[0].training["steps"] > before


def test_fitting_ends_the_schedule_with_the_budget(data: Path, tmp_path: Path) -> None:
    name = "spectral-mixture"
    training.train([str(shrink(name, tmp_path, steps=10**6))], data=data, out=tmp_path, budget_minutes=0.1, fit=True)
    planned = json.loads((tmp_path / name / "run.json").read_text())["config"]["steps"]
    assert 1 <= planned < 10**5


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    """What torchrun starts, on CPUs: the second process's batch counts too, one process writes."""
    path = shrink("spectral-universal", tmp_path, steps=1)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--standalone"),
        *("-m", "musicstar", "train", str(path), "--data", str(data), "--out", str(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    card, _ = checkpoint.load(tmp_path / "spectral-universal" / "spectral-universal")
    assert card.training["steps"] == 1
    training.train([str(path)], data=data, out=tmp_path / "alone")
    logs = [folder / "spectral-universal" / "metrics.jsonl" for folder in (tmp_path, tmp_path / "alone")]
    (together,), (alone,) = ([json.loads(line) for line in log.read_text().splitlines()] for log in logs)
    # The first process hears what one alone does, and its gradient is averaged with that of another batch.
    assert together["log"] == pytest.approx(alone["log"], rel=1e-3)
    assert together["gradient_norm"] != pytest.approx(alone["gradient_norm"], rel=5e-3)


def test_missing_parts_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SHIPPED", tmp_path)
    path = shrink("spectral-embedding", tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="train universal first"):
        training.train([str(path)], data=data, out=tmp_path)


def test_a_guided_encoder_learns_its_guides_latents(data: Path, tmp_path: Path, trained: Path) -> None:
    """While it is guided its decoder hears the guide, so the reconstruction moves the encoder not at all."""
    card = next(trained.glob("spectral-mixture/*.json"), None)
    assert card is not None
    settings = recipes.runs(str(shrink("wavenet-small-mixture", tmp_path)))["wavenet-small-mixture-cv"]
    library = Library([trained / "spectral-mixture"])
    run = Run(
        "wavenet-small-mixture-cv",
        settings,
        starnet.reduce(data, tmp_path / "cache"),
        tmp_path,
        library=library,
        resume=False,
    )
    guide = run.guide
    assert guide is not None
    sound = 0.05 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    latents = guide(sound, torch.tensor([0, 0]))
    assert latents.shape == (2, 64, 10)
    # Standardised by its median and spread over the training set, not over this noise; the scale is of that order.
    assert latents.abs().median() > 0.05
    assert latents.abs().max() <= GUIDED_WITHIN
    encoder = list(run.net.get_submodule("encoder").parameters())

    def moved_by(term: str, *, share: float) -> bool:
        step = Step(0, share, torch.Generator().manual_seed(0), settings.loss, guide=guide)
        batch = run.data.windows(run.split.train, batch_size=2, window_samples=8_000)
        assert isinstance(run.objective.method, Method)
        loss = run.objective.method.loss(batch, run.voices, step).terms[term]
        return any(gradient is not None for gradient in torch.autograd.grad(loss, encoder, allow_unused=True))

    assert moved_by("guide", share=0.0)
    assert not moved_by("cross_entropy", share=0.0)
    assert moved_by("cross_entropy", share=0.9)
    assert "guide" in run._take_step(share=0.0)
    assert "guide" not in run._take_step(share=0.9)
    with pytest.raises(checkpoint.CheckpointError, match="needs spectral weights of mixture"):
        Run("x", settings, run.data, tmp_path / "none", library=Library([]), resume=False)


def test_a_guide_that_differs_by_loudness_alone_is_whitened(data: Path, tmp_path: Path, trained: Path) -> None:
    library = Library([trained / "spectral-mixture"])
    reduced = starnet.reduce(data, tmp_path / "cache")
    spreads = []
    for whitened in (False, True):
        path = shrink("wavenet-small-mixture", tmp_path)
        path.write_text(path.read_text() + f"\n[loss]\nguide_whitened = {str(whitened).lower()}\n")
        settings = recipes.runs(str(path))["wavenet-small-mixture-cv"]
        run = Run("cv", settings, reduced, tmp_path / str(whitened), library=library, resume=False)
        assert run.guide is not None
        assert isinstance(run.objective.method, Method)
        inputs = run._encoder_inputs(run.objective.method)
        known = torch.cat([run.guide(*pair).transpose(1, 2).flatten(0, 1) for batch in inputs for pair in batch])
        assert known.abs().max() <= GUIDED_WITHIN
        variance = torch.linalg.eigvalsh(torch.cov(known.T)).flip(0)
        spreads.append(float(variance[7] / variance[0]))
    assert spreads[1] > 2 * spreads[0]
    path.with_name("none.toml").write_text(path.read_text() + "guided_until = 0.0\n")
    with pytest.raises(config.ConfigError, match="guide_whitened needs a guide"):
        recipes.runs(str(tmp_path / "none.toml"))


def test_a_voice_begins_with_the_weights_of_another(data: Path, tmp_path: Path, trained: Path) -> None:
    path = shrink("wavenet-small-mixture", tmp_path)
    path.write_text(path.read_text().replace("steps = 2", 'steps = 2\nbegin_with = "wavenet-small-mixture-cv"'))
    settings = recipes.runs(str(path))["wavenet-small-mixture-sp"]
    library = Library([trained / "wavenet-small-mixture-cv", trained / "spectral-mixture"])
    run = Run("sp", settings, starnet.reduce(data, tmp_path / "cache"), tmp_path / "run", library=library, resume=False)
    begun = checkpoint.load(trained / "wavenet-small-mixture-cv" / "wavenet-small-mixture-cv")[1]
    for name, tensor in run.net.state_dict().items():
        assert torch.equal(tensor, begun[name.replace("decoders.sp.", "decoders.cv.")])


def test_parts_begin_with_those_of_another_network(data: Path, tmp_path: Path, trained: Path) -> None:
    """The encoder begins with that of a mixture, whose decoder is left behind."""
    settings = recipes.runs(str(shrink("wavenet-small-embedding", tmp_path)))["wavenet-small-embedding-piano"]
    library = Library([trained / "wavenet-small-mixture-cv", trained / "wavenet-small-universal"])
    run = Run("e", settings, starnet.reduce(data, tmp_path / "cache"), tmp_path / "run", library=library, resume=False)
    begun = checkpoint.load(trained / "wavenet-small-mixture-cv" / "wavenet-small-mixture-cv")[1]
    state = run.net.state_dict()
    assert torch.equal(state["encoder.first_conv.weight"], begun["encoder.first_conv.weight"])
    assert not any(name.startswith("decoders.") for name in state)
    wrong = replace(settings, begin_parts=("decoder",))
    with pytest.raises(checkpoint.CheckpointError, match="has no part named decoder"):
        Run("w", wrong, run.data, tmp_path / "wrong", library=library, resume=False)


def test_decoders_of_stems_begin_the_universal_network(data: Path, tmp_path: Path, trained: Path) -> None:
    """What listens to samples is the stem's own; what listens to latents is brought to follow the new ones."""
    (settings,) = recipes.runs(str(shrink("wavenet-small-universal", tmp_path))).values()
    stems = [trained / f"wavenet-small-stem-{voice}" for voice in settings.voices]
    library = Library([*stems, trained / "spectral-universal"])
    run = Run("u", settings, starnet.reduce(data, tmp_path / "cache"), tmp_path / "run", library=library, resume=False)
    state = run.net.state_dict()
    for voice, folder in zip(settings.voices, stems, strict=True):
        begun = checkpoint.load(folder / folder.name)[1]
        layer = f"decoders.{voice}.layers.0"
        assert torch.equal(state[f"{layer}.causal.weight"], begun[f"{layer}.causal.weight"])
        assert not torch.equal(state[f"{layer}.condition.weight"], begun[f"{layer}.condition.weight"])
    with pytest.raises(checkpoint.CheckpointError, match="train wavenet-small-stem first"):
        Run("n", settings, run.data, tmp_path / "none", library=Library([trained / "spectral-universal"]), resume=False)
    with pytest.raises(ValueError, match="universal WaveNets, not for spectral mixture"):
        replace(recipes.runs("spectral-mixture")["spectral-mixture"], decoders_from="wavenet-small-stem")


def test_what_a_network_has_over_the_one_it_begins_with_is_fresh(data: Path, tmp_path: Path, trained: Path) -> None:
    card, tensors = checkpoint.load(trained / "spectral-mixture" / "spectral-mixture")
    plain = {name: tensor for name, tensor in tensors.items() if not name.startswith("decoder.gain.")}
    assert len(plain) == len(tensors) - 2
    config = {**card.config, "sharpen": False}
    (tmp_path / "plain").mkdir()
    blunt = replace(card, config=config, training={**card.training, "configuration": "blunt"})
    checkpoint.save(tmp_path / "plain" / "blunt", blunt, plain, half=True)
    settings = recipes.runs(str(shrink("spectral-mixture", tmp_path)))["spectral-mixture"]
    reduced = starnet.reduce(data, tmp_path / "cache")

    def begin(settings: TrainConfig, begin_with: str) -> Run:
        library = Library([tmp_path / "plain", trained / "spectral-mixture"])
        settings = replace(settings, begin_with=begin_with)
        return Run("begun", settings, reduced, tmp_path / "begun", library=library, resume=False)

    state = begin(settings, "blunt").net.state_dict()
    assert not state["decoder.gain.weight"].any(), "zero, as before the first step"
    assert torch.equal(state["encoder.first.weight"], plain["encoder.first.weight"])
    without = replace(settings, network={**settings.network, "sharpen": False})
    with pytest.raises(checkpoint.CheckpointError, match=r"no place for decoder\.gain\.bias, decoder\.gain\.weight"):
        begin(without, "spectral-mixture")
