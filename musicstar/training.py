"""Training runs by name, in an order in which each finds what it needs."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from musicstar import checkpoint
from musicstar.domains import Voice
from musicstar.recipes import TrainConfig, runs
from musicstar.runfolder import RunError, RunFolder
from musicstar.starnet import Reduced, load, reduce
from musicstar.train import Run, local_device

# Beside the runs, the set they learn from.
CACHE = "reduced"
SHIPPED = Path(__file__).parent / "weights"


def train(
    names: Sequence[str],
    *,
    data: Path,
    out: Path,
    budget_minutes: float | None = None,
    fit: bool = False,
    resume: bool = False,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Train configurations one after the other, each into its folder below `out`.

    Parameters
    ----------
    names : shipped configurations or paths of TOML files
    data : folder in the StarNet layout, or one that `starnet.reduce` filled
    budget_minutes : for all together; what is left is shared by those still to come, as their `budget_share` says
    fit : let each learning-rate schedule end with its share of the budget
    resume : go on with runs that were stopped, pass over those that are done, and begin embeddings anew whose universal
        weights are others by now

    Raises
    ------
    ConfigError, CheckpointError
        A configuration or weights it builds on are missing or wrong.
    RunError
        A run cannot be resumed, or its folder holds something else; two runs share a name; or the budget ended before
        the first step of any.
    """
    planned: dict[str, TrainConfig] = {}
    for given in names:
        for name, settings in runs(given).items():
            if name in planned:
                raise RunError(f"two configurations are named {name}, and would train into one folder")
            if name == CACHE or name.startswith("."):
                raise RunError(f"{given}: a run cannot be named {name!r}; name the file otherwise")
            RunFolder(out / name).require_own()
            planned[name] = settings
    deadline = math.inf if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    left_out = steps_taken = 0
    with _processes() as rank:
        reduced = _reduced(data, out / CACHE, rank)
        shares = [settings.budget_share for settings in planned.values()]
        for number, (name, settings) in enumerate(planned.items()):
            now = time.monotonic()
            own_deadline = now + (deadline - now) * shares[number] / sum(shares[number:])
            goes_on = resume and not _is_unbound(name, settings, out)
            if resume and not goes_on and progress is not None and rank == 0:
                progress(f"{name}: begun anew, as the universal weights that it was begun with are there no more")
            planned_before = RunFolder(out / name).planned_steps() if goes_on else None
            steps = planned_before or settings.steps
            if steps != settings.steps and progress is not None and rank == 0:
                progress(f"{name}: goes on to the {steps} steps it was begun with, not to {settings.steps}")
            if fit and math.isfinite(deadline) and not (goes_on and RunFolder(out / name).step()):
                steps = _steps_within(own_deadline, _begin(name, settings, reduced, out, resume=False))
            if not _together(own_deadline - time.monotonic()) > 0:
                if progress is not None and rank == 0:
                    progress(f"{name}: left out, the budget is used up")
                left_out += 1
                continue
            run = _begin(name, replace(settings, steps=steps), reduced, out, resume=goes_on)
            before = run.step
            run.train(deadline=own_deadline, progress=progress)
            steps_taken += run.step - before
            left_out += run.step < run.settings.steps and run.step == before
            # The weights are written by one process, and the next run may build on them.
            _wait()
    if left_out and not steps_taken:
        raise RunError(f"nothing was trained: the budget of {budget_minutes:g} minutes ended before the first step")


def _begin(name: str, settings: TrainConfig, data: Reduced, out: Path, *, resume: bool) -> Run:
    voices = tuple(label for label in settings.voices if Voice.from_label(label).domain in data.domains)
    if not voices:
        there = ", ".join(data.domains)
        raise RunError(
            f"{name} is for {', '.join(settings.voices)}, and the set holds {there}: train it on another set"
        )
    settings = replace(settings, voices=voices)
    return Run(name, settings, data, out / name, library=_library(out), resume=resume)


def _library(out: Path) -> checkpoint.Library:
    return checkpoint.Library([*sorted(path for path in out.glob("*/") if path.is_dir()), SHIPPED])


def _is_unbound(name: str, settings: TrainConfig, out: Path) -> bool:
    """Whether encoders were begun with universal weights that have been trained on, or away, since."""
    bound_to = RunFolder(out / name).partner() if settings.recipe == "embedding" else ""
    found = _library(out).find(settings.backbone, "universal", settings.voices[0], sha256=bound_to)
    return bool(bound_to) and found is None


def _steps_within(deadline: float, trial: Run) -> int:
    """How many steps fit before a deadline, by the speed of a few on a run that is thrown away."""
    warm, timed = 3, 9
    trial.rehearse(warm)
    started = time.monotonic()
    trial.rehearse(timed)
    now = time.monotonic()
    return max(1, int(_together(0.93 * (deadline - now) * timed / (now - started))))


def _reduced(data: Path, cache: Path, rank: int) -> Reduced:
    """The set in `data`, reduced by the first process while the others wait."""
    if (data / "reduced.json").is_file():
        return load(data)
    if rank == 0:
        reduce(data, cache)
    _wait()
    return load(cache)


@contextmanager
def _processes() -> Iterator[int]:
    """The group of processes that torchrun started, if it did; yields this one's rank."""
    if "RANK" not in os.environ:
        yield 0
        return
    # Reducing the published set takes the first process hours, and the others wait for it.
    local_device()
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(hours=12))
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _together(value: float) -> float:
    """The first process's value, for all of them."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=local_device())
    dist.broadcast(shared, 0)
    return float(shared)
