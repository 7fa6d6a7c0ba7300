"""Outputs of our own methods, written as anybody's would be, with the speed at which they were made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from musicstar import audio, checkpoint
from musicstar.domains import PAPER, Direction, Domain
from musicstar.evaluation import separation
from musicstar.evaluation.measures import Measured
from musicstar.evaluation.outputs import GOLD, INPUT, Place, target
from musicstar.methods import studio
from musicstar.methods.base import NotOffered, Source
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import SIMILARITY, StoredParts, library
from musicstar.pairs import Pair

Progress = Callable[[int, int], None]


def system_name(method: str, backbone: Backbone) -> str:
    """What a method's outputs are called: by the method, and the backbone where that is not the spectral one."""
    return method if backbone is Backbone.SPECTRAL else f"{method}-{backbone.value}"


def with_weights(
    methods: Sequence[str], *, backbone: Backbone, directions: Sequence[Direction] = PAPER
) -> tuple[list[str], dict[str, str]]:
    """The methods whose networks are all there, and of the others what is missing; nothing is asked of what is."""
    trained, left_out = [], {}
    for name in methods:
        try:
            for direction in directions:
                CLASSES[name](StoredParts(backbone, library())).require(direction)
        except NotOffered as error:
            left_out[system_name(name, backbone)] = str(error)
        else:
            trained.append(name)
    return trained, left_out


def write(
    pairs: Sequence[Pair],
    methods: Mapping[Backbone, Sequence[str]],
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[tuple[Place, str], float]:
    """Translate every pair by every method it has the inputs for; write outputs, inputs and gold standards.

    Files are PIECE.DIRECTION.SYSTEM.flac in 24 bits; the direction is the target's name, or source and target where
    some target has several sources.

    Returns
    -------
    seconds of audio made per second of work, by (piece, direction) and system
    """
    routes = {(pair.source.domain, pair.target) for pair in pairs}
    plain = len({towards for _, towards in routes}) == len(routes)
    speeds: dict[tuple[Place, str], float] = {}
    for done, pair in enumerate(pairs, 1):
        source, towards = pair.source, pair.target
        place = pair.name, towards.value if plain else f"{source.domain.value}-{towards.value}"
        assert source.mixture is not None
        clips = {GOLD: pair.gold, INPUT: source.mixture}
        for backbone, names in methods.items():
            for name in names:
                if METHODS[name].needs_stems and source.stems is None:
                    continue
                # One at a time, so that each method's time is its own.
                for made in studio.translate_all([name], source, towards, backbone=backbone):
                    system = system_name(name, backbone)
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


def record(measured: Sequence[Measured], *, backbone: Backbone) -> None:
    """Write the similarity each method's own weights reached, towards the domains they serve, into their cards."""
    found = library()
    for name in METHODS:
        system, kind = system_name(name, backbone), CLASSES[name]
        family = "demucs" if kind.recipe == "separation" else backbone.value
        reached: dict[Path, list[float]] = {}
        for direction in PAPER:
            own = [
                one.values["content"]
                for one in measured
                if one.system == system and target(one.direction) is direction.target
            ]
            for voice in kind.voices(direction) if own else ():
                path = found.find(family, kind.recipe, voice.label)
                if path is not None:
                    reached.setdefault(path, []).extend(own)
        for path, similarities in reached.items():
            checkpoint.annotate(path, {SIMILARITY: round(float(np.mean(similarities)), 3)})
