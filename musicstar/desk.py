"""The desk: where visitors' requests wait their turn, and the processes that serve them.

Translations go to one pool, which does a few side by side, so that nobody waits for the whole of another's; past that
they are taken strictly in the order of arrival. Checks of new clips go to a second pool, so that a visitor sees their
clip at once however long the queue is. The processes are spawned, give way to the web server, and end with it even
when it is killed.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from musicstar import jobs
from musicstar.domains import Direction
from musicstar.jobs import Job, JobError, Limits, Order, Source, Step
from musicstar.methods.catalog import Backbone
from musicstar.pool import Pool

LOG = logging.getLogger(__name__)
TICK_S = 0.25
WARM_AFTER_S = 1.5
MOST_WAITING = 64
# Translations that a worker process does side by side.
TOGETHER = 4
KEEP_S = 12 * 3600.0
KEEP_BYTES = 4_000_000_000
SWEEP_EVERY_S = 600.0
CRASHED = (
    "The process that did the work stopped unexpectedly, perhaps for want of memory. It has been started "
    "again, and nothing of yours is lost: please try once more."
)

# Per backbone and direction, the methods that cannot be offered, and why.
NotOffered = dict[tuple[str, Direction], dict[str, str]]


@dataclass(frozen=True)
class View:
    """How an order stands.

    Attributes
    ----------
    ahead : how many orders are served before this one; None once it is being served
    steps : how far each method has come
    ended : whether this is the last view of the order
    failure : a sentence for a failure that concerns the order as a whole
    """

    ahead: int | None
    steps: tuple[Step, ...]
    ended: bool = False
    failure: str = ""


class Desk:
    """Takes requests, and says how they stand.

    Parameters
    ----------
    data : the folder of the jobs
    workers : processes that translate, each a few clips side by side
    """

    def __init__(self, *, data: Path, limits: Limits, workers: int = 1) -> None:
        self.data, self.limits = data, limits
        self._translators = Pool(processes=workers, niceness=10, together=TOGETHER)
        self._workers = workers
        self._inspectors = Pool(processes=1, niceness=5, together=2)
        self._listening = asyncio.Semaphore(1)
        self._asked = 0
        self._waiting: deque[object] = deque()
        self._serving: set[object] = set()
        self._orders: dict[str, tuple[Job, Order]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._not_offered: asyncio.Task[NotOffered] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start the workers in the background, and the sweeping of old jobs."""
        self._not_offered = asyncio.create_task(self._warm())
        self._sweeping = asyncio.create_task(self._sweep_now_and_then())

    @contextlib.asynccontextmanager
    async def turn(self, job: Job) -> AsyncIterator[None]:
        """While entered, nobody else who asks for a turn at this job has one."""
        lock = self._turns.setdefault(job.id, asyncio.Lock())
        async with lock:
            yield

    async def close(self) -> None:
        """Stop all work and end the workers."""
        for job, order in self._orders.values():
            job.cancel(order)
        for task in (self._not_offered, self._sweeping):
            if task is not None:
                task.cancel()
        await asyncio.gather(asyncio.to_thread(self._translators.close), asyncio.to_thread(self._inspectors.close))

    async def _warm(self) -> NotOffered:
        # The first page comes first: two processes that import PyTorch would slow it down.
        await asyncio.sleep(WARM_AFTER_S)
        inspector = asyncio.wrap_future(self._inspectors.submit("warm"))
        translators = [asyncio.wrap_future(self._translators.submit("warm")) for _ in range(self._workers)]
        not_offered: NotOffered = await inspector
        await asyncio.gather(*translators)
        return not_offered

    async def _sweep_now_and_then(self) -> None:
        while True:
            deleted = await asyncio.to_thread(
                jobs.sweep, self.data, keep_s=KEEP_S, keep_bytes=KEEP_BYTES, now_s=time.time()
            )
            if deleted:
                LOG.info("%d old jobs deleted", len(deleted))
            await asyncio.sleep(SWEEP_EVERY_S)

    async def not_offered(self, backbone: Backbone, direction: Direction) -> dict[str, str]:
        """The methods without trained weights for a direction, and why; waits for the workers' start."""
        assert self._not_offered is not None
        await asyncio.wait([self._not_offered])
        if _failure(self._not_offered):
            # Whatever the workers lack, they may have it the next time somebody asks.
            self._not_offered = asyncio.create_task(self._warm())
            return {}
        return self._not_offered.result()[backbone.value, direction]

    @property
    def busy(self) -> int:
        """Orders being served or waiting."""
        return len(self._serving) + len(self._waiting)

    async def inspect(self, job: Job) -> Source:
        """Have a job's clip read and checked; raises JobError with the sentence for the visitor."""
        await self.ask("inspect", job, self.limits)
        source = job.source()
        assert source is not None
        return source

    async def ask(self, work: str, job: Job, *arguments: Any) -> None:
        """Have something short done to a job, outside the queue; raises JobError with the sentence for the visitor."""
        if self._asked >= MOST_WAITING:
            raise JobError("Too many clips are waiting to be read just now: please try again in a minute.")
        self._asked += 1
        try:
            # What takes longer is done one after the other, so that a place is left for clips that are only read.
            async with contextlib.nullcontext() if work == "inspect" else self._listening:
                waiter = asyncio.wrap_future(self._inspectors.submit(work, job, *arguments))
                await asyncio.wait([waiter])
        finally:
            self._asked -= 1
        error = None if waiter.cancelled() else waiter.exception()
        if isinstance(error, JobError):
            raise error
        failure = _failure(waiter)
        if failure:
            raise JobError(failure)

    def serves(self, visitor: str) -> bool:
        """Whether something that a visitor has asked for is under way."""
        return visitor in self._orders

    def cancel(self, visitor: str) -> None:
        """Stop what a visitor has asked for, if anything."""
        if visitor in self._orders:
            job, order = self._orders[visitor]
            job.cancel(order)

    async def translate(self, visitor: str, job: Job, order: Order) -> AsyncIterator[View]:
        """Carry out an order, telling how it stands every `TICK_S`; who stops listening cancels it.

        Raises
        ------
        JobError
            The visitor's last order is still being served, or too many are waiting.
        """
        if visitor in self._orders:
            raise JobError("Your last translation is still running: wait for it, or cancel it.")
        if len(self._waiting) >= MOST_WAITING:
            raise JobError("Too many translations are waiting just now: please try again in a few minutes.")
        job.touch()
        self._orders[visitor] = (job, order)
        ticket = object()
        self._waiting.append(ticket)
        try:
            while self._waiting[0] is not ticket or len(self._serving) >= self._translators.places:
                if job.cancelled(order):
                    yield View(None, _cancelled(job.steps(order)), ended=True)
                    return
                ahead = self._waiting.index(ticket) + len(self._serving)
                yield View(ahead, job.steps(order))
                await asyncio.sleep(TICK_S)
            self._waiting.popleft()
            self._serving.add(ticket)
            future = self._translators.submit("translate", job, order)
            loop = asyncio.get_running_loop()
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._serving.discard, ticket))
            async for view in self._follow(job, order, future):
                yield view
        finally:
            del self._orders[visitor]
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            job.cancel(order)

    async def _follow(self, job: Job, order: Order, future: "Future[Any]") -> AsyncIterator[View]:
        """Views of an order in a worker's hands, until it ends or is cancelled."""
        waiter = asyncio.wrap_future(future)
        while True:
            done, _ = await asyncio.wait([waiter], timeout=TICK_S)
            if done or job.cancelled(order):
                break
            yield View(None, job.steps(order))
        steps = job.steps(order)
        if not done:
            # The worker notices the flag within its own time; the visitor need not wait for that.
            waiter.add_done_callback(_failure)
            yield View(None, _cancelled(steps), ended=True)
            return
        failure = _failure(waiter)
        if failure:
            await asyncio.to_thread(job.forget_beginnings)
        yield View(None, _failed(steps) if failure else steps, ended=True, failure=failure)


def _failure(waiter: "asyncio.Future[Any]") -> str:
    """What went wrong in a worker, in a sentence; empty where nothing did."""
    if waiter.cancelled():
        return CRASHED
    error = waiter.exception()
    if error is None:
        return ""
    if isinstance(error, BrokenProcessPool):
        return CRASHED
    if isinstance(error, JobError):
        return str(error)
    LOG.error("work in a worker process failed", exc_info=error)
    if isinstance(error, OSError):
        return f"The studio could not store its work ({error.strerror}): please try again later."
    return f"The work stopped with an error that is not yours: {type(error).__name__}: {error}."


def _cancelled(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps of a cancelled order: what had not ended never will."""
    return tuple(
        Step(step.method, state="cancelled") if step.state in ("waiting", "running") else step for step in steps
    )


def _failed(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps of an order whose worker failed."""
    return tuple(Step(step.method, state="failed") if step.state in ("waiting", "running") else step for step in steps)
