"""A folder of outputs: files named PIECE.DIRECTION.SYSTEM, and the gold standards they are held against.

DIRECTION is the target domain ("cv"), or source and target with a dash between ("sp-cv") where one target has
several sources. The systems "gold" and "input" are the gold standard and the untranslated source. These two may lie
in a folder of their own, named as above or as StarNet names its mixtures (NNN.0.wav, NNN.3.wav).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from musicstar.audio import SUFFIXES
from musicstar.domains import Direction, Domain
from musicstar.files import printable

GOLD = "gold"
INPUT = "input"
UNRELATED = "unrelated"
REFERENCES = (GOLD, INPUT, UNRELATED)
STARNET_NAME = re.compile(r"([^.]+)\.(\d+)")

Place = tuple[str, str]


@dataclass(frozen=True)
class Collection:
    """Files by what they are.

    Attributes
    ----------
    files : by (piece, direction) the path of each system; each place has its gold standard
    faults : a sentence for each file that is left out
    """

    files: Mapping[Place, Mapping[str, Path]]
    faults: tuple[str, ...]

    def unrelated(self, place: Place) -> Path | None:
        """The gold standard of the next piece by name, in the same direction, after the last the first; None of one."""
        piece, direction = place
        others = sorted(name for name, towards in self.files if towards == direction)
        following = others[(others.index(piece) + 1) % len(others)]
        return None if following == piece else self.files[following, direction][GOLD]


def target(direction: str) -> Domain:
    """The domain a direction leads to; raises ValueError naming what there is.

    >>> target("sp-cv").value
    'cv'
    """
    source, _, end = direction.rpartition("-")
    known = [domain.value for domain in Domain]
    if end not in known or (source or known[0]) not in known or source == end:
        raise ValueError(f"unknown direction {direction!r}; expected {', '.join(known)}, or two of them as sp-cv")
    return Domain(end)


def route(direction: str) -> Direction:
    """From where to where a direction leads; without a source, from the domain that comes first beside the target.

    >>> route("cv").source.value
    'sp'
    """
    end = target(direction)
    source = direction.rpartition("-")[0]
    return Direction(Domain(source) if source else end.others[0], end)


def collect(folder: Path, *, golds: Path | None = None) -> Collection:
    """Find what is to be measured; names decide, nothing is read yet.

    Raises
    ------
    ValueError
        A folder is not there, or it holds no output that has a gold standard.
    """
    faults: list[str] = []
    files: dict[Place, dict[str, Path]] = {}
    mixtures: dict[str, dict[Domain, Path]] = {}
    if golds is not None and golds.resolve() != folder.resolve():
        # There may be anything else beside the gold standards.
        for place, system, path in _named(golds, mixtures, []):
            if system in (GOLD, INPUT):
                _add(files, place, system, path, faults)
    for place, system, path in _named(folder, mixtures, faults):
        _add(files, place, system, path, faults)
    for (piece, direction), systems in files.items():
        _find_references(systems, piece, direction, files, mixtures)
    for (piece, direction), systems in sorted(files.items()):
        if GOLD not in systems:
            names = ", ".join(sorted(printable(path.name) for path in systems.values()))
            faults.append(f"{names}: there is no gold standard; expected {piece}.{direction}.{GOLD}.wav")
    kept = {place: dict(sorted(systems.items())) for place, systems in sorted(files.items()) if GOLD in systems}
    if not kept:
        told = f" ({faults[0]})" if faults else ""
        raise ValueError(f"{folder}: nothing to measure; expected PIECE.DIRECTION.SYSTEM.wav and their golds{told}")
    return Collection(kept, tuple(faults))


def _named(
    folder: Path, mixtures: dict[str, dict[Domain, Path]], faults: list[str]
) -> Iterator[tuple[Place, str, Path]]:
    """The audio files of a folder by what their names say; StarNet's mixtures go into `mixtures`."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    voices = {domain.mixture.value: domain for domain in Domain}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if not path.is_file():
            faults.append(f"{printable(path.name)}: not a file")
            continue
        if found := STARNET_NAME.fullmatch(path.stem):
            if (domain := voices.get(int(found[2]))) is None:
                continue  # a stem
            other = mixtures.setdefault(found[1], {}).setdefault(domain, path)
            if other is not path:
                faults.append(_left_out(path, other))
            continue
        parts = path.stem.split(".")
        if len(parts) != 3 or not all(parts):
            faults.append(f"{printable(path.name)}: not a name of PIECE.DIRECTION.SYSTEM")
            continue
        piece, direction, system = parts
        try:
            target(direction)
        except ValueError as error:
            faults.append(f"{printable(path.name)}: {error}")
            continue
        if not path.stem.isprintable() or "|" in path.stem:
            faults.append(f"{printable(path.name)}: a name with signs that no table can hold")
            continue
        if system == UNRELATED:
            faults.append(f"{printable(path.name)}: the name {UNRELATED} is kept for golds of other pieces")
            continue
        yield (piece, direction), system, path


def _add(files: dict[Place, dict[str, Path]], place: Place, system: str, path: Path, faults: list[str]) -> None:
    other = files.setdefault(place, {}).setdefault(system, path)
    if other is not path:
        faults.append(_left_out(path, other))


def _left_out(path: Path, other: Path) -> str:
    taken = other.name if other.parent == path.parent else str(other)
    return f"{printable(path.name)}: left out, {printable(taken)} is there too"


def _find_references(
    systems: dict[str, Path],
    piece: str,
    direction: str,
    files: Mapping[Place, Mapping[str, Path]],
    mixtures: Mapping[str, Mapping[Domain, Path]],
) -> None:
    """Add the gold standard and the input where they go by another name."""
    end, own = target(direction), mixtures.get(piece, {})
    if GOLD not in systems:
        gold = files.get((piece, end.value), {}).get(GOLD) or own.get(end)
        if gold is not None:
            systems[GOLD] = gold
    if INPUT not in systems:
        source = direction.rpartition("-")[0]
        # Of a piece in two domains it is plain which one was translated.
        sources = [Domain(source)] if source else [domain for domain in own if domain is not end]
        if len(sources) == 1 and sources[0] in own:
            systems[INPUT] = own[sources[0]]
