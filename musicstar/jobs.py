"""Jobs: a clip and what has been made of it, one folder each.

The folder is the only thing the web process and the worker processes share: requests, progress, outputs and
the flag that cancels are files in it, each written whole or not at all. Nothing here imports PyTorch:
`musicstar.work`, which fills the folders, runs in worker processes.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musicstar.domains import Domain, Voice
from musicstar.files import write_whole
from musicstar.methods.catalog import METHODS, Backbone

PARTS = ("mixture", "melody", "accompaniment")
_JOB_CHARACTERS, _FILE_CHARACTERS = 24, 16


class JobError(ValueError):
    """Something a visitor can put right; the message is the sentence they read."""


class JobGone(JobError):
    """There is no such job any more."""


class NotReady(JobError):
    """One of two stems is there: the other, or a mixture, is still needed."""


@dataclass(frozen=True)
class Limits:
    """The largest clip that is taken."""

    max_duration_s: float = 30.0
    max_bytes: int = 20_000_000


@dataclass(frozen=True)
class Track:
    """One thing to listen to, with all that is needed to show it.

    Attributes
    ----------
    key : unique among the tracks of a job
    kind : "input", "gold", "output" or "stem"
    voice : what is heard, a `Voice` label
    media, light, dark : opaque names of the WAV file and of its pictures on a light and a dark page
    envelope : as `pictures.envelope` gives it
    loudness_lufs, peak_dbfs : of the file as it is; None for digital silence
    file_name : what a download is called
    seconds : time the method took; None for what was not made here
    partial_s : of an output that is still being made, how much there is; the rest of the file is silent
    parts : the stems, where they are known
    """

    key: str
    kind: str
    voice: str
    media: str
    light: str
    dark: str
    envelope: str
    duration_s: float
    loudness_lufs: float | None
    peak_dbfs: float | None
    file_name: str
    method: str = ""
    backbone: str = ""
    seconds: float | None = None
    partial_s: float | None = None
    parts: tuple["Track", ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Track":
        """Read what `dataclasses.asdict` wrote."""
        return cls(**{**data, "parts": tuple(cls.from_json(part) for part in data["parts"])})


@dataclass(frozen=True)
class Source:
    """What `inspect` found: the clip as the methods will read it.

    Attributes
    ----------
    name : as the visitor called it
    domain, confidence : the domain it is in, and how sure that is (0.5 to 1; 1 for a shipped example)
    example : number of the shipped piece, or empty
    input : its track
    golds : the same in other domains, where that is known
    """

    name: str
    domain: Domain
    confidence: float
    example: str
    input: Track
    golds: dict[Domain, Track] = field(default_factory=dict)

    @property
    def has_stems(self) -> bool:
        """Whether both stems of the input are known."""
        return len(self.input.parts) == 2


@dataclass(frozen=True)
class Order:
    """What a visitor asks to be done with a clip."""

    source: Domain
    target: Domain
    methods: tuple[str, ...]
    backbone: Backbone = Backbone.SPECTRAL
    seed: int = 0
    temperature: float = 1.0
    run: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class Step:
    """How far one method has come.

    Attributes
    ----------
    state : "waiting", "running", "done", "failed" or "cancelled"
    share : done so far, 0 to 1
    began_s, ended_s : clock times; None where it has not
    message : why it failed
    instead : the method that would do what this one cannot, or empty
    """

    method: str
    state: str = "waiting"
    share: float = 0.0
    began_s: float | None = None
    ended_s: float | None = None
    message: str = ""
    instead: str = ""

    def remaining_s(self, now_s: float) -> float | None:
        """Time left at the pace so far, in seconds; None while that is a guess in the dark."""
        if self.state != "running" or self.began_s is None or self.share < 0.02:
            return None
        spent_s = now_s - self.began_s
        return spent_s * (1.0 - self.share) / self.share if spent_s > 0.3 else None


@dataclass(frozen=True)
class Job:
    """A folder of the data directory. Its name is a secret: who knows it may hear what is in it."""

    folder: Path

    @property
    def id(self) -> str:
        """The opaque name."""
        return self.folder.name

    @classmethod
    def create(cls, data: Path) -> "Job":
        """A new, empty job."""
        job = cls(data / secrets.token_hex(_JOB_CHARACTERS // 2))
        job.folder.mkdir(parents=True)
        return job

    @classmethod
    def find(cls, data: Path, name: object) -> "Job":
        """The job of that opaque name; raises JobError where there is none (it may have been swept away)."""
        known = isinstance(name, str) and re.fullmatch(f"[0-9a-f]{{{_JOB_CHARACTERS}}}", name)
        if known and (data / str(name)).is_dir():
            return cls(data / str(name))
        raise JobGone("This clip is no longer kept here. Please choose it again.")

    def delete(self) -> None:
        """Take the job away with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def touch(self) -> None:
        """Put off the day it is swept away."""
        os.utime(self.folder)

    def read_json(self, name: str) -> Any:
        """The content of one of its JSON files, or None where it is not there."""
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write_json(self, name: str, content: Any) -> None:
        """Write one of its JSON files, whole or not at all."""
        write_whole(self.folder / name, json.dumps(content).encode())

    def new_file(self, suffix: str) -> Path:
        """A path for a file to be served, under an opaque name."""
        return self.folder / f"{secrets.token_hex(_FILE_CHARACTERS // 2)}{suffix}"

    def media_id(self, path: Path) -> str:
        """The opaque name under which a file of this job is served."""
        return self.id + path.stem

    def media_path(self, media: str) -> Path:
        """The file of a track."""
        return self.folder / f"{media[_JOB_CHARACTERS:]}.wav"

    def source(self) -> Source | None:
        """What `inspect` found, once it has."""
        data = self.read_json("source.json")
        if data is None:
            return None
        return Source(
            name=data["name"],
            domain=Domain(data["domain"]),
            confidence=data["confidence"],
            example=data["example"],
            input=Track.from_json(data["input"]),
            golds={Domain(domain): Track.from_json(gold) for domain, gold in data["golds"].items()},
        )

    def outputs(self, target: Domain) -> tuple[Track, ...]:
        """What the methods have made of the clip into a domain, in the order of the catalogue."""
        tracks = self._tracks().values()
        order = list(METHODS)
        return tuple(
            sorted(
                (track for track in tracks if track.voice == target.mixture.label),
                key=lambda track: (order.index(track.method), track.backbone),
            )
        )

    def forget_beginnings(self) -> None:
        """Take away outputs whose rest will not come: who made them is no more."""
        for path, track in self._tracks().items():
            if track.partial_s is not None:
                path.unlink(missing_ok=True)

    def _tracks(self) -> dict[Path, Track]:
        """All outputs, beginnings among them, which a worker may take away at any moment."""
        found = ((path, self.read_json(path.name)) for path in self.folder.glob("output.*.json"))
        return {path: Track.from_json(data) for path, data in found if data is not None}

    def steps(self, order: Order) -> tuple[Step, ...]:
        """How far each method of an order has come."""
        data = self.read_json(f"progress.{order.run}.json")
        if data is None:
            return tuple(Step(method) for method in order.methods)
        return tuple(Step(**step) for step in data)

    def cancel(self, order: Order) -> None:
        """Ask the worker to stop this order; asking twice, too late, or where nothing can be written does no harm."""
        with contextlib.suppress(OSError):
            (self.folder / f"cancel.{order.run}").touch()

    def cancelled(self, order: Order) -> bool:
        """Whether that was asked."""
        return (self.folder / f"cancel.{order.run}").exists()


def find_media(data: Path, media: str) -> Path | None:
    """The file served under an opaque name, or None."""
    if not re.fullmatch(f"[0-9a-f]{{{_JOB_CHARACTERS + _FILE_CHARACTERS}}}", media):
        return None
    folder, stem = data / media[:_JOB_CHARACTERS], media[_JOB_CHARACTERS:]
    return next((path for suffix in (".wav", ".png") if (path := folder / (stem + suffix)).is_file()), None)


@dataclass(frozen=True)
class Example:
    """A shipped piece.

    Attributes
    ----------
    number : the NNN of its files
    title, note : what a visitor reads
    voices : path of each voice there is, by label
    """

    number: str
    title: str
    note: str
    voices: dict[str, str]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Those it can be heard in."""
        return tuple(domain for domain in Domain if domain.mixture.label in self.voices)

    def order_clip(self, data: Path, heard: Domain) -> Job:
        """A job that asks for this piece in one domain, or its first, with the others as gold standards."""
        job = Job.create(data)
        heard = heard if heard in self.domains else self.domains[0]
        request = {"example": self.number, "name": self.title, "domain": heard.value, "voices": self.voices}
        try:
            job.write_json("clip.json", request)
        except OSError:
            job.delete()
            raise
        return job


def find_examples(folder: Path) -> tuple[Example, ...]:
    """The pieces of a folder in StarNet's layout that have both mixtures, titled by its `examples.json`.

    That file maps a piece's number to its title, or to an object with `title` and `note`; both may lack.
    """
    titles: dict[str, Any] = {}
    if (folder / "examples.json").is_file():
        titles = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    pieces: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.*.*")):
        match = re.fullmatch(r"(\d{3})\.(\d|1[01])\.(flac|wav|ogg)", path.name)
        if match:
            pieces.setdefault(match[1], {})[Voice(int(match[2])).label] = str(path)
    found = []
    for number, voices in pieces.items():
        if {Voice.CV.label, Voice.SP.label} <= voices.keys():
            entry = titles.get(number, {})
            words = {"title": entry} if isinstance(entry, str) else entry
            found.append(Example(number, words.get("title", f"Piece {number}"), words.get("note", ""), voices))
    return tuple(found)


def plain_name(name: str) -> str:
    """A visitor's file name, fit to be shown and to name downloads: no folders, no control characters."""
    base = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w .,()+-]", "_", base, flags=re.UNICODE).strip(" .")
    return kept[:80] or "clip"


def sweep(data: Path, *, keep_s: float, keep_bytes: int, now_s: float | None = None) -> list[str]:
    """Delete jobs unused for `keep_s`, then the longest unused ones while all take more than `keep_bytes`.

    Returns
    -------
    list[str] : the opaque names of the jobs deleted
    """
    now_s = time.time() if now_s is None else now_s
    jobs = []
    for folder in data.iterdir():
        if re.fullmatch(f"[0-9a-f]{{{_JOB_CHARACTERS}}}", folder.name) and folder.is_dir():
            try:
                size = sum(path.stat().st_size for path in folder.iterdir())
                jobs.append((folder.stat().st_mtime, size, folder))
            except FileNotFoundError:
                # A file was renamed or a job deleted while it was looked at; the next sweep will see it.
                continue
    total = sum(size for _, size, _ in jobs)
    deleted = []
    for used_s, size, folder in sorted(jobs, key=lambda job: job[0]):
        if now_s - used_s > keep_s or total > keep_bytes:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size
            deleted.append(folder.name)
    return deleted
