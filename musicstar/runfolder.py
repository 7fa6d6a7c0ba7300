"""What a training run keeps on disk: its description, its metrics, and the state it can go on from."""

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from musicstar.config import parse
from musicstar.files import whole, write_whole
from musicstar.recipes import TrainConfig


class RunError(ValueError):
    """A run that cannot be begun or resumed as asked; the message says why."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    `run.json` holds configuration, versions and commit; `metrics.jsonl` a line per report; `state.json` names the file
    below `state` that a resumed run starts from.
    """

    path: Path

    def planned_steps(self) -> int | None:
        """The steps an earlier run here set out to take; None where there was none."""
        record = self._record()
        with self._whole_only():
            return None if record is None else int(record["config"]["steps"])

    def partner(self) -> str:
        """The sha256 of the weights that an earlier run here was bound to; empty where there were none."""
        record = self._record()
        return "" if record is None else str(record.get("partner", ""))

    def begin(
        self, name: str, settings: TrainConfig, *, device: str, data: str, data_sha256: str = "", partner: str = ""
    ) -> None:
        """Describe a run, and clear away what an earlier one left unless its state is gone on from.

        The weights of an earlier one stay until there are new ones.

        Raises
        ------
        RunError
            There is a state here of a run with other settings or on another set, or something here is of no run.
        """
        config = json.loads(json.dumps(asdict(settings)))
        self.require_own()
        if self.step() is None:
            (self.path / "metrics.jsonl").unlink(missing_ok=True)
            shutil.rmtree(self.path / "state", ignore_errors=True)
        else:
            record = self._record()
            assert record is not None
            # What an older version did not know of was as it is by default.
            known = parse(TrainConfig, record["config"], where=str(self.path / "run.json"))
            earlier = json.loads(json.dumps(asdict(known)))
            changed = sorted(key for key in config if earlier[key] != config[key])
            if changed:
                raise RunError(
                    f"{self.path}: cannot resume, the run there was begun with other settings: {', '.join(changed)}"
                )
            if record.get("data_sha256", data_sha256) != data_sha256:
                raise RunError(
                    f"{self.path}: cannot resume on another set, the run there was begun on {record['data']}"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        record = {
            "name": name,
            "config": config,
            "commit": _commit(),
            "versions": versions,
            "device": device,
            "data": data,
            "data_sha256": data_sha256,
            "partner": partner,
        }
        self._write("run.json", json.dumps(record, indent=2) + "\n")

    def require_own(self) -> None:
        """Raise RunError where the folder holds something, and no run."""
        if self.path.exists() and not (self.path / "run.json").is_file() and any(self.path.iterdir()):
            raise RunError(f"{self.path} holds files that are of no run: name another folder for the runs")

    def forget(self) -> None:
        """Take away the state, so that `begin` begins anew."""
        (self.path / "state.json").unlink(missing_ok=True)

    def log(self, record: Mapping[str, float]) -> None:
        """Add a line to the metrics."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def step(self) -> int | None:
        """The step of the state that is kept; None where there is none."""
        pointer = self.path / "state.json"
        with self._whole_only():
            return int(json.loads(pointer.read_text(encoding="utf-8"))["step"]) if pointer.is_file() else None

    def save(self, tensors: Mapping[str, Tensor], *, step: int, seconds: float) -> None:
        """Keep a state; the one before stays until this one is whole."""
        path = self.path / "state" / f"{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        self._write("state.json", json.dumps({"step": step, "seconds": seconds, "file": path.name}))
        for old in path.parent.glob("*.safetensors"):
            if old != path:
                old.unlink()

    def load(self, device: torch.device) -> tuple[dict[str, Tensor], int, float]:
        """The state that is kept: tensors, step, and seconds spent up to it."""
        with self._whole_only():
            pointer = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
            tensors = safetensors.torch.load_file(self.path / "state" / pointer["file"], device=str(device))
            return tensors, int(pointer["step"]), float(pointer["seconds"])

    def trim_log(self, step: int) -> None:
        """Drop what was logged after a step: it will be done, and logged, again."""
        log = self.path / "metrics.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
        with self._whole_only():
            kept = [line for line in lines if json.loads(line)["step"] <= step]
        self._write("metrics.jsonl", "".join(kept))

    def _record(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        with self._whole_only():
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @contextmanager
    def _whole_only(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(
                f"{self.path}: what an earlier run left is damaged ({error}); begin anew elsewhere"
            ) from error

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text.encode())


def _commit() -> str | None:
    """The checkout's commit; None outside one, or without git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
