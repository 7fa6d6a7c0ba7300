"""Reduced StarNet: opened, split, and drawn from in windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from musicstar import starnet
from musicstar.audio import LEVEL_RMS
from musicstar.domains import STARNET, STEMS, Voice
from musicstar.starnet import Reduced, StarNetError, Stored, load, reduce
from tests.starnet_sets import RATE, write_set

WINDOW = 8_000


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Reduced:
    return reduce(write_set(tmp_path_factory.mktemp("set")), tmp_path_factory.mktemp("cache"))


def test_a_cache_is_opened_without_its_set(reduced: Reduced) -> None:
    assert load(reduced.folder) == reduced
    assert reduced.duration_s == pytest.approx(2.0 + 2.25 + 2.5 + 2.75 + 3.0)


def test_a_cache_that_is_not_whole(reduced: Reduced, tmp_path: Path) -> None:
    manifest = (reduced.folder / "reduced.json").read_text()
    (tmp_path / "reduced.json").write_text(manifest)
    with pytest.raises(StarNetError, match=r"001\.npy is missing; reduce the set again"):
        load(tmp_path)
    (tmp_path / "reduced.json").write_text(manifest.replace('"format": 2', '"format": 0'))
    with pytest.raises(StarNetError, match="reduced in format 0, expected 2"):
        load(tmp_path)
    (tmp_path / "reduced.json").write_text("{}")
    with pytest.raises(StarNetError, match=r"reduced\.json is of something else"):
        load(tmp_path)
    (tmp_path / "reduced.json").write_text("{")
    with pytest.raises(StarNetError, match=r"reduced\.json is damaged"):
        load(tmp_path)
    (tmp_path / "reduced.json").write_text(manifest)
    for path in reduced.folder.glob("*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(StarNetError, match=r"001\.npy is damaged"):
        load(tmp_path).piece("001")


# Splits


def named(count: int) -> Reduced:
    return Reduced(Path("nowhere"), tuple(Stored(f"{n:03d}", 1, ()) for n in range(1, count + 1)))


@pytest.mark.parametrize(("count", "held_out"), [(104, 10), (52, 5), (20, 2), (5, 1), (3, 1)])
def test_a_split_is_disjoint_and_whole(count: int, held_out: int) -> None:
    split = named(count).split()
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [count - 2 * held_out, held_out, held_out]
    assert sorted(name for part in parts for name in part) == [piece.name for piece in named(count).pieces]


def test_a_split_is_stable() -> None:
    """The shipped weights were trained on these parts of 104 pieces and are judged by the last."""
    split = named(104).split()
    assert split.test == ("015", "031", "044", "045", "050", "068", "075", "084", "086", "097")
    assert split.validation == ("010", "023", "042", "057", "058", "063", "089", "092", "095", "101")


def test_a_split_follows_from_the_names_alone() -> None:
    pieces = named(52).pieces
    others = tuple(replace(piece, samples=7) for piece in reversed(pieces))
    assert Reduced(Path("elsewhere"), others).split() == named(52).split()


def test_two_pieces_cannot_be_split() -> None:
    with pytest.raises(StarNetError, match="2 pieces cannot be split in three"):
        named(2).split()


# Windows

NAMES = ("001", "002", "003", "004", "005")


def test_windows_are_a_pure_function_of_seed_and_step(reduced: Reduced) -> None:
    def draw(seed: int, step: int, source: Reduced = reduced) -> starnet.Windows:
        return source.windows(NAMES, batch_size=4, window_samples=WINDOW, balance_db=6, seed=seed, step=step)

    first = draw(1, 7)
    draw(3, 2)
    for again in (draw(1, 7), draw(1, 7, load(reduced.folder))):
        assert torch.equal(again.heard, first.heard)
        assert torch.equal(again.gold, first.gold)
    for other in (draw(1, 8), draw(2, 7)):
        assert not torch.equal(other.heard, first.heard)


def test_windows_have_six_voices_and_exact_mixtures(reduced: Reduced) -> None:
    windows = reduced.windows(NAMES, batch_size=8, window_samples=WINDOW, balance_db=7, seed=1)
    for voices in (windows.heard, windows.gold):
        assert voices.shape == (8, 6, WINDOW)
        assert voices.dtype == torch.float32
        assert torch.equal(voices[:, 0], voices[:, 1] + voices[:, 2])
        assert torch.equal(voices[:, 3], voices[:, 4] + voices[:, 5])


def locate(window: torch.Tensor, reduced: Reduced, *, take: int) -> tuple[str, int]:
    """Where a clarinet window [T] was cut from a take: the piece and the first sample."""
    best = ("", 0, 0.0)
    for name in NAMES:
        whole = reduced.piece(name, take=take)[Voice.CLARINET].double().numpy()
        size = 1 << 17
        found = np.fft.irfft(np.fft.rfft(whole, size) * np.fft.rfft(window.double().numpy(), size).conj(), size)
        start = int(np.argmax(found[: len(whole) - WINDOW + 1]))
        match = found[start] / np.linalg.norm(window) / np.linalg.norm(whole[start : start + WINDOW])
        best = max(best, (name, start, float(match)), key=lambda b: b[2])
    assert best[2] > 0.999
    return best[:2]


def test_heard_and_gold_are_one_stretch_of_one_piece(reduced: Reduced) -> None:
    windows = reduced.windows(NAMES, batch_size=24, window_samples=WINDOW, balance_db=3, seed=2)
    pieces, takes = set(), set()
    for heard, gold in zip(windows.heard, windows.gold, strict=True):
        name, start = locate(gold[Voice.CLARINET], reduced, take=0)
        balances = []
        for domain in STARNET:
            for voices, candidates in ((gold, (0,)), (heard, (0, 2))):
                levels = []
                for voice in domain.stems:
                    take, source = next(
                        (take, whole[voice, start : start + WINDOW])
                        for take in candidates
                        if torch.nn.functional.cosine_similarity(
                            voices[voice], (whole := reduced.piece(name, take=take))[voice, start : start + WINDOW], 0
                        )
                        > 0.999
                    )
                    levels.append(20 * torch.log10(voices[voice].norm() / source.norm()).item())
                    takes.add((voice, take))
                if voices is gold:
                    balances.append(levels[1] - levels[0])
        # The same balance in both domains.
        assert len(balances) == 2
        assert np.ptp(balances) < 0.05
        assert abs(balances[0]) <= 3.05
        pieces.add(name)
    assert len(pieces) >= 4
    # Take 1 is take 0 at half the level, so by its shape it is found as take 0.
    assert takes == {(voice, take) for voice in STEMS for take in (0, 2)}


def test_balances_fill_their_range(reduced: Reduced) -> None:
    plain = reduced.piece("001")
    windows = reduced.windows(["001"], batch_size=64, window_samples=plain.shape[1], balance_db=6, seed=3)
    for domain in STARNET:
        melody, accompaniment = domain.stems
        wanted = plain[accompaniment].norm() / plain[melody].norm()
        ratios = windows.gold[:, accompaniment].norm(dim=1) / windows.gold[:, melody].norm(dim=1)
        balances = 20 * torch.log10(ratios / wanted)
        assert -6.01 < balances.min() < -4.5
        assert 4.5 < balances.max() < 6.01


def test_every_mixture_of_a_whole_piece_has_one_level(reduced: Reduced) -> None:
    """In every take, however the accompaniment is balanced."""
    plain = [reduced.piece("002", take=take) for take in range(3)]
    drawn = reduced.windows(["002"], batch_size=24, window_samples=plain[0].shape[1], balance_db=9, seed=4)
    for voices in (*plain, *drawn.heard, *drawn.gold):
        for domain in STARNET:
            assert voices[domain.mixture].square().mean().sqrt() == pytest.approx(LEVEL_RMS, rel=1e-4)
            assert torch.equal(voices[domain.mixture], voices[domain.stems[0]] + voices[domain.stems[1]])


def test_takes_of_another_level_are_brought_to_the_same(reduced: Reduced) -> None:
    assert torch.allclose(reduced.piece("003", take=1), reduced.piece("003"), atol=2e-4)


def test_short_pieces_are_passed_over(reduced: Reduced) -> None:
    windows = reduced.windows(NAMES, batch_size=6, window_samples=47_000, seed=0)
    whole = reduced.piece("005")[Voice.CLARINET]
    for gold in windows.gold:
        matches = whole.unfold(0, 47_000, 1) @ gold[Voice.CLARINET]
        assert matches.max() == pytest.approx(gold[Voice.CLARINET].square().sum().item(), rel=1e-3)
    with pytest.raises(StarNetError, match=r"no window of 4 s fits: the longest of 5 pieces has 3\.0 s"):
        reduced.windows(NAMES, batch_size=1, window_samples=4 * RATE)
    with pytest.raises(StarNetError, match="the longest of 0 pieces"):
        reduced.windows([], batch_size=1, window_samples=WINDOW)


def test_pieces_and_takes_that_are_not_there(reduced: Reduced) -> None:
    with pytest.raises(StarNetError, match="there is no piece '009', expected one of 001, 002"):
        reduced.windows(["009"], batch_size=1, window_samples=WINDOW)
    with pytest.raises(StarNetError, match="piece 001 has no take 3, expected 0 to 2"):
        reduced.piece("001", take=3)
