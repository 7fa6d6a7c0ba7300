"""Logistic regressions of many concepts on the same clips, side by side: solved to their minimum, or as published."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

# Of the published training; that its learning rate falls is in the authors' code.
SIDE, STEPS_PER_EPOCH, EPOCHS, PATIENCE = 64, 100, 100, 10
LEARNING_RATE, LEAST_RATE, DROPOUT = 1e-3, 1e-6, 0.25


@dataclass(frozen=True, eq=False)
class Side:
    """Clips of one split, and how they serve each of some concepts.

    Attributes
    ----------
    rows : np.ndarray[P, D], float64, z-scored
    positive, negative : np.ndarray[N, P], bool; a clip may be neither
    """

    rows: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    def of(self, concepts: np.ndarray) -> "Side":
        return Side(self.rows, self.positive[concepts], self.negative[concepts])

    @property
    def whole(self) -> np.ndarray:
        """np.ndarray[N], bool: which concepts have clips on both sides."""
        return np.asarray(self.positive.any(axis=1) & self.negative.any(axis=1))

    @property
    def weights(self) -> np.ndarray:
        """np.ndarray[N, P], float64: what each clip counts, half for all of either side."""
        found = np.zeros(self.positive.shape)
        for side in (self.positive, self.negative):
            found += side * (0.5 / np.maximum(1, side.sum(axis=1, keepdims=True)))
        return found

    def loss(self, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
        """np.ndarray[N]: balanced cross-entropy of vectors [N, D] and biases [N]."""
        return _loss(weights @ self.rows.T + biases[:, None], self.positive, self.weights)


def _loss(logits: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray((weights * (np.logaddexp(0, logits) - positive * logits)).sum(axis=1))


def exact(learned: Side, judged: Side, ridges: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights [N, D] and biases [N]; each ridge starts from the solution of the stronger one before."""
    # Turned so that features are uncorrelated, where the diagonal of the curvature stands for it well.
    turn = np.linalg.eigh(learned.rows.T @ learned.rows)[1]
    rows = np.hstack([learned.rows @ turn, np.ones((len(learned.rows), 1))])
    counts = learned.weights
    solution = np.zeros((len(counts), rows.shape[1]))
    best, least = solution.copy(), np.full(len(counts), np.inf)
    known = judged.whole
    for ridge in sorted(ridges, reverse=True):
        solution = _newton(rows, learned.positive, counts, ridge, solution)
        loss = judged.loss(solution[:, :-1] @ turn.T, solution[:, -1])
        better = (loss < least) & (known | np.isinf(least))
        best[better], least[better] = solution[better], loss[better]
    return best[:, :-1] @ turn.T, best[:, -1]


def _newton(rows: np.ndarray, positive: np.ndarray, counts: np.ndarray, ridge: float, start: np.ndarray) -> np.ndarray:
    """The minimum of the loss with a ridge on all columns but the last, [N, D + 1], to about 1e-5 in each."""
    solution = start.copy()
    held = np.append(np.full(rows.shape[1] - 1, ridge), 0.0)
    active = np.arange(len(start))
    for _ in range(100):
        w, y, c = solution[active], positive[active], counts[active]
        logits = w @ rows.T
        said = expit(logits)
        gradient = (c * (said - y)) @ rows + held * w
        size = np.linalg.norm(gradient, axis=1)
        going = size > 1e-5 * ridge
        if not going.any():
            break
        active, w, y, c, logits, said, gradient, size = (
            a[going] for a in (active, w, y, c, logits, said, gradient, size)
        )
        move = _descent(rows, c * said * (1 - said), held, gradient, size * np.minimum(0.3, np.sqrt(size)))
        slope, moved = (gradient * move).sum(axis=1), move @ rows.T
        before = _loss(logits, y, c) + 0.5 * (held * w**2).sum(axis=1)
        length, open_ = np.ones(len(w)), np.arange(len(w))
        for _ in range(30):
            t = length[open_, None]
            after = _loss(logits[open_] + t * moved[open_], y[open_], c[open_])
            after += 0.5 * (held * (w[open_] + t * move[open_]) ** 2).sum(axis=1)
            # The slack is the rounding of a loss, near the minimum more than what is gained.
            open_ = open_[after > before[open_] + 1e-4 * length[open_] * slope[open_] + 1e-13]
            if not len(open_):
                break
            length[open_] *= 0.5
        solution[active] = w + length[:, None] * move
    return solution


def _descent(
    rows: np.ndarray, curvature: np.ndarray, held: np.ndarray, gradient: np.ndarray, tolerance: np.ndarray
) -> np.ndarray:
    """Newton's step [N, D] by conjugate gradients, scaled by the diagonal, so that no Hessian is ever formed."""
    diagonal = curvature @ rows**2 + held
    step, residual = np.zeros_like(gradient), -gradient
    scaled = residual / diagonal
    direction, inner = scaled, (residual * scaled).sum(axis=1)
    for _ in range(500):
        curved = ((direction @ rows.T) * curvature) @ rows + held * direction
        along = (direction * curved).sum(axis=1)
        length = np.divide(inner, along, out=np.zeros_like(inner), where=along > 0)[:, None]
        step += length * direction
        residual = residual - length * curved
        if (np.linalg.norm(residual, axis=1) <= tolerance).all():
            break
        scaled = residual / diagonal
        last, inner = inner, (residual * scaled).sum(axis=1)
        direction = scaled + np.divide(inner, last, out=np.zeros_like(inner), where=last > 0)[:, None] * direction
    return step


def published(learned: Side, judged: Side, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [N, D] and biases [N] of the epoch that served the validation clips best.

    A concept without validation clips learns until the others have ended.
    """
    import torch

    rng = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(learned.rows.astype(np.float32))
    n, size = len(learned.positive), rows.shape[1]
    # Of each concept first the clips of one side, then all else, so that a clip is drawn by its place.
    places = [
        torch.from_numpy(np.argsort(~side, axis=1, kind="stable")) for side in (learned.positive, learned.negative)
    ]
    counts = torch.from_numpy(np.stack([learned.positive.sum(axis=1), learned.negative.sum(axis=1)], axis=1))
    target = torch.cat([torch.ones(SIDE), torch.zeros(SIDE)])
    best, least = np.zeros((n, size + 1)), np.full(n, np.inf)
    known = judged.whole
    active, stale = np.arange(n), np.zeros(n, dtype=np.int64)
    rate = torch.full((n, 1), LEARNING_RATE)
    # Weights with their bias last, and Adam's two moments.
    state = torch.zeros(3, n, size + 1)
    steps = 0
    for _ in range(EPOCHS):
        for _ in range(STEPS_PER_EPOCH):
            steps += 1
            drawn = torch.rand(2, len(active), SIDE, generator=rng)
            which = torch.cat(
                [
                    place[active].gather(1, (share * count[:, None]).long())
                    for place, share, count in zip(places, drawn, counts[active].T, strict=True)
                ],
                dim=1,
            )
            kept_ = (torch.rand(2 * SIDE, size, generator=rng) >= DROPOUT).float() / (1 - DROPOUT)
            batch = rows[which] * kept_
            w, first, second = state
            logits = torch.baddbmm(w[:, -1:, None], batch, w[:, :-1, None])[..., 0]
            error = (torch.sigmoid(logits) - target) / len(target)
            gradient = torch.cat([(error[:, None] @ batch)[:, 0], error.sum(dim=1, keepdim=True)], dim=1)
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (second / (1 - 0.999**steps)).sqrt_().add_(1e-7)
            w -= rate * (first / (1 - 0.9**steps)) / scale
        found = state[0].numpy().astype(np.float64)
        loss = judged.of(active).loss(found[:, :-1], found[:, -1])
        better = (loss < least[active]) | ~known[active]
        best[active[better]], least[active[better]] = found[better], loss[better]
        stale = np.where(better, 0, stale + 1)
        slower = torch.from_numpy((stale > 0) & (stale % (PATIENCE // 2) == 0))[:, None]
        rate = torch.where(slower, (0.1 * rate).clamp(min=LEAST_RATE), rate)
        going = np.asarray(stale < PATIENCE)
        active, stale, rate, state = active[going], stale[going], rate[going], state[:, torch.from_numpy(going)]
        if not known[active].any():
            break
    return best[:, :-1], best[:, -1]
