"""How the survey bears many participants at once, and what becomes of their answers when the server fails.

Run as `python -m benchmarks.survey` from the root of the repository, or with the names of some trials:

load    participants answer every four seconds; times of an answer, and whether each is stored once
kill    the server is killed (SIGKILL) in the middle of writes, again and again; what it acknowledged must be there
locked  another program holds the database for a while
full    files may grow no further, as on a full disk
bad     generated requests that break the rules: the first that writes anything, or that is answered by other than a
        refusal with its sentence, ends it with an error (needs the extra `dev`)

The built-in study is served by the whole program in a process of its own, with its database in a temporary folder.
Whether an answer is stored is asked as a browser would: sent again, it gives the receipt it gave before.
`--json` prints one JSON object. It only ever talks to servers that it started on 127.0.0.1.
"""

import argparse
import asyncio
import json
import random
import resource
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.participants import Browser, Lost, Server

EVERY_S = 4.0


@asynccontextmanager
async def serving(prepare: Callable[[Path], None] = lambda _: None) -> AsyncIterator[Server]:
    """A server in a folder of its own, in which something may have been prepared."""
    with tempfile.TemporaryDirectory(prefix="survey-benchmark-") as folder:
        prepare(Path(folder))
        server = Server(Path(folder))
        try:
            await server.start()
            yield server
        finally:
            server.end()


async def arrivals(server: Server, count: int) -> list[Browser]:
    """Participants before their first trial, who have heard everything; they come some at a time."""
    browsers = [Browser(server.port) for _ in range(count)]
    for first in range(0, count, 20):
        group = browsers[first : first + 20]
        await asyncio.gather(*(browser.arrive() for browser in group))
        await asyncio.gather(*(browser.hear() for browser in group))
    return browsers


async def load(*, participants: int, seconds: float) -> dict[str, Any]:
    """Everybody answers every four seconds, begun at random moments; whoever is through changes their answers."""
    async with serving() as server:
        browsers = await arrivals(server, participants)
        end = time.monotonic() + seconds

        async def take_part(browser: Browser, rng: random.Random) -> int:
            refused = 0
            await asyncio.sleep(rng.uniform(0, EVERY_S))
            turn = 0
            while time.monotonic() < end:
                began = time.monotonic()
                questions = browser.questions()
                body = browser.ranking(*questions[turn % len(questions)], rng)
                refused += await browser.submit(body) != 200
                turn += 1
                await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
            return refused

        refused = await asyncio.gather(*(take_part(browser, random.Random(k)) for k, browser in enumerate(browsers)))
        unstored = sum([await browser.unstored() for browser in browsers])
        acknowledged = sum(len(browser.receipts) for browser in browsers)
        times = sorted(second for browser in browsers for second in browser.seconds)
        return {
            "participants": participants,
            "answers": acknowledged,
            "refused": sum(refused),
            "lost": unstored,
            "doubled": _stored(server.database) - acknowledged,
            "median_ms": round(1000 * statistics.median(times), 1),
            "p95_ms": round(1000 * times[int(0.95 * len(times))], 1),
            "p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
        }


def _stored(database: Path) -> int:
    """How many submissions the database holds, told apart by nothing."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM response").fetchone()[0])


async def _write_on(browser: Browser, rng: random.Random, until: Callable[[], bool], statuses: list[int]) -> None:
    """Send answers one after the other, each again until it is answered or the time is over."""
    turn = 0
    while not until():
        questions = browser.questions()
        body = browser.ranking(*questions[turn % len(questions)], rng)
        turn += 1
        while not until():
            try:
                status = await browser.submit(body)
            except Lost:
                return
            statuses.append(status)
            if status != 503:
                break
            await asyncio.sleep(0.05)


async def kill(*, times: int) -> dict[str, Any]:
    """SIGKILL while answers are written; then everything acknowledged must give its receipt again."""
    acknowledged = missing = 0
    async with serving() as server:
        for turn in range(times):
            browsers = await arrivals(server, 8)
            writers = [
                asyncio.create_task(_write_on(browser, random.Random(k), lambda: False, []))
                for k, browser in enumerate(browsers)
            ]
            await asyncio.sleep(random.Random(turn).uniform(0.2, 1.0))
            server.end(signal.SIGKILL)
            await asyncio.gather(*writers)
            await server.start()
            for browser in browsers:
                browser.port = server.port
                missing += await browser.unstored()
                acknowledged += len(browser.receipts)
                browser.close()
    return {"times": times, "acknowledged": acknowledged, "lost": missing}


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment


async def _fault(hinder: Callable[[Server], AbstractContextManager[None]]) -> dict[str, Any]:
    """Answers before, while and after something stands in the way of writing."""
    async with serving() as server:
        browsers = await arrivals(server, 8)
        counts: dict[str, dict[str, int]] = {}
        for phase in ("before", "meanwhile", "after"):
            statuses: list[int] = []
            over = partial(_is_past, time.monotonic() + 8)
            with hinder(server) if phase == "meanwhile" else nullcontext():
                await asyncio.gather(
                    *(_write_on(browser, random.Random(k), over, statuses) for k, browser in enumerate(browsers))
                )
            counts[phase] = {str(status): statuses.count(status) for status in sorted(set(statuses))}
        missing = sum([await browser.unstored() for browser in browsers])
        return {**counts, "acknowledged": sum(len(browser.receipts) for browser in browsers), "lost": missing}


async def locked() -> dict[str, Any]:
    """Another program holds the database."""

    @contextmanager
    def hinder(server: Server) -> Iterator[None]:
        connection = sqlite3.connect(server.database, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    return await _fault(hinder)


async def full() -> dict[str, Any]:
    """No file may grow, as on a full disk."""

    @contextmanager
    def hinder(server: Server) -> Iterator[None]:
        assert server.process is not None
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    return await _fault(hinder)


async def bad(*, payloads: int) -> dict[str, Any]:
    """Requests of every kind that break the rules, as `tests/bad_payloads.py` generates them."""
    # What the tests need is installed for them alone; the other trials go without.
    from tests.bad_payloads import attack
    from tests.survey_study import Visitor, tiny

    async with serving(lambda folder: tiny(folder).store.close()) as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            visitor = Visitor(client).open("x").prepare()
            for trial in visitor.state["trials"]:
                visitor.hear(trial)
            statuses = await asyncio.to_thread(attack, visitor, server.database, examples=payloads)
        # The attack ends at the first that is taken, that writes, or that is answered by a fault.
        return {"payloads": sum(statuses.values()), "statuses": dict(sorted(statuses.items()))}


TRIALS = ("load", "kill", "locked", "full", "bad")


def main() -> None:
    """Run the trials named, or all."""
    parser = argparse.ArgumentParser(description="The survey under load and under faults.")
    parser.add_argument("trials", nargs="*", choices=[*TRIALS, []], metavar="TRIAL", help=", ".join(TRIALS))
    parser.add_argument("--participants", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--payloads", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    run: dict[str, Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = {
        "load": lambda: load(participants=arguments.participants, seconds=arguments.seconds),
        "kill": lambda: kill(times=arguments.kills),
        "locked": locked,
        "full": full,
        "bad": lambda: bad(payloads=arguments.payloads),
    }
    found = {}
    for name in arguments.trials or TRIALS:
        found[name] = asyncio.run(run[name]())
        if not arguments.json:
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found[name].items()), flush=True)
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
