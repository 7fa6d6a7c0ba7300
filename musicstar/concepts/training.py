"""Training the backbone: what it hears of a library is reduced once, then learned within a budget of minutes.

Nothing but PyTorch, numpy and safetensors is needed once a library is reduced, so `fit` runs on a bare machine.
"""

import json
import logging
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicstar.concepts import sfx
from musicstar.concepts.atlas import TRAIN, VALIDATION
from musicstar.concepts.cache import Progress
from musicstar.concepts.library import Library
from musicstar.concepts.patches import LEVELS, TAGS, Changes, Patches, changed, reduce
from musicstar.concepts.sfx import FrontEnd
from musicstar.files import write_whole
from musicstar.runfolder import RunError, RunFolder
from musicstar.train import computes_in_bfloat16, local_device

logger = logging.getLogger(__name__)

MAX_POSITIVE_WEIGHT = 30.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A training run.

    Attributes
    ----------
    width : of `sfx.Cnn9`
    budget_minutes : of training, over which the learning rate falls as a cosine
    steps : at which it ends, whatever is left of the budget; the learning rate follows these where they are given
    warmup_steps : in which the learning rate rises
    report_minutes : from one validation, with its line of metrics and its state to go on from, to the next
    patience : validations without a better one, after which it ends
    """

    width: int = 32
    budget_minutes: float = 60.0
    seed: int = 0
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    clip_norm: float = 5.0
    steps: int | None = None
    report_minutes: float = 4.0
    patience: int = 20
    changes: Changes = Changes()

    def __post_init__(self) -> None:
        if min(self.width, self.batch_size, self.warmup_steps, self.patience) < 1 or self.budget_minutes <= 0:
            raise ValueError(
                f"width {self.width}, batch_size {self.batch_size}, warmup_steps {self.warmup_steps}, patience "
                f"{self.patience}, budget_minutes {self.budget_minutes:g}; expected 1 or more, and a budget above 0"
            )


def train(
    library: Library,
    out: str | Path,
    *,
    width: int = 32,
    budget_minutes: float,
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
    reducing: Progress | None = None,
    front_end: FrontEnd | None = None,
) -> Path:
    """Train the backbone on a library.

    Parameters
    ----------
    out : folder that gets the best checkpoint, `concepts-cnn9`; `run` with configuration, metrics and state; and
        `frames`, what the clips were reduced to
    budget_minutes : of training alone; clips are reduced before
    resume : go on from the state in `out`, where there is one
    progress : told the steps taken and about how many there will be
    reducing : told how many clips are reduced, and of how many

    Returns
    -------
    Path
        The tensors' file of the weights with the best validation score.
    """
    out = Path(out)
    patches = reduce(library, out / "frames", front_end=front_end, seed=seed, progress=reducing)
    settings = Settings(width=width, budget_minutes=budget_minutes, seed=seed)
    return fit(patches, out, settings, resume=resume, progress=progress)


def fit(
    patches: Patches,
    out: str | Path,
    settings: Settings,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train on reduced clips; see `train`."""
    run = Run(patches, Path(out), settings, resume=resume)
    run.train(progress)
    return run.best_path


class Run:
    """One training run. What a step sees follows from the seed and the step's number alone."""

    def __init__(self, patches: Patches, out: Path, settings: Settings, *, resume: bool) -> None:
        self.patches, self.settings = patches, settings
        self.folder = RunFolder(out / "run")
        self.best_path = out / f"{sfx.SHIPPED}.safetensors"
        self.device = local_device()
        self.bfloat16 = computes_in_bfloat16(self.device)
        torch.manual_seed(settings.seed)
        torch.set_flush_denormal(True)
        self.net = sfx.Classifier(settings.width, patches.groups).to(self.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), settings.learning_rate)
        self.places = {part: np.flatnonzero(patches.split == part) for part in (TRAIN, VALIDATION)}
        self.labels = torch.from_numpy(patches.labels).to(self.device)
        self.sizes = [len(labels) for labels in patches.groups.values()]
        positives = self.labels[torch.from_numpy(self.places[TRAIN]).to(self.device)].sum(0).float()
        negatives = len(self.places[TRAIN]) - positives
        self.positive_weight = (negatives / positives.clamp(min=1)).clamp(max=MAX_POSITIVE_WEIGHT)
        self.step, self.seconds, self.best, self.since_best = 0, 0.0, -1.0, 0
        self._begin(resume)

    def train(self, progress: Progress | None = None) -> None:
        """Train until the budget or the steps are used up, or nothing gets better.

        Raises
        ------
        FloatingPointError
            A gradient is not finite.
        """
        settings = self.settings
        started = time.monotonic() - self.seconds
        reported, total, count = time.monotonic(), 0.0, 0
        while self._share() < 1 and self.since_best < settings.patience:
            total += self.take_step()
            count += 1
            self.seconds = time.monotonic() - started
            if progress is not None:
                progress(self.step, max(self.step, round(self.step / max(self._share(), 1e-6))))
            if self._share() >= 1 or time.monotonic() - reported > 60 * settings.report_minutes:
                self._report(total / count)
                reported, total, count = time.monotonic(), 0.0, 0

    def take_step(self) -> float:
        """Learn from one batch; its loss."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / settings.warmup_steps)
        # While it is warmed up time has no say, so that the first losses follow from the seed.
        share = self._share() if self.step >= settings.warmup_steps or settings.steps is not None else 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * warm * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
        random = np.random.default_rng([settings.seed, self.step, 2])
        places = self._batch()
        mel = changed(self._random_windows(places, random), self.patches.front_end, settings.changes, random)
        self.net.train()
        loss = self._loss(self._logits(mel), self.labels[torch.from_numpy(places).to(self.device)])
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), settings.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient at step {self.step} is {norm.item()}, expected a finite number")
        self.optimizer.step()
        self.step += 1
        return loss.item()

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Macro F1 of each group on the validation clips, in 0..1; of tags, mean balanced accuracy."""
        self.net.eval()
        front_end, windows, counts = self.patches.front_end, [], []
        for frames in map(self.patches.clip, self.places[VALIDATION].tolist()):
            starts = front_end.starts(len(frames))
            windows += [frames[start : start + front_end.patch] for start in starts]
            counts.append(len(starts))
        parts = torch.from_numpy(np.stack(windows)).split(self.settings.batch_size)
        logits = torch.cat([torch.cat(self._logits(part.float() / LEVELS), dim=1) for part in parts])
        guessed = torch.stack([part.mean(0) for part in logits.split(counts)])
        truth = self.labels[torch.from_numpy(self.places[VALIDATION]).to(self.device)]
        if TAGS in self.patches.groups:
            return {TAGS: balanced_accuracy((guessed > 0).cpu().numpy(), truth.cpu().numpy())}
        scores = [
            macro_f1(part.cpu().numpy(), labels.cpu().numpy())
            for part, labels in zip(guessed.split(self.sizes, 1), truth.split(self.sizes, 1), strict=True)
        ]
        return dict(zip(self.patches.groups, scores, strict=True))

    def _share(self) -> float:
        """How much of the run is over; 1 or more at its end."""
        time_share = self.seconds / (60 * self.settings.budget_minutes)
        if self.settings.steps is None:
            return time_share
        return self.step / self.settings.steps if time_share < 1 else 1.0

    def _batch(self) -> np.ndarray:
        """Training clips of a step, each once in an epoch."""
        clips = self.places[TRAIN]
        size = min(self.settings.batch_size, len(clips))
        epoch, batch = divmod(self.step, len(clips) // size)
        order = np.random.default_rng([self.settings.seed, epoch, 1]).permutation(clips)
        return order[batch * size : (batch + 1) * size]

    def _random_windows(self, places: np.ndarray, random: np.random.Generator) -> Tensor:
        """A window of each clip, Tensor[B, patch, bands] in 0..1."""
        length, windows = self.patches.front_end.patch, []
        for frames in map(self.patches.clip, places.tolist()):
            start = int(random.integers(len(frames) - length + 1))
            windows.append(frames[start : start + length])
        return torch.from_numpy(np.stack(windows)).float() / LEVELS

    def _logits(self, mel: Tensor) -> list[Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits: list[Tensor] = self.net(mel.to(self.device))
        return [part.float() for part in logits]

    def _loss(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Mean over groups, each weighing the logarithm of its size, which is what a label of it tells.

        A clip without a label of a group says nothing about it.
        """
        if TAGS in self.patches.groups:
            return F.binary_cross_entropy_with_logits(logits[0], labels.float(), pos_weight=self.positive_weight)
        total, weights = logits[0].sum() * 0, 0.0
        for part, carried in zip(logits, labels.split(self.sizes, 1), strict=True):
            known = carried.any(1)
            if known.any():
                weight = math.log(part.shape[1])
                total = total + weight * F.cross_entropy(part[known], carried[known].int().argmax(1))
                weights += weight
        return total / max(weights, 1.0)

    def _report(self, loss: float) -> None:
        """Validate, keep the weights where they are the best so far, and a state to go on from."""
        scores = self.validate()
        score = float(np.mean(list(scores.values())))
        record = {"step": self.step, "seconds": round(self.seconds, 1), "loss": loss, "score": score, **scores}
        self.folder.log(record)
        logger.info("%s", " ".join(f"{name} {value:.4g}" for name, value in record.items()))
        self.since_best += 1
        if score > self.best:
            self.best, self.since_best = score, 0
            sfx.save(self.best_path, self.net, self.patches.front_end, self._card(scores))
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        tensors["best"] = torch.tensor([self.best, self.since_best], dtype=torch.float64)
        self.folder.save(tensors, step=self.step, seconds=self.seconds)

    def _card(self, scores: Mapping[str, float]) -> dict[str, Any]:
        measured = "balanced_accuracy" if TAGS in self.patches.groups else "macro_f1"
        return {
            "data": self.patches.data,
            "seed": self.settings.seed,
            "steps": self.step,
            "seconds": round(self.seconds),
            "parameters": sum(parameter.numel() for parameter in self.net.backbone.parameters()),
            f"validation_{measured}": {name: round(value, 4) for name, value in scores.items()},
        }

    def _begin(self, resume: bool) -> None:
        """Describe the run, or take up the one there is."""
        described = self.folder.path / "run.json"
        config = json.loads(json.dumps(asdict(self.settings) | {"data": self.patches.data}))
        if resume and self.folder.step() is not None:
            found = json.loads(described.read_text(encoding="utf-8"))["config"]
            if changed := sorted(name for name in config if found.get(name) != config[name]):
                raise RunError(f"{self.folder.path}: cannot resume, begun with other settings: {', '.join(changed)}")
            self._restore()
            return
        self.folder.forget()
        self.folder.path.mkdir(parents=True, exist_ok=True)
        (self.folder.path / "metrics.jsonl").unlink(missing_ok=True)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        record = {"config": config, "versions": versions, "device": str(self.device), "bfloat16": self.bfloat16}
        write_whole(described, (json.dumps(record, indent=2) + "\n").encode())

    def _restore(self) -> None:
        tensors, self.step, self.seconds = self.folder.load(self.device)
        best, since_best = tensors["best"].tolist()
        self.best, self.since_best = best, int(since_best)
        net = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
        self.net.load_state_dict(net)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, entry = name.split(".")
                state.setdefault(int(index), {})[entry] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.folder.trim_log(self.step)


def macro_f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 in 0..1, higher is better, of the classes that clips carry; 0 where none carries any.

    Parameters
    ----------
    scores : np.ndarray[P, C], of which the highest counts
    labels : np.ndarray[P, C], bool, one true at most
    """
    known = labels.any(1)
    guessed = np.eye(labels.shape[1], dtype=bool)[scores[known].argmax(1)]
    truth = labels[known]
    hits, sums = (guessed & truth).sum(0), guessed.sum(0) + truth.sum(0)
    there = truth.any(0)
    return float((2 * hits[there] / sums[there]).mean()) if there.any() else 0.0


def balanced_accuracy(guessed: np.ndarray, labels: np.ndarray) -> float:
    """Mean over tags that some clips carry and some do not, in 0..1, of (sensitivity + specificity) / 2; 0 for none.

    Parameters
    ----------
    guessed, labels : np.ndarray[P, N], bool
    """
    positives, negatives = labels.sum(0), (~labels).sum(0)
    there = (positives > 0) & (negatives > 0)
    sensitivity = (guessed & labels).sum(0)[there] / positives[there]
    specificity = (~guessed & ~labels).sum(0)[there] / negatives[there]
    return float((sensitivity + specificity).mean() / 2) if there.any() else 0.0
