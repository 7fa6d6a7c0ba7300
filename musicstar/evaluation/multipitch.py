"""Content similarity: how much of what is played in one clip is also played in another. Higher is better.

Each clip is read by multi-pitch Melodia (Salamon and Gomez 2012, as Essentia's `MultiPitchMelodia`) at 16
kHz, each pitch is moved to the nearest equal-tempered semitone (A4 = 440 Hz), and frame by frame the two
sets of semitones A and B are compared by the Jaccard similarity |A and B| / |A or B|: 1 where they are the
same, 0 where they share nothing. The mean over frames is Music-STAR's measure of content preservation (its
section 5.2.1).

Conventions
-----------
- A frame where both clips are silent has no such quotient. `silent_one`, the figure quoted unless another
  is named, counts it as 1; `silent_zero` counts it as 0; `voiced_only` leaves it out. A frame where one
  clip alone is silent counts as 0 in all three.
- Where no frame is voiced in either clip, or there is no frame at all, the three are 1, 0 and NaN.
- The shorter clip is silent from its end to the end of the longer; what is silent in the longer after the last of its
  pitches does not count then, so that silence added to a clip changes nothing.
- Symmetric, and independent of gain and of sample rate save for rounding.

On the ten real excerpts of StarNet the untranslated input against its gold standard has a mean `silent_one`
of 0.509 and `silent_zero` of 0.421; unrelated pieces have 0.08 and 0.02.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest

import numpy as np

from musicstar.audio import SAMPLE_RATE, Clip

# Essentia's defaults in samples: 128 ms and 8 ms at 16 kHz. They give the excerpts' known figures, where half
# the frame gives 0.487 in place of 0.509, a hop of 10 ms 0.491, and Essentia's sample rate of 44.1 kHz 0.486.
FRAME_SAMPLES = 2048
HOP_SAMPLES = 128

Semitones = frozenset[int]


class EssentiaMissingError(ImportError):
    """The package that finds the pitches is not installed; the message says which extra brings it."""


@dataclass(frozen=True)
class ContentSimilarity:
    """Mean Jaccard similarity per frame, 0 to 1, higher is better; one figure per value of a silent frame.

    Attributes
    ----------
    silent_one : a frame silent in both clips counts 1
    silent_zero : it counts 0
    voiced_only : it is left out; NaN where that leaves nothing
    """

    silent_one: float
    silent_zero: float
    voiced_only: float


def is_installed() -> bool:
    """Whether essentia is there to find pitches with."""
    return find_spec("essentia") is not None


def pitches(clip: Clip) -> list[Semitones]:
    """Find what sounds in each frame of 8 ms.

    Returns
    -------
    one set of MIDI note numbers (A4 = 69) per frame; empty where nothing is voiced

    Raises
    ------
    EssentiaMissingError
        The extra `eval` is not installed.
    """
    try:
        import essentia

        essentia.log.infoActive = False  # it reports its missing classifiers on every import
        from essentia.standard import MultiPitchMelodia
    except ImportError as error:
        raise EssentiaMissingError(
            "content similarity needs the package essentia, which is not installed: pip install "
            "-c constraints.txt -e '.[eval]'"
        ) from error
    wav = clip.resampled(SAMPLE_RATE).wav
    if len(wav) == 0:
        return []
    # One extractor per clip: a second call of the same one returns nothing.
    extract = MultiPitchMelodia(sampleRate=SAMPLE_RATE, frameSize=FRAME_SAMPLES, hopSize=HOP_SAMPLES)
    return [nearest_semitones(frame) for frame in extract(np.ascontiguousarray(wav))]


def nearest_semitones(frequencies_hz: np.ndarray | Sequence[float]) -> Semitones:
    """MIDI note numbers nearest to some frequencies, Melodia's 0 Hz for "nothing voiced" dropped.

    >>> sorted(nearest_semitones([440.0, 0.0, 445.0, 880.0]))
    [69, 81]
    """
    hz = np.asarray(frequencies_hz, dtype=np.float64)
    notes = 69 + 12 * np.log2(hz[hz > 0] / 440)
    return frozenset(np.rint(notes).astype(int).tolist())


def compare(a: Sequence[Semitones], b: Sequence[Semitones]) -> ContentSimilarity:
    """Compare two clips by their pitches.

    >>> c, ce, none = frozenset({60}), frozenset({60, 64}), frozenset()
    >>> compare([c, c, none, none], [c, ce, none, c])
    ContentSimilarity(silent_one=0.625, silent_zero=0.375, voiced_only=0.5)
    """
    silence: Semitones = frozenset()
    shorter, longer = sorted((a, b), key=len)
    end = max((frame for frame, notes in enumerate(longer, 1) if notes), default=0)
    frames = list(zip_longest(shorter, longer[: max(len(shorter), end)], fillvalue=silence)) or [(silence, silence)]
    voiced = [len(x & y) / len(x | y) for x, y in frames if x or y]
    shared, silent = sum(voiced), len(frames) - len(voiced)
    return ContentSimilarity(
        silent_one=(shared + silent) / len(frames),
        silent_zero=shared / len(frames),
        voiced_only=shared / len(voiced) if voiced else float("nan"),
    )
