"""Rendered sets: scores in the sound of a set's voices, in one fixed timbre and in many others.

One transform a stem does all that follows FluidSynth: it halves the rate behind a low-pass, equalises and
adds the room. Levels are fixed: each domain's lies near that of real StarNet (-31 dBFS RMS for CV, -34 for
SP), no clip is normalised by itself, and only a take whose mixtures might clip is lowered, all of it alike.
Stems are rounded to 16 bits first and a mixture is the sum of the rounded stems, so NNN.0 = NNN.1 + NNN.2 and
the like hold exactly in the files.

What lies in a set's folder suffices to render it again: NNN.mid holds the notes, NNN.json a take's recipe.
"""

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np

from musicstar.domains import Domain, Voice, stems_of
from musicstar.engines.processors import cores
from musicstar.files import write_whole
from musicstar.instruments import Patch, SynthesisError, find_fonts, play
from musicstar.layout import write_pcm
from musicstar.pieces import compose
from musicstar.scores import Note, Score, ScoreError, midi_origin, read_midi, write_midi
from musicstar.timbres import EQ_HZ, Recipe, Room, Sound, canonical_recipe, varied_recipe

logger = logging.getLogger(__name__)

FORMAT = 2
RATES = (8_000, 48_000)
MIDI_TAIL_S = 1.0

_OVERSAMPLING = 2
_FULL_SCALE = 32_767
_LOUDEST_STEM = _FULL_SCALE // 2
_ROOM_PREDELAY_S = 0.012
_ROOM_LOWPASS_HZ = 3500
_TRANSITION = 0.06
_TAIL_S = 2.5
_SEED_STRIDE = 1_000_003
_SWELL_S = 1.5


def transform_size(frames: int) -> int:
    """A length of at least `frames` whose FFT is fast: a small multiple of a power of two."""
    step = 1 << max(1, frames.bit_length() - 6)
    return -(-frames // step) * step


def room_response(room: Room, size: int, sample_rate: int) -> np.ndarray:
    """One plus the spectrum of the room, complex [size // 2 + 1]."""
    if not room.wet:
        return np.ones(size // 2 + 1, np.complex128)
    length = min(size, round(1.2 * room.decay_s * sample_rate))
    # The legacy generator is the one whose stream NumPy has frozen (NEP 19): a room stays the same room.
    noise = np.random.RandomState(room.seed).standard_normal(length)
    noise *= np.exp(-6.9 * np.arange(length) / (room.decay_s * sample_rate))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate)
    tail = np.fft.irfft(np.fft.rfft(noise, size) / (1 + 1j * frequencies_hz / _ROOM_LOWPASS_HZ), size)
    tail[: round(_ROOM_PREDELAY_S * sample_rate)] = 0
    tail /= math.sqrt(float(tail @ tail))
    return np.asarray(1 + room.wet * np.fft.rfft(tail))


def _desk_response(sound: Sound, frequencies_hz: np.ndarray) -> np.ndarray:
    """The gain of a sound at each frequency, down to nothing at Nyquist."""
    octaves = np.log2(np.maximum(frequencies_hz, 1.0))
    response_db = sound.gain_db + np.interp(octaves, np.log2(EQ_HZ), sound.eq_db)
    edge = np.clip((frequencies_hz / frequencies_hz[-1] - (1 - _TRANSITION)) / _TRANSITION, 0, 1)
    return np.asarray(10 ** (response_db / 20) * np.cos(edge * np.pi / 2) ** 2)


def render(score: Score, recipe: Recipe, *, duration_s: float, sample_rate: int = 16_000) -> np.ndarray:
    """Render all voices of a score; the same arguments give the same bits.

    Where a stem peaks above half of full scale, so that a mixture might clip, all are lowered by as much.

    Returns
    -------
    np.ndarray[3 * domains, duration_s * sample_rate], int16, in the order of `Voice`; a mixture is the exact sum of its
    stems

    Raises
    ------
    SynthesisError
        The rate is not offered, or an instrument cannot be played.
    """
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise SynthesisError(f"cannot render at {sample_rate} Hz, expected {RATES[0]} to {RATES[1]}")
    frames = round(duration_s * sample_rate)
    size = transform_size(frames + round(_TAIL_S * sample_rate))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate)
    rooms = {d: room_response(room, size, sample_rate) for d, room in zip(recipe.domains, recipe.rooms, strict=True)}
    voices = np.zeros((3 * len(recipe.domains), frames), np.int16)
    stems: dict[Voice, np.ndarray] = {}
    for voice, sound in zip(stems_of(recipe.domains), recipe.sounds, strict=True):
        notes = score.melody if voice.is_melody else score.accompaniment
        dry = _dry(notes, sound, duration_s=duration_s, rate=_OVERSAMPLING * sample_rate)
        spectrum = np.fft.rfft(dry, _OVERSAMPLING * size)[: size // 2 + 1] / _OVERSAMPLING
        wav = np.fft.irfft(spectrum * _desk_response(sound, frequencies_hz) * rooms[voice.domain], size)
        stems[voice] = wav[:frames] * _FULL_SCALE
    loudest = max(stems, key=lambda voice: float(np.abs(stems[voice]).max(initial=0)))
    peak = float(np.abs(stems[loudest]).max(initial=0))
    scale = 1.0
    if round(peak) > _LOUDEST_STEM:
        scale = _LOUDEST_STEM / peak
        logger.warning(
            "%s peaks so high that a mixture might clip: lowered by %.1f dB with the other stems",
            loudest.label,
            -20 * math.log10(scale),
        )
    for voice, wav in stems.items():
        voices[voice] = np.rint(wav * scale)
    for domain in recipe.domains:
        melody, accompaniment = domain.stems
        voices[domain.mixture] = voices[melody] + voices[accompaniment]
    return voices


def _dry(notes: Sequence[Note], sound: Sound, *, duration_s: float, rate: int) -> np.ndarray:
    """What a sound's patches play of some notes, float32 [duration_s * rate]."""
    struck = [replace(note, velocity=min(127, max(1, note.velocity + sound.harder))) for note in notes]
    dry = play(struck, sound.patch, duration_s=duration_s, rate=rate)
    if sound.double is not None:
        dry = dry + 10 ** (sound.double_db / 20) * play(struck, sound.double, duration_s=duration_s, rate=rate)
    if sound.swell_db:
        knots = np.arange(0, duration_s + 2 * _SWELL_S, _SWELL_S)
        levels_db = np.random.RandomState(sound.swell_seed).uniform(-sound.swell_db, sound.swell_db, len(knots))
        dry = dry * 10 ** (np.interp(np.arange(len(dry)) / rate, knots, levels_db) / 20)
    return dry


@dataclass(frozen=True)
class Job:
    """One take of one piece, its notes being kept in the set's folder already.

    Attributes
    ----------
    folder : the set's; take 0 is written into it, take n into `takes/n`
    name : NNN
    """

    folder: Path
    name: str
    take: int
    duration_s: float
    sample_rate: int
    recipe: Recipe

    @property
    def take_folder(self) -> Path:
        """Where its files go."""
        return self.folder / "takes" / str(self.take) if self.take else self.folder

    @property
    def score_path(self) -> Path:
        """The notes, which all takes share."""
        return self.folder / f"{self.name}.mid"

    @property
    def card_path(self) -> Path:
        """The file that is written last: a take that has it is whole."""
        return self.take_folder / f"{self.name}.json"

    def card(self) -> str:
        """All that the sound depends on, as JSON."""
        values = {
            "format": FORMAT,
            "notes_sha256": hashlib.sha256(self.score_path.read_bytes()).hexdigest(),
            "duration_s": self.duration_s,
            "sample_rate": self.sample_rate,
            "recipe": asdict(self.recipe),
        }
        return json.dumps(values, indent=1) + "\n"

    def is_done(self) -> bool:
        """Whether this very take is there, whole."""
        return self.card_path.is_file() and self.card_path.read_text() == self.card()

    def run(self) -> None:
        """Render the take and write its files."""
        self.take_folder.mkdir(parents=True, exist_ok=True)
        self.card_path.unlink(missing_ok=True)
        score = read_midi(self.score_path)
        voices = render(score, self.recipe, duration_s=self.duration_s, sample_rate=self.sample_rate)
        for number, wav in enumerate(voices):
            write_pcm(self.take_folder / f"{self.name}.{number}.wav", wav, sample_rate=self.sample_rate)
        write_whole(self.card_path, self.card().encode())


def _keep_notes(path: Path, source: int | Path, duration_s: float) -> float:
    """Have the notes of a piece in a file: those already there if they are its, else composed or read.

    Returns how many seconds to render: all of `duration_s` for a composed piece, for a shorter MIDI file
    less.
    """
    if isinstance(source, Path):
        origin = f"midi sha256={hashlib.sha256(source.read_bytes()).hexdigest()} duration_s={duration_s:g}"
    else:
        origin = f"composed seed={source} duration_s={duration_s:g}"
    if not path.is_file() or midi_origin(path) != origin:
        if isinstance(source, Path):
            score = read_midi(source).within(duration_s).snapped()
            for part in ("melody", "accompaniment"):
                if not getattr(score, part):
                    raise ScoreError(f"{source}: no notes for the {part} in its first {duration_s:g} s")
        else:
            score = compose(source, duration_s=duration_s)
        write_midi(path, score, origin=origin)
    if isinstance(source, Path):
        return min(duration_s, round(read_midi(path).duration_s + MIDI_TAIL_S, 3))
    return duration_s


def _require_only(out: Path, *, pieces: int, takes: int, voices: int) -> None:
    """Refuse a folder with more pieces, takes or voices than are rendered."""
    for path in sorted((*out.glob("*.*"), *out.glob("takes/*/*.*"))):
        named = re.fullmatch(r"(\d{3})(?:\.(\d+))?\.(?:wav|flac|mid|json)", path.name)
        take = int(path.parent.name) if path.parent != out and path.parent.name.isdigit() else 0
        if named and (int(named[1]) > pieces or take > takes or int(named[2] or 0) >= voices):
            raise SynthesisError(
                f"{path} is of another set, which has more pieces, takes or instruments: name another folder, or take "
                "it away"
            )


def render_set(
    out: str | Path,
    *,
    pieces: int = 104,
    seconds: float = 60.0,
    seed: int = 1,
    takes: int = 2,
    sample_rate: int = 16_000,
    fonts: Sequence[str | Path] | None = None,
    take_fonts: Sequence[str | Path] | None = None,
    domains: tuple[Domain, ...] = tuple(Domain),
    midi: Sequence[str | Path] = (),
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a set in StarNet's layout; takes that are there already, whole, are left as they are.

    Parameters
    ----------
    out : folder that gets NNN.K.wav, the notes NNN.mid, the recipe NNN.json, and in `takes/n` the same of
        take n
    pieces : how many to compose; with `midi`, one piece a file is rendered instead, in the order given
    seconds : length of a piece; MIDI files are cut there
    takes : further takes of every piece, in other timbres than the canonical one
    fonts : soundfonts, the canonical one first; without it those the system holds
    domains : the first few of `Domain`
    take_fonts : those that the further takes are played by, in place of all of `fonts`
    jobs : processes; without it one per core. Spawned, so a script that calls this needs a main guard
    progress : told how many takes are done, and of how many

    Raises
    ------
    SynthesisError
        FluidSynth or a soundfont is missing, no preset for an instrument is in tune, a number is out of range, or the
        folder holds pieces, takes or voices of another set, which would be taken for some of this one.
    ScoreError
        A MIDI file cannot be used, or the pieces are too short to compose.
    """
    if pieces < 1 or takes < 0 or not 0 < seconds < math.inf:
        raise SynthesisError(
            f"cannot render {pieces} pieces of {seconds:g} s in {takes} further takes; expected at least "
            "one piece, a positive length and no fewer than 0 takes"
        )
    out = Path(out)
    _require_only(out, pieces=len(midi) or pieces, takes=takes, voices=3 * len(domains))
    found = find_fonts(fonts)
    varied = find_fonts(take_fonts) if take_fonts else found
    canonical = canonical_recipe(found[0], domains=domains)
    sources: list[int | Path] = [Path(m) for m in midi] or [seed * _SEED_STRIDE + i for i in range(pieces)]
    refused: set[Patch] = set()
    work = []
    for index, source in enumerate(sources):
        name = f"{index + 1:03d}"
        duration_s = _keep_notes(out / f"{name}.mid", source, float(seconds))
        for take in range(takes + 1):
            rng = np.random.default_rng([seed, index, take])
            recipe = varied_recipe(varied, rng, domains=domains, refused=refused) if take else canonical
            work.append(Job(out, name, take, duration_s, sample_rate, recipe))
    waiting = [job for job in work if not job.is_done()]
    already = len(work) - len(waiting)
    for done, _ in enumerate(run_jobs(waiting, jobs or cores()), already + 1):
        if progress:
            progress(done, len(work))
    return out


class Runnable(Protocol):
    """Work that can be sent to another process."""

    def run(self) -> None:
        """Do it."""


def run_jobs(work: Sequence[Runnable], processes: int) -> Iterator[None]:
    """Do the jobs in this process or in several; yields once for each that is done."""
    if processes == 1 or len(work) <= 1:
        for job in work:
            job.run()
            yield
        return
    with ProcessPoolExecutor(min(processes, len(work)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(job.run) for job in work]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        finally:
            pool.shutdown(cancel_futures=True)
