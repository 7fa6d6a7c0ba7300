"""Build a study: check its stimuli, bring them to one loudness, and register it under opaque names."""

import os
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from db.records import Named, NewStimulus, NewVersion, VersionRecord
from db.store import Store
from survey.definition import Stimulus, Study, StudyError, check_files, to_json
from survey.design import block, layout_of
from survey.sound import Sound, SoundError, read
from survey.tables import Fault

# What broadcasts are brought to by EBU R 128; lowered for all where a clip's peaks ask for it.
TARGET_LUFS = -23.0
CEILING_DBTP = -1.0
LEAST_LUFS = -30.0
OTHERWISE = (
    "it would not sound as participants of version {} heard it; build with the studio that made that version, "
    "restore its media folder, or change the study, which makes a new version"
)


@dataclass(frozen=True)
class Levels:
    """What a stimulus measures after its fades, and how long it is."""

    loudness_lufs: float
    true_peak_dbtp: float
    samples: int
    sample_rate: int
    channels: int

    @property
    def highest_lufs(self) -> float:
        """The loudness at which its true peak reaches the ceiling."""
        return self.loudness_lufs + CEILING_DBTP - self.true_peak_dbtp


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes
    ----------
    new : whether the version was not there before
    latest : whether new sessions take this version
    written : how many clips were written
    loudness_lufs : of every clip
    """

    version: VersionRecord
    new: bool
    latest: bool
    written: int
    clips: int
    loudness_lufs: float


def measure(study: Study) -> dict[Stimulus, Levels]:
    """Check the files of a study and measure them.

    Raises
    ------
    StudyError
        With a fault for each stimulus that is missing, changed, not playable, of another length, sample rate or
        number of channels than the others of its piece and direction, or with peaks so high that all would have to
        be too quiet.
    """
    check_files(study)
    faults: list[Fault] = []
    levels: dict[Stimulus, Levels] = {}
    for stimulus in study.stimuli:
        try:
            sound = read(stimulus.path).faded()
        except SoundError as error:
            faults.append(Fault(str(stimulus.path), str(error)))
            continue
        loudness, peak = sound.loudness_lufs(), sound.true_peak_dbtp()
        levels[stimulus] = Levels(loudness, peak, len(sound.wav), sound.sample_rate, sound.channels)
    faults += _differing(levels)
    faults += [
        Fault(
            str(stimulus.path),
            f"its peaks are {level.true_peak_dbtp - level.loudness_lufs:.1f} dB above its loudness; below "
            f"{CEILING_DBTP:g} dBTP it reaches {level.highest_lufs:.1f} LUFS, expected {LEAST_LUFS:g} or more",
        )
        for stimulus, level in levels.items()
        if level.highest_lufs < LEAST_LUFS
    ]
    if faults:
        raise StudyError(study.name, faults)
    return levels


def _differing(levels: Mapping[Stimulus, Levels]) -> Iterator[Fault]:
    """A fault for each stimulus whose shape is not that of its set's first, the gold standard."""
    sets: defaultdict[tuple[str, str], list[Stimulus]] = defaultdict(list)
    for stimulus in levels:
        sets[stimulus.piece, stimulus.direction].append(stimulus)
    for first, *others in sets.values():
        expected = levels[first]
        for stimulus in others:
            found = levels[stimulus]
            if found.sample_rate != expected.sample_rate:
                problem = f"{found.sample_rate} Hz; {first.path.name} has {expected.sample_rate} Hz"
                yield Fault(str(stimulus.path), problem)
            elif found.channels != expected.channels:
                problem = f"{_channels(found)}; {first.path.name} has {_channels(expected)}"
                yield Fault(str(stimulus.path), problem)
            elif found.samples != expected.samples:
                yield Fault(
                    str(stimulus.path), f"{found.samples} samples long; {first.path.name} has {expected.samples}"
                )


def _channels(level: Levels) -> str:
    return "one channel" if level.channels == 1 else f"{level.channels} channels"


def alike(study: Study) -> list[tuple[Stimulus, Stimulus]]:
    """Stimuli of one piece and direction with the same content, which nobody can rank; each with the first of them."""
    first: dict[tuple[str, str, str], Stimulus] = {}
    pairs = ((first.setdefault((one.piece, one.direction, one.sha256), one), one) for one in study.stimuli)
    return [(one, other) for one, other in pairs if one is not other]


def common_loudness(levels: Sequence[Levels]) -> float:
    """The loudness that every clip can have below the ceiling: -23 LUFS, or less where peaks are high."""
    return min(TARGET_LUFS, *(level.highest_lufs for level in levels))


def finished(stimulus: Stimulus, level: Levels, *, loudness_lufs: float) -> Sound:
    """A stimulus as participants hear it: faded at its edges, with one gain."""
    return read(stimulus.path).faded().amplified(loudness_lufs - level.loudness_lufs)


def build(study: Study, store: Store, media: Path) -> Built:
    """Write a study's clips into `media` and store its version with the first block of its design.

    The same study built again is the same version; only clips that are missing in `media` are then written again,
    and only as they were.

    Raises
    ------
    StudyError
        As `measure`, or a missing clip would not be as it was.
    OSError
        The folder cannot be written to, or the disk is full.
    StoreError
        The database cannot take it.
    """
    levels = measure(study)
    loudness = common_loudness(list(levels.values()))
    config = to_json(study)
    media.mkdir(parents=True, exist_ok=True)
    known = store.find_version(study.name, config)
    names = _fresh_names(study) if known is None else _stored_names(store, known)
    before = {} if known is None else {_key(one): one.served_sha256 for one in store.stimuli(known.id)}
    served: dict[Key, str] = {}
    with ExitStack() as undo:
        for stimulus, level in levels.items():
            key = _key(stimulus)
            path = media / f"{names[key]}.wav"
            if not path.is_file():
                content = finished(stimulus, level, loudness_lufs=loudness).to_wav()
                served[key] = sha256(content).hexdigest()
                if known is not None and before[key] not in (None, served[key]):
                    raise StudyError(study.name, [Fault(str(stimulus.path), OTHERWISE.format(known.number))])
                undo.callback(path.unlink, missing_ok=True)
                _write_whole(path, content)
        version = known or store.add_version(_version(study, config, levels, names, served))
        # Another build of the same study may have been a moment ahead: then its clips are the version's.
        if known is not None or _stored_names(store, version) == names:
            undo.pop_all()
    latest = store.latest(study.name)
    return Built(
        version=version,
        new=known is None,
        latest=latest is not None and latest.id == version.id,
        written=len(served),
        clips=len(levels),
        loudness_lufs=loudness,
    )


Key = tuple[str, str, str]


def _key(stimulus: Stimulus | NewStimulus) -> Key:
    return stimulus.piece, stimulus.direction, stimulus.system


def _fresh_names(study: Study) -> dict[Key, str]:
    return {_key(stimulus): secrets.token_hex(16) for stimulus in study.stimuli}


def _stored_names(store: Store, version: VersionRecord) -> dict[Key, str]:
    return {_key(stimulus): stimulus.media for stimulus in store.stimuli(version.id)}


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _version(
    study: Study,
    config: str,
    levels: Mapping[Stimulus, Levels],
    names: Mapping[Key, str],
    served: Mapping[Key, str],
) -> NewVersion:
    language = study.languages[0]
    return NewVersion(
        study=study.name,
        config_json=config,
        systems=tuple(Named(system.key, system.title) for system in study.systems),
        pieces=tuple(Named(piece.key, piece.title) for piece in study.pieces),
        directions=tuple(Named(direction.key, direction.title) for direction in study.directions),
        criteria=tuple(Named(criterion.key, criterion.title[language]) for criterion in study.criteria),
        stimuli=tuple(
            NewStimulus(*_key(one), one.sha256, names[_key(one)], level.samples / level.sample_rate, served[_key(one)])
            for one, level in levels.items()
        ),
        slots=block(layout_of(study), 0),
    )
