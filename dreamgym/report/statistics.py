"""Estimates with intervals, by resampling whole episodes: steps of one episode are not independent of each other.

Every interval is the 2.5% to 97.5% range of a bootstrap (Efron 1979). NumPy suffices for it; SciPy, which has the same,
is no dependency of this package.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

RESAMPLES = 1000
Estimate = dict[str, float]
"""`value`, and the `low` and `high` end of its 95% interval."""


def ratio(numerator: np.ndarray, denominator: np.ndarray | None = None, seed: int = 0) -> Estimate:
    """Return the sum of one number over the sum of another, resampled over their rows.

    Args:
        numerator: `[E]`, one number an episode.
        denominator: `[E]`; ones by default, which makes it a mean.
        seed: of the resampling.

    >>> ratio(np.array([1.0, 1.0]))
    {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    denominator = np.ones(len(numerator)) if denominator is None else denominator
    return {name: float(x[0]) for name, x in ratios(numerator[:, None], denominator[:, None], seed).items()}


def ratios(numerator: np.ndarray, denominator: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return `value`, `low` and `high`, `[H]` each, of H ratios `[E, H]` that are resampled together; NaN is 0 / 0."""
    counts = _counts(len(numerator), seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = numerator.sum(0) / denominator.sum(0)
        drawn = (counts @ numerator) / (counts @ denominator)  # [R, H]
    return {"value": value, **_ends(drawn)}


def correlation(x: np.ndarray, y: np.ndarray, seed: int = 0) -> dict[str, Estimate]:
    """Return how the mean returns of policies on two sides go together: `spearman` and `pearson`.

    A resample draws policies, and of each its episodes anew, the two sides of an episode together. One in which a side
    is constant has no correlation and does not count.

    Args:
        x, y: `[P, E]` returns of P policies.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    policies, episodes = x.shape
    chosen = rng.integers(policies, size=(RESAMPLES, policies))[..., None]  # [R, P, 1]
    paired = rng.integers(episodes, size=(RESAMPLES, policies, episodes))
    drawn_x, drawn_y = x[chosen, paired].mean(2), y[chosen, paired].mean(2)  # [R, P]
    found = {}
    for name, fn in (("spearman", spearman), ("pearson", pearson)):
        drawn = np.array([fn(a, b) for a, b in zip(drawn_x, drawn_y, strict=True)])
        ends = {end: float(value[0]) for end, value in _ends(drawn[:, None]).items()}
        found[name] = {"value": fn(x.mean(1), y.mean(1)), **ends}
    return found


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation; NaN if a side is constant, but for rounding.

    >>> pearson(np.array([1.0, 2.0, 4.0]), np.array([-2.0, -4.0, -8.0]))
    -1.0
    """
    if min(_spread(x), _spread(y)) < 1e-9:
        return float("nan")
    a, b = x - x.mean(), y - y.mean()
    return round(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())), 12)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's correlation of ranks; equal values share their mean rank.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 1000.0]))
    1.0
    """
    return pearson(ranks(x), ranks(y))


def ranks(x: np.ndarray) -> np.ndarray:
    """Return the rank of each value from 0 on.

    >>> ranks(np.array([5.0, 7.0, 5.0])).tolist()
    [0.5, 2.0, 0.5]
    """
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[inverse]


def by_group(values: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    """Return `[num_groups]` sums of values over the steps of each episode."""
    return np.bincount(group, weights=np.asarray(values, np.float64), minlength=num_groups)


def is_covered(truth: np.ndarray, draws: np.ndarray, tolerance: Any, rng: np.random.Generator) -> np.ndarray:
    """Return bool `[...]`: the truth is neither below all draws nor above all of them.

    If truth and draws come from one distribution, that happens to `coverage(len(draws))` of all truths: each of the
    N + 1 places is as likely. Draws as near as `tolerance` are equal to the truth, and lots are cast for its place
    among them, so that a world without chance is covered as often as it should be.

    Args:
        truth: `[...]`.
        draws: `[N, ...]`.
        tolerance: what makes no difference, of a shape that broadcasts.
        rng: casts the lots.
    """
    equal = (np.abs(draws - truth) <= tolerance).sum(0)
    below = (draws < truth - tolerance).sum(0)
    place = below + rng.integers(0, equal + 1)
    return (place > 0) & (place < len(draws))


def coverage(draws: int) -> float:
    """Return how often the truth lies within the least and the greatest of `draws` honest ones.

    >>> coverage(19)
    0.9
    """
    return (draws - 1) / (draws + 1)


def _counts(rows: int, seed: int) -> np.ndarray:
    """Return `[R, rows]`, how often each row is in each resample."""
    return np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)


def _ends(drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return `low` and `high` `[H]` of resampled values `[R, H]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN alone has NaN for ends
        low, high = np.nanpercentile(drawn, (2.5, 97.5), axis=0)
    return {"low": low, "high": high}


def _spread(x: np.ndarray) -> float:
    return float(np.ptp(x) / max(np.abs(x).max(), 1e-12))
