"""A library rendered by ourselves: General MIDI programs in families in super-groups, crossed with ways of playing.

Each clip is a few seconds of one program in one texture, mode, register, tempo, articulation and ensemble, and carries
all of these as concepts, with the broader ones they are part of and two crossings: family with register, super-group
with texture. How they nest is the ground truth. The clips are drawn so that a program meets every texture about
equally often. The same seed and fonts give the same clips.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from musicstar.audio import Clip
from musicstar.audio import write as write_audio
from musicstar.concepts.phrases import ARTICULATIONS, MODES, REGISTERS, TEMPI, TEXTURES, Phrase
from musicstar.engines.processors import cores
from musicstar.files import write_whole
from musicstar.instruments import Patch, SynthesisError, active_dbfs, find_fonts, play
from musicstar.scores import Note
from musicstar.synthesis import room_response, run_jobs, transform_size
from musicstar.timbres import Room

SAMPLE_RATE = 44_100
CLIP_S = 4.0
CLIPS_PER_PROGRAM = 40
LEVELS_DBFS = (-30.0, -16.0)
PEAK = 0.9

# Families of eight programs each in the order of General MIDI, and the super-groups that most of them are part of.
PROGRAMS = {
    "piano": (
        *("acoustic grand piano", "bright acoustic piano", "electric grand piano", "honky-tonk piano"),
        *("electric piano 1", "electric piano 2", "harpsichord", "clavinet"),
    ),
    "chromatic percussion": (
        *("celesta", "glockenspiel", "music box", "vibraphone"),
        *("marimba", "xylophone", "tubular bells", "dulcimer"),
    ),
    "organ": (
        *("drawbar organ", "percussive organ", "rock organ", "church organ"),
        *("reed organ", "accordion", "harmonica", "bandoneon"),
    ),
    "guitar": (
        *("nylon-string guitar", "steel-string guitar", "jazz guitar", "clean electric guitar"),
        *("muted electric guitar", "overdriven guitar", "distortion guitar", "guitar harmonics"),
    ),
    "bass": (
        *("acoustic bass", "fingered bass", "picked bass", "fretless bass"),
        *("slap bass 1", "slap bass 2", "synth bass 1", "synth bass 2"),
    ),
    "solo strings": (
        *("violin", "viola", "cello", "contrabass"),
        *("tremolo strings", "pizzicato strings", "harp", "timpani"),
    ),
    "ensembles": (
        *("string ensemble 1", "string ensemble 2", "synth strings 1", "synth strings 2"),
        *("choir aahs", "voice oohs", "synth voice", "orchestra hit"),
    ),
    "brass": (
        *("trumpet", "trombone", "tuba", "muted trumpet"),
        *("french horn", "brass section", "synth brass 1", "synth brass 2"),
    ),
    "reeds": (
        *("soprano saxophone", "alto saxophone", "tenor saxophone", "baritone saxophone"),
        *("oboe", "english horn", "bassoon", "clarinet"),
    ),
    "pipes": (
        *("piccolo", "flute", "recorder", "pan flute"),
        *("blown bottle", "shakuhachi", "whistle", "ocarina"),
    ),
    "synth leads": (
        *("square lead", "sawtooth lead", "calliope lead", "chiff lead"),
        *("charang lead", "voice lead", "fifths lead", "bass and lead"),
    ),
    "synth pads": (
        *("new age pad", "warm pad", "polysynth pad", "choir pad"),
        *("bowed pad", "metallic pad", "halo pad", "sweep pad"),
    ),
    "synth effects": (
        *("rain effect", "soundtrack effect", "crystal effect", "atmosphere effect"),
        *("brightness effect", "goblins effect", "echoes effect", "science fiction effect"),
    ),
    "folk instruments": (
        *("sitar", "banjo", "shamisen", "koto"),
        *("kalimba", "bagpipe", "fiddle", "shanai"),
    ),
    "percussive": (
        *("tinkle bell", "agogo", "steel drums", "woodblock"),
        *("taiko drum", "melodic tom", "synth drum", "reverse cymbal"),
    ),
}
SUPERGROUPS = {
    "keyboards": ("piano", "organ"),
    "plucked strings": ("guitar", "bass"),
    "strings and voices": ("solo strings", "ensembles"),
    "winds": ("brass", "reeds", "pipes"),
    "synthesizers": ("synth leads", "synth pads", "synth effects"),
    "pitched percussion": ("chromatic percussion", "percussive"),
}
TEXTURE_GROUPS = {
    "melodic": ("single line", "octaves", "scale runs"),
    "broken chords": ("alberti bass", "arpeggio", "broken thirds"),
    "chordal": ("block chords", "offbeat chords", "waltz"),
    "polyphonic": ("counterpoint", "canon"),
    "repetitive": ("ostinato", "tremolo", "repeated notes"),
}
ENSEMBLES = ("solo", "with piano", "with drums")
FACTORS: dict[str, tuple[str, ...]] = {
    "program": tuple(name for names in PROGRAMS.values() for name in names),
    "texture": tuple(TEXTURES),
    "mode": tuple(MODES),
    "register": tuple(REGISTERS),
    "tempo": tuple(TEMPI),
    "articulation": tuple(ARTICULATIONS),
    "ensemble": ENSEMBLES,
}


def parents() -> dict[str, tuple[str, ...]]:
    """The ground truth: what each concept is directly part of."""
    above: dict[str, tuple[str, ...]] = {}
    for family, programs in PROGRAMS.items():
        above.update(dict.fromkeys(programs, (family,)))
        above.update({f"{family}, {register}": (family, register) for register in REGISTERS})
    for group, families in SUPERGROUPS.items():
        above.update(dict.fromkeys(families, (group,)))
        above.update({f"{group}, {texture}": (group, texture) for texture in TEXTURES})
    above.update({texture: (group,) for group, textures in TEXTURE_GROUPS.items() for texture in textures})
    return above


@dataclass(frozen=True)
class Take:
    """One clip to be rendered.

    Attributes
    ----------
    path : where it goes
    seed : of the notes, the room and the level
    program : of General MIDI
    font : soundfont
    """

    path: Path
    seed: tuple[int, int]
    program: int
    phrase: Phrase
    ensemble: str
    font: str

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the clip carries."""
        program = FACTORS["program"][self.program]
        (family,) = _holders(PROGRAMS, program)
        texture, register = self.phrase.texture, self.phrase.register
        groups = _holders(SUPERGROUPS, family)
        return (
            *(program, family, *groups, texture, *_holders(TEXTURE_GROUPS, texture)),
            *(self.phrase.mode, register, self.phrase.tempo, self.phrase.articulation, self.ensemble),
            *(f"{family}, {register}", *(f"{group}, {texture}" for group in groups)),
        )

    def run(self) -> None:
        """Render the clip and write it."""
        write_audio(self.path, self.clip())

    def clip(self) -> Clip:
        """The sound, the same each time.

        Raises
        ------
        SynthesisError
            FluidSynth is missing, or the font lacks the program.
        """
        rng = np.random.default_rng(self.seed)
        played = self.phrase.perform(rng, duration_s=CLIP_S)
        along = {"solo": (), "with piano": ((0, played.chords),), "with drums": ((116, played.strokes),)}
        wav = self._heard(played.lead, self.program, 0.0)
        for program, notes in along[self.ensemble]:
            wav += self._heard(notes, program, rng.uniform(-10, -5))
        wav = _placed(wav, rng)
        wav *= _factor(wav, rng.uniform(*LEVELS_DBFS))
        return Clip((wav * min(1.0, PEAK / np.abs(wav).max())).astype(np.float32), SAMPLE_RATE)

    def _heard(self, notes: tuple[Note, ...], program: int, level_dbfs: float) -> np.ndarray:
        """The notes at a level, as many octaves nearer to the middle as it takes a program of few keys to sound."""
        towards = 12 if np.median([note.key for note in notes]) < REGISTERS["middle register"] else -12
        for octaves in range(4):
            moved = [replace(note, key=note.key + octaves * towards) for note in notes]
            wav = play(moved, Patch(self.font, program), duration_s=CLIP_S, rate=SAMPLE_RATE).astype(np.float64)
            if math.isfinite(active_dbfs(wav, SAMPLE_RATE)):
                return wav * _factor(wav, level_dbfs)
        raise SynthesisError(f"{self.font}: program {program} is silent; expected a font with all of General MIDI")


def _holders(groups: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The groups that a name is in."""
    return [group for group, names in groups.items() if name in names]


def _factor(wav: np.ndarray, wanted_dbfs: float) -> float:
    """What brings sound to a level."""
    return float(10 ** ((wanted_dbfs - active_dbfs(wav, SAMPLE_RATE)) / 20))


def _placed(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sound in a room of its own, tilted by up to 6 dB a decade."""
    size = transform_size(len(wav) + SAMPLE_RATE)
    decades = np.log10(np.clip(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 100, 10_000)) - 3
    tilt_db = rng.uniform(-6, 6) * decades
    wet = rng.uniform(0.05, 0.5) if rng.random() < 0.6 else 0.0
    room = Room(int(rng.integers(2**31)), rng.uniform(0.4, 1.6), wet)
    spectrum = np.fft.rfft(wav, size) * room_response(room, size, SAMPLE_RATE) * 10 ** (tilt_db / 20)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(wav)])


def plan(out: Path, *, clips: int, seed: int, fonts: Sequence[Path]) -> list[Take]:
    """What is to be rendered: so many clips of every program, its ways of playing evenly spread."""
    takes = []
    rng = np.random.default_rng(seed)
    for program in range(len(FACTORS["program"])):
        spread = {
            factor: [names[(program + i) % len(names)] for i in rng.permutation(max(clips, len(names)))]
            for factor, names in FACTORS.items()
            if factor != "program"
        }
        for number in range(clips):
            ways = {factor: names[number] for factor, names in spread.items()}
            ensemble = ways.pop("ensemble")
            phrase = Phrase(**ways)
            path = out / "clips" / f"{program:03d}-{number:03d}.flac"
            font = str(fonts[(program + number) % len(fonts)])
            takes.append(Take(path, (seed, program * 10_000 + number), program, phrase, ensemble, font))
    return takes


def render(
    out: str | Path,
    *,
    clips: int = CLIPS_PER_PROGRAM,
    seed: int = 1,
    fonts: Sequence[str | Path] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render the library as `library.read` takes it; clips that are there already are left as they are.

    Parameters
    ----------
    out : folder that gets clips/PPP-NNN.flac, clips.csv, truth.csv and factors.csv
    clips : of every program
    fonts : soundfonts that take turns; without it FluidR3
    jobs : processes; without it one per core
    progress : told how many clips are done, and of how many

    Raises
    ------
    SynthesisError
        FluidSynth or a soundfont is missing, or a number is out of range.
    """
    if not 1 <= clips < 10_000:
        raise SynthesisError(f"cannot render {clips} clips of a program; expected 1 to 9,999")
    out = Path(out)
    (out / "clips").mkdir(parents=True, exist_ok=True)
    found = find_fonts(fonts)
    takes = plan(out, clips=clips, seed=seed, fonts=found if fonts else found[:1])
    waiting = [take for take in takes if not take.path.is_file()]
    for done, _ in enumerate(run_jobs(waiting, jobs or cores()), len(takes) - len(waiting) + 1):
        if progress:
            progress(done, len(takes))
    rows = [(take.path.relative_to(out).as_posix(), ";".join(take.concepts), take.path.stem) for take in takes]
    _write_table(out / "clips.csv", ("path", "tags", "track"), rows)
    above = [(name, parent) for name, found in parents().items() for parent in found]
    _write_table(out / "truth.csv", ("concept", "parent"), above)
    groups = [(factor, name) for factor, names in FACTORS.items() for name in names]
    _write_table(out / "factors.csv", ("factor", "concept"), groups)
    return out


def _write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue().encode())
