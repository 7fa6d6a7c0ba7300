"""Which engine plays: what is asked for by configuration or environment, as far as this machine has it."""

import logging
import os
import reprlib
import threading
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch

from musicstar.config import ConfigError
from musicstar.engines import native, processors
from musicstar.engines.base import Engine
from musicstar.engines.unrolled import UnrolledEngine

LOG = logging.getLogger(__name__)
Kind = Literal["auto", "torch", "amx", "avx512-bf16", "avx512", "avx2", "portable"]
Precision = Literal["float32", "bfloat16"]
MOST_THREADS = 1024
# Threads that ask at once have the engine built once, and play on the same one.
_CHOOSING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What is asked for.

    Attributes
    ----------
    engine : "auto" is the fastest native one that this processor runs, "torch" plain PyTorch
    precision : of the products of the native engine
    threads : of the native engine; 0 is as many as PyTorch uses
    """

    engine: Kind = "auto"
    precision: Precision = "float32"
    threads: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("engine", self.engine, get_args(Kind)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(known)}")
        if not 0 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"threads is {self.threads}, expected a whole number from 0 to {MOST_THREADS}")

    @classmethod
    def from_environment(cls) -> "EngineConfig":
        """What MUSICSTAR_ENGINE, MUSICSTAR_PRECISION and MUSICSTAR_THREADS ask for."""
        threads = os.environ.get("MUSICSTAR_THREADS") or "0"
        if not threads.isdecimal() or len(threads.lstrip("0")) > len(str(MOST_THREADS)):
            found = reprlib.repr(threads)
            raise ConfigError(f"MUSICSTAR_THREADS is {found}, expected a whole number from 0 to {MOST_THREADS}")
        return cls(
            engine=os.environ.get("MUSICSTAR_ENGINE") or "auto",  # type: ignore[arg-type]
            precision=os.environ.get("MUSICSTAR_PRECISION") or "float32",  # type: ignore[arg-type]
            threads=int(threads.lstrip("0") or "0"),
        )


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is this one."""

    engine: Engine
    why: str


@cache
def choose(config: EngineConfig) -> Choice:
    """The engine for decoders on the processor."""
    if config.engine == "torch":
        return Choice(UnrolledEngine(), "it was asked for")
    wanted = processors.runnable() if config.engine == "auto" else [config.engine]
    refusals = []
    for name in wanted:
        try:
            engine = native.NativeEngine(name, bfloat16=config.precision == "bfloat16", threads=config.threads)
        except native.Unavailable as error:
            refusals.append(str(error))
            continue
        break
    else:
        why = "; ".join(dict.fromkeys(refusals))
        LOG.warning("WaveNets are played by plain PyTorch, some ten times slower: %s", why)
        return Choice(UnrolledEngine(), why)
    if refusals:
        LOG.warning("WaveNets are played with %s instructions only: %s", name, "; ".join(refusals))
    why = "it was asked for" if config.engine != "auto" else "it is the fastest that runs here"
    if config.precision == "bfloat16" and not processors.SETS[name].bfloat16:
        why += "; it has no instruction for bfloat16, which pays for few clips at once only"
    return Choice(engine, "; ".join([why, *refusals]))


def engine_for(module: torch.nn.Module) -> Engine:
    """The engine that the environment asks for; plain PyTorch where the weights are not on the processor."""
    if next(module.parameters()).device.type != "cpu":
        return choose(EngineConfig(engine="torch")).engine
    with _CHOOSING:
        return choose(EngineConfig.from_environment()).engine
