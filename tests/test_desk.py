"""The desk: turns, places, cancelling, and processes that end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from musicstar import desk, pool, work
from musicstar.desk import Desk, View
from musicstar.domains import PAPER, Domain
from musicstar.jobs import Job, JobError, Order
from musicstar.methods import base
from musicstar.methods import studio as networks
from musicstar.methods.catalog import Backbone
from tests.standin import LIMITS, Studio, ThreadPool, install, tone, upload


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    return install(monkeypatch)


@pytest.fixture
def job(tmp_path: Path, studio: Studio) -> Job:
    made = upload(tmp_path, wav=tone(440), name="take.wav")
    work.inspect(made, LIMITS)
    return made


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Desk]:
    monkeypatch.setattr(desk, "Pool", ThreadPool)
    monkeypatch.setattr(desk, "WARM_AFTER_S", 0.0)
    monkeypatch.setattr(desk, "TICK_S", 0.02)
    return lambda: Desk(data=tmp_path, limits=LIMITS)


async def watch(views: AsyncIterator[View]) -> list[View]:
    return [view async for view in views]


def run_at(desk_of: Callable[[], Desk], visit: Callable[[Desk], Any]) -> Any:
    async def life() -> Any:
        counter = desk_of()
        counter.open()
        try:
            return await visit(counter)
        finally:
            await counter.close()

    return asyncio.run(life())


def test_the_desk_serves_in_order_and_tells_the_place(
    counter: Callable[[], Desk], job: Job, tmp_path: Path, studio: Studio
) -> None:
    studio.pause_s = 0.3
    order = Order(Domain.SP, Domain.CV, ("mixture",))

    async def visit(at: Desk) -> list[list[View]]:
        others = []
        for _ in range(2):
            other = upload(tmp_path, wav=tone(440))
            work.inspect(other, LIMITS)
            others.append(other)
        tasks = [
            asyncio.create_task(watch(at.translate(f"v{k}", each, order))) for k, each in enumerate([job, *others])
        ]
        await asyncio.sleep(0.05)
        assert at.busy == 3
        seen = await asyncio.gather(*tasks)
        await asyncio.sleep(0.02)
        assert at.busy == 0
        return list(seen)

    first, second, third = run_at(counter, visit)
    assert {view.ahead for view in first} == {None}
    assert {view.ahead for view in second} == {1, None}
    assert {view.ahead for view in third} == {2, 1, None}
    for views in (first, second, third):
        assert [view.ended for view in views] == [False] * (len(views) - 1) + [True]
        assert views[-1].steps[0].state == "done"
        places = [view.ahead for view in views if view.ahead is not None]
        assert places == sorted(places, reverse=True)


def test_one_order_a_visitor(counter: Callable[[], Desk], job: Job, studio: Studio) -> None:
    studio.pause_s = 0.3

    async def visit(at: Desk) -> None:
        running = asyncio.create_task(watch(at.translate("one", job, Order(Domain.SP, Domain.CV, ("mixture",)))))
        await asyncio.sleep(0.05)
        with pytest.raises(JobError, match="still running"):
            await watch(at.translate("one", job, Order(Domain.SP, Domain.CV, ("mixture",))))
        await running
        again = await watch(at.translate("one", job, Order(Domain.SP, Domain.CV, ("mixture",))))
        assert again[-1].steps[0].state == "done"

    run_at(counter, visit)


@pytest.mark.parametrize("waiting", [False, True])
def test_cancelling_is_prompt(
    counter: Callable[[], Desk], job: Job, tmp_path: Path, studio: Studio, waiting: bool
) -> None:
    studio.pause_s = 5.0
    order = Order(Domain.SP, Domain.CV, ("mixture",))

    async def visit(at: Desk) -> None:
        before = upload(tmp_path, wav=tone(440))
        work.inspect(before, LIMITS)
        blocker = asyncio.create_task(watch(at.translate("other", before, order))) if waiting else None
        mine = asyncio.create_task(watch(at.translate("mine", job, order)))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        at.cancel("mine")
        at.cancel("nobody")
        views = await mine
        assert time.monotonic() - began < 0.5
        assert views[-1].steps[0].state == "cancelled"
        if blocker is not None:
            at.cancel("other")
            await blocker

    run_at(counter, visit)


def test_who_stops_listening_cancels(counter: Callable[[], Desk], job: Job, studio: Studio) -> None:
    studio.pause_s = 5.0
    order = Order(Domain.SP, Domain.CV, ("mixture",))

    async def visit(at: Desk) -> None:
        views = at.translate("gone", job, order)
        async for view in views:
            if view.steps[0].state == "running":
                break
        await views.aclose()  # type: ignore[attr-defined]
        assert job.cancelled(order)
        await asyncio.sleep(1.0)
        assert at.busy == 0
        assert job.steps(order)[0].state == "cancelled"

    run_at(counter, visit)


def test_an_unexpected_error_is_told(counter: Callable[[], Desk], job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> Iterator[base.Translation]:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(networks, "translate_all", breaks)
    order = Order(Domain.SP, Domain.CV, ("mixture",))
    views = run_at(counter, lambda at: watch(at.translate("me", job, order)))
    assert "RuntimeError: out of paper" in views[-1].failure
    assert views[-1].steps[0].state == "failed"


def test_an_order_that_cannot_be_cancelled_gives_its_place_free(
    counter: Callable[[], Desk], job: Job, monkeypatch: pytest.MonkeyPatch, studio: Studio
) -> None:
    order = Order(Domain.SP, Domain.CV, ("mixture",))

    async def visit(at: Desk) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        views = at.translate("me", job, order)
        await anext(views)
        monkeypatch.setattr(Path, "touch", fail)
        await views.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            while at.busy:  # noqa: ASYNC110 (the desk keeps a count, not an event)
                await asyncio.sleep(0.05)

    studio.pause_s = 0.2
    run_at(counter, visit)


def test_a_clip_deleted_meanwhile_is_said_to_be(job: Job) -> None:
    job.delete()
    for work_on_it in (("translate", job, Order(Domain.SP, Domain.CV, ("mixture",))), ("inspect", job, LIMITS)):
        with pytest.raises(JobError, match="no longer kept here"):
            pool.run(*work_on_it)


def test_a_crash_is_told_and_the_next_order_is_served(
    counter: Callable[[], Desk], job: Job, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*_: Any, **__: Any) -> Iterator[base.Translation]:
        source = job.source()
        assert source
        beginning = replace(
            source.input, method="mixture", backbone="spectral", voice=Domain.CV.mixture.label, partial_s=1.0
        )
        job.write_json("output.begun.json", asdict(beginning))
        raise BrokenProcessPool("gone")

    async def visit(at: Desk) -> tuple[list[View], list[View]]:
        with monkeypatch.context() as patch:
            patch.setattr(networks, "translate_all", crashes)
            first = await watch(at.translate("me", job, Order(Domain.SP, Domain.CV, ("mixture",))))
        assert job.outputs(Domain.CV) == ()
        return first, await watch(at.translate("me", job, Order(Domain.SP, Domain.CV, ("mixture",))))

    first, second = run_at(counter, visit)
    assert first[-1].failure == desk.CRASHED
    assert first[-1].steps[0].state == "failed"
    assert (second[-1].failure, second[-1].steps[0].state) == ("", "done")


def test_offers_come_from_the_worker(counter: Callable[[], Desk], studio: Studio) -> None:
    async def visit(at: Desk) -> tuple[dict[str, str], dict[str, str]]:
        return await at.not_offered(Backbone.SPECTRAL, PAPER[0]), await at.not_offered(Backbone.WAVENET, PAPER[1])

    assert run_at(counter, visit) == ({}, {"stem": "Not trained."})


def test_no_more_clips_wait_to_be_read_than_can_be(
    counter: Callable[[], Desk], job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_WAITING", 2)
    jobs = [upload(tmp_path, wav=tone(440), name=f"{k}.wav") for k in range(3)]

    async def visit(at: Desk) -> list[Any]:
        first = await asyncio.gather(*(at.inspect(each) for each in jobs), return_exceptions=True)
        return [*first, await at.inspect(jobs[2])]

    *taken, refused, later = run_at(counter, visit)
    assert [source.name for source in (*taken, later)] == ["0", "1", "2"]
    assert str(refused) == "Too many clips are waiting to be read just now: please try again in a minute."
