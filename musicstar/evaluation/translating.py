"""Outputs of our own methods, written as anybody's would be, with the speed at which they were made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from musicstar import audio, checkpoint
from musicstar.audio import AudioError
from musicstar.domains import PAPER, Direction, Domain
from musicstar.evaluation import separation
from musicstar.evaluation.measures import Measured
from musicstar.evaluation.outputs import GOLD, INPUT, Place, route
from musicstar.methods import studio
from musicstar.methods.base import NotOffered, Options, Source
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import StoredParts, library
from musicstar.pairs import Pair

Progress = Callable[[int, int], None]


def system_name(method: str, backbone: Backbone) -> str:
    """What a method's outputs are called: by the method, and the backbone where that is not the spectral one."""
    return method if backbone is Backbone.SPECTRAL else f"{method}-{backbone.value}"


def with_weights(
    methods: Sequence[str], *, backbone: Backbone, directions: Sequence[Direction] = PAPER
) -> tuple[dict[Direction, list[str]], dict[str, str]]:
    """The methods that have their networks for each direction, and what the others lack; nothing is asked of it.

    Returns
    -------
    methods by direction; by system the first thing it lacks
    """
    offered: dict[Direction, list[str]] = {direction: [] for direction in directions}
    lacking: dict[str, str] = {}
    for name in methods:
        for direction in directions:
            try:
                CLASSES[name](StoredParts(backbone, library())).require(direction)
            except NotOffered as error:
                lacking.setdefault(system_name(name, backbone), str(error))
            else:
                offered[direction].append(name)
    return offered, lacking


def write(
    pairs: Sequence[Pair],
    methods: Mapping[Backbone, Mapping[Direction, Sequence[str]]],
    out: Path,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    fault: Callable[[str], None] = lambda sentence: None,
) -> dict[tuple[Place, str], float]:
    """Translate every pair by every method it has the inputs for; write outputs, inputs and gold standards.

    Files are PIECE.DIRECTION.SYSTEM.flac in 24 bits; the direction is the target's name, or source and target where
    some target has several sources.

    Parameters
    ----------
    methods : by backbone, what `with_weights` found
    fault : told of each output that could not be made

    Returns
    -------
    seconds of audio made per second of work, by (piece, direction) and system
    """
    routes = {(pair.source.domain, pair.target) for pair in pairs}
    plain = len({towards for _, towards in routes}) == len(routes)
    speeds: dict[tuple[Place, str], float] = {}
    for done, pair in enumerate(pairs, 1):
        source, direction = pair.source, Direction(pair.source.domain, pair.target)
        place = pair.name, pair.target.value if plain else f"{source.domain.value}-{pair.target.value}"
        assert source.mixture is not None
        clips = {GOLD: pair.gold, INPUT: source.mixture}
        for backbone, name in [(key, name) for key, offered in methods.items() for name in offered.get(direction, ())]:
            if METHODS[name].needs_stems and source.stems is None:
                continue
            system = system_name(name, backbone)
            try:
                # One at a time, so that each method's time is its own.
                (made,) = studio.translate_all([name], source, pair.target, backbone=backbone, options=options)
            except AudioError as error:
                fault(f"{'.'.join(place)}.{system}: {error}")
                continue
            clips[system] = made.mix
            speeds[place, system] = made.mix.duration_s / made.seconds["total"]
        for system, clip in clips.items():
            audio.write(out / f"{'.'.join(place)}.{system}.flac", clip, subtype="PCM_24")
        if progress is not None:
            progress(done, len(pairs))
    return speeds


def separate(pairs: Sequence[Pair]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """SDR of the separator on the sources that have stems, by piece and voice; of domains that have weights."""
    parts = StoredParts(Backbone.SPECTRAL, library())
    sources: dict[tuple[str, Domain], Source] = {}
    for pair in pairs:
        if pair.source.stems is not None:
            sources.setdefault((pair.name, pair.source.domain), pair.source)
    for (piece, domain), source in sources.items():
        try:
            separator = parts.separator(domain)
        except NotOffered:
            continue
        yield piece, separation.measure(source, separator)


def record(measured: Sequence[Measured], *, backbone: Backbone, measured_on: str) -> None:
    """Write the similarity each method's own weights reached, towards the domains they serve, into their cards.

    Parameters
    ----------
    measured_on : what was translated and how, for people to read
    """
    found = library()
    for name in METHODS:
        system, kind = system_name(name, backbone), CLASSES[name]
        family = "demucs" if kind.recipe == "separation" else backbone.value
        if family == "demucs" and backbone is not Backbone.SPECTRAL:
            # One separator serves both backbones, and has one card.
            continue
        reached: dict[Path, list[float]] = {}
        for towards in sorted({one.direction for one in measured}):
            own = [one.values["content"] for one in measured if (one.system, one.direction) == (system, towards)]
            direction = route(towards)
            for voice in kind.voices(direction) if own else ():
                path = found.find(family, kind.recipe, voice.label)
                if path is not None:
                    reached.setdefault(path, []).extend(own)
        for path, similarities in reached.items():
            reading = {checkpoint.SIMILARITY: round(float(np.mean(similarities)), 3)}
            checkpoint.annotate(path, {**reading, f"{checkpoint.SIMILARITY}_on": measured_on})
