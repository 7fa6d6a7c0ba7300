"""The tests of rankings: by hand, against the packages that compute the same, the published figures, at the edges."""

import json
import math
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy

from survey.scoring import as_frame
from survey.stats import (
    EXACT_DIFFERENCES,
    Comparison,
    CriticalDifference,
    Friedman,
    Rankings,
    Withheld,
    _signed_ranks,
    friedman,
    holm_adjusted,
    mean_ranks,
    nemenyi,
    pairwise,
    select,
)
from tests.rankings import SYSTEMS, crowd, listeners, published, shuffled

# Chi-square and W per criterion and direction.
FIGURES = {
    ("content", "cv"): (45.31, 0.378),
    ("content", "sp"): (43.17, 0.360),
    ("style", "cv"): (21.63, 0.180),
    ("style", "sp"): (48.11, 0.401),
    ("quality", "cv"): (24.19, 0.202),
    ("quality", "sp"): (50.29, 0.419),
}


def content(rankings: list[list[int]] | np.ndarray, systems: str) -> Rankings:
    return select(as_frame(rankings, systems, criterion="content", direction="cv"), criterion="content")


def drawn(k: int = 5, *, participants: int = 14, trials: int = 2, seed: int = 0) -> Rankings:
    logs = np.linspace(0.8, -0.8, k).tolist()
    frame = listeners(np.random.default_rng(seed), participants, logs, trials=trials, taste=0.7)
    return select(frame, criterion="content")


def friedman_of(rankings: Rankings) -> Friedman:
    got = friedman(rankings)
    assert isinstance(got, Friedman)
    return got


def compared(rankings: Rankings) -> dict[tuple[str, str], Comparison]:
    got = pairwise(rankings)
    assert not isinstance(got, Withheld)
    return {(one.a, one.b): one for one in got}


def diagram(rankings: Rankings) -> CriticalDifference:
    got = nemenyi(rankings)
    assert isinstance(got, CriticalDifference)
    return got


@pytest.mark.parametrize("cell", FIGURES)
def test_the_published_figures(cell: tuple[str, str]) -> None:
    rankings = select(published(), criterion=cell[0], direction=cell[1])
    got = friedman_of(rankings)
    assert (round(got.chi_square, 2), round(got.kendall_w, 3)) == FIGURES[cell]
    assert (got.participants, got.rankings, got.df, got.df_error) == (30, 30, 4, 116)
    assert got.f == pytest.approx(29 * got.chi_square / (120 - got.chi_square))
    assert got.p_f < got.p_chi_square < 0.001


def test_friedman_by_hand() -> None:
    # Rank sums 14, 19, 27 of 10 participants: 12 / (10 * 3 * 4) * (196 + 361 + 729) - 3 * 10 * 4 = 8.6.
    got = friedman_of(content([[1, 2, 3]] * 6 + [[2, 1, 3]] * 2 + [[1, 3, 2], [3, 2, 1]], "xyz"))
    assert got.chi_square == pytest.approx(8.6)
    assert got.kendall_w == pytest.approx(0.43)
    assert got.f == pytest.approx(9 * 8.6 / (20 - 8.6))
    assert (got.df, got.df_error) == (2, 18)
    assert got.p_chi_square == pytest.approx(math.exp(-4.3))


@pytest.mark.parametrize("k", [3, 5, 8])
@pytest.mark.parametrize("trials", [1, 2, 3])
def test_friedman_agrees_with_scipy(k: int, trials: int) -> None:
    """With several rankings each, the blocks tie."""
    rankings = drawn(k, trials=trials)
    got = friedman_of(rankings)
    expected = scipy.stats.friedmanchisquare(*rankings.blocks.T)
    assert (got.chi_square, got.p_chi_square) == pytest.approx((expected.statistic, expected.pvalue))
    # Iman and Davenport's F is that of an analysis of variance of the ranks, without ties.
    if trials == 1:
        ranks = rankings.block_ranks
        between = len(ranks) * np.square(ranks.mean(axis=0) - (k + 1) / 2).sum() / got.df
        rest = np.square(ranks - ranks.mean(axis=0)).sum() / got.df_error
        assert got.f == pytest.approx(between / rest)


def test_the_permutation_p_of_two_systems_is_the_sign_tests() -> None:
    got = friedman_of(content([[1, 2]] * 10 + [[2, 1]] * 4, "xy"))
    assert got.p_permutation == pytest.approx(scipy.stats.binomtest(4, 14).pvalue, abs=0.015)


def test_the_permutation_p_of_three_systems_is_the_exact_one() -> None:
    """All 6 ** 10 ways of relabelling, gathered by their rank sums."""
    rankings = content([[1, 2, 3]] * 4 + [[2, 1, 3]] * 3 + [[3, 2, 1], [1, 3, 2], [2, 3, 1]], "xyz")
    ways: dict[tuple[int, ...], float] = {(0, 0, 0): 1.0}
    for _ in range(10):
        grown: dict[tuple[int, ...], float] = {}
        for sums, chance in ways.items():
            for ranks in permutations((1, 2, 3)):
                key = tuple(a + b for a, b in zip(sums, ranks, strict=True))
                grown[key] = grown.get(key, 0) + chance / 6
        ways = grown
    observed = sum(int(total) ** 2 for total in rankings.ranks.sum(axis=0))
    exact = sum(chance for sums, chance in ways.items() if sum(total**2 for total in sums) >= observed)
    assert friedman_of(rankings).p_permutation == pytest.approx(exact, abs=0.015)


def test_what_one_participant_ranked_is_one_block() -> None:
    """The same ranking given four times is no more evidence than once."""
    once = as_frame([[1, 2, 3]] * 7 + [[2, 3, 1]] * 3, "xyz", criterion="content", direction="cv")
    often = pd.concat([once.assign(trial=once["trial"] + str(n)) for n in range(4)], ignore_index=True)
    few, many = (friedman_of(select(frame, criterion="content")) for frame in (once, often))
    assert (many.participants, many.rankings) == (10, 40)
    assert (few.chi_square, few.p_f, few.p_permutation) == (many.chi_square, many.p_f, many.p_permutation)
    assert mean_ranks(select(once, criterion="content")) == mean_ranks(select(often, criterion="content"))
    assert compared(select(once, criterion="content")) == compared(select(often, criterion="content"))


def test_a_block_is_the_mean_of_what_there_is() -> None:
    # p_001 ranked twice, the others once: x 3 and 2 of 3, y 2 and 3, z 1 and 1.
    frame = as_frame([[1, 2, 3], [3, 2, 1]], "xyz", criterion="content", direction="cv")
    second = as_frame([[2, 1, 3]], "xyz", criterion="content", direction="sp")
    rankings = select(pd.concat([frame, second]), criterion="content")
    assert rankings.blocks.tolist() == [[2.5, 2.5, 1.0], [1.0, 2.0, 3.0]]
    assert rankings.block_ranks.tolist() == [[1.5, 1.5, 3.0], [3.0, 2.0, 1.0]]
    # Mean ranks count every ranking, and a resample those it draws: the first twice, the second twice, or both.
    found = mean_ranks(rankings)
    assert [one.value for one in found] == pytest.approx([6 / 3, 5 / 3, 7 / 3])
    assert [one.low for one in found] == pytest.approx([1.5, 1.5, 1.0])
    assert [one.high for one in found] == pytest.approx([3.0, 2.0, 3.0])


def test_thirds_tie() -> None:
    """A difference of 1/3 is as large as another, whatever scores it is between."""
    high = [[1, 2, 3], [1, 2, 3], [2, 1, 3]]  # x - y is 1/3 here, of 8/3 and 7/3; below, of 5/3 and 4/3
    low = [[2, 3, 1], [3, 2, 1], [2, 3, 1]]
    turned = [[y, x, z] for x, y, z in low]
    ranks = np.array([*high * 6, *low * 3, *turned * 3])
    rankings = Rankings(("x", "y", "z"), tuple(map(str, range(12))), ranks, np.repeat(np.arange(12), 3))
    sizes = {abs(a - b) for a, b in rankings.blocks[:, :2].tolist()}
    assert len(sizes) == 2  # to the last bit they are two
    assert max(sizes) - min(sizes) < 1e-9
    pair = compared(rankings)["x", "y"]
    assert (pair.ahead, pair.behind) == (9, 3)
    assert pair.p == pytest.approx(scipy.stats.binomtest(3, 12).pvalue)
    assert pair.rank_biserial == pytest.approx(6 / 12)


def test_everyone_of_one_mind() -> None:
    got = friedman_of(content([[1, 2, 3]] * 12, "xyz"))
    assert (got.kendall_w, got.f, got.p_f) == (1.0, math.inf, 0.0)
    assert got.p_permutation == 1 / (1 + got.permutations)


def test_everything_level() -> None:
    """Each participant ranks once one way, once the other."""
    there = as_frame([[1, 2]] * 10, "xy", criterion="content", direction="cv")
    back = as_frame([[2, 1]] * 10, "xy", criterion="content", direction="sp")
    rankings = select(pd.concat([there, back]), criterion="content")
    got = friedman_of(rankings)
    assert (got.chi_square, got.kendall_w, got.f, got.p_f, got.p_permutation) == (0, 0, 0, 1, 1)
    pair = compared(rankings)["x", "y"]
    assert (pair.p, pair.p_holm, pair.rank_biserial, pair.level) == (1, 1, 0, 10)


def test_a_comparison_by_hand() -> None:
    # Scores of x less those of z: eight times 2, then 1, then -2. Ranks of the absolute values: 2 nine times is 6, 1 is
    # 1. W+ = 8 * 6 + 1, W- = 6. At most 6 below: no sign turned, the 1 alone, or one of the nine alone: 11 of 1024.
    got = compared(content([[1, 2, 3]] * 8 + [[1, 3, 2], [3, 2, 1]], "xyz"))["x", "z"]
    assert got.difference.value == pytest.approx((8 * 2 + 1 - 2) / 10)
    assert got.difference.low < got.difference.value < got.difference.high
    assert (got.ahead, got.behind, got.level) == (9, 1, 0)
    assert got.rank_biserial == pytest.approx((49 - 6) / 55)
    assert got.p == pytest.approx(2 * 11 / 1024)


@pytest.mark.parametrize("n", [10, 37, EXACT_DIFFERENCES, EXACT_DIFFERENCES + 30])
def test_comparisons_agree_with_scipy(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1, size=n)
    p, effect = _signed_ranks(d)
    expected = scipy.stats.wilcoxon(d, method="exact" if n <= EXACT_DIFFERENCES else "asymptotic")
    assert p == pytest.approx(expected.pvalue)
    # Its statistic is the smaller of W+ and W-.
    assert 1 - abs(effect) == pytest.approx(expected.statistic / (n * (n + 1) / 4))
    # Whole numbers tie, and scipy's p is then the normal one.
    tied = np.rint(3 * d)
    normal = scipy.stats.wilcoxon(tied, method="asymptotic").pvalue
    assert _signed_ranks(tied)[0] == pytest.approx(normal, abs=0.02 if n > 10 else 0.15)


def test_with_ties_a_comparison_counts_all_signs() -> None:
    d = np.array([1, 1, -1, 2, 2, 2, -2, 3, 3, 4, 0, 0])
    ranks = scipy.stats.rankdata(np.abs(d[d != 0]))
    sums = np.array([ranks[list(signs)].sum() for signs in np.array(list(product([False, True], repeat=10)))])
    below = ranks[d[d != 0] < 0].sum()
    assert _signed_ranks(d)[0] == pytest.approx(2 * (sums <= below).mean())


def test_all_pairs_corrected_as_statsmodels_does() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for tests in (1, 3, 28):
        p = rng.random(tests) ** 3
        assert holm_adjusted(p) == pytest.approx(multipletests(p, method="holm")[1])
    pairs = compared(drawn()).values()
    assert [one.p_holm for one in pairs] == pytest.approx(multipletests([one.p for one in pairs], method="holm")[1])
    # Along the last axis, as if each row were alone.
    many = rng.random((4, 3, 6))
    assert holm_adjusted(many)[2, 1] == pytest.approx(holm_adjusted(many[2, 1]))


def test_pairs_of_the_published_study() -> None:
    pairs = compared(select(published(), criterion="style", systems=SYSTEMS))
    assert len(pairs) == 10
    for (a, b), pair in pairs.items():
        assert pair.ahead + pair.behind + pair.level == 30
        assert pair.p <= pair.p_holm <= 1
        assert (pair.p_holm < 0.01) == (b == "mixture"), (a, b)
    # 147 and 256 points in 60 rankings.
    assert pairs["separation", "mixture"].difference.value == pytest.approx((147 - 256) / 60)


@pytest.fixture
def matplotlib_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-posthocs imports it, and it keeps a list of fonts."""
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))


@pytest.mark.usefixtures("matplotlib_elsewhere")
@pytest.mark.parametrize("trials", [1, 2])
@pytest.mark.parametrize("k", [2, 5, 8])
def test_nemenyi_agrees_with_scikit_posthocs(k: int, trials: int) -> None:
    from scikit_posthocs import posthoc_nemenyi_friedman

    rankings = drawn(k, trials=trials)
    assert np.array(diagram(rankings).p) == pytest.approx(posthoc_nemenyi_friedman(-rankings.blocks).to_numpy())


def test_the_critical_difference_is_demsars() -> None:
    # His table 5 gives q = 2.728 for 5 at 0.05.
    got = diagram(select(published(), criterion="content", direction="sp", systems=SYSTEMS))
    assert got.difference == pytest.approx(2.728 * math.sqrt(5 * 6 / (6 * 30)), abs=1e-3)
    assert got.mean_ranks == pytest.approx((115 / 30, 107 / 30, 108 / 30, 70 / 30, 50 / 30))
    # Best first; stem is not told from mixture, nor the other three from one another.
    assert got.groups == (("mixture", "stem"), ("separation", "embedding", "single"))
    for a, first in enumerate(got.systems):
        for b, second in enumerate(got.systems):
            together = first == second or any({first, second} <= set(group) for group in got.groups)
            assert together == (abs(got.mean_ranks[a] - got.mean_ranks[b]) < got.difference)
            assert together == (got.p[a][b] > 0.05)


def test_under_ten_participants_tests_are_withheld() -> None:
    frame = listeners(np.random.default_rng(0), 9, [1.0, 0.0, -1.0], trials=3)
    nine = select(frame, criterion="content")
    for test in (friedman, pairwise, nemenyi):
        got = test(nine)
        assert isinstance(got, Withheld)
        assert got.participants == 9
        assert got.reason.startswith("A test needs at least 10 participants and has 9:")
        assert not isinstance(test(drawn(3, participants=10)), Withheld)
    assert all(one.low < one.value < one.high for one in mean_ranks(nine))


def test_excluded_participants_count_only_when_asked_for() -> None:
    frame = listeners(np.random.default_rng(0), 10, [1.0, 0.0, -1.0])
    frame.loc[frame["participant"] == "p_003", "excluded"] = True
    assert isinstance(friedman(select(frame, criterion="content")), Withheld)
    assert isinstance(friedman(select(frame, criterion="content", with_excluded=True)), Friedman)


def test_nobody_has_ranked() -> None:
    for systems in (None, ("x", "y", "z")):
        nobody = select(published().iloc[:0], criterion="content", systems=systems)
        assert isinstance(friedman(nobody), Withheld)
        assert all(math.isnan(one.value) and math.isnan(one.low) for one in mean_ranks(nobody))
    alone = select(as_frame([[2, 1]], "xy", criterion="content", direction="cv"), criterion="content")
    assert [one.value for one in mean_ranks(alone)] == [2.0, 1.0]
    assert math.isnan(mean_ranks(alone)[0].high)


def test_neither_the_order_of_rows_nor_of_systems_matters() -> None:
    frame = published()
    first, second = (select(one, criterion="quality", systems=SYSTEMS) for one in (frame, shuffled(frame)))
    assert friedman_of(first) == friedman_of(second)
    assert compared(first) == compared(second)
    assert diagram(first) == diagram(second)
    assert mean_ranks(first) == mean_ranks(second)
    turned = select(frame, criterion="quality", systems=SYSTEMS[::-1])
    assert friedman_of(turned) == friedman_of(first)
    assert mean_ranks(turned)[::-1] == mean_ranks(first)
    assert diagram(turned).groups == diagram(first).groups
    pair, mirrored = compared(first)["single", "mixture"], compared(turned)["mixture", "single"]
    assert (pair.p, pair.p_holm) == (mirrored.p, mirrored.p_holm)
    assert pair.rank_biserial == -mirrored.rank_biserial
    assert (pair.ahead, pair.behind) == (mirrored.behind, mirrored.ahead)


def test_the_names_of_participants_change_no_test() -> None:
    frame = listeners(np.random.default_rng(5), 20, [0.2, 0.0, -0.2], trials=2)
    renamed = frame.assign(participant=frame["participant"].map(lambda name: name[::-1]))
    first, second = (select(one, criterion="content") for one in (frame, renamed))
    assert 0.02 < friedman_of(first).p_permutation < 0.98
    assert friedman_of(first) == friedman_of(second)
    assert {pair: one.p for pair, one in compared(first).items()} == {
        pair: one.p for pair, one in compared(second).items()
    }


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Listeners with strong tastes of their own and no common one, who rank twice."""
    rng = np.random.default_rng(0)
    alarms = np.zeros(3)
    for study in range(150):
        rankings = crowd(rng, 12, [0.0] * 4, trials=2, taste=2.0)
        got = friedman(rankings, permutations=199, seed=study)
        assert isinstance(got, Friedman)
        lowest = min(one.p_holm for one in compared(rankings).values())
        alarms += [got.p_f <= 0.05, got.p_permutation <= 0.05, lowest <= 0.05]
    assert (alarms / 150 <= 0.09).all()
    assert alarms[0] / 150 >= 0.01


def test_nothing_slow_is_imported_with_the_modules() -> None:
    code = (
        "import json, sys; import survey.stats, survey.strengths, survey.agreement, survey.planner; "
        "print(json.dumps([m for m in ('scipy.stats', 'statsmodels', 'scikit_posthocs', 'choix', 'matplotlib') "
        "if m in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


def test_a_frame_gives_the_same_rankings_as_their_arrays() -> None:
    """What the tests that draw many studies rely on."""
    rankings = crowd(np.random.default_rng(0), 11, [1.0, 0.0, -1.0], trials=2)
    frame = pd.concat([as_frame(rankings.ranks[n::2], "abc", criterion="content", direction=f"d{n}") for n in (0, 1)])
    selected = select(frame, criterion="content")
    assert selected.blocks.tolist() == rankings.blocks.tolist()
    assert friedman_of(selected) == friedman_of(rankings)
