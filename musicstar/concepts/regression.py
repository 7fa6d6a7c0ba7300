"""Logistic regressions of many concepts on the same clips, side by side: solved to their minimum, or as published."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

# Of the published training; that its learning rate falls is in the authors' code.
SIDE, STEPS_PER_EPOCH, EPOCHS, PATIENCE = 64, 100, 100, 10
LEARNING_RATE, LEAST_RATE, DROPOUT = 1e-3, 1e-6, 0.25
# Clips at random of which each concept takes its other side.
POOL = 4 * SIDE
# As many validation clips the mean of all concepts counts for in the choice of one's ridge.
POOLED = 5
TINY = np.finfo(np.float32).tiny


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


def path(learned: Side, judged: Side, ridges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solutions of falling ridges, float32[R, N, D + 1] with the bias last, and their validation losses, float64[R, N].

    Each starts from the one before, and comes only as near to the minimum as a choice among them needs.
    """
    turn, rows = _turned(learned.rows)
    solution = np.zeros((len(learned.positive), rows.shape[1]))
    found, losses = np.zeros((len(ridges), *solution.shape), dtype=np.float32), np.zeros((len(ridges), len(solution)))
    for i, ridge in enumerate(ridges):
        solution = _newton(rows, learned, np.full(len(solution), ridge), solution, tolerance=1e-2)
        found[i] = solution @ turn.T
        losses[i] = judged.loss(found[i, :, :-1], found[i, :, -1])
    return found, losses


def chosen(losses: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Which ridge is best for each concept, int64[N], by losses [R, N] on so many validation clips [N] that carry it.

    Few clips say little, so the mean of all concepts counts as much as a few more (`POOLED`). Without a single judged
    concept it is the middle one.
    """
    known = clips > 0
    if not known.any():
        return np.full(len(clips), len(losses) // 2)
    pooled = losses[:, known].mean(axis=1, keepdims=True)
    return np.asarray((np.where(known, losses, 0) * clips + POOLED * pooled).argmin(axis=0))


def exact(learned: Side, ridges: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The minimum for a ridge of each concept [N], from a start [N, D + 1] with the bias last, by Newton's method."""
    turn, rows = _turned(learned.rows)
    return np.asarray(_newton(rows, learned, ridges, start.astype(np.float64) @ turn, tolerance=1e-5) @ turn.T)


def _turned(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A rotation [D + 1, D + 1] that leaves the bias alone, and the rows [P, D + 1] turned by it, a one at each end.

    Turned so that features are uncorrelated, where the diagonal of the curvature stands for it well.
    """
    turn = np.eye(rows.shape[1] + 1)
    turn[:-1, :-1] = np.linalg.eigh(rows.T @ rows)[1]
    return turn, np.hstack([rows @ turn[:-1, :-1], np.ones((len(rows), 1))])


def _newton(rows: np.ndarray, learned: Side, ridges: np.ndarray, start: np.ndarray, *, tolerance: float) -> np.ndarray:
    """The minimum of the loss with a ridge on all columns but the last, [N, D + 1], to about the tolerance."""
    solution, counts = start.copy(), learned.weights
    held = np.repeat(ridges[:, None], rows.shape[1], axis=1)
    held[:, -1] = 0
    short = rows.astype(np.float32)
    active = np.arange(len(start))
    for _ in range(100):
        parts = solution[active], learned.positive[active], counts[active], held[active]
        logits = parts[0] @ rows.T
        gradient = (parts[2] * (expit(logits) - parts[1])) @ rows + parts[3] * parts[0]
        size = np.linalg.norm(gradient, axis=1)
        going = np.flatnonzero(size > tolerance * ridges[active])
        if not len(going):
            break
        active = active[going]
        w, y, c, h = (part[going] for part in parts)
        logits, gradient, size = logits[going], gradient[going], size[going]
        curvature = c * expit(logits) * expit(-logits)
        # Half the digits do for a step that is corrected by the next.
        curvature, h_, g = (value.astype(np.float32) for value in (curvature, h, gradient))
        move = _step(short, curvature, h_, g, size * np.minimum(0.3, np.sqrt(size))).astype(np.float64)
        slope, moved = (gradient * move).sum(axis=1), move @ rows.T
        before = _loss(logits, y, c) + 0.5 * (h * w**2).sum(axis=1)
        length, steep = np.ones(len(w)), np.arange(len(w))
        for _ in range(30):
            t = length[steep, None]
            after = _loss(logits[steep] + t * moved[steep], y[steep], c[steep])
            after += 0.5 * (h[steep] * (w[steep] + t * move[steep]) ** 2).sum(axis=1)
            # The slack is the rounding of a loss, near the minimum more than what is gained.
            steep = steep[after > before[steep] + 1e-4 * length[steep] * slope[steep] + 1e-13]
            if not len(steep):
                break
            length[steep] *= 0.5
        solution[active] = w + length[:, None] * move
    return solution


def _step(
    rows: np.ndarray, curvature: np.ndarray, held: np.ndarray, gradient: np.ndarray, tolerance: np.ndarray
) -> np.ndarray:
    """Newton's step [N, D] by conjugate gradients, scaled by the diagonal, so that no Hessian is ever formed."""
    found = np.zeros_like(gradient)
    active = np.arange(len(gradient))
    diagonal = curvature @ rows**2 + held
    step, residual = np.zeros_like(gradient), -gradient
    direction = residual / diagonal
    inner = (residual * direction).sum(axis=1)
    for _ in range(500):
        curved = ((direction @ rows.T) * curvature[active]) @ rows + held[active] * direction
        length = (inner / np.maximum((direction * curved).sum(axis=1), TINY))[:, None]
        step += length * direction
        residual -= length * curved
        going = np.linalg.norm(residual, axis=1) > tolerance[active]
        found[active] = step
        if not going.all():
            active = active[going]
            if not len(active):
                break
            step, residual, direction, inner = step[going], residual[going], direction[going], inner[going]
        scaled = residual / diagonal[active]
        last, inner = inner, (residual * scaled).sum(axis=1)
        direction = scaled + (inner / np.maximum(last, TINY))[:, None] * direction
    return found


def published(learned: Side, judged: Side, seed: int) -> np.ndarray:
    """Weights with their bias last, [N, D + 1], of the epoch that served the validation clips best.

    A concept without validation clips learns until the others have ended. All concepts take their other clips from the
    same random ones, each those that it lacks, which to each is as if drawn for it alone.
    """
    import torch

    rng = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(learned.rows.astype(np.float32))
    n, (clips, size) = len(learned.positive), rows.shape
    # A concept's own clips first, so that one is drawn by its place.
    own = torch.from_numpy(np.argsort(~learned.positive, axis=1, kind="stable"))
    many = torch.from_numpy(learned.positive.sum(axis=1, keepdims=True))
    other = torch.from_numpy(learned.negative)
    best, least = np.zeros((n, size + 1)), np.full(n, np.inf)
    active, stale = np.arange(n), np.zeros(n, dtype=np.int64)
    rate = torch.full((n, 1), LEARNING_RATE)
    # Weights with their bias last, and Adam's two moments.
    state = torch.zeros(3, n, size + 1)
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        drop = (torch.rand(SIDE + POOL, size, generator=rng) >= DROPOUT).float() / (1 - DROPOUT)
        place = (torch.rand(len(active), SIDE, generator=rng) * many[active]).long()
        pool = torch.randint(clips, (POOL,), generator=rng)
        inside = rows[own[active].gather(1, place)] * drop[:SIDE]
        outside = rows[pool] * drop[SIDE:]
        takes = other[active][:, pool]
        takes &= takes.cumsum(dim=1) <= SIDE
        w, first, second = state
        missed = torch.sigmoid(torch.baddbmm(w[:, -1:, None], inside, w[:, :-1, None])[..., 0]) - 1
        missed /= 2 * SIDE
        feared = torch.sigmoid(torch.addmm(w[:, -1:], w[:, :-1], outside.T)) * takes
        feared /= 2 * takes.sum(dim=1, keepdim=True).clamp(min=1)
        slope = (missed[:, None] @ inside)[:, 0] + feared @ outside
        gradient = torch.cat([slope, (missed.sum(dim=1) + feared.sum(dim=1))[:, None]], dim=1)
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (second / (1 - 0.999 ** (step + 1))).sqrt_().add_(1e-7)
        w -= rate * (first / (1 - 0.9 ** (step + 1))) / root
        if (step + 1) % STEPS_PER_EPOCH:
            continue
        found = w.numpy().astype(np.float64)
        loss = judged.of(active).loss(found[:, :-1], found[:, -1])
        known = judged.whole[active]
        better = np.asarray((loss < least[active]) | ~known)
        best[active[better]], least[active[better]] = found[better], loss[better]
        stale = np.where(better, 0, stale + 1)
        slower = torch.from_numpy((stale > 0) & (stale % (PATIENCE // 2) == 0))[:, None]
        rate = torch.where(slower, (0.1 * rate).clamp(min=LEAST_RATE), rate)
        going = np.flatnonzero(stale < PATIENCE)
        if not known[going].any():
            break
        active, stale, rate, state = active[going], stale[going], rate[going], state[:, going].contiguous()
    return best
