"""The player: any number of takes on one piece, switched between without a gap, at matched loudness.

The audio is decoded and clocked in the browser (`static/deck.js`), drawn and operated there (`static/player.js`);
this module describes to it what there is to hear. It imports no PyTorch and serves the listening survey too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from musicstar.domains import Domain, Voice
from musicstar.jobs import Source, Step, Track
from musicstar.methods.catalog import METHODS

TARGET_LUFS = -20.0
HEADROOM_DB = 1.0
SCRIPTS = ("dom.js", "deck.js", "stage.js", "tracks.js", "player.js")


@dataclass(frozen=True)
class Scene:
    """What the player shows.

    Attributes
    ----------
    job : opaque name of the clip's job
    source, domain, target : the clip, the domain it is taken to be in, and the one it is translated to
    outputs : what the methods have made of it
    steps : how far an order has come; empty where none was given
    ahead : how many visitors are served first; None where none are waiting
    running : whether an order is being carried out
    failure : a sentence about the whole
    """

    job: str
    source: Source
    domain: Domain
    target: Domain
    outputs: tuple[Track, ...] = ()
    steps: tuple[Step, ...] = ()
    backbone: str = ""
    ahead: int | None = None
    running: bool = False
    failure: str = ""


def matching_gains_db(levels: Iterable[tuple[float | None, float | None]]) -> list[float]:
    """Gains that bring tracks to one loudness without a sample beyond full scale.

    Parameters
    ----------
    levels : loudness in LUFS (ITU-R BS.1770) and highest sample in dBFS of each track; None for silence

    Returns
    -------
    list[float] : dB, one for each track; 0 for silence. The common loudness is `TARGET_LUFS`, or less where a
        track would come within `HEADROOM_DB` of full scale.

    Examples
    --------
    >>> matching_gains_db([(-30.0, -12.0), (-26.0, -10.0)])
    [10.0, 6.0]
    >>> matching_gains_db([(-30.0, -4.0), (-26.0, -10.0), (None, None)])
    [3.0, -1.0, 0.0]
    """
    known = list(levels)
    reachable = [loudness - peak - HEADROOM_DB for loudness, peak in known if loudness is not None and peak is not None]
    common = min([TARGET_LUFS, *reachable])
    return [0.0 if loudness is None else round(common - loudness, 2) for loudness, _ in known]


def describe(scene: Scene, *, now_s: float) -> dict[str, Any]:
    """The scene as the browser's side of the player takes it."""
    source = scene.source
    tracks = [source.input]
    # A shipped piece that the visitor takes for another pair than it is has no gold standard.
    if scene.target in source.golds and scene.domain is source.domain:
        tracks.append(source.golds[scene.target])
    tracks += scene.outputs
    gains_db = matching_gains_db((track.loudness_lufs, track.peak_dbfs) for track in tracks)
    made = {(track.method, track.backbone) for track in scene.outputs}
    return {
        "job": scene.job,
        "piece": source.input.media,
        "name": source.name,
        "from": scene.domain.value,
        "to": scene.target.value,
        "fromTitle": scene.domain.label,
        "toTitle": scene.target.label,
        "duration": source.input.duration_s,
        "tracks": [_track(track, gain_db, scene) for track, gain_db in zip(tracks, gains_db, strict=True)],
        "steps": [
            {
                "method": step.method,
                "title": METHODS[step.method].title,
                "state": step.state,
                "share": step.share,
                "remaining": step.remaining_s(now_s),
                "message": step.message,
                "instead": step.instead,
            }
            for step in scene.steps
            if not (step.state == "done" and (step.method, scene.backbone) in made)
        ],
        "ahead": scene.ahead,
        "running": scene.running,
        "failure": scene.failure,
    }


def _track(track: Track, gain_db: float, scene: Scene) -> dict[str, Any]:
    heard = scene.domain if track.kind == "input" else scene.target
    title = {"input": "Input", "gold": "Gold standard"}.get(track.kind) or METHODS[track.method].title
    note = heard.label if track.kind in ("input", "gold") else METHODS[track.method].summary
    if track.partial_s is not None:
        note = f"The first {track.partial_s:.0f} s; the rest is being made."
    return {
        "key": track.key,
        "kind": track.kind,
        "domain": heard.value,
        "title": title,
        "note": note,
        "method": track.method,
        "backbone": track.backbone,
        "seconds": track.seconds,
        "partial": track.partial_s,
        **_sound(track, gain_db),
        "parts": [
            {"key": part.key, "title": voice.label.capitalize(), **_sound(part, gain_db)}
            for part, voice in zip(track.parts, _part_voices(track, heard), strict=True)
        ],
    }


def _part_voices(track: Track, heard: Domain) -> tuple[Voice, ...]:
    """The voices of a track's stems; a visitor may know better than the guess what their own are."""
    if track.kind == "input":
        return heard.stems[: len(track.parts)]
    return tuple(Voice.from_label(part.voice) for part in track.parts)


def _sound(track: Track, gain_db: float) -> dict[str, Any]:
    """Where a sound is, and how it is drawn; a stem sounds as loud as it does in its mixture."""
    return {
        "src": f"/media/{track.media}",
        "light": f"/media/{track.light}",
        "dark": f"/media/{track.dark}",
        "envelope": track.envelope,
        "gain": gain_db,
        "file": track.file_name if track.partial_s is None else "",
    }


def player(*, elem_id: str) -> gr.HTML:
    """The player as a Gradio component; its value is what `describe` gives, or None while there is nothing.

    A function, not a subclass: Gradio writes a stub file beside the source of each subclass.
    """
    return gr.HTML(
        value=None,
        elem_id=elem_id,
        html_template='<div class="ms-player"></div>',
        head="".join(f'<script src="/ui/{name}"></script>' for name in SCRIPTS),
        js_on_load="window.MusicStar.player(element.firstElementChild, props, watch, "
        "(method) => trigger('instead', {method}));",
        apply_default_css=False,
    )
