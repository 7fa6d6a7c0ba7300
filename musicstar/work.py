"""The work on a job, done in a worker process: check a clip, translate it, prepare what is shown of it."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from musicstar import audio, pictures
from musicstar.audio import Clip
from musicstar.domains import DIRECTIONS, Direction, Domain, Voice
from musicstar.jobs import (
    PARTS,
    Job,
    JobError,
    Limits,
    NotReady,
    Order,
    Source,
    Step,
    Track,
    plain_name,
)
from musicstar.methods import base, studio
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.shelf import why_not_offered
from musicstar.methods.translating import MISMATCH_S


def warm() -> dict[tuple[str, Direction], dict[str, str]]:
    """Import what the work needs, and say per backbone and direction which methods are not offered there, and why."""
    # audio imports these on first use; the first visitor should not wait for that.
    import pyloudnorm  # noqa: F401
    import soundfile  # noqa: F401

    return {
        (backbone.value, direction): why_not_offered(backbone, direction=direction)
        for backbone in Backbone
        for direction in DIRECTIONS
    }


def inspect(job: Job, limits: Limits) -> None:
    """Read and check a job's clip, guess its domain, prepare it to be heard; the result is `job.source()`.

    The request is `clip.json`: `name` and `files` (part -> stored file and the visitor's name for it), or for
    a shipped piece `name`, `example` (its number), `domain` and `voices` (voice label -> path).

    Raises
    ------
    JobError
        The clip cannot be used; the message says what was found and what was expected.
    NotReady
        Only one stem is there so far.
    """
    request = job.read_json("clip.json")
    if request.get("example"):
        _inspect_example(job, request, limits)
        return
    clips = {part: _read(job.folder / file, shown, limits) for part, (file, shown) in request["files"].items()}
    name = Path(request["name"]).stem
    mixture = clips.get("mixture")
    if mixture is None and len(clips) < 2:
        lacking = next(part for part in PARTS[1:] if part not in clips)
        raise NotReady(f"Now add the other stem, the {lacking}, or a recording of both together.")
    stems = (clips["melody"], clips["accompaniment"]) if {"melody", "accompaniment"} <= clips.keys() else None
    if stems is not None:
        stems = _aligned(stems, mixture)
    if mixture is None:
        assert stems is not None
        stems, mixture = _mixed(stems)
    try:
        domain, confidence = studio.guess_domain(mixture)
    except base.NotOffered:
        domain, confidence = Domain.SP, 0.5
    voices = dict(zip(domain.stems, stems, strict=True)) if stems is not None else {}
    heard = _track(job, mixture, voices, key="input", kind="input", voice=domain.mixture, file_stem=f"{name}.input")
    source = Source(name=name, domain=domain, confidence=round(confidence, 3), example="", input=heard)
    job.write_json("source.json", asdict(source))


def translate(job: Job, order: Order) -> None:
    """Carry out an order on an inspected job; outputs, progress and failures are written as they come.

    Raises
    ------
    JobError
        The job has not been inspected.
    """
    source = job.source()
    if source is None:
        raise JobError("Choose a clip first.")
    ledger = _Ledger(job, order)
    refused = why_not_offered(order.backbone, direction=Direction(order.source, order.target))
    stems = tuple(audio.read(job.media_path(part.media)) for part in source.input.parts)
    runnable = []
    for method in order.methods:
        if method in refused:
            ledger.fail(method, refused[method])
        elif METHODS[method].needs_stems and len(stems) != 2:
            ledger.fail(
                method,
                f"{METHODS[method].title} translates the two stems of a recording, and only the mixture is known. "
                "Add the two stem files to the clip, or let separation-based find the stems by itself.",
                instead="" if "separation" in refused else "separation",
            )
        else:
            runnable.append(method)
    # The catalogue's last are the quickest: there is something to hear at once.
    runnable.sort(key=list(METHODS).index, reverse=True)
    clip = base.Source(
        domain=order.source,
        mixture=audio.read(job.media_path(source.input.media)),
        stems=(stems[0], stems[1]) if len(stems) == 2 else None,
    )
    target, preview = order.target, _Preview(job, order, clip.mixture)
    options = base.Options(
        seed=order.seed,
        temperature=order.temperature,
        cancelled=lambda: job.cancelled(order),
        on_sound=preview.show,
    )
    try:
        if runnable:
            ledger.begin(runnable[0])
        for made in studio.translate_all(
            runnable, clip, target, backbone=order.backbone, options=options, on_progress=ledger.progress
        ):
            backbone = made.backbone.value
            key = output_key(made.method, order)
            track = _track(
                job,
                made.mix,
                {voice: made.stems[voice] for voice in target.stems if voice in made.stems},
                key=key,
                kind="output",
                voice=target.mixture,
                file_stem=f"{source.name}.{made.method}",
            )
            track = replace(
                track, method=made.method, backbone=backbone, seconds=round(made.seconds.get("total", 0.0), 2)
            )
            job.write_json(f"output.{key}.json", asdict(track))
            preview.done(made.method)
            ledger.finish(made.method)
    except base.Cancelled:
        ledger.end_rest("cancelled", "")
    except (base.NeedsStems, base.NotOffered, audio.AudioError) as error:
        ledger.end_rest("failed", str(error))
    finally:
        preview.clear()
        job.touch()


def output_key(method: str, order: Order) -> str:
    """Which of a job's tracks a method's output is."""
    return f"{method}.{order.backbone.value}.{order.target}"


class _Preview:
    """The beginnings of outputs that are still being made, shown as tracks that end in silence."""

    def __init__(self, job: Job, order: Order, mixture: Clip | None) -> None:
        self._job, self._order, self._mixture = job, order, mixture
        self._shown: set[str] = set()
        self._audible = False

    def _file(self, method: str) -> str:
        return f"output.{output_key(method, self._order)}.json"

    def show(self, method: str, beginning: Clip) -> None:
        """Let it be heard, unless there is a whole output of an earlier order, or the rest comes soon."""
        there = (self._job.folder / self._file(method)).exists()
        soon = self._order.backbone is Backbone.SPECTRAL and self._audible
        if self._mixture is None or soon or (there and method not in self._shown):
            return
        self._shown.add(method)
        self._audible = True
        silence = np.zeros(len(self._mixture.wav) - len(beginning.wav), dtype=np.float32)
        track = _track(
            self._job,
            replace(beginning, wav=np.concatenate([beginning.wav, silence])),
            {},
            key=output_key(method, self._order),
            kind="output",
            voice=self._order.target.mixture,
            file_stem=method,
        )
        backbone, heard_s = self._order.backbone.value, round(beginning.duration_s, 1)
        self._job.write_json(
            self._file(method), asdict(replace(track, method=method, backbone=backbone, partial_s=heard_s))
        )

    def done(self, method: str) -> None:
        """The whole output has taken its place."""
        self._audible = True
        self._shown.discard(method)

    def clear(self) -> None:
        """Take away what was never finished."""
        for method in self._shown:
            (self._job.folder / self._file(method)).unlink(missing_ok=True)


class _Ledger:
    """Keeps an order's progress file, writing it no more than ten times a second."""

    def __init__(self, job: Job, order: Order) -> None:
        self._job, self._name = job, f"progress.{order.run}.json"
        self._steps = {method: Step(method) for method in order.methods}
        self._written_s = 0.0
        self._write(at_once=True)

    def _write(self, *, at_once: bool) -> None:
        now_s = time.monotonic()
        if at_once or now_s - self._written_s > 0.1:
            self._job.write_json(self._name, [asdict(step) for step in self._steps.values()])
            self._written_s = now_s

    def begin(self, method: str) -> None:
        self._steps[method] = Step(method, state="running", began_s=time.time())
        self._write(at_once=True)

    def progress(self, method: str, share: float) -> None:
        if self._steps[method].state == "waiting":
            self.begin(method)
        self._steps[method] = replace(self._steps[method], share=round(min(max(share, 0.0), 1.0), 4))
        self._write(at_once=False)

    def finish(self, method: str) -> None:
        self._steps[method] = replace(self._steps[method], state="done", share=1.0, ended_s=time.time())
        self._write(at_once=True)

    def fail(self, method: str, message: str, *, instead: str = "") -> None:
        self._steps[method] = Step(method, state="failed", message=message, instead=instead)
        self._write(at_once=True)

    def end_rest(self, state: str, message: str) -> None:
        for method, step in self._steps.items():
            if step.state in ("waiting", "running"):
                self._steps[method] = replace(step, state=state, message=message)
        self._write(at_once=True)


def _read(path: Path, shown: str, limits: Limits) -> Clip:
    """Read a visitor's file, in whose sentences its own name stands, not the stored one's."""
    try:
        clip = audio.read(path, max_bytes=limits.max_bytes, max_duration_s=limits.max_duration_s)
        return audio.require_sound(clip, path.name)
    except audio.AudioError as error:
        # The decoder's own words hold the stored path.
        said = "not readable as audio: it is of another kind, or damaged; expected WAV, FLAC, OGG or MP3"
        if error.__cause__ is None:
            said = str(error).removeprefix(f"{path.name}: ")
        # Without `from None` the web process would have to import PyTorch to unpickle the cause.
        raise JobError(f"{shown}: {said}.") from None


def _inspect_example(job: Job, request: Mapping[str, Any], limits: Limits) -> None:
    """Prepare a shipped piece: every voice is known."""
    domain = Domain(request["domain"])
    clips = {
        Voice.from_label(label): _read(Path(path), Path(path).name, limits) for label, path in request["voices"].items()
    }

    def known(heard: Domain, kind: str) -> Track:
        voices = {voice: clips[voice] for voice in heard.stems if voice in clips}
        file_stem = f"{request['example']}.{kind}.{heard}"
        key = kind if kind == "input" else f"{kind}.{heard}"
        return _track(job, clips[heard.mixture], voices, key=key, kind=kind, voice=heard.mixture, file_stem=file_stem)

    source = Source(
        name=request["name"],
        domain=domain,
        confidence=1.0,
        example=request["example"],
        input=known(domain, "input"),
        golds={other: known(other, "gold") for other in domain.others if other.mixture in clips},
    )
    job.write_json("source.json", asdict(source))


def _aligned(stems: tuple[Clip, Clip], mixture: Clip | None) -> tuple[Clip, Clip]:
    """Stems of one length, the mixture's where there is one; raises JobError where they do not fit."""
    length = len(mixture.wav) if mixture is not None else max(len(stem.wav) for stem in stems)
    what = "the mixture" if mixture is not None else "the longer stem"
    fitted = []
    for part, stem in zip(PARTS[1:], stems, strict=True):
        if abs(len(stem.wav) - length) > MISMATCH_S * stem.sample_rate:
            raise JobError(
                f"The {part} is {stem.duration_s:.1f} s long and {what} {length / stem.sample_rate:.1f} s: "
                "stems of one recording have its length."
            )
        wav = np.zeros(length, dtype=np.float32)
        wav[: min(length, len(stem.wav))] = stem.wav[:length]
        fitted.append(Clip(wav, stem.sample_rate))
    return fitted[0], fitted[1]


def _mixed(stems: tuple[Clip, Clip]) -> tuple[tuple[Clip, Clip], Clip]:
    """Stems and their sum, all lowered alike where it would exceed full scale."""
    peak = max(1.0, float(np.abs(stems[0].wav + stems[1].wav).max()))
    melody, accompaniment = (replace(stem, wav=stem.wav / np.float32(peak)) for stem in stems)
    return (melody, accompaniment), replace(melody, wav=melody.wav + accompaniment.wav)


def _track(
    job: Job,
    clip: Clip,
    stems: Mapping[Voice, Clip],
    *,
    key: str,
    kind: str,
    voice: Voice,
    file_stem: str,
) -> Track:
    """Write a clip and its pictures, and describe them; its stems likewise."""
    wav, light, dark = job.new_file(".wav"), job.new_file(".png"), job.new_file(".png")
    audio.write(wav, clip)
    loudness_lufs = clip.loudness_lufs()
    pictures.draw(clip.wav, sample_rate=clip.sample_rate, loudness_lufs=loudness_lufs, light=light, dark=dark)
    peak = float(np.abs(clip.wav).max(initial=0.0))
    return Track(
        key=key,
        kind=kind,
        voice=voice.label,
        media=job.media_id(wav),
        light=job.media_id(light),
        dark=job.media_id(dark),
        envelope=pictures.envelope(clip.wav),
        duration_s=round(clip.duration_s, 4),
        loudness_lufs=round(loudness_lufs, 2) if math.isfinite(loudness_lufs) else None,
        peak_dbfs=round(20 * math.log10(peak), 2) if peak > 0 else None,
        file_name=f"{plain_name(file_stem)}.wav",
        parts=tuple(
            _track(
                job,
                stem,
                {},
                key=f"{key}/{part.label}",
                kind="stem",
                voice=part,
                file_stem=f"{file_stem}.{part.label}",
            )
            for part, stem in stems.items()
        ),
    )
