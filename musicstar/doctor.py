"""What this machine has for the studio, and what it lacks: told by `musicstar doctor`."""

import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from musicstar.engines import native, processors
from musicstar.engines.choice import EngineConfig, choose

OPTIONAL = {
    "essentia": "content similarity by MultiPitchMelodia (extra eval)",
    "fluidsynth": "rendering sets (extra render, and libfluidsynth3)",
    "ray": "translating folders on several machines (extra cluster)",
    "psycopg": "answers in PostgreSQL (extra postgres)",
}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, and what was found."""

    name: str
    found: str


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.processor() or platform.machine()} ({', '.join(processors.runnable())})"


def _builds() -> str:
    try:
        return str(native.cache_folder())
    except OSError as error:
        return f"none are kept ({error})"


def examine() -> list[Finding]:
    """Everything, in the order it is told.

    Raises
    ------
    ConfigError
        The environment asks for an engine that there is none of.
    """
    config = EngineConfig.from_environment()
    chosen = choose(config)
    named, compiler = native.compiler()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    threads = f"{config.threads or torch.get_num_threads()} of {processors.cores()} cores"
    return [
        Finding("Python, PyTorch", f"{platform.python_version()}, {torch.__version__}"),
        Finding("processor", processor_name()),
        Finding("GPU", gpu),
        Finding("C++ compiler", compiler or f"none ({named} is not on the path)"),
        Finding("WaveNet engine", f"{chosen.engine.name}: {chosen.why}"),
        Finding("threads", threads),
        Finding("builds are kept in", _builds()),
        *(
            Finding(package, f"{'there' if importlib.util.find_spec(package) else 'not installed'}, for {purpose}")
            for package, purpose in OPTIONAL.items()
        ),
    ]
