"""Rendering scores through FluidSynth: a StarNet-like set of stems and mixtures in many timbres.

A stem is rendered by a synthesizer made for it alone (a used one does not repeat bit for bit), without FluidSynth's
own reverb and chorus, at twice the wanted rate: its interpolation does not keep folded frequencies out, the one
transform that halves the rate does, and shapes the spectrum and adds the room in the same pass. Events fall on
FluidSynth's blocks of 64 frames, the same for every instrument, so all six voices are aligned to the sample.

Levels are fixed: every preset has a gain that gives it the same level while it plays, every domain a level near the
real StarNet's (-31 dBFS RMS for CV, -34 for SP). No clip is normalised by itself. Stems are rounded to 16 bits first
and their mixture is the sum of the rounded stems, so NNN.0 = NNN.1 + NNN.2 and NNN.3 = NNN.4 + NNN.5 hold exactly.
"""

import ctypes
import hashlib
import io
import json
import logging
import math
import os
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.domains import Domain, Voice
from musicstar.pieces import (
    ACCOMPANIMENT_KEYS,
    MELODY_KEYS,
    RELEASE_S,
    Note,
    Score,
    compose,
    read_midi,
    write_midi,
)

logger = logging.getLogger(__name__)

FORMAT = 1
FLUIDR3 = "FluidR3_GM.sf2"
FONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)
FONT_NAMES = (
    FLUIDR3,
    "TimGM6mb.sf2",
    "MuseScore_General_Full.sf3",
    "MuseScore_General.sf3",
    "FluidR3Mono_GM.sf3",
    "sf_GMbank.sf2",
)
PROGRAMS = {
    Voice.CLARINET: (71,),
    Voice.VIBRAPHONE: (11,),
    Voice.STRINGS: (48, 49, 50, 40, 41, 42),
    Voice.PIANO: (0, 1, 2),
}
STEMS = tuple(PROGRAMS)
MELODIES = (Voice.CLARINET, Voice.STRINGS)
PITCH_TOLERANCE = 0.3
EQ_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 3000.0, 4500.0, 7000.0)
ACTIVE_DBFS = -30.0
# Gain in dB that brings each preset of FluidR3 to ACTIVE_DBFS on `calibration_score`; regenerate with
# python -c "from musicstar.synthesis import *; print(measured_gains(find_fonts()[0]))"
FLUIDR3_GAINS_DB = {71: -0.77, 11: 5.75, 48: 5.69, 0: 6.93}

_BLOCK = 64
_OVERSAMPLING = 2
_SYNTH_GAIN = 0.5
_MAX_RATE = 48_000
_TAIL_S = 2.5
_GEN_START_OFFSET, _GEN_VOLUME_ATTACK, _GEN_VOLUME_RELEASE, _GEN_FINE_TUNE = 0, 34, 38, 52
_FULL_SCALE = 32_767


class SynthesisError(RuntimeError):
    """Sound that cannot be rendered; the message says what is missing or wrong and what to do."""


@dataclass(frozen=True)
class Patch:
    """An instrument of a soundfont.

    Attributes
    ----------
    font : path of a .sf2 or .sf3 file
    program : General MIDI program, 0..127, of bank 0
    tune_cents : how far it is tuned off, in cents
    attack, release : how much longer (+) or shorter (-) its envelope's attack and release are, in timecents
        (1200 is twice as long)
    skip : int, frames of every sample that are left out at its beginning
    """

    font: str
    program: int
    tune_cents: float = 0.0
    attack: float = 0.0
    release: float = 0.0
    skip: int = 0


@dataclass(frozen=True)
class Sound:
    """A patch and what a mixing desk does to it.

    Attributes
    ----------
    gain_db : level change
    eq_db : level change at each of `EQ_HZ`, interpolated over log frequency, constant beyond
    """

    patch: Patch
    gain_db: float
    eq_db: tuple[float, ...] = (0.0,) * len(EQ_HZ)


@dataclass(frozen=True)
class Room:
    """Decaying noise that follows every sound; `wet` is its energy's root relative to the dry sound, 0 is dry."""

    seed: int = 0
    decay_s: float = 1.2
    wet: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How the four instruments of one take sound; in the order of `STEMS`, the rooms in that of `Domain`."""

    sounds: tuple[Sound, Sound, Sound, Sound]
    rooms: tuple[Room, Room]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Read what `dataclasses.asdict` gave."""
        sounds = tuple(Sound(Patch(**s["patch"]), s["gain_db"], tuple(s["eq_db"])) for s in values["sounds"])
        return cls(sounds, tuple(Room(**r) for r in values["rooms"]))  # type: ignore[arg-type]


# The target timbres: a shelf above about 1.2 kHz per stem (General MIDI presets, clarinets above all, are brighter than
# recordings), level per stem, room per domain. Nothing here is fitted to the real excerpts, which are for testing.
CANONICAL_EQ_DB = {
    Voice.CLARINET: (0.0, 0.0, 0.0, -4.0, -9.0, -11.0, -12.0, -12.0),
    Voice.VIBRAPHONE: (0.0, 0.0, 0.0, -1.5, -4.0, -5.0, -5.0, -5.0),
    Voice.STRINGS: (0.0, 0.0, 0.0, -4.0, -10.0, -13.0, -14.0, -14.0),
    Voice.PIANO: (0.0, 0.0, 0.0, -2.0, -5.0, -6.0, -6.0, -6.0),
}
CANONICAL_LEVEL_DB = {Voice.CLARINET: 2.0, Voice.VIBRAPHONE: -6.0, Voice.STRINGS: -5.0, Voice.PIANO: -9.0}
CANONICAL_ROOM = {Domain.CV: Room(0, 1.2, 0.40), Domain.SP: Room(0, 1.2, 0.35)}
# FluidR3's strings are recorded with a slow start (half level after up to 77 ms, the clarinet's comes at 24 to 67): their
# first frames are left out and the remaining edge is softened, which brings it to 10 to 33 ms.
STRINGS_SKIP = 1500
STRINGS_ATTACK = 3600.0


@cache
def _library() -> Any:
    """The FluidSynth binding with the two calls it lacks."""
    try:
        import fluidsynth
    except ModuleNotFoundError as error:
        raise SynthesisError("rendering needs pyfluidsynth: pip install 'musicstar[render]'") from error
    except (ImportError, OSError) as error:
        raise SynthesisError(
            f"rendering needs the FluidSynth library ({error}): on Debian and Ubuntu, apt-get install libfluidsynth3"
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int
    fluidsynth.set_log_function = fluidsynth.cfunc(
        "fluid_set_log_function",
        pointer,
        ("level", number, 1),
        ("function", pointer, 1),
        ("data", pointer, 1),
    )
    # Presets that share zones make FluidSynth print a warning per load.
    fluidsynth.set_log_function(2, None, None)
    fluidsynth.write_float = fluidsynth.cfunc(
        "fluid_synth_write_float",
        number,
        *(
            (name, pointer if name in ("synth", "left", "right") else number, 1)
            for name in (
                "synth",
                "frames",
                "left",
                "left_from",
                "left_step",
                "right",
                "right_from",
                "right_step",
            )
        ),
    )
    fluidsynth.set_generator = fluidsynth.cfunc(
        "fluid_synth_set_gen",
        number,
        ("synth", pointer, 1),
        ("channel", number, 1),
        ("generator", number, 1),
        ("value", ctypes.c_float, 1),
    )
    return fluidsynth


def find_fonts(fonts: Sequence[str | Path] | None = None) -> tuple[Path, ...]:
    """The soundfonts to render with, the canonical one first.

    Parameters
    ----------
    fonts : paths to use; without it, FluidR3 and whatever other General MIDI fonts the system holds.

    Raises
    ------
    SynthesisError
        A given path is no file, or FluidR3 is not where the system would put it.
    """
    if fonts:
        for font in map(Path, fonts):
            if not font.is_file():
                raise SynthesisError(f"{font}: there is no such soundfont")
        return tuple(map(Path, fonts))
    found: dict[Path, Path] = {}
    for name in FONT_NAMES:
        for path in (Path(folder, name) for folder in FONT_FOLDERS):
            if path.is_file():
                found.setdefault(path.resolve(), path)
    if not found or next(iter(found.values())).name != FLUIDR3:
        raise SynthesisError(
            f"no soundfont: {FLUIDR3} is in none of {', '.join(FONT_FOLDERS)}; on Debian and Ubuntu, "
            "apt-get install fluid-soundfont-gm, or give the path of a General MIDI soundfont"
        )
    return tuple(found.values())


def _new_synth(patch: Patch, rate: int) -> Any:
    """A synthesizer that holds one patch on channel 0."""
    library = _library()
    options = {
        "synth.reverb.active": 0,
        "synth.chorus.active": 0,
        "synth.dynamic-sample-loading": 1,
        "synth.threadsafe-api": 0,
    }
    synth = library.Synth(gain=_SYNTH_GAIN, samplerate=rate, channels=16, **options)
    font = synth.sfload(patch.font)
    if font < 0 or synth.program_select(0, font, 0, patch.program) < 0:
        synth.delete()
        problem = (
            "cannot be read as a soundfont" if font < 0 else f"holds no program {patch.program} in bank 0"
        )
        raise SynthesisError(f"{patch.font}: {problem}")
    for generator, value in (
        (_GEN_VOLUME_ATTACK, patch.attack),
        (_GEN_VOLUME_RELEASE, patch.release),
        (_GEN_FINE_TUNE, patch.tune_cents),
        (_GEN_START_OFFSET, patch.skip),
    ):
        if value:
            library.set_generator(synth.synth, 0, generator, value)
    return synth


@cache
def _keep_loaded(font: str, program: int) -> Any:
    """A synthesizer that is never played: while it lives, FluidSynth shares its decoded samples with the next."""
    return _new_synth(Patch(font, program), 32_000)


def play(notes: Sequence[Note], patch: Patch, *, duration_s: float, rate: int) -> np.ndarray:
    """Render notes dry; the same arguments give the same bits.

    Returns
    -------
    np.ndarray[duration_s * rate], float32, both channels averaged
    """
    library = _library()
    _keep_loaded(patch.font, patch.program)
    frames = round(duration_s * rate)
    events = sorted(
        (round(time_s * rate) // _BLOCK * _BLOCK, sounding, note)
        for note in notes
        for sounding, time_s in ((1, note.onset_s), (0, note.onset_s + note.duration_s))
    )
    stereo = np.zeros((2, frames), np.float32)
    left, right = (channel.ctypes.data for channel in stereo)
    synth = _new_synth(patch, rate)
    at = 0
    try:
        for frame, sounding, note in [*events, (frames, 0, None)]:
            until = min(frame, frames)
            if until > at:
                library.write_float(synth.synth, until - at, left, at, 1, right, at, 1)
                at = until
            if note is not None and frame < frames:
                if sounding:
                    synth.noteon(0, note.key, note.velocity)
                else:
                    synth.noteoff(0, note.key)
    finally:
        synth.delete()
    mono: np.ndarray = stereo.mean(axis=0, dtype=np.float32)
    return mono


def fundamental_hz(wav: np.ndarray, rate: int) -> float:
    """The fundamental of a steady tone, by FFT.

    Its autocorrelation tells the octave (the cumulative-mean-normalised difference of de Cheveigne and Kawahara,
    2002, equation 8: not led astray by partials stronger than the fundamental, nor by octaves below), the centre
    of its spectrum's power within a semitone of that the frequency (an ensemble or a vibrato has no single peak).

    Parameters
    ----------
    wav : np.ndarray[T], at least 0.2 s
    """
    window = len(wav) // 2
    longest = min(window, rate // 40)
    wav = wav.astype(np.float64) - wav.mean()
    size = 1 << (len(wav) + window - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(wav[:window], size).conj() * np.fft.rfft(wav, size), size)[
        : longest + 1
    ]
    power = np.concatenate(([0.0], np.cumsum(wav**2)))
    energy = power[window : window + longest + 1] - power[: longest + 1]
    difference = (energy[0] + energy - 2 * product)[1:]
    normalised = difference * np.arange(1, longest + 1) / np.maximum(np.cumsum(difference), 1e-12)
    shortest = rate // 5000
    dips = np.flatnonzero(normalised[shortest:] < normalised[shortest:].min() + 0.1) + shortest
    lag = int(dips[0])
    while lag + 1 < longest and normalised[lag + 1] < normalised[lag]:
        lag += 1
    coarse_hz = rate / (lag + 1)
    size = 1 << (8 * len(wav)).bit_length()
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav)), size))
    low, high = (round(coarse_hz * ratio * size / rate) for ratio in (2 ** (-1 / 12), 2 ** (1 / 12)))
    weights = spectrum[low : high + 1] ** 2
    return float(np.arange(low, high + 1) @ weights / weights.sum() * rate / size)


def pitch_error(patch: Patch, key: int, *, rate: int = 32_000) -> float:
    """How many semitones a patch sounds above equal temperament at a key."""
    wav = play([Note(0.0, 1.0, key, 90)], patch, duration_s=0.75, rate=rate)
    found_hz = fundamental_hz(wav[round(0.15 * rate) :], rate)
    return 12 * math.log2(found_hz / (440 * 2 ** ((key - 69) / 12)))


@cache
def out_of_tune(patch: Patch, voice: Voice) -> str | None:
    """A sentence that says where a patch is off by more than `PITCH_TOLERANCE`, or None when it is in tune."""
    low, high = MELODY_KEYS if voice in MELODIES else ACCOMPANIMENT_KEYS
    for key in range(low, high + 1, 4):
        error = pitch_error(patch, key)
        if abs(error) > PITCH_TOLERANCE:
            return (
                f"{patch.font}: program {patch.program} ({voice.label}) plays key {key} {error:+.2f} semitones off "
                f"equal temperament, at most {PITCH_TOLERANCE:g} is accepted"
            )
    return None


def calibration_score() -> Score:
    """Notes by which presets are brought to one level: a scale up and down over broken chords."""
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0, -1)
    roots = (53, 50, 57, 55)
    melody = tuple(Note(0.5 * i, 0.45, 64 + step, 80) for i, step in enumerate(steps))
    accompaniment = tuple(
        Note(0.25 * i, 0.4, roots[i // 8] + (0, 7, 12, 7)[i % 4], 72) for i in range(2 * len(steps))
    )
    return Score(melody, accompaniment)


def active_dbfs(wav: np.ndarray, sample_rate: int) -> float:
    """RMS level over the 20 ms frames that lie within 40 dB of the loudest; -inf for silence."""
    frame = sample_rate // 50
    power = np.square(wav[: len(wav) // frame * frame].reshape(-1, frame), dtype=np.float64).mean(axis=1)
    if not power.size or power.max() <= 0:
        return -math.inf
    return 10 * math.log10(power[power > power.max() * 1e-4].mean())


@cache
def gain_db(patch: Patch, voice: Voice) -> float:
    """The fixed gain that brings a patch to `ACTIVE_DBFS` on `calibration_score`, in dB."""
    if Path(patch.font).name == FLUIDR3 and patch == Patch(patch.font, patch.program):
        if patch.program in FLUIDR3_GAINS_DB:
            return FLUIDR3_GAINS_DB[patch.program]
    return _measured_gain_db(patch, voice)


def _measured_gain_db(patch: Patch, voice: Voice) -> float:
    """What `gain_db` is where no table holds it."""
    score = calibration_score()
    notes = score.melody if voice in MELODIES else score.accompaniment
    level_dbfs = active_dbfs(play(notes, patch, duration_s=9.0, rate=32_000), 32_000)
    if level_dbfs == -math.inf:
        raise SynthesisError(f"{patch.font}: program {patch.program} ({voice.label}) is silent")
    return ACTIVE_DBFS - level_dbfs


def canonical_recipe(font: Path) -> Recipe:
    """The one fixed timbre of each domain, the training target.

    Raises
    ------
    SynthesisError
        The font lacks one of the four instruments, or plays it out of tune.
    """
    sounds = []
    for voice in STEMS:
        plain = Patch(str(font), PROGRAMS[voice][0])
        if problem := out_of_tune(plain, voice):
            raise SynthesisError(problem)
        patch = replace(plain, attack=STRINGS_ATTACK, skip=STRINGS_SKIP) if voice is Voice.STRINGS else plain
        level_db = gain_db(plain, voice) + CANONICAL_LEVEL_DB[voice]
        sounds.append(Sound(patch, round(level_db, 2), CANONICAL_EQ_DB[voice]))
    return Recipe(tuple(sounds), tuple(CANONICAL_ROOM[domain] for domain in Domain))  # type: ignore[arg-type]


@cache
def usable_patches(fonts: tuple[Path, ...], voice: Voice) -> tuple[Patch, ...]:
    """All presets for a voice that pass the pitch test; what is refused is logged."""
    passed = []
    for font in fonts:
        for program in PROGRAMS[voice]:
            patch = Patch(str(font), program)
            try:
                problem = out_of_tune(patch, voice)
            except SynthesisError as error:
                problem = str(error)
            if problem:
                logger.warning("refused: %s", problem)
            else:
                passed.append(patch)
    if not passed:
        names = ", ".join(font.name for font in fonts)
        raise SynthesisError(f"no {voice.label} passes the pitch test in {names}")
    return tuple(passed)


def varied_recipe(fonts: Sequence[Path], rng: np.random.Generator) -> Recipe:
    """A take's timbre by chance: presets, tuning, envelopes, equalisation, balance and room."""
    rooms = tuple(
        Room(
            int(rng.integers(1, 1 << 31)),
            round(float(rng.uniform(0.5, 1.8)), 3),
            0.0 if rng.random() < 0.15 else round(float(rng.uniform(0.1, 0.6)), 3),
        )
        for _ in Domain
    )
    sounds = []
    for voice in STEMS:
        patches = usable_patches(tuple(fonts), voice)
        # Font first, preset second: a font with more presets for an instrument is not thereby heard more.
        font = str(rng.choice(sorted({p.font for p in patches})))
        choices = [p for p in patches if p.font == font]
        plain = choices[0 if rng.random() < 0.5 else int(rng.integers(len(choices)))]
        level_db = gain_db(plain, voice) + CANONICAL_LEVEL_DB[voice]
        if voice not in MELODIES:
            level_db += rng.uniform(-5, 5)
        cents = 0.0 if rng.random() < 0.4 else rng.uniform(-15, 15)
        attack, skip = rng.uniform(-600, 600), 0
        slow = Path(font).name == FLUIDR3 and plain.program == PROGRAMS[Voice.STRINGS][0]
        if voice is Voice.STRINGS and slow and rng.random() < 0.8:
            attack, skip = STRINGS_ATTACK, int(rng.integers(STRINGS_SKIP // 3, STRINGS_SKIP + 1))
        patch = replace(
            plain,
            tune_cents=round(float(cents), 1),
            attack=round(float(attack), 0),
            release=round(float(rng.uniform(-1200, 1200)), 0),
            skip=skip,
        )
        depth = rng.uniform(0.0, 1.6)
        eq_db = tuple(round(float(depth * db + rng.uniform(-3, 3)), 1) for db in CANONICAL_EQ_DB[voice])
        sounds.append(Sound(patch, round(float(level_db), 2), eq_db))
    return Recipe(tuple(sounds), rooms)  # type: ignore[arg-type]


def _transform_size(frames: int) -> int:
    """A length at least `frames` whose FFT is fast: a multiple of a large power of two."""
    step = 1 << max(1, frames.bit_length() - 6)
    return -(-frames // step) * step


def _room_response(room: Room, size: int, sample_rate: int) -> np.ndarray:
    """One plus the spectrum of decaying low-passed noise of unit energy.

    Returns
    -------
    np.ndarray[size // 2 + 1], complex
    """
    if not room.wet:
        return np.ones(1, np.complex128)
    length = min(size, round(1.2 * room.decay_s * sample_rate))
    # The legacy generator is the one whose stream NumPy has frozen (NEP 19): the room is the same room for ever.
    noise = np.random.RandomState(room.seed).standard_normal(length)
    noise *= np.exp(-6.9 * np.arange(length) / (room.decay_s * sample_rate))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate)
    tail = np.fft.irfft(np.fft.rfft(noise, size) / (1 + 1j * frequencies_hz / 3500), size)
    tail[: round(0.012 * sample_rate)] = 0
    tail /= math.sqrt(float(tail @ tail))
    response: np.ndarray = 1 + room.wet * np.fft.rfft(tail)
    return response


def _mixing_desk(sound: Sound, frequencies_hz: np.ndarray) -> np.ndarray:
    """The gain at each frequency: the sound's own, and the low-pass that lets the rate be halved."""
    octaves = np.log2(np.maximum(frequencies_hz, 1.0))
    response_db = sound.gain_db + np.interp(octaves, np.log2(EQ_HZ), sound.eq_db)
    edge = np.clip((frequencies_hz / frequencies_hz[-1] - 0.94) / 0.06, 0, 1)
    return np.asarray(10 ** (response_db / 20) * np.cos(edge * np.pi / 2) ** 2)


def render(score: Score, recipe: Recipe, *, duration_s: float, sample_rate: int = 16_000) -> np.ndarray:
    """Render the six voices of a score.

    Returns
    -------
    np.ndarray[6, T], int16, in the order of `Voice`; each mixture is the exact sum of its stems

    Raises
    ------
    SynthesisError
        The rate is not offered, a font cannot be played, or the sum leaves the 16-bit range.
    """
    if not 8_000 <= sample_rate <= _MAX_RATE:
        raise SynthesisError(f"cannot render at {sample_rate} Hz, expected 8000 to {_MAX_RATE}")
    frames = round(duration_s * sample_rate)
    size = _transform_size(frames + round(_TAIL_S * sample_rate))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate)
    rooms = {
        domain: _room_response(room, size, sample_rate)
        for domain, room in zip(Domain, recipe.rooms, strict=True)
    }
    voices = np.zeros((len(Voice), frames), np.int16)
    for voice, sound in zip(STEMS, recipe.sounds, strict=True):
        notes = score.melody if voice in MELODIES else score.accompaniment
        dry = play(notes, sound.patch, duration_s=duration_s, rate=_OVERSAMPLING * sample_rate)
        spectrum = np.fft.rfft(dry, _OVERSAMPLING * size)[: size // 2 + 1] / _OVERSAMPLING
        wav = np.fft.irfft(spectrum * _mixing_desk(sound, frequencies_hz) * rooms[voice.domain], size)[
            :frames
        ]
        pcm = np.rint(wav * _FULL_SCALE)
        if np.abs(pcm).max(initial=0) > _FULL_SCALE // 2:
            raise SynthesisError(
                f"{voice.label}: peak {np.abs(pcm).max() / _FULL_SCALE:.2f} of full scale, at most 0.5 keeps the "
                "mixture's 16 bits exact; give the recipe less gain"
            )
        voices[voice] = pcm
    for domain in Domain:
        melody, accompaniment = domain.stems
        voices[domain.mixture] = voices[melody] + voices[accompaniment]
    return voices


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_wav(path: Path, pcm: np.ndarray, sample_rate: int) -> None:
    """Write int16 samples as a mono WAV file, whole or not at all."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    _write_whole(path, content.getvalue())


@dataclass(frozen=True)
class Job:
    """One take of one piece to render.

    Attributes
    ----------
    folder : the set's; take 0 is written into it, take n into `takes/n`
    name : NNN
    notes : a seed to compose from, or the path of a MIDI file
    duration_s : longest length in seconds
    """

    folder: Path
    name: str
    take: int
    notes: int | Path
    duration_s: float
    sample_rate: int
    recipe: Recipe

    @property
    def take_folder(self) -> Path:
        """Where its six files go."""
        return self.folder / "takes" / str(self.take) if self.take else self.folder

    @property
    def description_path(self) -> Path:
        """The file written last: a take that has one is whole."""
        return self.take_folder / f"{self.name}.json"

    def description(self) -> str:
        """All that its sound depends on, as JSON."""
        if isinstance(self.notes, Path):
            notes: dict[str, object] = {"midi_sha256": hashlib.sha256(self.notes.read_bytes()).hexdigest()}
        else:
            notes = {"seed": self.notes}
        values = {
            "format": FORMAT,
            "notes": notes,
            "duration_s": self.duration_s,
            "sample_rate": self.sample_rate,
            "recipe": asdict(self.recipe),
        }
        return json.dumps(values, indent=1) + "\n"

    def is_done(self) -> bool:
        """Whether this very take lies there whole."""
        try:
            return self.description_path.read_text() == self.description()
        except FileNotFoundError:
            return False


def _score_of(job: Job) -> Score:
    """The notes of a job: those kept beside the audio where they are this piece's, else read or composed, and kept."""
    score = (
        read_midi(job.notes) if isinstance(job.notes, Path) else compose(job.notes, duration_s=job.duration_s)
    )
    return score.within(min(job.duration_s, score.duration_s + 2 * RELEASE_S))


def _render_job(job: Job) -> Path:
    """Render and write one take."""
    score = _score_of(job)
    duration_s = job.duration_s
    if isinstance(job.notes, Path):
        duration_s = min(duration_s, score.duration_s + RELEASE_S + 1.0)
    job.description_path.unlink(missing_ok=True)
    voices = render(score, job.recipe, duration_s=duration_s, sample_rate=job.sample_rate)
    for voice in Voice:
        write_wav(job.take_folder / f"{job.name}.{voice.value}.wav", voices[voice], job.sample_rate)
    if job.take == 0:
        write_midi(job.folder / f"{job.name}.mid", score)
    _write_whole(job.description_path, job.description().encode())
    return job.description_path


def render_set(
    out: str | Path,
    *,
    pieces: int = 104,
    seconds: float = 60.0,
    seed: int = 1,
    takes: int = 2,
    sample_rate: int = 16_000,
    fonts: Sequence[str | Path] | None = None,
    midi: Sequence[str | Path] = (),
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a set in StarNet's layout; takes that already lie there whole are left as they are.

    Parameters
    ----------
    out : folder that gets NNN.K.wav, the notes NNN.mid, the recipe NNN.json, and `takes/1` ... of the same layout
    pieces : how many to compose; with `midi`, one piece a file is rendered instead
    seconds : length of a piece; a MIDI file's is cut there
    takes : further takes of every piece, in other timbres than the canonical one
    fonts : soundfonts, the canonical one first; without it those the system holds
    jobs : processes; without it one per core
    progress : told how many takes are done, and of how many

    Raises
    ------
    SynthesisError
        FluidSynth or a soundfont is missing, or an instrument fails the pitch test.
    PieceError
        A MIDI file cannot be used.
    """
    out = Path(out)
    found = find_fonts(fonts)
    canonical = canonical_recipe(found[0])
    work = []
    sources: list[int | Path] = [Path(m) for m in midi] or [int(seed) * 1_000_003 + i for i in range(pieces)]
    for index, source in enumerate(sources):
        for take in range(takes + 1):
            recipe = varied_recipe(found, np.random.default_rng([seed, index, take])) if take else canonical
            work.append(Job(out, f"{index + 1:03d}", take, source, float(seconds), sample_rate, recipe))
    waiting = [job for job in work if not job.is_done()]
    done = len(work) - len(waiting)
    for _ in _run(waiting, jobs or os.cpu_count() or 1):
        done += 1
        if progress:
            progress(done, len(work))
    return out


def _run(work: Sequence[Job], processes: int) -> Iterator[Path]:
    """Render the jobs, in this process or in several; yields as they finish."""
    if processes == 1 or len(work) <= 1:
        yield from map(_render_job, work)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_render_job, job) for job in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
