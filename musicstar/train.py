"""The one training loop: every recipe of either backbone, on a CPU, a GPU, or several through torchrun.

What a step sees follows from the seed and the step's number alone, so a run that was stopped and resumed walks the same
curve as one that was not.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from musicstar import backbones, beginnings, checkpoint
from musicstar.audio import SAMPLE_RATE
from musicstar.config import ConfigError
from musicstar.domains import Voice
from musicstar.evaluation.style import DomainJudge, JudgeTraining, StyleNet, StyleTraining
from musicstar.guess import DomainGuesser, GuessTraining
from musicstar.losses import Losses, Step
from musicstar.methods.method import Method
from musicstar.methods.registry import CLASSES
from musicstar.methods.single import SingleInstrument
from musicstar.model import Model
from musicstar.parts import TrainingParts
from musicstar.recipes import TrainConfig
from musicstar.runfolder import RunFolder
from musicstar.starnet import Reduced, Windows

VALIDATION_BATCHES = 8

Listening = GuessTraining | StyleTraining | JudgeTraining


class Objective(nn.Module):
    """A method's loss as a module, which is what DistributedDataParallel wraps."""

    def __init__(self, net: nn.Module, method: Method | Listening, voices: tuple[Voice, ...]) -> None:
        super().__init__()
        self.net = net
        self.method = method
        self.voices = voices

    def forward(self, batch: Windows, step: Step) -> Losses:
        """The losses of one batch."""
        return self.method.loss(batch, self.voices, step)


class Run:
    """One training run in its folder `out`.

    Parameters
    ----------
    data : what it learns from
    library : finished weights that its loss may look at, and that it may begin with
    resume : go on from the state in `out`, where there is one
    """

    def __init__(
        self, name: str, settings: TrainConfig, data: Reduced, out: Path, *, library: checkpoint.Library, resume: bool
    ) -> None:
        self.name, self.settings, self.folder = name, settings, RunFolder(out)
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.device = local_device()
        self.bfloat16 = settings.autocast and computes_in_bfloat16(self.device)
        torch.manual_seed(settings.seed)
        torch.set_flush_denormal(True)
        self.voices = tuple(Voice.from_label(label) for label in settings.voices)
        distinct = tuple(dict.fromkeys(self.voices))
        self.net = backbones.build(settings.backbone, settings.recipe, distinct, settings.network).to(self.device)
        self.data, self.split = data, data.split()
        self.resumed = resume and self.folder.step() is not None
        if settings.begin_with and not self.resumed:
            beginnings.begin_with(
                self.net,
                settings.begin_with,
                voices=settings.voices,
                parts=settings.begin_parts,
                library=library,
            )
        parts_there = dict(self.net.named_modules())
        for part in settings.freeze:
            if part not in parts_there:
                raise ConfigError(f"{name} cannot freeze {part!r}: its network has no such part")
            parts_there[part].requires_grad_(False)
        self.partner = ""
        bound_to = self.folder.partner() if self.resumed and settings.recipe == "embedding" else ""
        parts = TrainingParts(settings.recipe, self.net, library, self.device, universal=bound_to)
        if settings.recipe == "embedding":
            assert isinstance(self.net, Model)
            self.net.match_latents(parts.autoencoder("universal", self.voices[0]))
            self.partner = parts.sha256("universal", self.voices[0])
        self.adversary: nn.Module | None = None
        method: Method | Listening
        if isinstance(self.net, DomainGuesser):
            method = GuessTraining(self.net)
        elif isinstance(self.net, StyleNet):
            method = StyleTraining(self.net)
        elif isinstance(self.net, DomainJudge):
            method = JudgeTraining(self.net)
        else:
            method = next(kind for kind in CLASSES.values() if kind.recipe == settings.recipe)(parts)
        self.guide = self._guide(parts, method) if settings.loss.guided_until else None
        if isinstance(method, SingleInstrument) and settings.loss.adversary:
            assert isinstance(self.net, Model)
            self.adversary = method.classifier = self.net.domain_classifier().to(self.device)
        if settings.decoders_from and not self.resumed:
            assert isinstance(method, SingleInstrument)
            self._take_decoders(library, method)
        # The classifier is kept out of the wrapped module: it learns by steps of its own.
        self.objective = Objective(self.net, method, self.voices)
        self.wrapped: nn.Module = self.objective
        if self.world > 1:
            self.wrapped = DistributedDataParallel(self.objective, find_unused_parameters=True)
        self.optimizers = self._optimizers()
        self.step, self.seconds = 0, 0.0
        if self.resumed:
            self._restore()

    def train(self, *, deadline: float = math.inf, progress: Callable[[str], None] | None = None) -> None:
        """Train until the last step or the deadline on `time.monotonic`'s clock, then export the weights.

        Raises
        ------
        FloatingPointError
            A gradient is not finite.
        """
        began = self.step
        if self.resumed:
            self._begin()
        started = time.monotonic() - self.seconds
        reported = time.monotonic()
        self._set_training()
        sums: dict[str, float] = {}
        count = 0
        while not self._agree(self.step >= self.settings.steps or time.monotonic() > deadline):
            if self.step == began and not self.resumed:
                # What an earlier run has left is lost by the first step, not by a budget that ends before it.
                self._begin()
            for term, value in self._take_step().items():
                sums[term] = sums.get(term, 0.0) + value
            count += 1
            self.seconds = time.monotonic() - started
            if time.monotonic() - reported > 60 * self.settings.save_minutes:
                self._report({term: value / count for term, value in sums.items()}, progress)
                self._save()
                reported, sums, count = time.monotonic(), {}, 0
        if count:
            self._report({term: value / count for term, value in sums.items()}, progress)
            self._save()
        # Weights that are there already may have been measured, and others be bound to them.
        if self.step and self.rank == 0 and (self.step > began or not self._is_exported()):
            self._export()

    def _begin(self) -> None:
        if self.rank:
            return
        if not self.resumed:
            self.folder.forget()
        self.folder.begin(
            self.name,
            self.settings,
            device=f"{self.device}, {'bfloat16' if self.bfloat16 else 'float32'}",
            data=self.data.described,
            data_sha256=self.data.sha256,
            partner=self.partner,
        )
        if self.resumed:
            self.folder.trim_log(self.step)

    def _is_exported(self) -> bool:
        try:
            card = checkpoint.Card.read(self.folder.path / f"{self.name}.json")
        except checkpoint.CheckpointError:
            return False
        whole = (self.folder.path / f"{self.name}.safetensors").is_file()
        return whole and (card.training.get("steps"), card.training.get("seconds")) == (self.step, round(self.seconds))

    def rehearse(self, count: int) -> None:
        """Take steps spread over the whole schedule, to learn what they cost; the weights are spoilt by it."""
        for index in range(count):
            self._take_step(share=index / count)

    def _take_step(self, *, share: float | None = None) -> dict[str, float]:
        settings = self.settings
        share = self.step / settings.steps if share is None else share
        for group in self.optimizers[0].param_groups:
            group["lr"] = settings.optimizer.rate(self.step, settings.steps)
        seed = int(np.random.SeedSequence([settings.seed, self.step, self.rank]).generate_state(1)[0])
        generator = torch.Generator(self.device).manual_seed(seed)
        # Layers that draw at random (dropout) use the global generator, which must not depend on the past either.
        torch.manual_seed(seed)
        batch = self._windows(self.split.train, self.step * self.world + self.rank, settings.seed)
        step = Step(self.step, share, generator, settings.loss, fit_adversary=self._fit_adversary, guide=self.guide)
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
    def _validate(self) -> dict[str, float]:
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

    def _report(self, means: Mapping[str, float], progress: Callable[[str], None] | None) -> None:
        if self.rank:
            return
        rate = self.settings.optimizer.rate(self.step, self.settings.steps)
        record = {"step": self.step, "seconds": round(self.seconds, 1), "rate": rate, **means, **self._validate()}
        self.folder.log(record)
        if progress is not None:
            progress(f"{self.name}: " + " ".join(f"{key} {value:.4g}" for key, value in record.items()))

    def _save(self) -> None:
        if self.rank:
            return
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.adversary is not None:
            tensors |= {f"adversary.{name}": tensor for name, tensor in self.adversary.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in state.items()}
        self.folder.save(tensors, step=self.step, seconds=self.seconds)

    def _restore(self) -> None:
        tensors, self.step, self.seconds = self.folder.load(self.device)

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

    def _encoder_inputs(self, method: Method) -> list[list[tuple[Tensor, Tensor]]]:
        """Of the training pieces, what an encoder hears of `beginnings.FITTED_SECONDS` for each voice, in batches."""
        seconds = self.settings.batch_size * self.settings.window_samples / SAMPLE_RATE
        batches = math.ceil(beginnings.FITTED_SECONDS / seconds)
        windows = (self._windows(self.split.train, index, 3_000_003) for index in range(batches))
        return [method.encoder_inputs(batch, self.voices) for batch in windows]

    def _guide(self, parts: TrainingParts, method: Method | Listening) -> Callable[[Tensor, Tensor], Tensor]:
        inputs: list[list[tuple[Tensor, Tensor]]] = []
        if self.settings.loss.guide_whitened:
            inputs = self._encoder_inputs(method) if isinstance(method, Method) else []
            if not any(inputs):
                raise ConfigError(
                    f"{self.name} cannot whiten its guide: {self.settings.recipe} has no encoder of its own"
                )
        return parts.guide(self.voices[0], whitened_on=itertools.chain.from_iterable(inputs))

    @torch.no_grad()
    def _take_decoders(self, library: checkpoint.Library, method: SingleInstrument) -> None:
        """Begin with decoders of other networks, brought to follow the latents they will be given first."""
        assert isinstance(self.net, backbones.WaveNetModel)
        with self._autocast():
            beginnings.take_decoders(
                self.net,
                self.settings.decoders_from,
                inputs=self._encoder_inputs(method),
                latents=self.guide or self.net.encode,
                library=library,
            )

    def _export(self) -> None:
        """Write the weights as a checkpoint that translation can use."""
        method = self.objective.method
        # A frozen encoder's latents are known, and other encoders are bound to them as they are.
        if isinstance(self.net, Model) and isinstance(method, Method) and "encoder" not in self.settings.freeze:
            batches = [self._windows(self.split.train, index, 2_000_003) for index in range(8)]
            inputs = [pair for batch in batches for pair in method.encoder_inputs(batch, self.voices)]
            if inputs:
                self.net.measure_latents(inputs)
        training = {
            "configuration": self.name,
            **({"begun_with": self.settings.begin_with} if self.settings.begin_with else {}),
            **({"decoders_from": self.settings.decoders_from} if self.settings.decoders_from else {}),
            "steps": self.step,
            "seconds": round(self.seconds),
            "data": self.data.described,
            "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
            **{term: round(value, 4) for term, value in self._validate().items()},
        }
        card = checkpoint.Card(
            backbone=self.settings.backbone,
            recipe=self.settings.recipe,
            voices=tuple(dict.fromkeys(self.settings.voices)),
            config=asdict(self.net.config),
            training=training,
            partner=self.partner,
        )
        checkpoint.save(self.folder.path / self.name, card, self.net.state_dict(), half=True)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self.settings.optimizer
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                trained,
                settings.learning_rate,
                betas=(settings.betas[0], settings.betas[1]),
                weight_decay=settings.weight_decay,
            )
        ]
        if self.adversary is not None:
            rate = settings.adversary_learning_rate
            optimizers.append(torch.optim.AdamW(self.adversary.parameters(), rate, betas=(0.5, 0.99)))
        return optimizers

    def _set_training(self) -> None:
        self.net.train()
        for part in self.settings.freeze:
            self.net.get_submodule(part).eval()

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
        # The cache would keep the 16-bit copies of weights that the classifier's own steps change within a forward.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            yield

    def _agree(self, stop: bool) -> bool:
        """Whether any process wants to stop: all leave the loop together."""
        if self.world == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(flag)
        return bool(flag > 0)


def local_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it; a CPU without them is many times slower at it than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
