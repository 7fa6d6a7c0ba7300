"""From labelled clips and their features to an atlas, with short previews to hear."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from musicstar import audio
from musicstar.concepts import atlas as atlases
from musicstar.concepts import cav
from musicstar.concepts import truth as truths
from musicstar.concepts.atlas import TEST, Atlas, Background, Concept
from musicstar.concepts.library import LEAST_CLIPS, Library, LibraryError

logger = logging.getLogger(__name__)

EXAMPLES = 3
PREVIEW_S = 4.0
PREVIEW_RATE = 22_050
# A preview begins a little before the first sound.
_LEAD_S = 0.05


def build(
    library: Library,
    features: np.ndarray,
    *,
    embedder: str,
    title: str,
    method: str = "exact",
    ridges: Sequence[float] = cav.RIDGES,
    least: int = LEAST_CLIPS,
    above: float = cav.LEAST_ACCURACY,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Atlas:
    """Learn the concepts of a library from its clips' features, and keep those that can be told apart.

    Parameters
    ----------
    features : np.ndarray[P, D], float32, finite
    embedder : the name of what made them, see `embed.Embedder`
    method, ridges : see `cav.fit`
    least : concepts with fewer clips are left out
    above : so are those whose balanced accuracy is not above this
    seed : of the split and of the draws

    Raises
    ------
    LibraryError
        Fewer than two concepts remain.
    """
    split = library.splits(seed)
    # The statistics of what is left out would not change, so it is left out before anything is learned.
    enough = np.flatnonzero(library.members.sum(axis=1) >= least)
    if len(enough) < 2:
        raise LibraryError(f"{len(enough)} concepts with {least} clips or more; expected at least two")
    members = library.members[enough]
    vectors = cav.fit(features, members, split, method=method, ridges=ridges, seed=seed, progress=progress)
    measured = cav.accuracies(vectors, features, members, split, library.tracks)
    warnings = cav.warnings(measured)
    good = np.flatnonzero(measured.balanced > above)
    if len(good) < 2:
        raise LibraryError(
            f"{len(good)} of {len(enough)} concepts have a balanced accuracy above {above:g} (the best "
            f"{measured.balanced.max():.2f}); expected at least two: more clips of each, or a lower limit"
        )
    names = [library.concepts[i] for i in enough]
    parents = _nearest_known(library, {names[i] for i in good})
    vectors = atlases.Vectors(vectors.weights[good], vectors.biases[good], vectors.mean, vectors.scale)
    members = members[good]
    concepts = tuple(
        Concept(
            name=names[i],
            parents=parents.get(names[i], ()),
            clips=int(library.members[enough[i]].sum()),
            accuracy=round(float(measured.balanced[i]), 4),
            low=round(float(measured.low[i]), 4),
            high=round(float(measured.high[i]), 4),
            warning=warnings[i],
        )
        for i in good
    )
    dropped = {
        names[i]: round(float(measured.balanced[i]), 4) for i in range(len(names)) if i not in set(good.tolist())
    }
    card: dict[str, Any] = {
        "clips": len(library.paths),
        "tracks": len(set(library.tracks)),
        "method": method,
        "ridges": list(ridges),
        "seed": seed,
        "least_clips": least,
        "least_accuracy": above,
        "dropped": dropped,
        "notes": list(library.notes),
    }
    similarity = cav.similarity(vectors, features, members, split)
    return Atlas(title, concepts, similarity, vectors, Background(features, members, split), embedder, card)


def _nearest_known(library: Library, known: set[str]) -> dict[str, tuple[str, ...]]:
    """The ground truth among some concepts: where a parent is left out, its own parents stand for it."""
    nearest: dict[str, tuple[str, ...]] = {}
    # The broader ones come first.
    for name in truths.ancestors(library.parents):
        above = library.parents.get(name, ())
        found = (part for parent in above for part in ([parent] if parent in known else nearest[parent]))
        nearest[name] = tuple(dict.fromkeys(found))
    return {name: nearest.get(name, ()) for name in known}


def choose_examples(atlas: Atlas, count: int = EXAMPLES) -> dict[str, tuple[int, ...]]:
    """Which clips to hear each concept by: held-out ones, shared between concepts so that there are few."""
    assert atlas.background is not None
    members, held = atlas.background.members, atlas.background.split == TEST
    chosen: dict[str, tuple[int, ...]] = {}
    taken: set[int] = set()
    for row in np.argsort(members.sum(axis=1), kind="stable"):
        clips = np.flatnonzero(members[row] & held)
        if len(clips) < count:
            clips = np.concatenate([clips, np.flatnonzero(members[row] & ~held)])
        first = [int(clip) for clip in clips if int(clip) in taken]
        rest = [int(clip) for clip in clips if int(clip) not in taken]
        # Of many that are taken already, ones that lie apart differ most in all else.
        spread = first[:: max(1, len(first) // count)]
        found = tuple([*spread, *rest][:count])
        taken.update(found)
        chosen[atlas.concepts[int(row)].name] = found
    return chosen


def write_previews(atlas: Atlas, library: Library, folder: str | Path) -> Atlas:
    """Write short clips to hear into `folder`/previews, where no others are left, and have the concepts name them."""
    previews = Path(folder) / "previews"
    chosen = choose_examples(atlas)
    names: dict[int, str] = {}
    for clip in sorted({clip for clips in chosen.values() for clip in clips}):
        names[clip] = f"{clip:05d}.mp3"
        audio.write(previews / names[clip], _preview(library.paths[clip]))
    for path in previews.glob("*.mp3"):
        if path.name not in names.values():
            path.unlink(missing_ok=True)
    concepts = tuple(
        replace(concept, examples=tuple(names[clip] for clip in chosen[concept.name])) for concept in atlas.concepts
    )
    return replace(atlas, concepts=concepts)


def _preview(path: Path) -> audio.Clip:
    """The first seconds from the first sound on, at one level."""
    clip = audio.read(path, sample_rate=PREVIEW_RATE)
    loud = np.flatnonzero(np.abs(clip.wav) > 0.02 * np.abs(clip.wav).max())
    first = max(0, int(loud[0]) - round(_LEAD_S * PREVIEW_RATE))
    wav = clip.wav[first : first + round(PREVIEW_S * PREVIEW_RATE)].copy()
    fade = min(len(wav), round(0.1 * PREVIEW_RATE))
    wav[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    short = audio.Clip(wav, PREVIEW_RATE)
    return short.amplified(min(-20 - short.rms_dbfs(), -1 - 20 * float(np.log10(np.abs(wav).max()))))
