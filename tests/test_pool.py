"""Worker processes: what they do side by side, what becomes of them when they are killed, how they end."""

import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from musicstar.domains import DIRECTIONS, Domain
from musicstar.jobs import Job, JobError, Limits, Order
from musicstar.methods.catalog import Backbone
from musicstar.pool import Pool


def pid_of(pool: Pool) -> int:
    """Of the only process of a pool."""
    (manager,) = pool._managers
    assert manager is not None
    pid = manager._process.pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def test_a_pool_outlives_its_workers_and_takes_them_along(tmp_path: Path) -> None:
    pool = Pool(processes=1, niceness=1, together=3)
    try:
        reasons = pool.submit("warm").result(timeout=60)
        assert set(reasons) == {(backbone, direction) for backbone in Backbone for direction in DIRECTIONS}
        pid = pid_of(pool)
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
        # What it cannot do it says as it would here; a worker that is killed meanwhile says that it ended.
        with pytest.raises(JobError, match="no longer kept here"):
            pool.submit("inspect", Job(tmp_path / ("0" * 24)), Limits()).result(timeout=60)
        os.kill(pid, signal.SIGSTOP)
        asked = [pool.submit("warm") for _ in range(3)]
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        for future in asked:
            with pytest.raises(BrokenProcessPool):
                future.result(timeout=60)
        assert set(pool.submit("warm").result(timeout=60)) == set(reasons)
        assert pid_of(pool) != pid
        pid = pid_of(pool)
    finally:
        began = time.monotonic()
        pool.close()
    assert time.monotonic() - began < 5
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_does_not_start_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(pool: Pool, place: int) -> None:
        raise EOFError

    monkeypatch.setattr(Pool, "_start", dies)
    pool = Pool(processes=2, niceness=1)
    try:
        for _ in range(3):
            with pytest.raises(BrokenProcessPool, match="the process ended"):
                pool.submit("warm").result(timeout=60)
        assert pool._busy == [0, 0]
    finally:
        pool.close()


def test_a_worker_does_several_things_side_by_side(tmp_path: Path) -> None:
    """An order that is begun later, and is shorter, is done before one that was begun earlier."""
    pool = Pool(processes=1, niceness=1, together=2)
    try:
        pool.submit("warm").result(timeout=60)
        ended: list[str] = []

        def follow(name: str, job: Job) -> None:
            order = Order(Domain.SP, Domain.CV, ("mixture",), backbone=Backbone.WAVENET, temperature=0.0)
            pool.submit("translate", job, order).result(timeout=120)
            ended.append(name)

        threads = []
        for name, seconds in (("long", 12.0), ("short", 1.0)):
            job = _clip(tmp_path, seconds)
            pool.submit("inspect", job, Limits()).result(timeout=60)
            threads.append(threading.Thread(target=follow, args=(name, job)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert ended == ["short", "long"]
    finally:
        pool.close()


def _clip(folder: Path, seconds: float) -> Job:
    """A job with so much of a shipped piece, not yet inspected."""
    from musicstar import audio
    from musicstar.audio import Clip

    wav = audio.read(Path(audio.__file__).parent / "examples" / "001.3.flac").wav[: round(seconds * 16_000)]
    job = Job.create(folder)
    audio.write(job.folder / "mixture.wav", Clip(wav))
    job.write_json("clip.json", {"name": "clip", "files": {"mixture": ["mixture.wav", "clip.wav"]}})
    return job
