"""What the engine is built for: sets of instructions, and which of them this processor has."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class InstructionSet:
    """What a build may use.

    Attributes
    ----------
    needs : as Linux lists them in /proc/cpuinfo
    flags : of the compiler
    bfloat16 : whether products of bfloat16 have an instruction of their own; elsewhere they are slower than float32
    streams_per_thread : so many are played at once before more gain nothing: the faster a thread works for its memory,
        the more of them are worth the weights that come by for each sample
    """

    needs: frozenset[str]
    flags: tuple[str, ...]
    bfloat16: bool = False
    streams_per_thread: int = 8


_AVX2 = frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
# The fastest first; a later one runs wherever an earlier one does.
SETS = {
    "amx": InstructionSet(
        _AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"},
        ("-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
        bfloat16=True,
        streams_per_thread=16,
    ),
    "avx512-bf16": InstructionSet(
        _AVX512 | {"avx512_bf16"},
        ("-march=x86-64-v4", "-mavx512bf16"),
        bfloat16=True,
        streams_per_thread=6,
    ),
    "avx512": InstructionSet(_AVX512, ("-march=x86-64-v4",), streams_per_thread=16),
    "avx2": InstructionSet(_AVX2, ("-march=x86-64-v3",)),
    "portable": InstructionSet(frozenset(), ()),
}


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def offered() -> frozenset[str]:
    """What this processor offers, as Linux names it; empty where nobody says."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def runnable() -> list[str]:
    """The instruction sets that this processor has, the fastest first."""
    return [name for name, needed in SETS.items() if needed.needs <= offered()]
