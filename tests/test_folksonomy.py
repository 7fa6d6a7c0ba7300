"""The rendered library: what is drawn, what its phrases are, and that it sounds."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from musicstar.concepts import folksonomy, library, truth
from musicstar.concepts.atlas import load
from musicstar.concepts.folksonomy import FACTORS, PROGRAMS, parents, plan
from musicstar.concepts.phrases import ARTICULATIONS, MODES, REGISTERS, TEMPI, TEXTURES, Performance, Phrase

ROOT = Path(__file__).resolve().parent.parent
FONTS = (Path("one.sf2"), Path("two.sf2"))


def perform(texture: str, seed: int = 3, **ways: str) -> Performance:
    plain = {"mode": "major", "register": "middle register", "tempo": "moderate", "articulation": "detached"}
    return Phrase(texture, **{**plain, **ways}).perform(np.random.default_rng(seed), duration_s=4.0)


def test_the_concepts_are_as_many_and_as_large_as_they_should_be() -> None:
    takes = plan(Path("x"), clips=40, seed=1, fonts=FONTS)
    assert len(takes) == 4_800
    sizes = Counter(concept for take in takes for concept in take.concepts)
    large = [name for name, size in sizes.items() if size >= 39]
    assert 150 <= len(large) <= 400
    assert len(large) == len(sizes), "no concept is drawn that is too small to be kept"
    assert Counter(take.font for take in takes) == {"one.sf2": 2_400, "two.sf2": 2_400}
    assert len({take.seed for take in takes}) == len({take.path for take in takes}) == 4_800
    assert plan(Path("x"), clips=40, seed=1, fonts=FONTS) == takes
    for program in range(120):
        textures = Counter(take.phrase.texture for take in takes if take.program == program)
        assert set(textures.values()) <= {2, 3}


def test_the_ground_truth_says_of_each_clip_what_its_concepts_imply() -> None:
    above = truth.ancestors(parents())
    takes = plan(Path("x"), clips=40, seed=1, fonts=FONTS)
    carried: defaultdict[str, set[int]] = defaultdict(set)
    for i, take in enumerate(takes):
        for name in take.concepts:
            carried[name].add(i)
    for name, ancestors in above.items():
        for ancestor in ancestors:
            assert carried[name] < carried[ancestor], (name, ancestor)
    assert above["violin"] == {"solo strings", "strings and voices"}
    assert above["winds, alberti bass"] == {"winds", "alberti bass", "broken chords"}
    for names in FACTORS.values():
        assert all(sum(name in take.concepts for name in names) == 1 for take in takes[::50])


@pytest.mark.parametrize("texture", TEXTURES)
def test_every_texture_fills_its_time_in_its_mode_and_register(texture: str) -> None:
    for register, centre in REGISTERS.items():
        lead = perform(texture, register=register).lead
        assert lead[0].onset_s < 0.7
        assert 3.0 < lead[-1].onset_s < 4.0
        assert abs(np.median([note.key for note in lead]) - centre) <= 16
    for mode, scale in MODES.items():
        classes = {note.key % 12 for note in perform(texture, mode=mode).lead}
        assert any(classes <= {(root + step) % 12 for step in scale} for root in range(12)), mode


def test_textures_are_what_they_are_called() -> None:
    keys = [note.key for note in perform("alberti bass").lead][:8]
    assert keys[0] < keys[2] < keys[1] == keys[3]
    assert keys[:4] == keys[4:]
    onsets = Counter(round(note.onset_s, 1) for note in perform("block chords").lead)
    assert min(onsets.values()) >= 3
    ostinato = [note.key for note in perform("ostinato").lead]
    assert ostinato[:-4] == ostinato[4:]
    runs = [note.key for note in perform("scale runs").lead]
    assert all(0 < abs(b - a) <= 4 for a, b in pairwise(runs))
    pairs = sorted(perform("octaves").lead, key=lambda note: note.onset_s)
    assert all(abs(one.key - other.key) == 12 for one, other in zip(pairs[::2], pairs[1::2], strict=True))


def test_tempo_and_articulation_are_heard_in_the_notes() -> None:
    counts = [np.mean([len(perform("alberti bass", seed, tempo=tempo).lead) for seed in range(5)]) for tempo in TEMPI]
    assert counts[0] * 1.3 < counts[1]
    assert counts[1] * 1.3 < counts[2]
    sounding = [
        np.mean([note.duration_s for note in perform("arpeggio", articulation=articulation).lead])
        for articulation in ARTICULATIONS
    ]
    assert sounding[0] * 2 < sounding[1]
    assert sounding[1] * 1.3 < sounding[2]


def test_a_key_is_released_before_it_is_struck_again() -> None:
    for note, later in pairwise(sorted(perform("repeated notes", articulation="legato").lead, key=lambda n: n.onset_s)):
        if note.key == later.key:
            assert note.onset_s + note.duration_s < later.onset_s


def test_a_small_library_is_rendered_read_and_not_rendered_again(
    soundfont: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FACTORS, "program", FACTORS["program"][:4])
    seen: list[tuple[int, int]] = []
    out = folksonomy.render(tmp_path, clips=5, fonts=[soundfont], jobs=1, progress=lambda *done: seen.append(done))
    assert seen[-1] == (20, 20)
    made = library.read(out)
    assert len(made.paths) == 20
    assert {"piano", "keyboards", "acoustic grand piano", "honky-tonk piano"} <= set(made.concepts)
    assert made.parents["honky-tonk piano"] == ("piano",)
    assert made.factors["program"] == FACTORS["program"]
    take = plan(tmp_path, clips=5, seed=1, fonts=[soundfont])[-1]
    before = take.path.read_bytes()
    clip = take.clip()
    assert clip.duration_s == folksonomy.CLIP_S
    assert -31 < clip.rms_dbfs() < -10
    assert np.abs(clip.wav).max() <= folksonomy.PEAK + 1e-6
    take.path.unlink()
    seen.clear()
    folksonomy.render(tmp_path, clips=5, fonts=[soundfont], jobs=1, progress=lambda *done: seen.append(done))
    assert seen == [(20, 20)]
    assert take.path.read_bytes() == before


def test_the_shipped_tree_puts_programs_under_their_own_families() -> None:
    atlas = load(ROOT / "musicstar" / "atlases" / "general-midi")
    family = {program: family for family, programs in PROGRAMS.items() for program in programs}
    names = [concept.name for concept in atlas.concepts]
    under = {name: names[parent] for name, parent in zip(names, atlas.tree().parents, strict=True) if parent != -1}
    programs = [name for name in names if name in family]
    assert len(programs) > 110
    assert np.mean([under.get(name) == family[name] for name in programs]) >= 0.56
    assert 150 <= len(names) <= 400
    assert all(concept.clips >= 39 for concept in atlas.concepts)
