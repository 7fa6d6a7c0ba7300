"""What a listening test plays: the gold standard of a piece and what each method makes of its other domain."""

from collections.abc import Callable, Iterable
from pathlib import Path

from musicstar import audio
from musicstar.methods import studio
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.pairs import Pair

GOLD = "gold"


def make(
    pairs: Iterable[Pair],
    out: Path,
    *,
    backbone: Backbone = Backbone.SPECTRAL,
    progress: Callable[[Path], None] | None = None,
) -> None:
    """Write PIECE.DIRECTION.SYSTEM.flac for each pair: direction is the target domain, system a method or "gold".

    Parameters
    ----------
    pairs : with stems, which single-instrument translates
    progress : told of each file written

    Raises
    ------
    NotOffered, NeedsStems
        A method has no weights here, or a pair no stems.
    """
    for pair in pairs:
        target = pair.target
        clips = {GOLD: pair.gold}
        for made in studio.translate_all(list(METHODS), pair.source, target, backbone=backbone):
            clips[made.method] = made.mix
        for system, clip in clips.items():
            path = audio.write(out / f"{pair.name}.{target}.{system}.flac", clip)
            if progress is not None:
                progress(path)
