"""Turns that what is compared takes at being measured, and the memory it takes."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from musicstar.engines.unrolled import GRAPH_STEPS

Work = Callable[[int], object]


class Runner:
    """Something that can be done any number of times, and how long that takes."""

    def __init__(self, make: Callable[[], Work], *, turn_s: float, most: int = 1_000_000) -> None:
        resident = resident_mb(reset=True)
        self._work, self._turn_s, self._most = make(), turn_s, most
        self.times = max(1, min(most, 4))
        self.seconds_each()
        if torch.cuda.is_initialized():
            self.times = max(self.times, GRAPH_STEPS)
            self.seconds_each()
        self.memory_mb = resident_mb(peak=True) - resident

    def seconds_each(self) -> float:
        """Seconds for one, over as many as last a turn."""
        began_s = time.perf_counter()
        self._work(self.times)
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        each_s = (time.perf_counter() - began_s) / self.times
        self.times = max(1, min(self._most, round(self._turn_s / each_s)))
        return each_s


def resident_mb(*, reset: bool = False, peak: bool = False) -> float:
    """Memory of this process now, or at its most since the last reset; 0 where Linux does not say."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) / 1024


def repeated(do: Callable[[], object]) -> Work:
    """Something done any number of times."""
    return lambda times: [do() for _ in range(times)]
