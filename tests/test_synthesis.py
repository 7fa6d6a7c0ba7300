"""Timbres, rendering and rendered sets."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicstar import instruments, synthesis, timbres
from musicstar.domains import STARNET, STEMS, Domain, Voice
from musicstar.instruments import PROGRAMS, Patch, SynthesisError, active_dbfs, play
from musicstar.pieces import compose
from musicstar.scores import Note, Score, ScoreError, read_midi, write_midi
from musicstar.starnet import index
from musicstar.synthesis import render, render_set
from musicstar.timbres import Recipe, Room, Sound, canonical_recipe, varied_recipe

RATE = 32_000
NOTES = [Note(0.1, 0.5, 60, 80), Note(0.7, 0.5, 67, 90), Note(0.7, 0.5, 72, 70)]


@pytest.fixture(scope="module")
def recipe(soundfont: Path) -> Recipe:
    return canonical_recipe(soundfont, domains=STARNET)


@pytest.fixture(scope="module")
def takes(soundfont: Path) -> list[Recipe]:
    refused: set[Patch] = set()
    return [
        varied_recipe([soundfont], np.random.default_rng(seed), domains=STARNET, refused=refused) for seed in range(4)
    ]


# Timbres


def test_recipes_do_without_what_is_out_of_tune(
    soundfont: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = instruments.pitch_error
    monkeypatch.setattr(
        instruments, "pitch_error", lambda patch, key: real(patch, key) + (0.5 if patch.program == 48 else 0.0)
    )
    with pytest.raises(SynthesisError, match=r"program 48 \(strings\) plays key 52 \+0\.[3-7]"):
        canonical_recipe(soundfont)
    refused: set[Patch] = set()
    with caplog.at_level(logging.WARNING, logger="musicstar.timbres"):
        drawn = [
            varied_recipe([soundfont], np.random.default_rng(s), domains=STARNET, refused=refused) for s in range(6)
        ]
    assert refused == {Patch(str(soundfont), 48)}
    assert [record.message.startswith("refused: ") for record in caplog.records] == [True]
    assert 48 not in {recipe.sounds[2].patch.program for recipe in drawn}


def test_no_instrument_in_tune(soundfont: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "pitch_error", lambda patch, key: 1.0)
    with pytest.raises(SynthesisError, match=f"no clarinet passes the pitch test in {soundfont.name}"):
        varied_recipe([soundfont], np.random.default_rng(0))


def test_domains_lie_near_the_levels_of_real_starnet(recipe: Recipe) -> None:
    rendered = [render(compose(seed, duration_s=8.0), recipe, duration_s=8.0) for seed in range(6)]
    for domain, level_dbfs in ((Domain.CV, -31), (Domain.SP, -34)):
        levels = [10 * np.log10(np.mean((voices[domain.mixture] / 32767.0) ** 2)) for voices in rendered]
        assert np.mean(levels) == pytest.approx(level_dbfs, abs=3)
        melody, accompaniment = domain.stems
        upper, lower = ([active_dbfs(v[part] / 32767.0, 16_000) for v in rendered] for part in (melody, accompaniment))
        assert -6 < np.mean(lower) - np.mean(upper) < 0


# Rendering


def test_rendering_repeats_and_mixtures_are_exact_sums(recipe: Recipe, takes: list[Recipe]) -> None:
    score = compose(5, duration_s=4.0)
    for one in (recipe, *takes):
        voices = render(score, one, duration_s=4.0)
        assert voices.dtype == np.int16
        assert voices.shape == (6, 64_000)
        wide = voices.astype(int)
        assert np.array_equal(wide[0], wide[1] + wide[2])
        assert np.array_equal(wide[3], wide[4] + wide[5])
        assert np.abs(wide).max(axis=1).min() > 30
        assert np.array_equal(render(score, one, duration_s=4.0), voices)


def test_all_voices_and_takes_are_aligned_to_the_sample(recipe: Recipe, takes: list[Recipe]) -> None:
    """Neither equalisation nor rate conversion moves a stem against its dry original; rooms only follow."""
    score = Score(tuple(NOTES[:2]), tuple(NOTES))
    size = 1 << 16
    for one in (recipe, *takes):
        still = tuple(
            Sound(replace(sound.patch, vibrato_cents=0.0), sound.gain_db, sound.eq_db) for sound in one.sounds
        )
        near = replace(one, sounds=still, rooms=tuple(replace(room, wet=0.0) for room in one.rooms))
        voices = render(score, near, duration_s=1.5).astype(float)
        for voice, sound in zip(STEMS, still, strict=True):
            notes = score.melody if voice.is_melody else score.accompaniment
            dry = np.fft.rfft(play(notes, sound.patch, duration_s=1.5, rate=RATE), 2 * size)[: size // 2 + 1]
            correlation = np.fft.irfft(np.fft.rfft(voices[voice], size) * dry.conj())
            assert np.argmax(correlation) == 0


def test_takes_differ_from_the_canonical_one_in_sound_only(recipe: Recipe, takes: list[Recipe]) -> None:
    assert len({recipe, *takes}) == len(takes) + 1
    for take in takes:
        for voice, sound in zip(STEMS, take.sounds, strict=True):
            assert sound.patch.program in PROGRAMS[voice]
            assert abs(sound.patch.tune_cents) <= 20
        assert all(room.wet == 0 or 0.4 <= room.decay_s <= 2.2 for room in take.rooms)


def test_nothing_folds_back_from_above_the_band(soundfont: Path) -> None:
    """Between the high partials of a bright tone, here a distorted guitar's, there is nothing."""
    sound = Sound(Patch(str(soundfont), 30), 0.0, (0.0,) * len(timbres.EQ_HZ))
    recipe = Recipe(STARNET, (sound,) * 4, (Room(0, 1.0, 0.0),) * 2)
    wav = render(Score((Note(0.0, 1.4, 72, 110),), ()), recipe, duration_s=1.5)[Voice.CLARINET][2_000:20_384]
    power = np.abs(np.fft.rfft(wav * np.blackman(len(wav)))) ** 2
    frequency_hz = np.fft.rfftfreq(len(wav), 1 / 16_000)
    partial_hz = 440 * 2 ** (3 / 12)
    off_partials = np.abs(frequency_hz / partial_hz - np.round(frequency_hz / partial_hz)) > 0.3
    gaps = off_partials & (frequency_hz > 5_000) & (frequency_hz < 7_400)
    assert 10 * np.log10(power[gaps].sum() / power.sum()) < -55


def test_equalisation_does_what_it_says() -> None:
    sound = Sound(Patch("none", 0), 6.0, (0.0, 0.0, 3.0, 0.0, -12.0, 0.0, 0.0, 0.0))
    response = synthesis._desk_response(sound, np.linspace(0, 8_000, 8_001))
    found = 20 * np.log10(response[[60, 250, 500, 2000, 7000]])
    assert found == pytest.approx([6, 6, 9, -6, 6], abs=1e-6)
    assert response[8_000] == pytest.approx(0, abs=1e-9)


def test_a_room_decays_as_it_says_and_stays_the_same() -> None:
    size, sample_rate = 1 << 16, 16_000
    for room in (Room(0, 1.2, 0.4), Room(7, 0.6, 0.2)):
        impulse = np.fft.irfft(synthesis.room_response(room, size, sample_rate), size)
        assert impulse[0] == pytest.approx(1)
        assert np.abs(impulse[1 : round(0.012 * sample_rate)]).max() < 1e-9
        tail = impulse[1:]
        assert np.sqrt(tail @ tail) == pytest.approx(room.wet)
        early, late = (np.mean(tail[round(at * room.decay_s * sample_rate) :][:1600] ** 2) for at in (0.1, 0.6))
        assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)
    assert np.all(synthesis.room_response(Room(3, 1.0, 0.0), size, sample_rate) == 1)
    # The first three of NumPy's frozen stream for seed 0.
    assert np.random.RandomState(0).standard_normal(3) == pytest.approx([1.76405235, 0.40015721, 0.97873798])


def test_rates_that_are_refused(recipe: Recipe) -> None:
    score = Score(tuple(NOTES), tuple(NOTES))
    with pytest.raises(SynthesisError, match="cannot render at 96000 Hz, expected 8000 to 48000"):
        render(score, recipe, duration_s=1.0, sample_rate=96_000)


def test_a_take_that_might_clip_is_lowered_as_a_whole(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    score = Score(tuple(NOTES), tuple(NOTES))
    plain = render(score, recipe, duration_s=1.0).astype(float)
    assert not caplog.records
    loud = replace(recipe, sounds=tuple(replace(s, gain_db=s.gain_db + 40) for s in recipe.sounds))
    with caplog.at_level(logging.WARNING, logger="musicstar.synthesis"):
        lowered = render(score, loud, duration_s=1.0).astype(int)
    assert np.abs(lowered[list(STEMS)]).max() == 16_383
    for domain in STARNET:
        melody, accompaniment = domain.stems
        assert np.array_equal(lowered[domain.mixture], lowered[melody] + lowered[accompaniment])
    # Louder than the plain take by one factor throughout: nothing clips, and the balance is the same.
    factors = [np.dot(lowered[voice], plain[voice]) / np.dot(plain[voice], plain[voice]) for voice in STEMS]
    assert factors == pytest.approx([factors[0]] * 4, rel=1e-3)
    (message,) = caplog.messages
    assert message.endswith(f"lowered by {40 - 20 * np.log10(factors[0]):.1f} dB with the other stems")


def test_other_rates_sound_alike(recipe: Recipe) -> None:
    score = Score(tuple(NOTES), tuple(NOTES))
    low, high = (render(score, recipe, duration_s=1.5, sample_rate=rate) for rate in (16_000, 32_000))
    assert high.shape == (6, 48_000)
    for a, b in zip(low, high, strict=True):
        assert np.std(b) == pytest.approx(np.std(a), rel=0.1)


# Sets


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kept_recipe(card: dict[str, Any]) -> Recipe:
    """The recipe that a take's card describes."""
    kept = card["recipe"]
    sounds = []
    for sound in kept["sounds"]:
        patches = {key: sound[key] and Patch(**sound[key]) for key in ("patch", "double")}
        sounds.append(Sound(**{**sound, **patches, "eq_db": tuple(sound["eq_db"])}))
    return Recipe(
        tuple(Domain(domain) for domain in kept["domains"]),
        tuple(sounds),
        tuple(Room(**room) for room in kept["rooms"]),
    )


def small_set(out: Path, font: Path, **options: object) -> Path:
    settings = {
        "pieces": 2,
        "seconds": 2.5,
        "seed": 4,
        "takes": 1,
        "fonts": [font],
        "jobs": 1,
        "domains": STARNET,
    } | options
    return render_set(out, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rendered(soundfont: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_set(tmp_path_factory.mktemp("rendered"), soundfont)


def test_a_set_has_the_layout_of_starnet(rendered: Path) -> None:
    pieces = index(rendered)
    assert [(piece.name, len(piece.takes)) for piece in pieces] == [("001", 2), ("002", 2)]
    for piece in pieces:
        for take in piece.takes:
            assert set(take) == {*STEMS, Voice.CV, Voice.SP}
            read = {voice: soundfile.read(path, dtype="int16") for voice, path in take.items()}
            assert {(len(wav), rate) for wav, rate in read.values()} == {(40_000, 16_000)}
            for domain in STARNET:
                melody, accompaniment = (read[voice][0].astype(int) for voice in domain.stems)
                assert np.array_equal(read[domain.mixture][0], melody + accompaniment)


def test_a_set_keeps_its_notes_and_recipes(rendered: Path, recipe: Recipe) -> None:
    assert read_midi(rendered / "001.mid") == compose(4 * 1_000_003, duration_s=2.5)
    card = json.loads((rendered / "001.json").read_text())
    assert kept_recipe(card) == recipe
    varied = json.loads((rendered / "takes/1/001.json").read_text())
    assert varied["notes_sha256"] == card["notes_sha256"]
    voices = render(read_midi(rendered / "001.mid"), kept_recipe(varied), duration_s=varied["duration_s"])
    for voice in STEMS:
        kept, _ = soundfile.read(rendered / f"takes/1/001.{voice.value}.wav", dtype="int16")
        assert np.array_equal(kept, voices[voice])


def test_a_second_call_renders_only_what_is_missing(
    rendered: Path, soundfont: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(rendered)
    done: list[str] = []
    real = synthesis.Job.run

    def counted(job: synthesis.Job) -> None:
        done.append(f"{job.name}/{job.take}")
        real(job)

    monkeypatch.setattr(synthesis.Job, "run", counted)
    small_set(rendered, soundfont)
    assert done == []
    (rendered / "takes/1/002.json").unlink()
    (rendered / "takes/1/002.4.wav").write_bytes(b"broken off")
    told: list[tuple[int, int]] = []
    small_set(rendered, soundfont, progress=lambda *counts: told.append(counts))
    assert done == ["002/1"]
    assert told == [(4, 4)]
    assert contents(rendered) == before


def test_kept_notes_are_rendered_without_the_composer(
    rendered: Path, soundfont: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(rendered)
    for path in before:
        if path.endswith(".mid"):
            (tmp_path / path).write_bytes(before[path])
    monkeypatch.setattr(synthesis, "compose", lambda *_, **__: pytest.fail("composed anew"))
    assert contents(small_set(tmp_path, soundfont)) == before


def test_other_settings_render_anew(soundfont: Path, tmp_path: Path) -> None:
    before = contents(small_set(tmp_path, soundfont, pieces=1, takes=0))
    after = contents(small_set(tmp_path, soundfont, pieces=1, takes=0, seconds=3.0))
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


def test_processes_make_no_difference(rendered: Path, soundfont: Path, tmp_path: Path) -> None:
    assert contents(small_set(tmp_path, soundfont, pieces=2, takes=0, jobs=2)) == {
        name: content for name, content in contents(rendered).items() if not name.startswith("takes/")
    }


def test_a_render_that_fails_leaves_no_card(soundfont: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, *_: object, **__: object) -> None:
        raise OSError(f"{path}: no space left")

    monkeypatch.setattr(synthesis, "write_pcm", broken)
    with pytest.raises(OSError, match="no space left"):
        small_set(tmp_path, soundfont, pieces=1, takes=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["001.mid"]


def test_midi_files_are_rendered_in_their_length(soundfont: Path, tmp_path: Path) -> None:
    short = write_midi(tmp_path / "short.mid", Score(tuple(NOTES[:2]), tuple(NOTES)))
    long = write_midi(tmp_path / "long.mid", Score(tuple(NOTES[:2]), (Note(0.0, 9.0, 50, 80),)))
    out = small_set(tmp_path / "out", soundfont, midi=[short, long], takes=0)
    assert soundfile.info(out / "001.0.wav").duration == pytest.approx(1.2 + synthesis.MIDI_TAIL_S, abs=0.01)
    assert soundfile.info(out / "002.0.wav").duration == 2.5
    assert [n.key for n in read_midi(out / "001.mid").melody] == [60, 67]
    assert len(index(out)) == 2


@pytest.mark.parametrize("fewer", [{"pieces": 1}, {"takes": 0}, {"domains": STARNET[:1]}])
def test_what_is_left_of_a_larger_set_is_not_taken_for_this_one(
    rendered: Path, soundfont: Path, fewer: dict[str, object]
) -> None:
    before = contents(rendered)
    with pytest.raises(SynthesisError, match="is of another set"):
        small_set(rendered, soundfont, seed=5, **fewer)
    assert contents(rendered) == before


def test_a_part_that_begins_too_late_is_named(soundfont: Path, tmp_path: Path) -> None:
    late = write_midi(tmp_path / "late.mid", Score((Note(3.0, 1.0, 60, 80),), tuple(NOTES)))
    with pytest.raises(ScoreError, match=r"late\.mid: no notes for the melody in its first 2\.5 s"):
        small_set(tmp_path / "out", soundfont, midi=[late], takes=0)


@pytest.mark.parametrize("wrong", [{"pieces": 0}, {"takes": -1}, {"seconds": 0.0}])
def test_numbers_out_of_range(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="expected at least one piece"):
        render_set(tmp_path, **wrong)  # type: ignore[arg-type]


def test_further_domains_and_the_fonts_of_takes(soundfont: Path, tmp_path: Path) -> None:
    out = small_set(tmp_path, soundfont, pieces=1, domains=tuple(Domain), take_fonts=[soundfont])
    (piece,) = index(out)
    assert piece.domains == tuple(Domain)
    read = {voice: soundfile.read(path, dtype="int16")[0].astype(int) for voice, path in piece.takes[1].items()}
    assert set(read) == set(Voice)
    for domain in Domain:
        mixture, melody, accompaniment = (read[voice] for voice in domain.voices)
        assert np.array_equal(mixture, melody + accompaniment)
        assert min(np.abs(melody).max(), np.abs(accompaniment).max()) > 100


def test_a_doubled_sound_is_the_sum_of_two_and_a_swell_moves_the_level(soundfont: Path) -> None:
    flat, dry = (0.0,) * len(timbres.EQ_HZ), (Room(0, 1.0, 0.0),) * 2
    one, other = Patch(str(soundfont), 71), Patch(str(soundfont), 73, vibrato_cents=20.0)
    score = Score((Note(0.0, 5.5, 72, 80),), ())

    def clarinet(sound: Sound) -> np.ndarray:
        recipe = Recipe(STARNET, (sound, *(Sound(one, 0.0, flat),) * 3), dry)
        return np.asarray(render(score, recipe, duration_s=6.0)[Voice.CLARINET], dtype=float)

    alone, second = clarinet(Sound(one, 0.0, flat)), clarinet(Sound(other, 0.0, flat))
    doubled = clarinet(Sound(one, 0.0, flat, double=other, double_db=-6.0))
    assert np.abs(doubled - alone - 10 ** (-6 / 20) * second).max() < 2
    swelling = clarinet(Sound(one, 0.0, flat, swell_db=5.0, swell_seed=3))
    kept = np.abs(alone) > 1000
    change_db = 20 * np.log10(swelling[kept] / alone[kept])
    assert np.ptp(change_db) > 2
    assert np.abs(change_db).max() < 5.1
    assert np.abs(clarinet(Sound(one, 0.0, flat, harder=30))).max() > 1.2 * np.abs(alone).max()


def test_a_vibrato_moves_the_pitch_of_a_held_note(soundfont: Path) -> None:
    held = [Note(0.0, 2.0, 69, 90)]
    widths = []
    for cents in (0.0, 30.0):
        wav = play(held, Patch(str(soundfont), 73, vibrato_cents=cents, vibrato_hz=5.0), duration_s=2.0, rate=RATE)
        spectrum = np.abs(np.fft.rfft(wav[RATE // 2 :] * np.hanning(len(wav) - RATE // 2)))
        line = 440 * (len(wav) - RATE // 2) / RATE
        near = spectrum[round(line) - 40 : round(line) + 41] ** 2
        widths.append(1 - near[36:45].sum() / near.sum())
    assert widths[1] > 3 * widths[0]
