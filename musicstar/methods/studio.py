"""Translation by any of the methods, with shipped or imported weights; work is shared where weights allow."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from musicstar import checkpoint
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.domains import Direction, Domain
from musicstar.methods.base import Options, Source, Translation
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.methods.method import Method
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import StoredParts, library
from musicstar.methods.translating import prepare, translate_together

GUESS_SAMPLES = 64_000


@torch.inference_mode()
def guess_domain(clip: Clip, *, shelf: checkpoint.Library | None = None) -> tuple[Domain, float]:
    """Which domain a clip seems to be in, and how sure that is, 0.5 to 1.

    Raises
    ------
    AudioError
        The clip is silent or too short.
    NotOffered
        There are no weights to guess with.
    """
    guesser = StoredParts(Backbone.SPECTRAL, shelf or library()).guesser()
    windows = list(torch.split(_whole(clip), GUESS_SAMPLES))
    # A last window of under a second says little; it counts only where it is all there is.
    long_enough = [window for window in windows if len(window) >= SAMPLE_RATE] or [windows[0]]
    odds = torch.stack([guesser(window[None])[0] for window in long_enough]).mean()
    share_sp = float(torch.sigmoid(odds))
    return (Domain.SP, share_sp) if share_sp >= 0.5 else (Domain.CV, 1 - share_sp)


def _whole(clip: Clip) -> Tensor:
    """A clip as the networks take it."""
    prepared = prepare(Source(Domain.CV, clip))
    return prepared.piece(0, prepared.total).mixture


def translate_all(
    names: Sequence[str],
    source: Source,
    target: Domain,
    *,
    backbone: Backbone = Backbone.SPECTRAL,
    options: Options | None = None,
    on_progress: Callable[[str, float], None] | None = None,
    shelf: checkpoint.Library | None = None,
) -> Iterator[Translation]:
    """Translate by several methods, yielding each as it is done.

    Methods that speak through the same spectral decoder are decoded side by side in one batch, WaveNets all together.

    Parameters
    ----------
    names : keys of `METHODS`
    on_progress : called with a method's name and the share of it that is done
    shelf : where weights are looked for; `library()` by default

    Raises
    ------
    AudioError
        The source is silent, too short, or its stems differ in length.
    NeedsStems, NotOffered, Cancelled
        See there.
    ValueError
        An unknown method, or source and target in one domain.
    """
    options = options or Options()
    unknown = set(names) - set(METHODS)
    if unknown:
        raise ValueError(f"unknown method {', '.join(sorted(unknown))}: expected one of {', '.join(METHODS)}")
    prepared = prepare(source)
    parts = StoredParts(backbone, shelf or library())
    methods = [CLASSES[name](parts) for name in dict.fromkeys(names)]
    groups: dict[tuple[int, ...], list[Method]] = {}
    for method in methods:
        speakers = method.speaker(Direction(source.domain, target)) if backbone is Backbone.SPECTRAL else ()
        groups.setdefault(tuple(map(id, speakers)), []).append(method)
    for group in groups.values():
        yield from translate_together(
            group, prepared, target, options=options, on_progress=on_progress or (lambda name, share: None)
        )
