"""Vectors of concepts: the minimum they claim, what is not looked at, intervals, and data that lack something."""

from unittest.mock import patch

import numpy as np
import pytest
from scipy.optimize import minimize

from musicstar.concepts import cav, regression
from musicstar.concepts.atlas import TEST, TRAIN, VALIDATION, Vectors

# Says yes above a half.
JUDGE = Vectors(np.ones((1, 1)), np.array([-0.5]), np.zeros(1), np.ones(1))


def made(
    clips: int = 240, concepts: int = 5, size: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features whose columns differ in size and depend on each other, concepts that overlap, and splits."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(clips, size)) @ rng.normal(size=(size, size)) * np.logspace(-2, 2, size) + 3
    scores = (features - 3) / features.std(axis=0) @ rng.normal(size=(size, concepts)) + rng.normal(
        size=(clips, concepts)
    )
    members = (scores > np.quantile(scores, np.linspace(0.6, 0.9, concepts), axis=0).diagonal()).T
    return features, members, np.resize(np.repeat([TRAIN, VALIDATION, TEST], [7, 1, 2]), clips)


def z_scored(features: np.ndarray, split: np.ndarray) -> np.ndarray:
    train = features[split == TRAIN]
    return np.asarray((train - train.mean(axis=0)) / train.std(axis=0))


@pytest.mark.parametrize("ridge", [0.1, 0.001])
def test_the_exact_vector_is_the_minimum(ridge: float) -> None:
    """Of scikit-learn's objective with balanced classes, as SciPy finds it."""
    features, members, split = made()
    found = cav.fit(features, members, split, ridges=[ridge])
    rows = z_scored(features, split)
    for concept in range(len(members)):
        sign = np.where(members[concept][split == TRAIN], 1, -1)
        share = 0.5 / np.where(sign > 0, (sign > 0).sum(), (sign < 0).sum())

        def objective(w: np.ndarray, sign: np.ndarray = sign, share: np.ndarray = share) -> tuple[float, np.ndarray]:
            margin = sign * (rows @ w[:-1] + w[-1])
            slope = -share * sign / (1 + np.exp(margin))
            loss = (share * np.logaddexp(0, -margin)).sum() + ridge / 2 * w[:-1] @ w[:-1]
            return loss, np.append(slope @ rows + ridge * w[:-1], slope.sum())

        best = minimize(objective, np.zeros(rows.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-7}).x
        assert found.weights[concept] == pytest.approx(best[:-1], abs=1e-4)
        assert found.biases[concept] == pytest.approx(best[-1], abs=1e-4)


def test_the_exact_vector_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    features, members, split = made()
    found = cav.fit(features, members, split, ridges=[0.01])
    rows, truth = z_scored(features, split), members[:, split == TRAIN]
    model = linear_model.LogisticRegression(
        C=1 / (0.01 * len(rows)), class_weight="balanced", tol=1e-9, max_iter=10_000
    )
    for concept, carries in enumerate(truth):
        model.fit(rows, carries)
        assert found.weights[concept] == pytest.approx(model.coef_[0], abs=1e-4)
        assert found.biases[concept] == pytest.approx(model.intercept_[0], abs=1e-4)


def test_blocks_do_not_change_what_is_found() -> None:
    features, members, split = made()
    shares: list[float] = []
    whole = cav.fit(features, members, split)
    parts = cav.fit(features, members, split, memory_bytes=1, progress=shares.append)
    assert parts.weights == pytest.approx(whole.weights, abs=1e-4)
    assert shares == pytest.approx([*np.arange(1, 6) / 5, 1])
    shares.clear()
    cav.fit(features, members, split, ridges=(0.1, 0.01), memory_bytes=1, progress=shares.append)
    assert shares == pytest.approx([*np.arange(1, 11) / 10, 1])


def test_the_ridge_is_the_one_that_validation_clips_favour(monkeypatch: pytest.MonkeyPatch) -> None:
    features, members, split = made()
    ridges = (1.0, 0.1, 0.001)
    each = [cav.fit(features, members, split, ridges=[ridge]) for ridge in ridges]
    held = split == VALIDATION
    monkeypatch.setattr(regression, "POOLED", 0)
    chosen = cav.fit(features, members, split, ridges=ridges)
    losses = np.zeros((len(ridges), len(members)))
    for row, vectors in zip(losses, each, strict=True):
        said = vectors.probabilities(features[held]).T
        for concept, carries in enumerate(members[:, held]):
            row[concept] = -(np.log(said[concept, carries]).mean() + np.log1p(-said[concept, ~carries]).mean())
    best = losses.argmin(axis=0)
    assert len(set(best.tolist())) > 1
    expected = np.stack([each[ridge].weights[concept] for concept, ridge in enumerate(best)])
    assert chosen.weights == pytest.approx(expected, abs=1e-4)


def test_few_validation_clips_are_helped_by_those_of_the_rest() -> None:
    """The second has only one clip for its own favourite; the third has none, and takes what serves the rest."""
    losses = np.array([[0.5, 0.3, 0.0], [0.4, 0.4, 0.0], [0.1, 0.35, 9.0]])
    assert regression.chosen(losses, np.array([30, 1, 0])).tolist() == [2, 2, 2]
    assert regression.chosen(losses, np.array([30, 300, 0])).tolist() == [2, 0, 2]
    assert regression.chosen(losses, np.zeros(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", cav.METHODS)
def test_held_out_clips_are_not_looked_at(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "STEPS_PER_EPOCH", 10)
    monkeypatch.setattr(regression, "EPOCHS", 1)
    features, members, split = made()
    once = cav.fit(features, members, split, method=method)
    test = split == TEST
    again = cav.fit(np.where(test[:, None], 7.0, features), members ^ test, split, method=method)
    for name, value in vars(once).items():
        assert np.array_equal(value, getattr(again, name))


def test_the_published_way_comes_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "EPOCHS", 2)
    monkeypatch.setattr(regression, "LEARNING_RATE", 0.01)
    features, members, split = made(clips=400, concepts=4)
    tracks = [str(clip) for clip in range(len(split))]
    exact, published = (
        cav.accuracies(cav.fit(features, members, split, method=method), features, members, split, tracks)
        for method in cav.METHODS
    )
    assert published.balanced.min() > 0.7
    assert published.balanced == pytest.approx(exact.balanced, abs=0.12)
    monkeypatch.setattr(regression, "STEPS_PER_EPOCH", 10)
    same, other = (cav.fit(features, members, split, method="published", seed=seed).weights for seed in (0, 1))
    assert np.array_equal(same, cav.fit(features, members, split, method="published").weights)
    assert not np.array_equal(same, other)


def test_the_published_way_stops_when_it_serves_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a concept that validation clips contradict, the first epoch is the best, and ten more are enough."""
    monkeypatch.setattr(regression, "STEPS_PER_EPOCH", 3)
    features, members, split = made(concepts=1)
    contrary = members ^ (split == VALIDATION)
    with patch.object(regression.Side, "loss", autospec=True, side_effect=regression.Side.loss) as epochs:
        cav.fit(features, contrary, split, method="published")
    assert epochs.call_count == 1 + regression.PATIENCE


def test_of_a_large_concept_some_clips_are_drawn_and_the_rest_count_for_nothing() -> None:
    features, members, split = made(clips=600, concepts=3)
    most = int(members.sum(axis=1).min())
    found = cav.fit(features, members, split, most_clips=most, seed=3)
    assert np.array_equal(found.weights, cav.fit(features, members, split, most_clips=most, seed=3).weights)
    assert not np.array_equal(found.weights, cav.fit(features, members, split, most_clips=most, seed=4).weights)
    drawn = cav._drawn(members, np.arange(3), most, 3)
    assert drawn.sum(axis=1).tolist() == [most] * 3
    assert not (drawn & ~members).any()
    # Which features the others have makes no difference.
    for concept in range(3):
        left = np.flatnonzero(members[concept] & ~drawn[concept] & (split == TRAIN))
        mixed = features.copy()
        mixed[left] = mixed[np.roll(left, 1)]
        again = cav.fit(mixed, members, split, most_clips=most, seed=3)
        same = [bool(np.allclose(*pair, atol=1e-5)) for pair in zip(again.weights, found.weights, strict=True)]
        assert same[concept]
        assert not len(left) or not all(same)


def test_clips_on_neither_side_count_for_nothing() -> None:
    features, members, split = made()
    neither = ~members & (np.arange(len(split)) % 3 == 0)
    found = cav.fit(features, members, split, others=~members & ~neither)
    for concept in range(len(members)):
        left = np.flatnonzero(neither[concept] & (split == TRAIN))
        mixed = features.copy()
        mixed[left] = mixed[np.roll(left, 1)]
        again = cav.fit(mixed, members, split, others=~members & ~neither)
        assert again.weights[concept] == pytest.approx(found.weights[concept], abs=1e-5)
        assert again.weights != pytest.approx(found.weights, abs=1e-3)


@pytest.mark.parametrize("method", cav.METHODS)
def test_concepts_that_lack_something_have_numbers_and_a_warning(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "STEPS_PER_EPOCH", 10)
    monkeypatch.setattr(regression, "EPOCHS", 2)
    features, members, split = made(clips=400, concepts=6)
    features[:, 0] = 5.0
    members[0] = False
    members[1] &= split != TRAIN
    members[2] &= split != VALIDATION
    members[3] &= split != TEST
    members[4] = True
    found = cav.fit(features, members, split, method=method)
    judged = cav.accuracies(found, features, members, split, [str(i) for i in range(400)])
    alike = cav.similarity(found, features, members, split)
    for value in (*vars(found).values(), *vars(judged).values(), alike):
        assert np.isfinite(value).all()
    assert (alike[2:, :2] < 0.001).all()
    assert (alike[[1, 2, 3, 5], 4] > 0.999).all()
    assert alike[0].tolist() == [0] * 6
    assert np.linalg.norm(found.weights, axis=1)[2] > 0
    assert (judged.balanced[[0, 1, 3, 4]] == 0.5).all()
    assert [judged.low[3], judged.high[3]] == [0, 1]
    said = cav.warnings(judged)
    assert all(said[:2])
    assert said[3].startswith("No held-out clips")


def test_similarity_by_hand() -> None:
    """Of two held-out clips with log odds 0 and log 3 the mean is (1/2 + 3/4) / 2."""
    vectors = Vectors(np.array([[1.0], [0.0]]), np.array([0.0, -1.0]), np.zeros(1), np.ones(1))
    features = np.array([[0.0], [np.log(3)], [50.0], [2.0]])
    members = np.array([[True, True, True, False], [False, False, False, True]])
    split = np.array([TEST, TEST, TRAIN, TRAIN])
    found = cav.similarity(vectors, features, members, split)
    assert found.dtype == np.float32
    # The second has no held-out clip and is judged by its own.
    expected = [[0.625, 1 / (1 + np.e)], [1 / (1 + np.exp(-2)), 1 / (1 + np.e)]]
    assert found == pytest.approx(np.array(expected), abs=1e-6)


def test_similarity_of_many_clips_is_that_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    features, members, split = made()
    vectors = cav.fit(features, members, split)
    whole = cav.similarity(vectors, features, members, split)
    monkeypatch.setattr(cav, "ROWS", 7)
    assert cav.similarity(vectors, features, members, split) == pytest.approx(whole, abs=1e-6)


def test_accuracy_and_interval_by_hand() -> None:
    """8 of 10 found and 15 of 20 refused: Wilson's ends are 0.490 and 0.943, and 0.531 and 0.888."""
    says = np.array([1] * 8 + [0] * 2 + [1] * 5 + [0] * 15)
    members = np.array([[True] * 10 + [False] * 20])
    found = cav.accuracies(JUDGE, says[:, None], members, np.full(30, TEST), [str(clip) for clip in range(30)])
    assert found.balanced[0] == pytest.approx((0.8 + 0.75) / 2)
    below, above = np.hypot(0.8 - 0.490, 0.75 - 0.531) / 2, np.hypot(0.943 - 0.8, 0.888 - 0.75) / 2
    assert [found.low[0], found.high[0]] == pytest.approx([0.775 - below, 0.775 + above], abs=1e-3)
    assert found.clips[0] == 10


def test_the_interval_of_few_clips_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    members = np.arange(200)[None] < 8
    tracks, split = [str(clip) for clip in range(200)], np.full(200, TEST)
    for sensitivity in (0.7, 0.9, 0.97):
        held = 0
        for _ in range(400):
            says = np.where(members[0], rng.random(200) < sensitivity, rng.random(200) < 0.05)
            found = cav.accuracies(JUDGE, says[:, None], members, split, tracks)
            held += found.low[0] <= (sensitivity + 0.95) / 2 <= found.high[0]
        assert held / 400 == pytest.approx(0.96, abs=0.03)


def test_clips_of_one_track_count_as_one() -> None:
    """Tracks of five clips that fare alike say no more than a clip of each: the interval is as wide."""
    rng = np.random.default_rng(0)
    carries, says = rng.random(40) < 0.4, rng.random(40)
    widths = []
    for copies, track in ((1, range(40)), (5, np.repeat(range(40), 5)), (5, range(200))):
        clips = np.repeat(says, copies)[:, None], np.repeat(carries, copies)[None]
        split = np.full(len(clips[0]), TEST)
        found = cav.accuracies(JUDGE, *clips, split, [str(name) for name in track])
        widths.append(found.high[0] - found.low[0])
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] < 0.6 * widths[0]


def test_warnings() -> None:
    found = cav.Accuracies(
        np.array([0.9, 0.7, 0.8, 0.72, 0.9, 0.5]),
        np.array([0.85, 0.6, 0.6, 0.45, 0.8, 0.0]),
        np.array([0.95, 0.8, 0.9, 0.9, 1.0, 1.0]),
        np.array([20, 20, 20, 20, 1, 0]),
    )
    said = cav.warnings(found)
    assert said[0] == ""
    for sentence, word in zip(
        said[1:], ("not above 0.7", "wide", "guessing", "only 1 held-out clip", "No held"), strict=True
    ):
        assert word in sentence
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": np.zeros(3)}, "expected \\[P, D\\]"),
        ({"split": np.full(240, TEST)}, "none of 240 clips is for training"),
        ({"method": "fast"}, "no method 'fast'; expected exact or published"),
        ({"features": np.where(np.arange(240)[:, None] == 7, np.nan, made()[0])}, "1 clips .* the first is clip 7"),
    ],
)
def test_what_cannot_be_used_is_said(change: dict[str, object], message: str) -> None:
    features, members, split = made()
    given: dict[str, object] = {"features": features, "members": members, "split": split} | change
    with pytest.raises(ValueError, match=message):
        cav.fit(**given)  # type: ignore[arg-type]
