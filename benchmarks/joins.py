"""Whether joins of chunks are heard: WaveNets played in chunks against the same played from beginning to end.

Run as `python -m benchmarks.joins FOLDER` from the root of the repository; FOLDER has excerpts in the StarNet layout,
each of which is translated in both directions by the WaveNets of `--method`. For each way of chunking are printed

- content similarity to the gold standard, higher is better;
- spectral flux at joins against elsewhere, in dB: the mean rise of the log-mel spectrum from one frame to the next,
  frames of 16 ms, over the 50 ms around each join, less that of all other frames;
- level steps at joins, in dB: how far the level of the 50 ms behind a join is from that of the 50 ms before it.

Each beside what the sequential output has at the same moments, which have no joins there. What a figure varies by
without any chunk is its noise: the same for a second sequential output, of another seed, against the first, at the
moments where chunks of each length would be joined. All of it is done with `--seeds` seeds, over which each clip's
figures are averaged.

A draft is the translation by the spectral network of the same method: in its way chunks are warmed up by what the draft
has there, said whatever the decoder thinks, in place of what they would say themselves.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicstar.audio import SAMPLE_RATE, Clip, mulaw_decode, mulaw_encode
from musicstar.backbones import WaveNetModel
from musicstar.chunking import Chunking, Plan
from musicstar.engines.choice import engine_for
from musicstar.evaluation import multipitch
from musicstar.evaluation.measures import FINDERS
from musicstar.evaluation.multipitch import compare
from musicstar.evaluation.spectra import levelled, mel_levels
from musicstar.generate import Line, Playing, perform
from musicstar.methods.catalog import Backbone
from musicstar.methods.registry import CLASSES
from musicstar.methods.shelf import StoredParts, library
from musicstar.methods.translating import prepare
from musicstar.model import Sampling
from musicstar.pairs import excerpt_pairs

AROUND_S = 0.025
WINDOW, HOP, BANDS = 512, 128, 80
WAYS = {
    "2 s": Chunking(chunk_s=2.0),
    "1 s": Chunking(chunk_s=1.0),
    "0.6 s": Chunking(chunk_s=0.6),
    "0.3 s": Chunking(chunk_s=0.3),
    "0.6 s, not moved": Chunking(chunk_s=0.6, search_s=0.0),
    "0.6 s, warm-up 50 ms": Chunking(chunk_s=0.6, warmup_s=0.05),
    "0.6 s, warm-up 150 ms": Chunking(chunk_s=0.6, warmup_s=0.15),
    "0.6 s, fade 5 ms": Chunking(chunk_s=0.6, overlap_s=0.005),
    "0.6 s, fade 40 ms": Chunking(chunk_s=0.6, overlap_s=0.04),
}
DRAFTED = WAYS["0.6 s, warm-up 50 ms"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A stream of an excerpt's translation, a draft of it as codes, Tensor[T], and the gold standard."""

    line: Line
    draft: Tensor
    gold: Clip


@dataclass(frozen=True)
class Row:
    """One way of playing: what it has more than the sequential output, means over clips with 95 % half-widths.

    Attributes
    ----------
    content : similarity to the gold standard; higher is better
    flux_db, step_db : at joins; lower is better
    cost : samples played for each that is heard
    """

    name: str
    content: tuple[float, float]
    flux_db: tuple[float, float]
    step_db: tuple[float, float]
    cost: float
    seconds: float


def pieces(folder: Path, method: str) -> list[Piece]:
    """Each excerpt in both directions, read by the method's encoder."""
    found = []
    made, drafting = (
        CLASSES[method](StoredParts(family, library())) for family in (Backbone.WAVENET, Backbone.SPECTRAL)
    )
    for pair in excerpt_pairs(folder):
        prepared = prepare(pair.source)
        sound = prepared.piece(0, prepared.total)
        with torch.inference_mode():
            streams, drafts = (method.streams(sound, pair.target) for method in (made, drafting))
            played = drafts[0].model.decode(drafts, sampling=Sampling(), progress=lambda share: None)
        for stream, draft in zip(streams, played, strict=True):
            assert isinstance(stream.model, WaveNetModel)
            line = stream.model.line(stream.latents, stream.voice, Sampling())
            found.append(Piece(line, mulaw_encode(draft), pair.gold))
    return found


def performed_from_drafts(given: Sequence[Piece], chunking: Chunking) -> list[Tensor]:
    """All pieces in chunks whose leads, all but the last frame, are what the drafts have there."""
    wavs = []
    for piece in given:
        line = piece.line
        engine, pool = engine_for(line.decoder), line.decoder.config.pool
        plan = Plan.of(chunking, line.latents.shape[1], pool)
        chunks = [
            Playing(replace(line, latents=line.latents[:, a:b], seed=(*line.seed, i)), engine)
            for i, (a, b) in enumerate(plan.spans)
        ]
        for frame in range(plan.lead + plan.chunk):
            playing = [(start, one) for (start, _), one in zip(plan.spans, chunks, strict=True) if one.left]
            asks = [one.ask(pool) for _, one in playing]
            for i, (start, _) in enumerate(playing):
                if frame < plan.lead - 1 and start:
                    at = (start + frame) * pool
                    asks[i] = replace(asks[i], forced=piece.draft[at : at + pool])
            for (_, one), said in zip(playing, engine.play(asks, pool), strict=True):
                one.take(said)
        wavs.append(plan.join(mulaw_decode(one.codes) for one in chunks))
    return wavs


def content(wav: Tensor, gold: Clip) -> float:
    """Similarity of the pitches in each frame."""
    find = FINDERS["essentia" if multipitch.is_installed() else "salience"]
    return compare(find(levelled(Clip(wav.numpy()))), find(levelled(gold))).silent_one


def at_joins(wav: Tensor, joins: list[int]) -> tuple[float, float]:
    """Flux at joins less elsewhere, and level steps at joins, both in dB."""
    levels = mel_levels(levelled(Clip(wav.numpy())), window_samples=WINDOW, hop_samples=HOP, bands=BANDS)
    rises = np.maximum(np.diff(levels, axis=1), 0).mean(axis=0)
    times = (np.arange(len(rises)) + 0.5) * HOP
    near = np.abs(times[:, None] - np.array(joins)).min(axis=1) < AROUND_S * SAMPLE_RATE
    around = int(2 * AROUND_S * SAMPLE_RATE)
    powers = [[float(wav[a : a + around].square().mean()) + 1e-9 for a in (join - around, join)] for join in joins]
    steps = np.abs(np.diff(10 * np.log10(powers), axis=1))
    return float(rises[near].mean() - rises[~near].mean()), float(steps.mean())


def mean_of(differences: Sequence[float]) -> tuple[float, float]:
    """Mean, and the half-width of its 95 % interval."""
    return float(np.mean(differences)), 1.96 * float(np.std(differences, ddof=1)) / len(differences) ** 0.5


def seeded(given: Sequence[Piece], *seed: int) -> list[Piece]:
    """The same pieces with other seeds."""
    return [replace(piece, line=replace(piece.line, seed=(*piece.line.seed, *seed))) for piece in given]


def measure(given: Sequence[Piece], *, seeds: int, progress: Callable[[Row], None]) -> list[Row]:
    """Play all pieces in every way, against the sequential ones."""
    rows: list[Row] = []
    lines, takes = [piece.line for piece in given], [seeded(given, seed, 0) for seed in range(seeds)]
    sequential = [perform([piece.line for piece in take]) for take in takes]
    like = [[content(wav, piece.gold) for wav, piece in zip(wavs, given, strict=True)] for wavs in sequential]

    def keep(name: str, outputs: Sequence[Sequence[Tensor]], plans: Sequence[Plan], seconds: float) -> None:
        figures = []
        for wavs, befores, likes in zip(outputs, sequential, like, strict=True):
            for wav, before, piece, plan, gold_like in zip(wavs, befores, given, plans, likes, strict=True):
                joins = list(range(plan.chunk * plan.pool, plan.frames * plan.pool - 800, plan.chunk * plan.pool))
                flux, step = at_joins(wav, joins)
                own_flux, own_step = at_joins(before, joins)
                figures.append((content(wav, piece.gold) - gold_like, flux - own_flux, step - own_step))
        of_clips = np.reshape(figures, (seeds, len(given), 3)).mean(axis=0)
        gained, flux_db, step_db = (mean_of(column) for column in of_clips.T)
        played = sum(end - start for plan in plans for start, end in plan.spans)
        rows.append(
            Row(name, gained, flux_db, step_db, cost=played / sum(plan.frames for plan in plans), seconds=seconds)
        )
        progress(rows[-1])

    def planned(chunking: Chunking) -> list[Plan]:
        return [Plan.of(chunking, line.latents.shape[1], line.decoder.config.pool) for line in lines]

    for name, chunking in WAYS.items():
        began_s = time.perf_counter()
        outputs = [perform([piece.line for piece in take], chunking=chunking) for take in takes]
        keep(f"chunks of {name}", outputs, planned(chunking), time.perf_counter() - began_s)
    outputs = [performed_from_drafts(take, DRAFTED) for take in takes]
    keep("chunks of 0.6 s, from drafts", outputs, planned(DRAFTED), 0.0)
    outputs = [perform([piece.line for piece in seeded(given, seed, 1)]) for seed in range(seeds)]
    for chunk_s in sorted({way.chunk_s for way in WAYS.values()}, reverse=True):
        plans = [replace(plan, lead=0) for plan in planned(Chunking(chunk_s=chunk_s))]
        keep(f"another seed, each {chunk_s:g} s", outputs, plans, 0.0)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="excerpts in the StarNet layout")
    parser.add_argument("--method", default="mixture", choices=list(CLASSES))
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}, expected at least 1")

    def show(row: Row) -> None:
        if not options.json:
            told = [
                f"{name} {mean:+.3f} +- {half:.3f}"
                for name, (mean, half) in (("content", row.content), ("flux", row.flux_db), ("steps", row.step_db))
            ]
            print(f"{row.name:32} {', '.join(told)}, {row.cost:.2f} played for 1, {row.seconds:.0f} s", flush=True)

    rows = measure(pieces(options.folder, options.method), seeds=options.seeds, progress=show)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
