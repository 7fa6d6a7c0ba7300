"""What a backbone is trained on: log-mel frames of a library's clips, reduced once, with their labels."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicstar.concepts import cache
from musicstar.concepts.atlas import TRAIN, VALIDATION
from musicstar.concepts.library import Library, LibraryError
from musicstar.concepts.sfx import FrontEnd
from musicstar.files import whole

logger = logging.getLogger(__name__)

# Of a library's labels where it has no factors.
TAGS = "tags"
LEVELS = 255
MAX_CLIP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How training changes what it hears.

    Attributes
    ----------
    gain_db, eq_db : largest random change of level, and of colour
    time_mask, band_mask : longest gap, in frames and bands
    """

    gain_db: float = 6.0
    eq_db: float = 6.0
    time_mask: int = 20
    band_mask: int = 12


@dataclass(frozen=True, eq=False)
class Patches:
    """What a network is trained on: log-mel frames of P clips, and their labels.

    Attributes
    ----------
    frames : np.ndarray[sum of clips' frames, bands], uint8, 255 for 1
    ends : np.ndarray[P], int64, where each clip ends
    labels : np.ndarray[P, labels of all groups], bool
    split : np.ndarray[P], int8
    groups : names of labels; a clip carries one of a group at most, unless the only group is `TAGS`
    front_end : that made the frames
    data : what it is, in words
    """

    frames: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    groups: Mapping[str, tuple[str, ...]]
    front_end: FrontEnd = field(default_factory=FrontEnd)
    data: str = ""

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each clip begins."""
        return np.concatenate([[0], self.ends[:-1]])

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        words = {"groups": self.groups, "front_end": asdict(self.front_end), "data": self.data}
        arrays = {name: getattr(self, name) for name in ("frames", "ends", "labels", "split")}
        with whole(path) as temporary:
            np.savez_compressed(temporary, words=np.array(json.dumps(words)), **arrays)

    def clip(self, place: int) -> np.ndarray:
        """The frames of a clip, uint8[its frames, bands]."""
        return np.asarray(self.frames[self.starts[place] : self.ends[place]])

    @classmethod
    def load(cls, path: Path) -> "Patches":
        """Read what `save` wrote."""
        with np.load(path) as stored:
            words = json.loads(str(stored["words"]))
            arrays = [stored[name] for name in ("frames", "ends", "labels", "split")]
        groups = {name: tuple(labels) for name, labels in words["groups"].items()}
        frames, ends, labels, split = arrays
        return cls(frames, ends, labels, split, groups, FrontEnd(**words["front_end"]), words["data"])


def reduce(
    library: Library,
    folder: Path,
    *,
    front_end: FrontEnd | None = None,
    seed: int = 0,
    progress: cache.Progress | None = None,
) -> Patches:
    """Log-mel frames of a library's clips, of their first 30 seconds; kept in `folder`, so that it can be gone on with.

    Raises
    ------
    LibraryError
        No clip of the training or the validation split can be used.
    """
    hears = front_end or FrontEnd()
    longest = max(round(MAX_CLIP_S * hears.sample_rate), hears.window_samples)

    def run(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [(hears.log_mel(wav[:longest]) * LEVELS).round().to(torch.uint8).numpy() for wav in wavs]

    found, failures = cache.measure(
        library.paths,
        run,
        folder,
        name=f"frames 1 {MAX_CLIP_S} {hears}",
        sample_rate=hears.sample_rate,
        progress=progress,
    )
    for sentence in failures.values():
        logger.warning("left out of training: %s", sentence)
    kept = sorted(found)
    split = library.splits(seed)[kept]
    for part, name in ((TRAIN, "training"), (VALIDATION, "validation")):
        if not (split == part).any():
            raise LibraryError(
                f"none of the {len(kept)} clips that can be used are in the {name} split; expected more clips"
            )
    factors = {name: tuple(labels) for name, labels in library.factors.items() if len(labels) > 1}
    groups = factors or {TAGS: library.concepts}
    rows = {name: row for row, name in enumerate(library.concepts)}
    members = library.members[[rows[label] for labels in groups.values() for label in labels]]
    return Patches(
        np.concatenate([found[place] for place in kept]),
        np.cumsum([len(found[place]) for place in kept]),
        members[:, kept].T.copy(),
        split,
        groups,
        hears,
        f"{len(kept)} clips, {len(library.concepts)} concepts, split by track with seed {seed}",
    )


def changed(mel: Tensor, front_end: FrontEnd, changes: Changes, random: np.random.Generator) -> Tensor:
    """Windows, Tensor[B, T, bands] in 0..1, at another level, in another colour, and with gaps."""
    count, length, bands = mel.shape
    places = np.linspace(0, np.pi, bands)
    waves = np.cos(np.arange(1, 4)[:, None] * places) / np.arange(1, 4)[:, None]
    change_db = changes.gain_db * random.uniform(-1, 1, (count, 1)) + changes.eq_db * (
        random.uniform(-1, 1, (count, 3)) @ waves / 1.5
    )
    gain = torch.from_numpy((10 ** (change_db / 10)).astype(np.float32))[:, None]
    scale = math.log1p(front_end.compression)
    other = (torch.log1p(torch.expm1(mel * scale) * gain) / scale).clamp(0, 1)
    for window in other:
        for axis, (size, longest) in enumerate(((length, changes.time_mask), (bands, changes.band_mask))):
            width = int(random.integers(longest + 1))
            start = int(random.integers(max(1, size - width + 1)))
            window.narrow(axis, start, min(width, size)).zero_()
    return other
