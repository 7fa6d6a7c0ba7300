"""The work on visitors' clips for the Concepts page, done in a worker process."""

from functools import lru_cache
from pathlib import Path

from musicstar import audio
from musicstar.concepts import atlas as atlases
from musicstar.concepts import query
from musicstar.concepts.atlas import Atlas, AtlasError
from musicstar.concepts.embed import Embedder
from musicstar.jobs import Job, JobError, Limits

SHOWN_DIGITS = 3
SHORTEST_S = 0.5


@lru_cache(maxsize=4)
def _loaded(folder: Path, sha256: str) -> tuple[Atlas, Embedder]:
    atlas = atlases.load(folder)
    if atlas.sha256 != sha256:
        raise AtlasError(f"{atlas.title} has been built again; it can be used once the studio was started anew")
    return atlas, query.listener(atlas)


def _tools(folder: Path, sha256: str) -> tuple[Atlas, Embedder]:
    """An atlas, as whoever asks has it, and what makes features for it; raises JobError where there are none."""
    try:
        return _loaded(folder, sha256)
    except (ValueError, OSError) as error:
        raise JobError(str(error)) from error


def _read(job: Job, stored: str, limits: Limits) -> audio.Clip:
    """An upload, at its own rate."""
    return audio.read(
        job.folder / stored, sample_rate=None, max_bytes=limits.max_bytes, max_duration_s=limits.max_duration_s
    )


def hear(job: Job, folder: Path, sha256: str, limits: Limits) -> None:
    """Find the concepts of a job's clip over time.

    The request is `clip.json`: `name` and `file`, the stored file; the result `heard.json`, with the concepts by
    falling mean probability.

    Raises
    ------
    JobError
        The clip or the atlas cannot be used.
    """
    request = job.read_json("clip.json")
    atlas, embedder = _tools(folder, sha256)
    try:
        clip = _read(job, request["file"], limits)
        audio.require_sound(clip, request["name"], min_duration_s=SHORTEST_S)
        found = query.hear(clip, atlas, embedder)
    except audio.AudioError as error:
        raise JobError(str(error).replace(request["file"], request["name"])) from error
    wav = job.new_file(".wav")
    audio.write(wav, clip)
    order = found.probabilities.mean(axis=1).argsort(kind="stable")[::-1]
    job.write_json(
        "heard.json",
        {
            "name": request["name"],
            "media": job.media_id(wav),
            "duration_s": round(clip.duration_s, 3),
            "times_s": found.times_s.round(3).tolist(),
            "window_s": embedder.window_s,
            "concepts": order.tolist(),
            "probabilities": found.probabilities[order].astype(float).round(SHOWN_DIGITS).tolist(),
        },
    )


def own(job: Job, folder: Path, sha256: str, limits: Limits, title: str) -> None:
    """Learn a concept of a visitor's own.

    The request is `own.json`: `files`, the stored file and the visitor's name of each clip; the result
    `own_result.json`. Clips that cannot be used are named there and left out.

    Raises
    ------
    JobError
        Too few clips can be used, or the atlas cannot.
    """
    atlas, embedder = _tools(folder, sha256)
    clips, skipped = [], []
    for stored, shown in (job.read_json("own.json") or {"files": {}})["files"].values():
        try:
            clip = _read(job, stored, limits)
            clips.append(audio.require_sound(clip, shown, min_duration_s=SHORTEST_S))
        except audio.AudioError as error:
            skipped.append([shown, str(error).replace(stored, shown)])
    try:
        made = query.own(clips, atlas, embedder)
    except (audio.AudioError, AtlasError) as error:
        left_out = "".join(f" {reason}." for _, reason in skipped)
        raise JobError(f"{str(error)[0].upper()}{str(error)[1:]}.{left_out}") from error
    job.write_json(
        "own_result.json",
        {
            "title": title,
            "clips": len(clips),
            "skipped": skipped,
            "accuracy": round(made.accuracy, SHOWN_DIGITS),
            "low": round(made.low, SHOWN_DIGITS),
            "high": round(made.high, SHOWN_DIGITS),
            "warnings": list(made.warnings),
            "towards": made.towards.astype(float).round(4).tolist(),
            "from": made.back.astype(float).round(4).tolist(),
        },
    )
