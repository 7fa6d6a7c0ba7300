"""Labelled clips: audio files and the concepts they carry, from a folder tree or a table; overlapping as they come."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from musicstar.concepts import truth as truths
from musicstar.concepts.atlas import TEST, TRAIN, VALIDATION
from musicstar.files import printable

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LEAST_CLIPS = 5
# Of the tracks, as published.
SHARES = {TRAIN: 0.7, VALIDATION: 0.1, TEST: 0.2}


class LibraryError(ValueError):
    """Labelled clips that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Library:
    """Clips with their concepts.

    Attributes
    ----------
    paths : P audio files
    tracks : P names; clips of one track are never on both sides of a split
    concepts : N names, sorted
    members : np.ndarray[N, P], bool
    parents : ground truth, as far as known: the broader concepts that each is directly part of
    factors : groups of concepts of which a clip carries at most one, by name
    notes : what was left out or put right, in sentences
    """

    paths: tuple[Path, ...]
    tracks: tuple[str, ...]
    concepts: tuple[str, ...]
    members: np.ndarray
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    factors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def splits(self, seed: int = 0) -> np.ndarray:
        """TRAIN, VALIDATION or TEST for each clip, int8[P].

        Tracks are shared out within the rarest concept that each carries, so that small concepts too have some of each.
        """
        names, track = np.unique(np.asarray(self.tracks), return_inverse=True)
        carried = np.zeros((len(self.concepts) + 1, len(names)), dtype=bool)
        for row, members in enumerate(self.members):
            carried[row, track[members]] = True
        # What carries nothing is a group of its own.
        carried[-1] = ~carried.any(axis=0)
        rarest = np.zeros(len(names), dtype=np.int64)
        for row in np.argsort(carried.sum(axis=1), kind="stable")[::-1]:
            rarest[carried[row]] = row
        edges = np.cumsum([SHARES[TRAIN], SHARES[VALIDATION]])
        places = np.zeros(len(names), dtype=np.int8)
        for group in np.unique(rarest):
            inside = sorted(np.flatnonzero(rarest == group), key=lambda i: _draw(f"{seed} {names[i]}"))
            shares = (np.arange(len(inside)) + 0.5) / len(inside)
            places[inside] = np.searchsorted(edges, shares, side="right")
        return np.asarray(places[track])

    def skipped(self, failed: Mapping[int, str]) -> list[str]:
        """What is wrong with some clips, in sentences that name the whole path where the reason names the file."""
        return [
            f"skipped {self.paths[i]}: {reason.removeprefix(f'{self.paths[i].name}: ')}"
            for i, reason in sorted(failed.items())
        ]

    def without(self, failed: Mapping[int, str]) -> "Library":
        """The library without some clips, with the reasons among its notes; concepts that grow too small go too."""
        if not failed:
            return self
        keep = np.array([i not in failed for i in range(len(self.paths))], dtype=bool)
        return _checked(
            [path for path, kept in zip(self.paths, keep, strict=True) if kept],
            [track for track, kept in zip(self.tracks, keep, strict=True) if kept],
            {name: np.flatnonzero(row[keep]).tolist() for name, row in zip(self.concepts, self.members, strict=True)},
            self.parents,
            self.factors,
            [*self.notes, *self.skipped(failed)],
        )


def _draw(text: str) -> float:
    """A number in [0, 1) that depends on a text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def read(source: str | Path, *, truth: str | Path | None = None) -> Library:
    """Read labelled clips.

    Parameters
    ----------
    source : a folder whose sub-folders are concepts, each part of the one it lies in; or a CSV file with the columns
        `path` (relative to the file), `tags` (separated by `;`) and perhaps `track`; or a folder with one: `clips.csv`.
        A `factors.csv` beside it, columns `factor` and `concept`, names groups of concepts that exclude each other
    truth : a CSV file with the columns `concept` and `parent`; by default the `truth.csv` beside the table, if any

    Raises
    ------
    LibraryError
        Nothing there, no clips, too few of every concept, or a table without the columns.
    TruthError
        The ground truth goes in a circle.
    """
    source = Path(source)
    if source.is_dir() and not (source / "clips.csv").is_file():
        found = _folder(source)
        return found if truth is None else replace(found, parents=_ground_truth(Path(truth), found))
    table = source / "clips.csv" if source.is_dir() else source
    found = _table(table)
    beside = table.with_name("truth.csv")
    given = Path(truth) if truth is not None else beside if beside.is_file() else None
    grouped = table.with_name("factors.csv")
    factors = _pairs(grouped, found, "factor", "concept") if grouped.is_file() else {}
    known = set(found.concepts)
    return replace(
        found,
        parents=_ground_truth(given, found) if given else {},
        factors={factor: kept for factor, names in factors.items() if (kept := tuple(n for n in names if n in known))},
    )


def _ground_truth(path: Path, library: Library) -> dict[str, tuple[str, ...]]:
    """What a table says that the library's concepts are part of."""
    above = _pairs(path, library, "concept", "parent")
    truths.ancestors(above)
    known = {name: names for name, names in above.items() if name in library.concepts}
    if not known:
        raise LibraryError(f"{path}: says of none of the {len(library.concepts)} concepts what it is part of")
    return known


def _pairs(path: Path, library: Library, key: str, value: str) -> dict[str, tuple[str, ...]]:
    """What a table of two columns gathers under each entry of the first, spelled as the library does."""
    spelled = {name.casefold(): name for name in library.concepts}
    gathered: defaultdict[str, list[str]] = defaultdict(list)
    for row in _rows(path, (key, value)):
        first, second = (spelled.get(_plain(row[column]).casefold(), _plain(row[column])) for column in (key, value))
        if first and second and second not in gathered[first]:
            gathered[first].append(second)
    return {name: tuple(names) for name, names in gathered.items()}


def _folder(source: Path) -> Library:
    # A link to nowhere is kept: whoever reads it says so.
    files = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    if not files:
        raise LibraryError(f"{source}: no audio files in this folder or below; expected {', '.join(SUFFIXES)}")
    carried: defaultdict[str, list[int]] = defaultdict(list)
    parents: dict[str, tuple[str, ...]] = {}
    for number, path in enumerate(files):
        above: tuple[str, ...] = ()
        for folder in reversed(PurePosixPath(path.relative_to(source).as_posix()).parents[:-1]):
            name = printable(str(folder))
            carried[name].append(number)
            parents[name] = above
            above = (name,)
    if not carried:
        raise LibraryError(f"{source}: {len(files)} audio files but no sub-folders; expected a sub-folder per concept")
    tracks = [printable(path.relative_to(source).as_posix()) for path in files]
    return _checked(files, tracks, carried, {name: above for name, above in parents.items() if above}, {}, [])


def _table(source: Path) -> Library:
    files: list[Path] = []
    tracks: list[str] = []
    # Of each tag its clips, as keys: a set that keeps their order.
    carried: defaultdict[str, dict[int, None]] = defaultdict(dict)
    spelled: dict[str, str] = {}
    where: dict[Path, int] = {}
    doubled = unnamed = 0
    for row in _rows(source, ("path", "tags")):
        if not row["path"].strip():
            unnamed += 1
            continue
        # No file system takes a zero in a name; without it the file is one that is not there.
        path = source.parent / row["path"].strip().replace("\0", "\ufffd")
        if path not in where:
            where[path] = len(files)
            files.append(path)
            tracks.append((row.get("track") or "").strip() or row["path"].strip())
        for tag in filter(None, map(_plain, row["tags"].split(";"))):
            members = carried[spelled.setdefault(tag.casefold(), tag)]
            doubled += where[path] in members
            members[where[path]] = None
    if not files:
        raise LibraryError(f"{source}: no rows below the header; expected a clip in each")
    notes = [f"{doubled} tags stood twice at the same clip and count once"] if doubled else []
    notes += [f"{unnamed} rows name no file and are left out"] if unnamed else []
    return _checked(files, tracks, carried, {}, {}, notes)


def _plain(tag: str) -> str:
    """A tag without space at its ends or doubled inside it, nor control characters."""
    return " ".join("".join(" " if ord(letter) < 32 else letter for letter in tag).split())


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file, which has to have some columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = [name.strip().lower() for name in reader.fieldnames or []]
            if missing := [column for column in columns if column not in names]:
                raise LibraryError(
                    f"{path}: no column {' and no '.join(missing)} in its header ({', '.join(names) or 'empty'}); "
                    f"expected {', '.join(columns)}"
                )
            reader.fieldnames = names
            return [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except FileNotFoundError:
        raise LibraryError(f"{path}: there is no such folder or CSV file") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise LibraryError(f"{path}: not readable as CSV in UTF-8 ({error})") from error


def _checked(
    paths: Iterable[Path],
    tracks: Iterable[str],
    carried: Mapping[str, Iterable[int]],
    parents: Mapping[str, tuple[str, ...]],
    factors: Mapping[str, tuple[str, ...]],
    notes: Iterable[str],
) -> Library:
    """A library of the concepts that have enough clips; the smaller ones are named among its notes."""
    files = tuple(paths)
    sizes = {name: len(set(rows)) for name, rows in carried.items()}
    kept = tuple(sorted(name for name, size in sizes.items() if size >= LEAST_CLIPS))
    small = sorted(name for name, size in sizes.items() if size < LEAST_CLIPS)
    said = list(notes)
    if small:
        shown = ", ".join(f"{name} ({sizes[name]})" for name in small[:10]) + (", ..." if len(small) > 10 else "")
        said.append(f"{len(small)} concepts with fewer than {LEAST_CLIPS} clips are left out: {shown}")
    if len(kept) < 2:
        most = max(sizes.values(), default=0)
        raise LibraryError(
            f"{len(kept)} of {len(sizes)} concepts have {LEAST_CLIPS} clips or more (the largest has {most}); "
            "expected at least two such concepts"
        )
    members = np.zeros((len(kept), len(files)), dtype=bool)
    for row, name in enumerate(kept):
        members[row, list(carried[name])] = True
    known = set(kept)
    found = {name: above for name, above in parents.items() if name in known}
    truths.ancestors(found)
    return Library(
        files,
        tuple(tracks),
        kept,
        members,
        found,
        {factor: tuple(name for name in names if name in known) for factor, names in factors.items()},
        tuple(said),
    )
