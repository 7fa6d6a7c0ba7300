"""Worker processes, each of which does several things side by side.

What is asked of one process is done in threads of it, which all the while share the cores, the weights that are
loaded, and a WaveNet's engine: there the clips of all visitors go side by side.
"""

import logging
import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseManager
from typing import Any

from musicstar.engines.processors import cores

LOG = logging.getLogger(__name__)


class _Manager(BaseManager):
    """A process whose threads work, one for each that is waited for here."""


class Worker:
    """What lives in a worker process."""

    def run(self, work: str, *arguments: Any) -> Any:
        """Call one of the functions of `musicstar.work` or `musicstar.concepts.visits` by name."""
        return run(work, *arguments)


_Manager.register("Worker", Worker)


class Pool:
    """Worker processes that can be had again after a crash.

    Parameters
    ----------
    processes : how many
    together : how many things each does side by side
    """

    def __init__(self, *, processes: int, niceness: int, together: int = 1) -> None:
        self.places = processes * together
        self._processes, self._niceness = processes, niceness
        # Workers hold the other end: it closes when this process closes it or dies in whatever way.
        self._held_by_workers, self._lifeline = multiprocessing.get_context("spawn").Pipe(duplex=False)
        self._waiters = ThreadPoolExecutor(self.places)
        self._lock = threading.Lock()
        self._managers: list[_Manager | None] = [None] * processes
        self._busy = [0] * processes

    def submit(self, work: str, *arguments: Any) -> "Future[Any]":
        """Have a function called in a worker; see `run`."""
        return self._waiters.submit(self._ask, work, *arguments)

    def _ask(self, work: str, *arguments: Any) -> Any:
        with self._lock:
            place = self._busy.index(min(self._busy))
            self._busy[place] += 1
        manager = None
        try:
            with self._lock:
                manager = self._managers[place] or self._start(place)
            return manager.Worker().run(work, *arguments)  # type: ignore[attr-defined]
        except (EOFError, ConnectionError) as error:
            with self._lock:
                if self._managers[place] is manager:
                    self._managers[place] = None
                    LOG.warning("a worker process died; another takes its place")
            raise BrokenProcessPool("the process ended") from error
        finally:
            with self._lock:
                self._busy[place] -= 1

    def _start(self, place: int) -> _Manager:
        threads = max(1, cores() // self._processes)
        manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        manager.start(_begin_work, (self._niceness, threads, self._held_by_workers))
        self._managers[place] = manager
        return manager

    def close(self) -> None:
        """End the workers at once, whatever they do."""
        self._lifeline.close()
        self._waiters.shutdown(wait=True, cancel_futures=True)
        self._held_by_workers.close()


def _begin_work(niceness: int, threads: int, lifeline: Connection) -> None:
    """Prepare a worker: give way to the web server, and end with it."""
    os.nice(niceness)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # Threads of several jobs share the cores: none may spin while it waits.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    def end_with_parent() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            # Nothing is left to tidy up for, and a thread cannot end its process in a gentler way.
            os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()


def run(work: str, *arguments: Any) -> Any:
    """Call one of the functions of `musicstar.work` or `musicstar.concepts.visits` by name, in a worker process."""
    # Imported here and by name: the web process, which knows this module, must not load PyTorch.
    from musicstar import work as workshop
    from musicstar.concepts import visits
    from musicstar.jobs import Job

    functions: Mapping[str, Any] = {
        "warm": workshop.warm,
        "inspect": workshop.inspect,
        "translate": workshop.translate,
        "hear": visits.hear,
        "own": visits.own,
    }
    try:
        return functions[work](*arguments)
    except Exception:
        for job in arguments:
            if isinstance(job, Job):
                # Whatever failed, it failed for want of a job that has been deleted meanwhile, if it has.
                Job.find(job.folder.parent, job.id)
        raise
