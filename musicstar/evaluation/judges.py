"""The judges of style: what the shipped networks make of a clip.

Conventions. Clips are judged at 16 kHz and at one level, so neither rate nor gain counts. A clip is heard in stretches
of one length that begin evenly spaced and overlap where they must: each is whole, and together they cover the clip. One
shorter than a stretch is repeated to fill it. A silent clip has no style: its embedding is nought, so is every cosine
with it, and so is every probability.

Style cosine is the dot product of two clips' `Judges.embed`: a similarity, 0 to 1, higher is better, 1 for the gold
standard itself. A clip's embedding is the mean of its stretches' (8 s), each of unit length, scaled to unit length.

`Judges.target_probability` is the mean over stretches (4 s) of the probability of the target domain, 0 to 1, higher is
better, by a classifier that learned from renderings through several soundfonts. `OtherGolds` fits its last layer to the
gold standards of all pieces but the one that is judged: a logistic regression whose ridge pulls towards the layer the
renderings taught, which is how these count. It tells apart the domains those gold standards are in.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor

from musicstar import backbones
from musicstar.audio import Clip
from musicstar.checkpoint import Library
from musicstar.domains import Domain
from musicstar.evaluation import frechet
from musicstar.evaluation.spectra import levelled
from musicstar.evaluation.style import SEGMENT_SAMPLES, WINDOW_SAMPLES, DomainJudge, StyleNet
from musicstar.methods.shelf import library

RIDGE = 1e-3


def stretches(clip: Clip, samples: int) -> Tensor:
    """A clip at the level that networks hear, in stretches: Tensor[N, samples] at 16 kHz, none of a silent one."""
    wav = levelled(clip).wav
    if not wav.any():
        return torch.zeros(0, samples)
    if len(wav) < samples:
        wav = np.resize(wav, samples)
    starts = np.linspace(0, len(wav) - samples, -(-len(wav) // samples)).round().astype(int)
    return torch.from_numpy(np.stack([wav[start : start + samples] for start in starts]))


def pooled(frames: np.ndarray) -> np.ndarray:
    """The embedding of a clip, np.ndarray[D] of unit length, by those of its stretches [N, D]; nought of none."""
    total = frames.sum(axis=0)
    return np.asarray(total / max(1e-12, float(np.linalg.norm(total))))


class Judges:
    """The two networks as measures of clips."""

    def __init__(self, net: StyleNet, judge: DomainJudge) -> None:
        self.net, self.judge = net.eval(), judge.eval()

    @torch.inference_mode()
    def frames(self, clip: Clip) -> np.ndarray:
        """Embeddings of unit length of a clip's stretches, np.ndarray[N, D]; none of a silent clip."""
        heard = stretches(clip, SEGMENT_SAMPLES)
        embeddings = self.net(heard).double().numpy() if len(heard) else np.zeros((0, self.net.config.channels))
        return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(min=1e-12))

    def embed(self, clip: Clip) -> np.ndarray:
        """The embedding of a clip, np.ndarray[D] of unit length; nought of a silent one."""
        return pooled(self.frames(clip))

    @torch.inference_mode()
    def judged(self, clip: Clip) -> np.ndarray:
        """What the classifier decides by, np.ndarray[N, K], a row for each stretch; none of a silent clip."""
        heard = stretches(clip, WINDOW_SAMPLES)
        width = self.judge.last.in_features
        return np.asarray(self.judge.embed(heard).double().numpy()) if len(heard) else np.zeros((0, width))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Those the classifier tells apart."""
        return self.judge.domains

    def last_layer(self, domains: tuple[Domain, ...]) -> np.ndarray:
        """Weights and bias of the classifier's decision among some domains, np.ndarray[len(domains), K + 1]."""
        last = self.judge.last
        layer = np.hstack([last.weight.detach().double().numpy(), last.bias.detach().double().numpy()[:, None]])
        return np.asarray(layer[[self.domains.index(domain) for domain in domains]])

    def target_probability(self, clip: Clip, towards: Domain, *, among: Sequence[Domain] = ()) -> float:
        """How probable it is that a clip is in a domain, 0 to 1.

        Parameters
        ----------
        among : the domains it may be in, such as a translation's source and target; all that are known by default

        Raises
        ------
        ValueError
            Nothing is known of a domain, or the target is not among them.
        """
        domains = tuple(among) or self.domains
        if unknown := {*domains, towards} - set(self.domains):
            raise ValueError(f"nothing is known of {', '.join(sorted(unknown))}; expected {', '.join(self.domains)}")
        if towards not in domains:
            raise ValueError(f"{towards} is not among {', '.join(domains)}")
        return _probability(self.judged(clip), self.last_layer(domains), domains.index(towards))

    def other_golds(self, golds: Mapping[tuple[str, Domain], Clip]) -> "OtherGolds":
        """A classifier for each piece that has learned from the gold standards of the others, by piece and domain."""
        return OtherGolds(self, {place: self.judged(clip) for place, clip in golds.items()})


class OtherGolds:
    """`Judges.target_probability` by classifiers that know gold standards, never those of the piece that is judged.

    Parameters
    ----------
    golds : np.ndarray[N, K] of `Judges.judged` by piece and domain
    """

    def __init__(self, judges: Judges, golds: Mapping[tuple[str, Domain], np.ndarray], *, ridge: float = RIDGE) -> None:
        self.judges, self.ridge = judges, ridge
        self.golds = {place: rows for place, rows in sorted(golds.items()) if place[1] in judges.domains}
        heard = {domain for _, domain in self.golds}
        self.domains = tuple(domain for domain in judges.domains if domain in heard)
        self._layers: dict[str, np.ndarray] = {}

    def target_probability(self, clip: Clip, towards: Domain, *, piece: str) -> float:
        """How probable it is that a clip of a piece is in a domain, 0 to 1.

        Raises
        ------
        ValueError
            There is no gold standard in that domain.
        """
        if towards not in self.domains:
            raise ValueError(f"there is no gold standard in {towards}; expected one of {', '.join(self.domains)}")
        return _probability(self.judges.judged(clip), self.layer(piece), self.domains.index(towards))

    def layer(self, piece: str) -> np.ndarray:
        """The last layer for judging a piece, np.ndarray[D, K + 1]."""
        if piece not in self._layers:
            prior = self.judges.last_layer(self.domains)
            others = [(rows, domain) for (name, domain), rows in self.golds.items() if name != piece]
            self._layers[piece] = fit(
                prior,
                np.concatenate([np.zeros((0, prior.shape[1] - 1)), *(rows for rows, _ in others)]),
                np.array([self.domains.index(domain) for rows, domain in others for _ in rows], dtype=int),
                ridge=self.ridge,
            )
        return self._layers[piece]


def fit(prior: np.ndarray, rows: np.ndarray, classes: np.ndarray, *, ridge: float) -> np.ndarray:
    """A logistic regression: least mean cross-entropy plus `ridge` / 2 times the squared distance to a prior.

    Parameters
    ----------
    prior : np.ndarray[D, K + 1], the bias last
    rows : np.ndarray[N, K]
    classes : np.ndarray[N], int, 0 to D - 1

    Returns
    -------
    np.ndarray[D, K + 1]; the prior where there are no rows
    """
    if not len(rows):
        return prior
    features = np.hstack([rows, np.ones((len(rows), 1))])
    wanted = np.eye(len(prior))[classes]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        layer = flat.reshape(prior.shape)
        logits = features @ layer.T
        away = layer - prior
        value = -(wanted * log_softmax(logits, axis=1)).sum() / len(rows) + 0.5 * ridge * (away**2).sum()
        slope = (softmax(logits, axis=1) - wanted).T @ features / len(rows) + ridge * away
        return float(value), slope.ravel()

    return np.asarray(minimize(loss, prior.ravel(), jac=True, method="L-BFGS-B").x.reshape(prior.shape))


def _probability(rows: np.ndarray, layer: np.ndarray, number: int) -> float:
    """The mean probability of one class, of rows [N, K] by a layer [D, K + 1]; 0 of none."""
    if not len(rows):
        return 0.0
    return float(softmax(rows @ layer[:, :-1].T + layer[:, -1], axis=1)[:, number].mean())


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The squared Frechet distance of two sets of `Judges.frames`, [N, D] and [M, D]."""
    return frechet.distance(frechet.gaussian(one), frechet.gaussian(other))


def load_judges(shelf: Library | None = None) -> Judges | None:
    """The judges there are weights of; None where those of either network are missing."""
    shelf = shelf or library()
    found = (shelf.find("spectral", recipe, Domain.CV.mixture.label) for recipe in ("style", "judge"))
    paths = [path for path in found if path is not None]
    if len(paths) < 2:
        return None
    net, judge = map(backbones.load, paths)
    assert isinstance(net, StyleNet)
    assert isinstance(judge, DomainJudge)
    return Judges(net, judge)
