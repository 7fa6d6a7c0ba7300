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
from musicstar.domains import STEMS, Domain
from musicstar.losses import Step
from musicstar.methods import studio
from musicstar.methods.base import Source
from musicstar.methods.catalog import Backbone
from musicstar.methods.method import Method
from musicstar.methods.registry import CLASSES
from musicstar.recipes import OptimizerConfig, TrainConfig
from musicstar.runfolder import RunError
from musicstar.train import Run

SHRUNK = {
    "spectral": "[network]\nwidth = 16\nhidden = 24\nphase_rank = 8\n",
    "separation": "[network]\nchannels = 4\ndepth = 2\n",
    "guess": "[network]\nchannels = 4\nbands = 24\n",
    "style": "[network]\n",
    "wavenet": (
        "[network.encoder]\nblocks = 1\nlayers = 2\nchannels = 8\n"
        "[network.decoder]\nblocks = 1\nlayers = 2\nchannels = 8\nskip_channels = 8\n"
    ),
}
METRICS = ("step", "total", "gradient_norm")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pieces of two seconds in the StarNet layout: a tone with a harmonic of its own per instrument."""
    folder = tmp_path_factory.mktemp("set")
    times = np.arange(32_000) / 16_000
    for piece in range(4):
        for number, voice in enumerate(STEMS):
            hertz = 220 * 2 ** ((3 * piece + 7 * (number % 2)) / 12)
            wav = np.sin(2 * np.pi * hertz * times) + 0.5 * np.sin(2 * np.pi * hertz * (2 + number) * times)
            audio.write(folder / f"{piece:03d}.{voice.value}.wav", Clip((0.05 * wav).astype(np.float32)))
    return folder


def shrink(name: str, folder: Path, *, steps: int = 2) -> Path:
    """A configuration as shipped but for its sizes, under its own name."""
    path = folder / f"{name}.toml"
    sizes = SHRUNK[name.split("-", maxsplit=1)[0]]
    path.write_text(f'extends = "{name}"\nsteps = {steps}\nbatch_size = 4\nwindow_samples = 8000\n{sizes}')
    return path


def metrics(folder: Path) -> list[list[float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[key] for key in METRICS] for line in lines]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All shipped configurations after two steps, in the order of `train --all`, then the paper's sizes."""
    folder = tmp_path_factory.mktemp("runs")
    rest = [name for name in config.names() if name not in recipes.EVERYTHING]
    rest.sort(key=lambda name: ["universal" not in name, "decoders" not in name])
    for names in (recipes.EVERYTHING, rest):
        training.train([str(shrink(name, folder)) for name in names], data=data, out=folder)
    return folder


def test_everything_walks_all_parts_in_order() -> None:
    made: set[str] = set()
    for name in recipes.EVERYTHING:
        planned = recipes.runs(name)
        for settings in planned.values():
            assert {settings.begin_with} <= made | {""}, name
            assert not settings.decoders_from or any(run.startswith(settings.decoders_from) for run in made), name
            if settings.recipe == "embedding":
                assert any(run.startswith(settings.backbone) and "universal" in run for run in made), name
        made |= set(planned)


def test_every_shipped_configuration_trains_and_saves(trained: Path) -> None:
    for name in config.names():
        for run in recipes.runs(name):
            assert (trained / run / "run.json").is_file(), run
            card, _ = checkpoint.load(trained / run / run)
            assert card.training["steps"] == 2
            assert card.training["configuration"] == run
            backbones.load(trained / run / f"{run}.safetensors")


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
        training.train([str(_logging_each(shrink(name, out, steps=4)))], data=data, out=out)
    assert metrics(whole / run) == metrics(again / run)
    assert len(metrics(whole / run)) == 4
    parted.mkdir()
    _stop_after(2, _logging_each(shrink(name, parted, steps=4)), data, parted)
    assert [row[0] for row in metrics(parted / run)] == [1, 2]
    training.train([str(parted / f"{name}.toml")], data=data, out=parted, resume=True)
    assert metrics(parted / run) == metrics(whole / run)


def _logging_each(path: Path) -> Path:
    path.write_text("save_minutes = 0.0\n" + path.read_text())
    return path


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


def test_resuming_with_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    path = shrink("spectral-mixture", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    path.write_text(path.read_text().replace("batch_size = 4", "batch_size = 2"))
    with pytest.raises(RunError, match="other settings: batch_size"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)


def test_a_run_of_an_older_version_goes_on(data: Path, tmp_path: Path) -> None:
    """What its configuration did not know of yet was as it is by default."""
    path = shrink("spectral-mixture", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    described = tmp_path / "spectral-mixture" / "run.json"
    record = json.loads(described.read_text())
    assert record["config"].pop("decoders_from") == ""
    described.write_text(json.dumps(record))
    training.train([str(path)], data=data, out=tmp_path, resume=True)
    described.unlink()
    with pytest.raises(RunError, match="files that are of no run"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)


def test_a_new_run_clears_away_the_old(data: Path, tmp_path: Path) -> None:
    path = _logging_each(shrink("spectral-mixture", tmp_path))
    for _ in range(2):
        training.train([str(path)], data=data, out=tmp_path)
    assert [row[0] for row in metrics(tmp_path / "spectral-mixture")] == [1, 2]


def test_weights_stay_until_there_are_new_ones(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    monkeypatch.setattr(Run, "_take_step", lambda self: (_ for _ in ()).throw(FloatingPointError("not finite")))
    with pytest.raises(FloatingPointError):
        training.train([str(path)], data=data, out=tmp_path)
    card, _ = checkpoint.load(tmp_path / "guess-domain" / "guess-domain")
    assert card.training["steps"] == 2


def test_what_is_no_run_is_left_alone(data: Path, tmp_path: Path) -> None:
    path = shrink("guess-domain", tmp_path)
    (tmp_path / "guess-domain").mkdir()
    (tmp_path / "guess-domain" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="files that are of no run"):
        training.train([str(path)], data=data, out=tmp_path)
    assert (tmp_path / "guess-domain" / "thesis.txt").read_text() == "mine"
    (tmp_path / "elsewhere").mkdir()
    other = shrink("guess-domain", tmp_path / "elsewhere")
    with pytest.raises(RunError, match="two configurations are named guess-domain"):
        training.train([str(path), str(other)], data=data, out=tmp_path / "out")
    with pytest.raises(RunError, match="cannot be named 'reduced'"):
        training.train([str(path.rename(tmp_path / "reduced.toml"))], data=data, out=tmp_path / "out")


def test_a_damaged_state_is_named(data: Path, tmp_path: Path) -> None:
    path = shrink("guess-domain", tmp_path)
    training.train([str(path)], data=data, out=tmp_path)
    (state,) = (tmp_path / "guess-domain" / "state").glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(RunError, match="guess-domain: what an earlier run left is damaged"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)
    (tmp_path / "guess-domain" / "state.json").write_text("[]")
    with pytest.raises(RunError, match="damaged"):
        training.train([str(path)], data=data, out=tmp_path, resume=True)


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
    assert together["total"] == pytest.approx(alone["total"], rel=1e-3)
    assert together["gradient_norm"] != pytest.approx(alone["gradient_norm"], rel=1e-2)


def test_learning_rates() -> None:
    cosine = OptimizerConfig(learning_rate=1.0, warmup_steps=10)
    assert cosine.rate(4, 1000) == pytest.approx(0.5, rel=1e-3)
    assert cosine.rate(500, 1000) == pytest.approx(0.5)
    assert cosine.rate(1000, 1000) == pytest.approx(0.02)
    falling = OptimizerConfig(learning_rate=1.0, warmup_steps=0, schedule="exponential", decay=0.98, epoch_steps=100)
    assert [falling.rate(step, 1000) for step in (0, 99, 100, 250)] == pytest.approx([1, 1, 0.98, 0.98**2])


def test_the_papers_settings() -> None:
    mixture = config.parse(TrainConfig, config.load_table("wavenet-mixture"))
    assert (mixture.batch_size, mixture.window_samples) == (16, 16_000)
    assert (mixture.optimizer.learning_rate, mixture.optimizer.decay) == (3e-4, 0.99)
    decoders = config.parse(TrainConfig, config.load_table("wavenet-decoders"))
    assert (decoders.optimizer.learning_rate, decoders.optimizer.decay) == (1e-3, 0.98)
    embedding = config.parse(TrainConfig, config.load_table("wavenet-embedding"))
    assert (embedding.window_samples, embedding.optimizer.decay) == (12_000, 0.98)
    universal = config.parse(TrainConfig, config.load_table("wavenet-universal"))
    assert (universal.loss.adversary, universal.loss.warp_semitones) == (0.01, 0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('extends = "spectral-mixture"\nspeed = 3\n', "unknown key 'speed'"),
        ('extends = "spectral-mixture"\nsteps = "many"\n', "'many' is not a int"),
        ('extends = "spectral-mixture"\n[optimizer]\nschedule = "linear"\n', "schedule"),
        ('extends = "nothing"\n', "no configuration 'nothing'"),
        ("steps = = 3", "not valid TOML"),
        ("extends = 5", "extends is 5"),
        ('extends = "wrong"\n', "extends itself"),
        ('extends = "spectral-mixture"\nvoices = []\n', "voices names nothing"),
        ('extends = "spectral-mixture"\nbudget_share = 0.0\n', "budget_share is 0"),
        ('extends = "spectral-mixture"\n[loss]\npower = nan\n', "not a finite number"),
        ('extends = "spectral-mixture"\n[optimizer]\nbetas = [0.9]\n', "two betas"),
        ('extends = "spectral-mixture"\nbackbone = "jazz"\n', "'jazz' is not one of spectral, wavenet, demucs"),
        ('extends = "spectral-mixture"\nfreeze = ["ears"]\n', "cannot freeze 'ears'"),
        ('extends = "spectral-stem"\nvoices = ["cv"]\n', "stem is for single instruments, of clarinet"),
        ('extends = "spectral-mixture"\nbegin_parts = ["encoder"]\n', "begin_with says not of what"),
        ('backbone = "spectral"\n', "missing"),
    ],
)
def test_wrong_configurations_are_refused(text: str, sentence: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=sentence):
        training.train([str(path)], data=data, out=tmp_path)


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
    assert 0.05 < latents.abs().median() < 50
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
