"""Recordings of whole folders translated: here by one process or several, or on a cluster that runs Ray.

A recording is one task. Its outputs are written whole or not at all, and then a note that says what they were made
from and how; with `resume` what has such a note is not done again, so that nothing is lost when work is stopped.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from musicstar.domains import Direction, Domain
from musicstar.engines.processors import cores
from musicstar.files import clear, write_whole
from musicstar.methods.catalog import METHODS, Backbone

# What a wrong input, a full disk, a missing package or a lack of memory can raise.
FAULTS = (ValueError, OSError, RuntimeError, ImportError, ArithmeticError, MemoryError)
NOTES = ".translated"
# Of the environment, what a task on another machine must know too.
PASSED_ON = ("MUSICSTAR_WEIGHTS", "MUSICSTAR_ENGINE", "MUSICSTAR_PRECISION")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How recordings are translated; see `musicstar.methods.base.Options`.

    Attributes
    ----------
    method : a key of `METHODS`, or "all"
    write_stems : whether each translated stem is written too
    """

    source: Domain
    target: Domain
    method: str
    backbone: Backbone
    seed: int = 0
    temperature: float = 1.0
    chunk_s: float | None = None
    write_stems: bool = False


@dataclass(frozen=True)
class Task:
    """A recording to be translated.

    Attributes
    ----------
    name : its outputs are called NAME.METHOD.wav
    mixture : its file; None where only its stems are known
    stems : the files of melody and accompaniment
    """

    name: str
    mixture: Path | None
    stems: tuple[Path, Path] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made from."""
        return (*([] if self.mixture is None else [self.mixture]), *(self.stems or ()))


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    records : of each output, what `musicstar translate --json` prints
    faults : sentences, of what could not be done
    remarks : sentences, of what was left out as it should be
    """

    name: str
    records: tuple[dict[str, Any], ...] = ()
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def translate(task: Task, settings: Settings, out: Path) -> Outcome:
    """Translate one recording into a folder."""
    from musicstar import audio
    from musicstar.methods import studio
    from musicstar.methods.base import Options, Source
    from musicstar.methods.shelf import why_not_offered

    direction = Direction(settings.source, settings.target)
    refused = why_not_offered(settings.backbone, direction=direction)
    wanted, remarks = list(METHODS) if settings.method == "all" else [settings.method], []
    if settings.method == "all" and task.stems is None:
        remarks.append("single left out, it translates stems (--stems MELODY ACCOMPANIMENT)")
        wanted = [method for method in wanted if not METHODS[method].needs_stems]
    faults = [f"{method}: {refused[method]}" for method in wanted if method in refused]
    records: list[dict[str, Any]] = []
    options = Options(seed=settings.seed, temperature=settings.temperature, chunk_s=settings.chunk_s)
    try:
        mixture = None if task.mixture is None else audio.read(task.mixture)
        stems = None if task.stems is None else (audio.read(task.stems[0]), audio.read(task.stems[1]))
        source = Source(direction.source, mixture, stems)
        offered = [method for method in wanted if method not in refused]
        for made in studio.translate_all(offered, source, settings.target, backbone=settings.backbone, options=options):
            path = audio.write(out / f"{task.name}.{made.method}.wav", made.mix)
            for voice, stem in made.stems.items() if settings.write_stems else ():
                audio.write(path.with_name(f"{task.name}.{made.method}.{voice.label}.wav"), stem)
            records.append(
                {
                    "input": None if task.mixture is None else str(task.mixture),
                    "method": made.method,
                    "backbone": made.backbone.value,
                    "source": made.source.value,
                    "target": made.target.value,
                    "audio_s": round(made.mix.duration_s, 3),
                    "spent_s": round(made.seconds["total"], 3),
                    "path": str(path),
                }
            )
    except FAULTS as error:
        faults.append(sentence(error))
    return Outcome(task.name, tuple(records), tuple(faults), tuple(remarks))


def sentence(error: BaseException) -> str:
    """The first line of an error; libraries add traces of their own below it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def translate_each(
    tasks: Sequence[Task],
    settings: Settings,
    out: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    resume: bool = False,
) -> Iterator[Outcome]:
    """Translate recordings, telling of each as it is done.

    Parameters
    ----------
    jobs : processes of this machine, where `cluster` is None
    cluster : address of a running Ray cluster, as `ray.init` takes it
    resume : leave out what a note in `out` says is done, from the same files in the same way
    """
    clear(out)
    way = _way(settings)
    remaining = [task for task in tasks if not (resume and _is_done(task, way, out))]
    if cluster is not None:
        done: Iterable[tuple[Task, Outcome]] = _on_cluster(remaining, settings, out, cluster)
    elif jobs > 1 and len(remaining) > 1:
        done = _in_processes(remaining, settings, out, min(jobs, len(remaining)))
    else:
        done = ((task, translate(task, settings, out)) for task in remaining)
    for task, outcome in done:
        yield _noted(task, way, out, outcome) if outcome.records and not outcome.faults else outcome


def _way(settings: Settings) -> bytes:
    """How recordings are translated, and by which weights; what is wrong with these is told by translating."""
    from musicstar.checkpoint import CheckpointError
    from musicstar.methods.shelf import library

    try:
        weights = [card.sha256 for card in library().cards().values()]
    except CheckpointError:
        weights = [os.environ.get("MUSICSTAR_WEIGHTS", "")]
    precision = os.environ.get("MUSICSTAR_PRECISION") or "float32"
    return json.dumps([asdict(settings), precision, weights]).encode()


def _digest(task: Task, way: bytes) -> str:
    """Of what a task is made from and how."""
    state = hashlib.sha256(way)
    for path in task.files:
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _noted(task: Task, way: bytes, out: Path, outcome: Outcome) -> Outcome:
    """What became of a task, once it is noted; with a remark where it could not be."""
    folder = out / NOTES
    try:
        folder.mkdir(exist_ok=True)
        note = {"digest": _digest(task, way), "outputs": [Path(record["path"]).name for record in outcome.records]}
        write_whole(folder / f"{task.name}.json", json.dumps(note).encode())
    except OSError as error:
        unnoted = f"--resume will do it again, for want of a note ({sentence(error)})"
        return replace(outcome, remarks=(*outcome.remarks, unnoted))
    return outcome


def _is_done(task: Task, way: bytes, out: Path) -> bool:
    try:
        note = json.loads((out / NOTES / f"{task.name}.json").read_text(encoding="utf-8"))
        return all((out / name).is_file() for name in note["outputs"]) and note["digest"] == _digest(task, way)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _in_processes(tasks: Sequence[Task], settings: Settings, out: Path, jobs: int) -> Iterator[tuple[Task, Outcome]]:
    """Each task by one of several processes, which share the cores between them.

    Where a process dies, those that were at work are done again one by one, which shows whose fault it was.
    """
    waiting = deque(tasks)
    while waiting:
        for task in (yield from _until_one_dies(waiting, settings, out, jobs)):
            if (yield from _until_one_dies(deque([task]), settings, out, 1)):
                yield task, Outcome(task.name, faults=("the process that did it died twice",))


def _until_one_dies(
    waiting: deque[Task], settings: Settings, out: Path, jobs: int
) -> Generator[tuple[Task, Outcome], None, list[Task]]:
    """Do what is waiting until nothing is left or a process dies; returns what was at work then."""
    threads = max(1, cores() // jobs)
    spawned = multiprocessing.get_context("spawn")
    broken: list[Task] = []
    with ProcessPoolExecutor(jobs, mp_context=spawned, initializer=_begin, initargs=(threads,)) as pool:
        running: dict[Future[Outcome], Task] = {}
        try:
            while running or (waiting and not broken):
                while waiting and len(running) < jobs and not broken:
                    task = waiting.popleft()
                    try:
                        running[pool.submit(translate, task, settings, out)] = task
                    except BrokenProcessPool:
                        broken.append(task)
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    task = running.pop(future)
                    try:
                        yield task, future.result()
                    except BrokenProcessPool:
                        broken.append(task)
        except (KeyboardInterrupt, GeneratorExit):
            # A second interruption would break off the ending itself, and leave the processes behind.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            for process in list(pool._processes.values()):  # noqa: SLF001 (the pool waits for what is under way)
                process.terminate()
            pool.shutdown()
            signal.signal(signal.SIGINT, before)
            raise
    return broken


def _begin(threads: int) -> None:
    """Prepare a process: it ends with the command, and what interrupts that is the command's to deal with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    command = multiprocessing.parent_process()
    assert command is not None

    def end_with_command() -> None:
        command.join()
        # Outputs are there whole or not at all, and a thread cannot end its process in a gentler way.
        os._exit(1)

    threading.Thread(target=end_with_command, daemon=True).start()


def _on_cluster(tasks: Sequence[Task], settings: Settings, out: Path, address: str) -> Iterator[tuple[Task, Outcome]]:
    """Each task by a core of a cluster; files travel with it, so that no disk need be shared.

    A task whose worker or machine dies is given to another.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("--cluster needs Ray: install the extra cluster") from error
    _require_reachable(address)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    ray.init(address=address, runtime_env={"env_vars": passed}, log_to_driver=False, logging_level=logging.ERROR)
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(translate_sent)
        # More than are at work keep all of them busy; all at once would hold every file in memory.
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = list(reversed(tasks))
        running: dict[Any, Task] = {}
        while waiting or running:
            while waiting and len(running) < most:
                task = waiting.pop()
                try:
                    contents = [path.read_bytes() for path in task.files]
                except OSError as error:
                    yield task, Outcome(task.name, faults=(sentence(error),))
                    continue
                running[remote.remote(task, contents, settings)] = task
            if not running:
                break
            (ready,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(ready)
            try:
                outcome, files = ray.get(ready)
                out.mkdir(parents=True, exist_ok=True)
                for name, content in files.items():
                    write_whole(out / name, content)
            except ray.exceptions.RayTaskError as error:
                yield task, Outcome(task.name, faults=(sentence(error.cause),))
                continue
            except ray.exceptions.RayError as error:
                yield task, Outcome(task.name, faults=(f"its worker died again and again ({sentence(error)})",))
                continue
            except OSError as error:
                yield task, Outcome(task.name, faults=(sentence(error),))
                continue
            for record in outcome.records:
                record["input"] = None if task.mixture is None else str(task.mixture)
                record["path"] = str(out / Path(record["path"]).name)
            yield task, outcome
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse an address where nobody answers: Ray would try for minutes, and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise OSError(f"no Ray cluster answers at {address} ({error})") from error


def translate_sent(task: Task, contents: Sequence[bytes], settings: Settings) -> tuple[Outcome, dict[str, bytes]]:
    """On another machine: translate a task whose files were sent along; its outputs by name."""
    with TemporaryDirectory() as folder:
        here, made = Path(folder) / "in", Path(folder) / "out"
        files = []
        for number, (path, content) in enumerate(zip(task.files, contents, strict=True)):
            # Its own name stands in the sentences of what reads it.
            files.append(here / str(number) / path.name)
            files[-1].parent.mkdir(parents=True)
            files[-1].write_bytes(content)
        mixture = files.pop(0) if task.mixture is not None else None
        outcome = translate(Task(task.name, mixture, (files[0], files[1]) if files else None), settings, made)
        return outcome, {path.name: path.read_bytes() for path in made.glob("*")}
