"""StarNet on disk: layouts good and bad, archives, reduction."""

import io
import logging
import math
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicstar import layout, reduction
from musicstar.audio import AudioError
from musicstar.domains import STARNET, STEMS, Domain, Voice
from musicstar.reduction import Stored, joined, sounding
from musicstar.starnet import StarNetError, index, load, reduce
from tests.starnet_sets import RATE, music, write_piece, write_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


def pack(archive: Path, folder: Path, top: str) -> Path:
    """An archive of a folder's files under a top folder, as the published ones are."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(f"{top}/README.txt"), io.BytesIO())
        for path in sorted(folder.iterdir()):
            tar.add(path, f"{top}/{path.name}")
    return archive


# Layout


def test_index_finds_pieces_takes_and_voices(folder: Path) -> None:
    pieces = index(folder)
    assert [piece.name for piece in pieces] == ["001", "002", "003", "004", "005"]
    assert [len(piece.takes) for piece in pieces] == [3] * 5
    assert pieces[1].takes[2][Voice.PIANO] == folder / "takes/2/002.5.wav"
    assert set(pieces[0].takes[0]) == {voice for domain in STARNET for voice in domain.voices}


def test_index_of_nested_folders_flac_and_other_files(tmp_path: Path) -> None:
    write_piece(tmp_path / "a/starnet-p1", "001", music(0, seconds=0.2))
    write_piece(tmp_path / "b/c", "053", music(1, seconds=0.2), suffix="flac")
    for name in ("001.12.wav", "001.0.txt", "._001.0.wav", "notes.wav", "001.0.wav.part"):
        (tmp_path / "b" / name).touch()
    assert [piece.name for piece in index(tmp_path)] == ["001", "053"]


def test_a_take_by_itself_is_a_set(folder: Path) -> None:
    assert [len(piece.takes) for piece in index(folder / "takes/2")] == [1] * 5


def test_mixtures_may_be_missing_stems_may_not(tmp_path: Path) -> None:
    voices = music(0, seconds=0.2)
    write_piece(tmp_path, "001", {voice: voices[voice] for voice in STEMS})
    assert len(index(tmp_path)) == 1
    (tmp_path / "001.4.wav").unlink()
    with pytest.raises(StarNetError, match=r"1 of 1 takes lack stems: 001\.4 \(strings\)\. Expected all of"):
        index(tmp_path)


def test_a_take_that_lacks_a_stem_is_named(tmp_path: Path) -> None:
    write_piece(tmp_path, "001", music(0, seconds=0.2))
    write_piece(tmp_path / "takes/3", "001", {Voice.PIANO: music(0, seconds=0.2)[Voice.PIANO]})
    with pytest.raises(StarNetError, match=r"1 of 2 takes .*001\.1 \(clarinet\).*001\.4 \(strings\) of take 3"):
        index(tmp_path)


def test_the_real_excerpts_lack_their_stems(excerpts: Path) -> None:
    with pytest.raises(StarNetError) as raised:
        index(excerpts)
    message = str(raised.value)
    assert "10 of 10 takes lack stems: 001.1 (clarinet), 001.2 (vibraphone), 001.4 (strings)" in message
    assert "and so 7 more. Expected all of NNN.1 (clarinet)" in message


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    write_piece(tmp_path / "a", "001", music(0, seconds=0.2))
    write_piece(tmp_path / "b", "001", music(0, seconds=0.2))
    with pytest.raises(StarNetError, match=r"001\.0 is there twice, expected once: .*a/001.* and .*b/001"):
        index(tmp_path)


def test_no_folder_or_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(StarNetError, match="none: there is no such folder or archive"):
        index(tmp_path / "none")
    (tmp_path / "song.wav").touch()
    with pytest.raises(StarNetError, match=r"no file of a StarNet set is there; expected NNN\.K\.wav"):
        index(tmp_path)
    with pytest.raises(StarNetError, match="no file of a StarNet set"):
        reduce(tmp_path, tmp_path / "cache")


# Archives


@pytest.fixture
def archived(tmp_path: Path) -> tuple[Path, Path]:
    """Two pieces at 44.1 kHz in two channels: loose, and in two archives."""
    loose, packed = tmp_path / "loose", tmp_path / "packed"
    packed.mkdir()
    for number in (1, 2):
        voices = music(number, seconds=1.5, sample_rate=44_100)
        part = loose / f"starnet-p{number}"
        write_piece(part, f"{number:03d}", voices, sample_rate=44_100, channels=2)
        pack(packed / f"starnet_part{number}.tar.gz", part, f"starnet-p{number}")
    return loose, packed


def test_archives_reduce_as_the_loose_files_do(archived: tuple[Path, Path], tmp_path: Path) -> None:
    loose, packed = archived
    assert [piece.name for piece in index(packed)] == ["001", "002"]
    assert len(index(packed / "starnet_part2.tar.gz")) == 1
    from_loose = reduce(loose, tmp_path / "a")
    from_packed = reduce(packed, tmp_path / "b")
    assert [piece.samples for piece in from_packed.pieces] == [24_000, 24_000]
    for piece in from_loose.pieces:
        assert torch.equal(from_packed.piece(piece.name), from_loose.piece(piece.name))


def test_archives_are_unpacked_once_and_anew_when_changed(
    archived: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, packed = archived
    cache = packed / "cache"
    first = reduce(packed, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_members", lambda path: pytest.fail(f"{path} read again"))
        patch.setattr(reduction, "read_pcm", lambda path: pytest.fail(f"{path} read again"))
        assert reduce(packed, cache) == first
    write_piece(tmp_path / "new", "003", music(7, seconds=1.5))
    pack(packed / "starnet_part2.tar.gz", tmp_path / "new", "starnet-p2")
    assert [piece.name for piece in reduce(packed, cache).pieces] == ["001", "003"]
    # What was unpacked of another set is none of this one.
    (packed / "starnet_part1.tar.gz").rename(tmp_path / "starnet_part1.tar.gz")
    assert [piece.name for piece in reduce(packed, cache).pieces] == ["003"]
    for folder in ("a", "b"):
        write_piece(tmp_path / "twice" / folder, "004", music(8, seconds=1.5))
    with tarfile.open(packed / "starnet_part2.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "twice", "twice")
    with pytest.raises(StarNetError, match=r"starnet_part2\.tar\.gz: 004\.\d is there twice, expected once"):
        reduce(packed, cache)


def test_unpacking_goes_on_where_it_stopped(archived: tuple[Path, Path], tmp_path: Path) -> None:
    _, packed = archived
    whole = packed / "starnet_part1.tar.gz"
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.raises(StarNetError, match=r"starnet_part1\.tar\.gz: not readable as a tar archive"):
        reduce(packed, tmp_path / "cache")
    whole.write_bytes(content)
    assert len(reduce(packed, tmp_path / "cache").pieces) == 2


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "starnet_part1.tar.gz").write_bytes(b"not a gzip file at all" * 100)
    for read in (index, lambda folder: reduce(folder, tmp_path / "cache")):
        with pytest.raises(StarNetError, match="not readable as a tar archive"):
            read(tmp_path)


# Reading without packages


def test_wav_files_of_16_bits_at_16_khz_are_read_alike(tmp_path: Path) -> None:
    """By the standard library as by soundfile, over all values and down to one sample."""
    for samples in (1, 65_536):
        pcm = np.arange(-32_768, 32_768)[:samples].astype(np.int16)
        soundfile.write(tmp_path / "a.wav", pcm, RATE, subtype="PCM_16")
        soundfile.write(tmp_path / "a.flac", pcm, RATE, subtype="PCM_16")
        layout.write_pcm(tmp_path / "b.wav", pcm)
        for name in ("a.wav", "a.flac", "b.wav"):
            read = layout.read_pcm(tmp_path / name)
            assert read.dtype == np.int16
            assert np.array_equal(read, pcm)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_rendered_set_is_reduced_without_audio_packages(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = reduce(folder, tmp_path / "a")
    for package in ("soundfile", "torchaudio", "pyloudnorm"):
        monkeypatch.setitem(sys.modules, package, None)
    assert reduce(folder, tmp_path / "b").pieces == wanted.pieces
    assert torch.equal(reduce(folder, tmp_path / "b").piece("003"), wanted.piece("003"))


def test_other_files_name_the_package_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_piece(tmp_path / "flac", "001", music(0), suffix="flac")
    write_piece(tmp_path / "two", "001", music(0), channels=2)
    write_piece(tmp_path / "fast", "001", music(0, sample_rate=44_100), sample_rate=44_100)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(StarNetError, match=r"001\.0\.wav: reading it needs the package torchaudio"):
        reduce(tmp_path / "fast", tmp_path / "cache")
    assert reduce(tmp_path / "two", tmp_path / "cache").pieces
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for name in ("flac", "two", "fast"):
        with pytest.raises(StarNetError, match=r"soundfile, which is not installed; without it .* 16 bits at 16000 Hz"):
            reduce(tmp_path / name, tmp_path / f"{name}-cache")


def test_a_wav_file_that_is_broken_off_or_empty(tmp_path: Path) -> None:
    layout.write_pcm(tmp_path / "a.wav", np.arange(100, dtype=np.int16))
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(content[:-61])
    assert layout.read_pcm(tmp_path / "b.wav").tolist() == list(range(69))
    for end in (0, 20, 44, 45):
        (tmp_path / "c.wav").write_bytes(content[:end])
        with pytest.raises(AudioError, match=r"^c\.wav: "):
            layout.read_pcm(tmp_path / "c.wav")


# Reduction


def tones(seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return np.rint(
        [3000 * np.sin(2 * np.pi * hertz * time_s) for hertz in (200, 300, 400, 500)],
    ).astype(np.int16)


def test_silence_is_cut_by_hand() -> None:
    stems = tones(10)
    assert sounding(stems) == [(0, 160_000)]
    stems[2, 2 * RATE : 4 * RATE] = 0
    assert sounding(stems) == [(0, 2 * RATE), (4 * RATE, 10 * RATE)]
    stems[0, 3 * RATE : 5 * RATE] //= 110  # 40.8 dB below, and overlapping
    assert sounding(stems) == [(0, 2 * RATE), (5 * RATE, 10 * RATE)]
    stems[1, 9 * RATE :] = 0  # a second is not over a second
    assert sounding(stems) == [(0, 2 * RATE), (5 * RATE, 10 * RATE)]
    stems[3, 6 * RATE : 8 * RATE] //= 90  # 39.1 dB below
    assert sounding(stems) == [(0, 2 * RATE), (5 * RATE, 10 * RATE)]
    stems[1, 9 * RATE - 320 :] = 0
    assert sounding(stems) == [(0, 2 * RATE), (5 * RATE, 9 * RATE - 320)]
    stems[1] = 0
    assert sounding(stems) == []
    assert sounding(stems[:, :100]) == []


def test_the_last_part_of_a_frame_is_kept() -> None:
    assert sounding(tones(2)[:, : 32_000 - 5]) == [(0, 31_995)]


def test_joining_fades_over_the_seam_alone() -> None:
    wav = np.arange(1000, 31_000, dtype=np.int16)[None]
    out = joined(wav, [(0, 3200), (9600, 12_800), (20_000, 30_000)])
    assert out.shape == (1, 16_400)
    assert np.array_equal(out[0, :3200], wav[0, :3200])
    assert np.array_equal(out[0, 3360:6400], wav[0, 9760:12_800])
    assert np.array_equal(out[0, 6560:], wav[0, 20_160:])
    # At the seam the wave goes on as it would have, then moves over within 10 ms.
    assert out[0, 3200] == wav[0, 3200]
    assert np.abs(np.diff(out[0].astype(int))).max() < 100


def test_reduction_keeps_all_takes_together(tmp_path: Path) -> None:
    """Silence in a canonical stem is cut from every take; silence in another take is not."""
    voices = music(0, seconds=6.0)
    other = music(1, seconds=6.0)
    voices[Voice.CLARINET][2 * RATE : 4 * RATE] = 0
    other[Voice.PIANO][:] = 0
    write_piece(tmp_path, "001", {voice: voices[voice] for voice in STEMS})
    write_piece(tmp_path / "takes/1", "001", {voice: other[voice] for voice in STEMS})
    (piece,) = reduce(tmp_path, tmp_path / "cache").pieces
    assert (piece.samples, piece.takes) == (4 * RATE, 2)
    stored = np.load(tmp_path / "cache/001.npy")
    assert stored.dtype == np.int16
    assert stored.shape == (2, 4, 4 * RATE)
    for take, wavs in enumerate((voices, other)):
        for row, voice in enumerate(STEMS):
            kept = np.concatenate([wavs[voice][: 2 * RATE], wavs[voice][4 * RATE :]])
            away = np.r_[: 2 * RATE, 2 * RATE + 200 : 4 * RATE]
            assert np.abs(stored[take, row, away] / 32768 - kept[away]).max() < 1e-4


def test_stems_are_trimmed_to_the_shortest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voices = music(0, seconds=4.0)
    voices[Voice.STRINGS] = voices[Voice.STRINGS][: 2 * RATE]
    write_piece(tmp_path, "001", {voice: voices[voice] for voice in STEMS})
    with caplog.at_level(logging.WARNING, logger="musicstar.reduction"):
        (piece,) = reduce(tmp_path, tmp_path / "cache").pieces
    assert piece.samples == 2 * RATE
    assert caplog.messages == ["001: stems of 2.0 to 4.0 s, trimmed to the shortest"]


def test_a_mixture_that_is_not_the_sum_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voices = music(0)
    voices[Voice.SP] = voices[Voice.SP] * 0.7
    write_piece(tmp_path, "001", voices)
    with caplog.at_level(logging.WARNING, logger="musicstar.reduction"):
        reduce(tmp_path, tmp_path / "cache")
    assert caplog.messages == [
        "001, take 0: the sp mixture is not the sum of its stems (they differ by -10 dB); the sum is used"
    ]


def test_pieces_without_music_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voices = music(0)
    voices[Voice.PIANO] = np.zeros_like(voices[Voice.PIANO])
    write_piece(tmp_path, "001", {voice: voices[voice] for voice in STEMS})
    with pytest.raises(StarNetError, match="in none of 1 pieces do all stems sound together"):
        reduce(tmp_path, tmp_path / "cache")
    write_piece(tmp_path, "002", music(1))
    with caplog.at_level(logging.WARNING, logger="musicstar.reduction"):
        assert [piece.name for piece in reduce(tmp_path, tmp_path / "cache").pieces] == ["002"]


def test_reduction_is_cached_resumed_and_renewed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = layout.read_pcm

    def counted(path: Path) -> np.ndarray:
        read.append(path.name)
        if len(read) == 19:  # the first file of the second piece
            raise OSError("the disk is gone")
        return real(path)

    monkeypatch.setattr(reduction, "read_pcm", counted)
    copy = tmp_path / "copy"
    for path in folder.rglob("*.wav"):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    with pytest.raises(OSError, match="the disk is gone"):
        reduce(copy, tmp_path / "cache")
    with pytest.raises(StarNetError, match=r"no reduced\.json there"):
        load(tmp_path / "cache")
    told: list[tuple[int, int]] = []
    first = reduce(copy, tmp_path / "cache", progress=lambda *counts: told.append(counts))
    assert told == [(n, 5) for n in range(1, 6)]
    assert len(read) == 19 + 4 * 18
    assert reduce(copy, tmp_path / "cache") == first
    assert len(read) == 19 + 4 * 18
    (tmp_path / "cache" / "003.json").write_text("{}")
    assert reduce(copy, tmp_path / "cache") == first, "what is damaged is made anew"
    assert len(read) == 19 + 5 * 18
    write_piece(copy / "takes/1", "003", music(50, seconds=2.5))
    assert reduce(copy, tmp_path / "cache") != first
    assert len(read) == 19 + 6 * 18
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_an_accompaniment_stands_to_its_melody_as_in_the_canonical_take() -> None:
    def energies(*powers: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(power if i == j else 0.0 for j in range(4)) for i, power in enumerate(powers))

    # Melodies of takes 0 and 1, then their accompaniments.
    piece = Stored("001", 1, (energies(4.0, 1.0, 1.0, 9.0), energies(1.0, 2.0, 3.0, 0.0)))
    assert piece.evening(Domain.CV, (0, 0)) == 1
    # The accompaniment has a quarter of the melody's power: of 1, it is to have 0.25, and has 9.
    assert piece.evening(Domain.CV, (1, 1)) == pytest.approx((0.25 / 9) ** 0.5)
    assert piece.evening(Domain.CV, (1, 0)) == pytest.approx(0.5)
    assert piece.evening(Domain.CV, (0, 1)) == pytest.approx(1 / 3)
    assert math.isfinite(piece.evening(Domain.SP, (0, 1)))
