"""Where not to trust: which situations a model knows badly, and how often a policy gets into ones that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import make_real
from dreamgym.evaluation.policies import make_policy
from dreamgym.report.one_step import Steps
from dreamgym.report.statistics import by_group, ratio, spearman

CELLS = 24
"""The map has as many cells in each direction."""
FARTHEST = 0.99
"""A situation is outside if it is farther from what is known than this share of the held-out data are."""
_MOST = 16  # directions in which distances are measured
_KEPT = 0.99  # or as many as hold this share of the variance


@dataclass(frozen=True)
class Plane:
    """The directions in which the features of held-out data vary most."""

    mean: np.ndarray
    directions: np.ndarray
    """`[F, K]`, K of at least 2 unless F is 1, the strongest first."""
    shares: np.ndarray
    """`[K]` of the variance."""
    variance: float
    """In all directions together."""

    def project(self, features: np.ndarray) -> np.ndarray:
        """Return `[M, K]` of features `[M, F]`."""
        return (features - self.mean) @ self.directions


def fit_plane(features: np.ndarray) -> Plane:
    """Return the principal directions of features `[M, F]` (Pearson 1901)."""
    mean = features.mean(0)
    covariance = np.cov((features - mean).T.astype(np.float64)).reshape(features.shape[1], -1)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1].clip(0), directions[:, ::-1]
    shares = variances / max(variances.sum(), 1e-12)
    kept = max(2, min(_MOST, int(np.searchsorted(shares.cumsum(), _KEPT)) + 1))
    return Plane(mean, directions[:, :kept], shares[:kept], float(variances.sum()))


def map_figures(steps: Steps, plane: Plane, drivers: Sequence[str]) -> dict[str, Any]:
    """Return where and for whom the step is known badly, errors in shares of the features' variance.

    Args:
        steps: of held-out episodes.
        plane: of their features.
        drivers: who acted in each episode.

    Returns:
        `x`, `y`, edges of the cells; `error` and `disagreement`, rows of cells of a mean each, NaN where there was no
        step; `drivers`, an estimate of the error and the number of steps for each; and, where members disagree,
        `disagreement_and_error`, their rank correlation over steps, and `by_disagreement`, rows of equally many steps.
    """
    error = steps.error / max(plane.variance, 1e-12)
    at = plane.project(steps.features)[:, :2]
    at = np.pad(at, ((0, 0), (0, 2 - at.shape[1])))
    edges = [_edges(at[:, axis]) for axis in (0, 1)]
    cell = [
        np.clip(np.searchsorted(edge, at[:, axis], side="right") - 1, 0, CELLS - 1) for axis, edge in enumerate(edges)
    ]
    place = cell[1] * CELLS + cell[0]
    count = by_group(np.ones(len(place)), place, CELLS**2)

    def cells(values: np.ndarray) -> list[list[float]]:
        with np.errstate(invalid="ignore"):
            return (by_group(values, place, CELLS**2) / count).reshape(CELLS, CELLS).tolist()

    who = np.array(drivers)[steps.episode]
    figures: dict[str, Any] = {
        "shown_variance": float(plane.shares[:2].sum()),
        "x": edges[0].tolist(),
        "y": edges[1].tolist(),
        "error": cells(error),
        "drivers": {name: _driver(error, steps.episode, who == name) for name in sorted(set(drivers))},
    }
    if steps.disagreement is None:
        return figures
    order = np.array_split(np.argsort(steps.disagreement, kind="stable"), 10)
    return {
        **figures,
        "disagreement": cells(steps.disagreement),
        "disagreement_and_error": spearman(steps.disagreement, error),
        "by_disagreement": [
            {"disagreement": float(steps.disagreement[part].mean()), "error": float(error[part].mean())}
            for part in order
            if len(part)
        ],
    }


@torch.no_grad()
def outside_figures(
    dream: Model,
    steps: Steps,
    plane: Plane,
    is_data: np.ndarray,
    *,
    episodes: int,
    seed: int,
    variant: str | None = None,
) -> dict[str, Any]:
    """Return how often the shipped policy, acting in the real env, is where the data never were.

    Known are the situations in which dreams begin, which are training data. A step is outside if the nearest of them
    is farther than it is for `FARTHEST` of the held-out steps that the policy had no part in.

    Args:
        dream: as for `evaluate`; it ships a policy.
        steps: of held-out episodes.
        plane: of their features; distances are measured in its directions.
        is_data: `[M]` bool, the steps that set the threshold.
        episodes: of the policy.
        seed: of the first one.
        variant: which of a registered dream's variants.
    """
    opened = open_dream(dream, variant, (), "cpu")
    everywhere = opened.starts.sample((torch.arange(len(opened.starts)) + 0.5) / len(opened.starts))
    known = plane.project(opened.model.features(everywhere).numpy())
    threshold = float(np.quantile(_nearest(plane.project(steps.features[is_data]), known), FARTHEST))
    actor = make_policy("shipped", opened)
    far, count = [], []
    with closing(make_real(dream, variant=variant, observation="features")) as env:
        for episode_seed in range(seed, seed + episodes):
            features, over, met = env.reset(seed=episode_seed)[0], False, []
            actor.reset([episode_seed])
            while not over:
                met.append(features)
                action = actor.act(torch.from_numpy(features)[None])[0]
                features, _, terminated, truncated, _ = env.step(action)
                over = terminated or truncated
            outside = _nearest(plane.project(np.stack(met)), known) > threshold
            far.append(float(outside.sum()))
            count.append(float(len(outside)))
    return {
        "share": ratio(np.array(far), np.array(count)),
        "steps": int(sum(count)),
        "episodes": episodes,
        "threshold": threshold,
        "known": len(known),
    }


def _driver(error: np.ndarray, episode: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    _, group = np.unique(episode[chosen], return_inverse=True)
    num = int(group.max()) + 1
    estimate = ratio(by_group(error[chosen], group, num), by_group(np.ones(int(chosen.sum())), group, num))
    return {"episodes": num, "steps": int(chosen.sum()), "error": estimate}


def _edges(x: np.ndarray) -> np.ndarray:
    """Return the edges of the cells; the outermost half percent is in the outermost cells."""
    low, high = np.quantile(x, (0.005, 0.995))
    return np.linspace(low, max(high, low + 1e-6), CELLS + 1)


def _nearest(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `[M]`, the distance of each row of `x` from the nearest row of `known`."""
    b = torch.from_numpy(known)
    return torch.cat([torch.cdist(part, b).amin(1) for part in torch.from_numpy(x).split(2048)]).numpy()
