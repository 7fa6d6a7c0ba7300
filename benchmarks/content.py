"""How our own pitch finder's content similarity goes with essentia's, over a folder of outputs.

Run as `python -m benchmarks.content FOLDER` from the root of the repository; FOLDER is what `musicstar evaluate`
measures. For each output, and for each gold standard against another piece's, the content similarity is taken both
ways; printed are Pearson's correlation over them with and without the unrelated ones, the means, how alike the two
finders' pitches are frame by frame, and the seconds that a clip of ten takes.
"""

import sys
import time
from pathlib import Path

import numpy as np

from musicstar import audio
from musicstar.evaluation.measures import FINDERS
from musicstar.evaluation.multipitch import Semitones, compare
from musicstar.evaluation.outputs import GOLD, UNRELATED, collect
from musicstar.evaluation.spectra import levelled


def main(folder: Path) -> None:
    """Print the figures."""
    collection = collect(folder)
    found: dict[Path, dict[str, list[Semitones]]] = {}
    spent = dict.fromkeys(FINDERS, 0.0)
    seconds = 0.0
    for path in sorted({path for systems in collection.files.values() for path in systems.values()}):
        clip = levelled(audio.read(path, sample_rate=None))
        seconds += clip.duration_s
        found[path] = {}
        for name, find in FINDERS.items():
            started = time.process_time()
            found[path][name] = find(clip)
            spent[name] += time.process_time() - started
    rows = []
    for place, systems in collection.files.items():
        foreign = collection.unrelated(place)
        for system, path in {**systems, **({UNRELATED: foreign} if foreign else {})}.items():
            gold = found[systems[GOLD]]
            if system != GOLD:
                rows.append((system, *(compare(found[path][by], gold[by]).silent_one for by in FINDERS)))
    for title, kept in (("all", rows), ("without unrelated", [row for row in rows if row[0] != UNRELATED])):
        figures = np.array([row[1:] for row in kept], dtype=np.float64)
        means = ", ".join(f"{by} {column.mean():.3f}" for by, column in zip(FINDERS, figures.T, strict=True))
        pearson = float(np.asarray(np.corrcoef(figures.T))[0, 1])
        print(f"{title}: {len(kept)} outputs, Pearson {pearson:.3f}, means {means}")
    alike = np.mean([compare(*pitches.values()).silent_one for pitches in found.values()])
    print(f"frame by frame {alike:.3f}; " + ", ".join(f"{by} {10 * s / seconds:.2f} s" for by, s in spent.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
