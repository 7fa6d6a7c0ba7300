"""Instruments of soundfonts, played by FluidSynth.

Every part is played by a synthesizer made for it alone: a used one does not repeat bit for bit. FluidSynth's
own reverb and chorus are off. Events fall on its blocks of 64 frames, the same for every instrument, so that
parts of the same notes are aligned to the sample. Its interpolation does not keep frequencies above Nyquist
from folding back: play at twice the rate that is wanted, and let a low-pass halve it.

A preset is used only if it passes a test of its pitch, and at a fixed gain that gives all presets one level.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from musicstar.domains import Domain, Voice, stems_of
from musicstar.scores import ACCOMPANIMENT_KEYS, MELODY_KEYS, Note, Score

FLUIDR3 = "FluidR3_GM.sf2"
FONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
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
# General MIDI programs that may stand for a voice, the canonical one first.
PROGRAMS = {
    Voice.CLARINET: (71,),
    Voice.VIBRAPHONE: (11,),
    Voice.STRINGS: (48, 49, 50, 40, 41, 42),
    Voice.PIANO: (0, 1, 2),
    Voice.FLUTE: (73,),
    Voice.GUITAR: (24, 25, 26),
    Voice.TRUMPET: (56,),
    Voice.HARPSICHORD: (6,),
}
TEST_RATE = 32_000
PITCH_TOLERANCE = 0.3
ACTIVE_DBFS = -30.0
# Gain in dB by program of FluidR3; `canonical_gains` measures it.
FLUIDR3_GAINS_DB = {71: -0.77, 11: 5.75, 48: 5.69, 0: 6.93, 73: 1.8, 24: 1.42, 56: 4.14, 6: 3.0}

_BLOCK = 64
_SYNTH_GAIN = 0.5
_WARNINGS = 2
# Numbers of the SoundFont 2.04 specification, section 8.1.2.
_START_OFFSET, _VOLUME_ATTACK, _VOLUME_RELEASE, _FINE_TUNE = 0, 34, 38, 52
_VIBRATO_TO_PITCH, _VIBRATO_DELAY, _VIBRATO_RATE = 6, 23, 24
# Defaults of the same specification that the generators are moved from: 1 ms and 8.176 Hz.
_VIBRATO_DELAY_TIMECENTS = 12_000 + 1200 * math.log2(0.3)
_VIBRATO_RATE_HZ = 8.176


class SynthesisError(RuntimeError):
    """Sound that cannot be made; the message says what is missing or wrong and what to do."""


@dataclass(frozen=True)
class Patch:
    """An instrument of a soundfont.

    Attributes
    ----------
    font : path of a .sf2 or .sf3 file
    program : General MIDI program, 0..127, of bank 0
    tune_cents : how far it is tuned off, in cents
    attack, release : how much longer (+) or shorter (-) its envelope rises and falls, in timecents (1200 is
        twice as long)
    skip : int, frames left out at the beginning of each of its samples
    vibrato_cents : depth of the vibrato, whose rate is `vibrato_hz`; it sets in after a third of a second
    """

    font: str
    program: int
    tune_cents: float = 0.0
    attack: float = 0.0
    release: float = 0.0
    skip: int = 0
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.5


def find_fonts(fonts: Sequence[str | Path] | None = None) -> tuple[Path, ...]:
    """The soundfonts to play, the canonical one first.

    Parameters
    ----------
    fonts : paths to use, or names of files where the system keeps its fonts; without it, FluidR3 and whatever other
        General MIDI fonts the system holds

    Raises
    ------
    SynthesisError
        A given font is no file, or FluidR3 is not where the system would put it.
    """
    if fonts:
        return tuple(_font(Path(font)) for font in fonts)
    found: dict[Path, Path] = {}
    for name in FONT_NAMES:
        for path in (Path(folder, name) for folder in FONT_FOLDERS):
            if path.is_file():
                found.setdefault(path.resolve(), path)
    if FLUIDR3 not in {path.name for path in found.values()}:
        raise SynthesisError(
            f"{FLUIDR3} is in none of {', '.join(FONT_FOLDERS)}: on Debian and Ubuntu, apt-get install "
            "fluid-soundfont-gm, or give the path of a General MIDI soundfont"
        )
    return tuple(found.values())


def _font(named: Path) -> Path:
    places = [named] if named.name != str(named) else [named, *(Path(folder, named) for folder in FONT_FOLDERS)]
    for path in places:
        if path.is_file():
            return path
    raise SynthesisError(f"{named}: there is no such soundfont")


@cache
def _library() -> Any:
    """The FluidSynth binding, with the three calls it lacks."""
    try:
        import fluidsynth
    except ModuleNotFoundError as error:
        raise SynthesisError("rendering needs pyfluidsynth: pip install 'music-star-studio[render]'") from error
    except (ImportError, OSError) as error:
        raise SynthesisError(
            f"rendering needs the FluidSynth library ({error}): on Debian and Ubuntu, apt-get install libfluidsynth3"
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int

    def declare(name: str, result: Any, **arguments: Any) -> Any:
        return fluidsynth.cfunc(name, result, *((key, kind, 1) for key, kind in arguments.items()))

    fluidsynth.write_float = declare(
        "fluid_synth_write_float",
        number,
        synth=pointer,
        frames=number,
        left=pointer,
        left_from=number,
        left_step=number,
        right=pointer,
        right_from=number,
        right_step=number,
    )
    fluidsynth.set_generator = declare(
        "fluid_synth_set_gen",
        number,
        synth=pointer,
        channel=number,
        generator=number,
        value=ctypes.c_float,
    )
    # Good fonts, too, make FluidSynth print a warning whenever they are loaded.
    declare("fluid_set_log_function", pointer, level=number, function=pointer, data=pointer)(_WARNINGS, None, None)
    return fluidsynth


def _new_synth(patch: Patch, rate: int) -> Any:
    """A synthesizer that holds one patch on channel 0."""
    library = _library()
    options = {
        "synth.reverb.active": 0,
        "synth.chorus.active": 0,
        "synth.dynamic-sample-loading": 1,
        "synth.threadsafe-api": 0,
        "synth.lock-memory": 0,
    }
    synth = library.Synth(gain=_SYNTH_GAIN, samplerate=rate, channels=16, **options)
    font = synth.sfload(patch.font)
    if font < 0 or synth.program_select(0, font, 0, patch.program) < 0:
        synth.delete()
        problem = "cannot be read as a soundfont" if font < 0 else f"holds no program {patch.program} in bank 0"
        raise SynthesisError(f"{patch.font}: {problem}")
    for generator, value in (
        (_START_OFFSET, patch.skip),
        (_VOLUME_ATTACK, patch.attack),
        (_VOLUME_RELEASE, patch.release),
        (_FINE_TUNE, patch.tune_cents),
        (_VIBRATO_TO_PITCH, patch.vibrato_cents),
        (_VIBRATO_DELAY, _VIBRATO_DELAY_TIMECENTS if patch.vibrato_cents else 0),
        (_VIBRATO_RATE, 1200 * math.log2(patch.vibrato_hz / _VIBRATO_RATE_HZ) if patch.vibrato_cents else 0),
    ):
        if value:
            library.set_generator(synth.synth, 0, generator, value)
    return synth


@cache
def _keep_loaded(font: str, program: int) -> Any:
    """A synthesizer that never plays: while it lives, its decoded samples serve the next."""
    return _new_synth(Patch(font, program), TEST_RATE)


def play(notes: Sequence[Note], patch: Patch, *, duration_s: float, rate: int) -> np.ndarray:
    """Play notes dry; the same arguments give the same bits.

    Returns
    -------
    np.ndarray[duration_s * rate], float32, the mean of both channels

    Raises
    ------
    SynthesisError
        FluidSynth is missing, or the font cannot be read or lacks the program.
    """
    _keep_loaded(patch.font, patch.program)
    frames = round(duration_s * rate)
    events = []
    for note in notes:
        begin, end = (
            round(s * rate) // _BLOCK * _BLOCK for s in (note.onset_s, note.onset_s + note.duration_s)
        )  # In one block an end goes before a beginning, so the shortest note lasts a block.
        events += [(begin, 1, note.key, note.velocity), (max(end, begin + _BLOCK), 0, note.key, 0)]
    stereo = np.zeros((2, frames), np.float32)
    left, right = (channel.ctypes.data for channel in stereo)
    synth = _new_synth(patch, rate)
    done = 0

    def advance(until: int) -> None:
        nonlocal done
        if until > done:
            _library().write_float(synth.synth, until - done, left, done, 1, right, done, 1)
            done = until

    try:
        for frame, begins, key, velocity in sorted(events):
            if frame >= frames:
                break
            advance(frame)
            if begins:
                synth.noteon(0, key, velocity)
            else:
                synth.noteoff(0, key)
        advance(frames)
    finally:
        synth.delete()
    return np.asarray(stereo.mean(axis=0, dtype=np.float32))


def fundamental_hz(wav: np.ndarray, rate: int) -> float:
    """The fundamental of a steady tone, by FFT.

    Its autocorrelation tells the octave: the cumulative-mean-normalised difference of de Cheveigne and
    Kawahara (2002, equation 8) is led astray neither by partials stronger than the fundamental nor by octaves
    below. The centre of the spectrum's power within a semitone of that tells the frequency, for ensembles and
    vibratos too, which have no single peak.

    Parameters
    ----------
    wav : np.ndarray[T], at least 0.2 s
    """
    wav = wav.astype(np.float64) - wav.mean()
    window = len(wav) // 2
    longest = min(window, rate // 40)
    size = 1 << (len(wav) + window - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(wav[:window], size).conj() * np.fft.rfft(wav, size), size)[: longest + 1]
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


@cache
def pitch_error(patch: Patch, key: int) -> float:
    """How many semitones a patch sounds above equal temperament (A = 440 Hz) at a key; infinite if silent."""
    wav = play([Note(0.0, 1.0, key, 90)], patch, duration_s=0.75, rate=TEST_RATE)
    wav = wav[round(0.15 * TEST_RATE) :]
    if not np.any(wav):
        return math.inf
    return 12 * math.log2(fundamental_hz(wav, TEST_RATE) / (440 * 2 ** ((key - 69) / 12)))


def out_of_tune(patch: Patch, voice: Voice) -> str | None:
    """A sentence that says where a patch is off by more than `PITCH_TOLERANCE`; None when it is in tune.

    Keys are tried all over the register of the voice; the verdict on each is remembered.
    """
    low, high = MELODY_KEYS if voice.is_melody else ACCOMPANIMENT_KEYS
    for key in range(low, high + 1, 4):
        error = pitch_error(patch, key)
        if not abs(error) <= PITCH_TOLERANCE:
            return (
                f"{patch.font}: program {patch.program} ({voice.label}) plays key {key} {error:+.2f} "
                f"semitones off equal temperament, at most {PITCH_TOLERANCE:g} is accepted"
            )
    return None


def calibration_score() -> Score:
    """Notes by which presets are brought to one level: a scale up and down over broken chords."""
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0, -1)
    roots = (53, 50, 57, 55)
    melody = (Note(0.5 * i, 0.45, 64 + step, 80) for i, step in enumerate(steps))
    broken = (Note(0.25 * i, 0.4, roots[i // 8] + (0, 7, 12, 7)[i % 4], 72) for i in range(2 * len(steps)))
    return Score(tuple(melody), tuple(broken))


def active_dbfs(wav: np.ndarray, sample_rate: int) -> float:
    """RMS level over the 20 ms frames that lie within 40 dB of the loudest; -inf for silence.

    Parameters
    ----------
    wav : np.ndarray[T], float in [-1, 1]
    """
    frame = sample_rate // 50
    power = np.square(wav[: len(wav) // frame * frame].reshape(-1, frame), dtype=np.float64).mean(axis=1)
    if not power.size or power.max() <= 0:
        return -math.inf
    return 10 * math.log10(power[power > power.max() * 1e-4].mean())


@cache
def measured_gain_db(patch: Patch, voice: Voice) -> float:
    """The gain that brings a patch to `ACTIVE_DBFS` on `calibration_score`, in dB.

    Raises
    ------
    SynthesisError
        As `play`; or the patch is silent.
    """
    score = calibration_score()
    notes = score.melody if voice.is_melody else score.accompaniment
    level_dbfs = active_dbfs(play(notes, patch, duration_s=9.0, rate=TEST_RATE), TEST_RATE)
    if level_dbfs == -math.inf:
        raise SynthesisError(f"{patch.font}: program {patch.program} ({voice.label}) is silent")
    return ACTIVE_DBFS - level_dbfs


def gain_db(patch: Patch, voice: Voice) -> float:
    """The fixed gain of a patch: the table's for FluidR3's canonical presets, measured for others."""
    tabled = Path(patch.font).name == FLUIDR3 and patch == Patch(patch.font, patch.program)
    if tabled and patch.program in FLUIDR3_GAINS_DB:
        return FLUIDR3_GAINS_DB[patch.program]
    return measured_gain_db(patch, voice)


def canonical_gains(font: str | Path) -> dict[int, float]:
    """The table `FLUIDR3_GAINS_DB`, measured anew from that font.

    To write it again::

        python -c "from musicstar.instruments import *; print(canonical_gains(find_fonts()[0]))"
    """
    patches = {voice: Patch(str(font), PROGRAMS[voice][0]) for voice in stems_of(tuple(Domain))}
    return {patch.program: round(measured_gain_db(patch, voice), 2) for voice, patch in patches.items()}
