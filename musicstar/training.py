"""Training runs by name, in an order in which each finds what it needs."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from musicstar import checkpoint
from musicstar.recipes import TrainConfig, runs
from musicstar.starnet import Reduced, load, reduce
from musicstar.train import Run

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
    budget_minutes : for all together; what is left is shared evenly by those still to come
    fit : let each learning-rate schedule end with its share of the budget
    resume : go on with runs that were stopped, pass over those that are done

    Raises
    ------
    ConfigError, CheckpointError
        A configuration or weights it builds on are missing or wrong.
    """
    planned = {name: settings for given in names for name, settings in runs(given).items()}
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    reduced = load(data) if (data / "reduced.json").is_file() else reduce(data, out / "reduced")
    deadline = None if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    for number, (name, settings) in enumerate(planned.items()):
        share = None if deadline is None else max(0.0, deadline - time.monotonic()) / 60 / (len(planned) - number)
        earlier = out / name / "run.json"
        if resume and earlier.is_file():
            steps = Run.planned_steps(earlier)
        elif fit and share is not None:
            steps = _steps_within(share, _begin(name, settings, reduced, out, resume=False))
        else:
            steps = settings.steps
        run = _begin(name, replace(settings, steps=steps), reduced, out, resume=resume)
        run.train(budget_minutes=share, progress=progress)


def _begin(name: str, settings: TrainConfig, data: Reduced, out: Path, *, resume: bool) -> Run:
    library = checkpoint.Library([*sorted(path for path in out.glob("*/") if path.is_dir()), SHIPPED])
    return Run(name, settings, data, out / name, library=library, resume=resume)


def _steps_within(minutes: float, trial: Run) -> int:
    """How many steps fit into a time, by the speed of a few on a run that is thrown away."""
    warm, timed = 3, 9
    trial.rehearse(warm)
    started = time.monotonic()
    trial.rehearse(timed)
    seconds = (time.monotonic() - started) / timed
    return max(1, int(0.93 * 60 * minutes / seconds))
