"""What is measured of an output against its gold standard, and the measuring of a whole collection."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from musicstar import audio
from musicstar.audio import AudioError, Clip
from musicstar.domains import Direction
from musicstar.evaluation import multipitch, notes, quality, salience
from musicstar.evaluation.judges import Judges, OtherGolds, pooled
from musicstar.evaluation.multipitch import Semitones
from musicstar.evaluation.outputs import GOLD, UNRELATED, Collection, Place, route, target
from musicstar.evaluation.spectra import levelled, without_tail

ContentBy = Literal["essentia", "salience"]
FINDERS: Mapping[ContentBy, Callable[[Clip], list[Semitones]]] = {
    "essentia": multipitch.pitches,
    "salience": salience.pitches,
}
# Golds in each domain that judges learn from, at the least; that of the piece in question is not among them.
LEAST_GOLDS = 4
SHORTEST_GOLD_S = 0.1


@dataclass(frozen=True)
class Measure:
    """How a figure is presented.

    Attributes
    ----------
    group : the table it stands in
    better : which way is better; "nearest" to `best`
    best : the value of an output that equals its gold standard
    """

    title: str
    unit: str
    group: Literal["content", "style", "quality"]
    better: Literal["higher", "lower", "nearest"]
    best: float | None


MEASURES = {
    "content": Measure("content similarity", "", "content", "higher", 1.0),
    "content_gain": Measure("gain over the input", "", "content", "higher", None),
    "content_silent_zero": Measure("content, silence 0", "", "content", "higher", None),
    "content_voiced": Measure("content, voiced", "", "content", "higher", 1.0),
    "note_precision": Measure("note precision", "", "content", "higher", 1.0),
    "note_recall": Measure("note recall", "", "content", "higher", 1.0),
    "note_f1": Measure("note F1", "", "content", "higher", 1.0),
    "octave_errors": Measure("octave slips", "", "content", "lower", 0.0),
    "style_cosine": Measure("style cosine", "", "style", "higher", 1.0),
    "target_probability": Measure("target-domain probability", "", "style", "higher", None),
    "target_probability_real": Measure(
        "target-domain probability, learned from other golds", "", "style", "higher", None
    ),
    "frechet": Measure("Frechet distance", "", "style", "lower", 0.0),
    "stft_distance": Measure("STFT distance", "", "quality", "lower", 0.0),
    "mel_distance": Measure("log-mel distance", "dB", "quality", "lower", 0.0),
    "modulation_distance": Measure("modulation distance", "dB", "quality", "lower", 0.0),
    "modulation_level": Measure("modulation level", "dB", "quality", "nearest", 0.0),
    "noise_bursts": Measure("noise bursts", "per s", "quality", "lower", 0.0),
    "buzz": Measure("buzz", "dB", "quality", "nearest", 0.0),
    "attack_sharpness": Measure("attack sharpness", "", "quality", "nearest", 1.0),
    "upper_harmonics": Measure("upper harmonics", "dB", "quality", "nearest", 0.0),
    "speed": Measure("times real time", "", "quality", "higher", None),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """One output's figures.

    Attributes
    ----------
    values : by name as in `MEASURES`; those of a whole system are not among them
    frames : np.ndarray[N, D], style embeddings of its segments; None without judges
    """

    piece: str
    direction: str
    system: str
    values: Mapping[str, float]
    frames: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Heard:
    """What one clip is to the measures; the clip is levelled."""

    clip: Clip
    pitches: Sequence[Semitones]
    notes: Sequence[notes.Note]
    embedding: np.ndarray | None
    frames: np.ndarray | None


class Ear:
    """Listens to files.

    Parameters
    ----------
    content_by : what finds the pitches
    judges : of style; None where there are no weights
    with_quality : whether the measures of quality are taken
    """

    def __init__(self, content_by: ContentBy, judges: Judges | None, *, with_quality: bool = True) -> None:
        self.content_by, self.judges, self.with_quality = content_by, judges, with_quality
        # A gold standard is listened to beside each of its outputs, and as another piece's unrelated one.
        self.hear = lru_cache(maxsize=8)(self._hear)

    def _hear(self, path: Path, samples: int | None = None) -> Heard:
        clip = audio.read(path, sample_rate=None)
        # Silence behind an output would count as alike to what is not there.
        clip = levelled(clip if samples is None else without_tail(clip, samples))
        pitches = FINDERS[self.content_by](clip)
        frames = None if self.judges is None else self.judges.frames(clip)
        embedding = None if frames is None else pooled(frames)
        return Heard(clip, pitches, notes.notes(pitches), embedding, frames)

    def other_golds(self, collection: Collection) -> OtherGolds | None:
        """Judges that have heard the collection's other gold standards; None where these are too few to tell apart."""
        paths = {(piece, target(direction)): files[GOLD] for (piece, direction), files in collection.files.items()}
        pieces = {domain: [name for name, other in paths if other is domain] for _, domain in paths}
        if self.judges is None or len(pieces) < 2 or min(map(len, pieces.values())) <= LEAST_GOLDS:
            return None
        clips = {}
        for place, path in paths.items():
            with suppress(AudioError):
                clips[place] = levelled(audio.read(path, sample_rate=None))
        readable = Counter(domain for _, domain in clips)
        enough = len(readable) == len(pieces) and min(readable.values()) > LEAST_GOLDS
        return self.judges.other_golds(clips) if enough else None

    def compare(self, output: Heard, gold: Heard, direction: Direction) -> dict[str, float]:
        """Every figure of one output; by style it may be in the domain of its source or in that of its target."""
        content = multipitch.compare(output.pitches, gold.pitches)
        played = notes.compare(output.notes, gold.notes) if notes.is_installed() else None
        values = {
            "content": content.silent_one,
            "content_silent_zero": content.silent_zero,
            "content_voiced": content.voiced_only,
            **({f"note_{name}": value for name, value in asdict(played).items()} if played else {}),
            "octave_errors": notes.octave_errors(output.pitches, gold.pitches),
            **(quality.measure(output.clip, gold.clip) if self.with_quality else {}),
        }
        if self.judges is not None and output.embedding is not None and gold.embedding is not None:
            values["style_cosine"] = float(output.embedding @ gold.embedding)
            if {direction.source, direction.target} <= set(self.judges.domains):
                values["target_probability"] = self.judges.target_probability(
                    output.clip, direction.target, among=(direction.source, direction.target)
                )
        return values


def measure(
    collection: Collection,
    ear: Ear,
    *,
    speeds: Mapping[tuple[Place, str], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Measured], list[str]]:
    """Measure a collection, the three fixed references included.

    Parameters
    ----------
    speeds : by place and system, seconds of audio made per second of work, where that is known
    progress : told how many places are done, and of how many

    Returns
    -------
    the figures, and a sentence for each file that could not be read
    """
    found: list[Measured] = []
    faults: dict[Path, str] = {}
    golds = {systems[GOLD] for systems in collection.files.values()}
    others = ear.other_golds(collection)

    def hear(path: Path, samples: int | None = None) -> Heard | None:
        if path not in faults:
            try:
                heard = ear.hear(path) if path in golds else ear.hear(path, samples)
            except AudioError as error:
                faults[path] = str(error)
            else:
                if path not in golds or (heard.clip.wav.any() and heard.clip.duration_s >= SHORTEST_GOLD_S):
                    return heard
                short = f"{heard.clip.duration_s:.3f} s long, at least {SHORTEST_GOLD_S:g} s is needed"
                faults[path] = f"{path.name}: {short if heard.clip.wav.any() else 'silent'}"
        return None

    for done, (place, systems) in enumerate(sorted(collection.files.items())):
        if progress is not None:
            progress(done, len(collection.files))
        piece, direction = place
        towards = target(direction)
        gold = hear(systems[GOLD])
        if gold is None:
            faults[systems[GOLD]] += f"; nothing of {piece}.{direction} can be measured without its gold standard"
            continue
        foreign = collection.unrelated(place)
        for system, path in {**systems, **({UNRELATED: foreign} if foreign else {})}.items():
            heard = hear(path, len(gold.clip.wav))
            if heard is None:
                continue
            values = ear.compare(heard, gold, route(direction))
            # The judge of this piece has learned from the unrelated gold standard.
            if others is not None and towards in others.domains and system != UNRELATED:
                values["target_probability_real"] = others.target_probability(heard.clip, towards, piece=piece)
            values["speed"] = (speeds or {}).get((place, system), math.nan)
            found.append(Measured(piece, direction, system, values, heard.frames))
    if progress is not None:
        progress(len(collection.files), len(collection.files))
    return found, list(faults.values())
