"""The one training loop: every recipe of either backbone, on a CPU, a GPU, or several through torchrun.

What a step sees follows from the seed and the step's number alone, so a run that was stopped and resumed walks the same
curve as one that was not.
"""

import json
import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from musicstar import backbones, checkpoint
from musicstar.backbones import Model
from musicstar.domains import Domain, Voice
from musicstar.guess import DomainGuesser, GuessTraining
from musicstar.losses import Losses, Step
from musicstar.methods.base import Method
from musicstar.methods.registry import CLASSES
from musicstar.methods.single import UNTOLD, SingleInstrument
from musicstar.recipes import TrainConfig
from musicstar.starnet import Reduced, Windows

logger = logging.getLogger(__name__)

VALIDATION_BATCHES = 8


class TrainingParts:
    """The network in training, and the finished ones its loss looks at."""

    def __init__(self, recipe: str, net: nn.Module, library: checkpoint.Library, device: torch.device) -> None:
        self.recipe, self.net, self.library, self.device = recipe, net, library, device
        self.finished: dict[Path, nn.Module] = {}
        self.backbone = "wavenet" if isinstance(net, backbones.WaveNetModel) else "spectral"

    def autoencoder(self, recipe: str, voice: Voice) -> Model:
        """The model in training for its own recipe, finished weights for any other."""
        if recipe == self.recipe:
            assert isinstance(self.net, Model)
            return self.net
        path = self.library.find(self.backbone, recipe, voice.label)
        if path is None:
            raise checkpoint.CheckpointError(
                f"training {self.recipe} needs {self.backbone} weights of {recipe} for {voice.label}, "
                f"and there are none in {', '.join(map(str, self.library.folders))}: train {recipe} first"
            )
        if path not in self.finished:
            self.finished[path] = backbones.load(path).to(self.device)
        model = self.finished[path]
        assert isinstance(model, Model)
        return model

    def separator(self, domain: Domain) -> nn.Module:
        """The separator in training."""
        return self.net


class Objective(nn.Module):
    """A method's loss as a module, which is what DistributedDataParallel wraps."""

    def __init__(self, net: nn.Module, method: Method | GuessTraining, voices: tuple[Voice, ...]) -> None:
        super().__init__()
        self.net = net
        self.method = method
        self.voices = voices

    def forward(self, batch: Windows, step: Step) -> Losses:
        """The losses of one batch."""
        return self.method.loss(batch, self.voices, step)


class Run:
    """One training run in its folder `out`: config, metrics, state to resume from, and finished weights."""

    def __init__(
        self, name: str, settings: TrainConfig, data: Reduced, out: Path, *, library: checkpoint.Library, resume: bool
    ) -> None:
        self.name, self.settings, self.out = name, settings, out
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
        torch.manual_seed(settings.seed)
        torch.set_flush_denormal(True)
        voices = tuple(Voice.from_label(label) for label in settings.voices)
        self.net = backbones.build(settings.backbone, settings.recipe, voices, settings.network).to(self.device)
        if settings.begin_with:
            _, tensors = checkpoint.load(out.parent / settings.begin_with / settings.begin_with)
            self.net.load_state_dict(tensors)
        for part in settings.freeze:
            self.net.get_submodule(part).requires_grad_(False)
        parts = TrainingParts(settings.recipe, self.net, library, self.device)
        if settings.recipe == "embedding":
            assert isinstance(self.net, Model)
            self.net.match_latents(parts.autoencoder("universal", voices[0]))
        method: Method | GuessTraining
        if isinstance(self.net, DomainGuesser):
            method = GuessTraining(self.net)
        else:
            method = next(kind for kind in CLASSES.values() if kind.recipe == settings.recipe)(parts)
        self.adversary: nn.Module | None = None
        if isinstance(method, SingleInstrument) and settings.loss.adversary:
            assert isinstance(self.net, Model)
            self.adversary = method.classifier = self.net.domain_classifier().to(self.device)
        # The classifier is kept out of the wrapped module: it learns by steps of its own.
        self.objective = Objective(self.net, method, voices)
        self.wrapped: nn.Module = self.objective
        if self.world > 1:
            self.wrapped = DistributedDataParallel(self.objective, find_unused_parameters=True)
        self.optimizers = self._optimizers()
        self.data, self.split = data, data.split()
        self.step, self.seconds = 0, 0.0
        if resume and (out / "state.json").is_file():
            self._restore()

    def train(self, *, budget_minutes: float | None = None, progress: Callable[[str], None] | None = None) -> None:
        """Train until the last step or the end of the budget, then export the weights."""
        saved = time.monotonic()
        started = saved - self.seconds
        deadline = math.inf if budget_minutes is None else time.monotonic() + 60 * budget_minutes
        if self.rank == 0:
            self._describe()
        self._set_training()
        sums: dict[str, float] = {}
        count = 0
        while self.step < self.settings.steps and not self._agree(time.monotonic() > deadline):
            for term, value in self._take_step().items():
                sums[term] = sums.get(term, 0.0) + value
            count += 1
            now = time.monotonic()
            self.seconds = now - started
            if now - saved > 60 * self.settings.save_minutes or self.step == self.settings.steps:
                saved = now
                means = {term: value / count for term, value in sums.items()}
                self._report(means, progress)
                sums, count = {}, 0
                self.save()
        self.save()
        self.export()

    def rehearse(self, count: int) -> None:
        """Take steps spread over the whole schedule, to learn what they cost; the weights are spoilt by it."""
        for index in range(count):
            self._take_step(share=index / count)

    @staticmethod
    def planned_steps(path: Path) -> int:
        """The steps that an earlier run, described in its run.json, set out to take."""
        return int(json.loads(path.read_text(encoding="utf-8"))["config"]["steps"])

    def _take_step(self, *, share: float | None = None) -> dict[str, float]:
        settings = self.settings
        share = self.step / settings.steps if share is None else share
        rate = settings.optimizer.rate(self.step, settings.steps)
        for group in self.optimizers[0].param_groups:
            group["lr"] = rate
        generator = torch.Generator(self.device).manual_seed(self._step_seed())
        # Layers that draw at random (dropout) use the global generator, which must not depend on the past either.
        torch.manual_seed(self._step_seed())
        batch = self._windows(self.split.train, self.step * self.world + self.rank, settings.seed)
        step = Step(self.step, share, generator, settings.loss, fit_adversary=self._fit_adversary)
        with self._autocast():
            losses: Losses = self.wrapped(batch, step)
        self.optimizers[0].zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, settings.optimizer.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient at step {self.step} is {norm.item()}, expected a finite number")
        self.optimizers[0].step()
        self.step += 1
        terms = {term: value.item() for term, value in losses.terms.items()}
        return {"total": losses.total.item(), **terms, "gradient_norm": norm.item()}

    def _fit_adversary(self, loss: Callable[[], Tensor]) -> None:
        assert self.adversary is not None
        parameters = list(self.adversary.parameters())
        for _ in range(self.settings.loss.adversary_steps):
            gradients = torch.autograd.grad(loss(), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if self.world > 1:
                    dist.all_reduce(gradient)
                parameter.grad = gradient / self.world
            self.optimizers[1].step()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over fixed windows of the validation pieces, undistorted."""
        self.net.eval()
        sums: dict[str, float] = {}
        for index in range(VALIDATION_BATCHES):
            generator = torch.Generator(self.device).manual_seed(index)
            batch = self._windows(self.split.validation, index, 1_000_003)
            # As if at the end of the run, when every term counts, so that the figures compare all along.
            step = Step(index, 1.0, generator, self.settings.loss, augment=False)
            with self._autocast():
                losses = self.objective.method.loss(batch, self.objective.voices, step)
            for term, value in losses.terms.items():
                sums[f"validation_{term}"] = sums.get(f"validation_{term}", 0.0) + value.item() / VALIDATION_BATCHES
        self._set_training()
        return sums

    def save(self) -> None:
        """Write everything a resumed run needs; the old state stays until the new one is whole."""
        if self.rank:
            return
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.adversary is not None:
            tensors |= {f"adversary.{name}": tensor for name, tensor in self.adversary.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in state.items()}
        path = self.out / "state" / f"{self.step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        pointer = self.out / ".state.json"
        pointer.write_text(
            json.dumps({"step": self.step, "seconds": self.seconds, "file": path.name}), encoding="utf-8"
        )
        pointer.replace(self.out / "state.json")
        for old in path.parent.glob("*.safetensors"):
            if old != path:
                old.unlink()

    def _restore(self) -> None:
        pointer = json.loads((self.out / "state.json").read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(self.out / "state" / pointer["file"], device=str(self.device))

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.net.load_state_dict(under("net."))
        if self.adversary is not None:
            self.adversary.load_state_dict(under("adversary."))
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in under(f"optimizer.{number}.").items():
                index, _, entry = key.partition(".")
                state.setdefault(int(index), {})[entry] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.step, self.seconds = int(pointer["step"]), float(pointer["seconds"])
        # What was logged after the state was saved will be done, and logged, again.
        log = self.out / "metrics.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
        log.write_text("".join(line for line in lines if json.loads(line)["step"] <= self.step), encoding="utf-8")

    def export(self) -> None:
        """Write the weights as a checkpoint that translation can use."""
        if self.rank:
            return
        if self.settings.recipe == "universal":
            assert isinstance(self.net, Model)
            voices = [Voice.from_label(label) for label in self.settings.voices]
            sounds = [
                self._windows(self.split.train, index, 2_000_003).heard[:, voices].flatten(0, 1) for index in range(8)
            ]
            self.net.measure_latents(sounds, UNTOLD)
        training = {
            "configuration": self.name,
            "steps": self.step,
            "seconds": round(self.seconds),
            "data": _described(self.data),
            "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
            **{term: round(value, 4) for term, value in self.validate().items()},
        }
        card = checkpoint.Card(
            backbone="demucs" if self.settings.recipe == "separation" else self.settings.backbone,
            recipe=self.settings.recipe,
            voices=self.settings.voices,
            config=self.settings.network,
            training=training,
        )
        checkpoint.save(self.out / self.name, card, self.net.state_dict(), half=True)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self.settings.optimizer
        betas = (settings.betas[0], settings.betas[1])
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(trained, settings.learning_rate, betas=betas, weight_decay=settings.weight_decay)
        ]
        if self.adversary is not None:
            rate = settings.adversary_learning_rate
            optimizers.append(torch.optim.AdamW(self.adversary.parameters(), rate, betas=(0.5, 0.99)))
        return optimizers

    def _set_training(self) -> None:
        self.net.train()
        for part in self.settings.freeze:
            self.net.get_submodule(part).eval()

    def _step_seed(self) -> int:
        return int(np.random.SeedSequence([self.settings.seed, self.step, self.rank]).generate_state(1)[0])

    def _windows(self, pieces: tuple[str, ...], step: int, seed: int) -> Windows:
        windows = self.data.windows(
            pieces,
            batch_size=self.settings.batch_size,
            window_samples=self.settings.window_samples,
            balance_db=self.settings.balance_db,
            seed=seed,
            step=step,
        )
        return Windows(heard=windows.heard.to(self.device), gold=windows.gold.to(self.device))

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.autocast):
            yield

    def _agree(self, stop: bool) -> bool:
        if self.world == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(flag)
        return bool(flag > 0)

    def _report(self, means: Mapping[str, float], progress: Callable[[str], None] | None) -> None:
        record = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "rate": self.settings.optimizer.rate(self.step, self.settings.steps),
            **means,
            **self.validate(),
        }
        if self.rank == 0:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            if progress is not None:
                shown = " ".join(f"{key} {value:.4g}" for key, value in record.items())
                progress(f"{self.name}: {shown}")

    def _describe(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        record = {
            "name": self.name,
            "config": asdict(self.settings),
            "commit": commit.stdout.strip() or None,
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            "device": str(self.device),
            "data": _described(self.data),
        }
        (self.out / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _described(data: Reduced) -> str:
    takes = max(piece.takes for piece in data.pieces)
    return f"{len(data.pieces)} pieces, {data.duration_s / 60:.0f} minutes, {takes} takes"
