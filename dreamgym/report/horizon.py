"""Dreams with closed eyes in figures: curves over the horizon, and how far ahead a dream is worth more than none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamgym.report.open_loop import Dreams
from dreamgym.report.statistics import coverage, ratios

TINY = 1e-9
"""An error that is none: in a world that stands still, nothing can be better than the last moment seen."""
FEWEST = 10
"""Stretches still recorded after so many steps, below which a curve is not told any further."""


def horizon_figures(dreams: Dreams) -> dict[str, Any]:
    """Return a table of curves for each of `observations` (if there is a decoder), `features` and `reward`."""
    after = np.arange(1, dreams.recorded.shape[1] + 1)
    found = {"features": _curves(after, dreams.features), "reward": _curves(after, dreams.reward)}
    if dreams.obs is not None:
        found = {"observations": _curves(dreams.shown, dreams.obs), **found}
    draws = dreams.features["dream"].shape[1]
    return {
        "windows": len(dreams.recorded),
        "draws": draws,
        "nominal_coverage": coverage(draws),
        "by_chance": bool(np.nanmax(np.ptp(dreams.features["dream"], 1)) > 1e-6),
        **found,
    }


def _curves(after: np.ndarray, errors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return curves over the horizon, lists of one length.

    `after`, steps; `windows`, stretches that were still recorded; `dream`, with `low` and `high`, the error of a dream;
    `still`, of the last moment repeated; `other`, of a moment of another episode; `best` and `other_best`, of the best
    of all draws of either; `covered`, how often the truth lay within all draws. `trusted` is the last step up to which
    dreams were better than both baselines at every step.
    """
    recorded = np.isfinite(errors["still"])  # [W, H]
    enough = recorded.sum(0) >= min(FEWEST, len(recorded))
    last = int(np.argmin(enough)) if not enough.all() else len(enough)

    def mean(x: np.ndarray) -> dict[str, np.ndarray]:  # [W, H] or, of draws, [W, N, H]
        there = np.isfinite(x)
        summed, count = np.where(there, x, 0), there.astype(float)
        return ratios(summed, count) if x.ndim == 2 else ratios(summed.sum(1), count.sum(1))

    def best(x: np.ndarray) -> dict[str, np.ndarray]:  # [W, N, H]
        least = np.where(np.isfinite(x), x, np.inf).min(1)
        return mean(np.where(np.isfinite(least), least, np.nan))

    dream = mean(errors["dream"])
    curves = {
        "after": after,
        "windows": recorded.sum(0),
        "dream": dream["value"],
        "low": dream["low"],
        "high": dream["high"],
        "still": mean(errors["still"])["value"],
        "other": mean(errors["other"])["value"],
        "best": best(errors["dream"])["value"],
        "other_best": best(errors["other"])["value"],
        "covered": mean(errors["covered"])["value"],
    }
    cut: dict[str, Any] = {name: values[:last].tolist() for name, values in curves.items()}
    baseline = np.fmin(curves["still"], curves["other"])[:last]
    worse = curves["dream"][:last] > np.maximum(baseline, TINY)
    steps = int(np.argmax(worse)) if worse.any() else last
    cut["trusted"] = int(after[steps - 1]) if steps else 0
    return cut


def typical_windows(dreams: Dreams) -> dict[str, int]:
    """Return the stretches whose dreams were the best, the median and the worst: their places.

    They are ranked by the mean error of their first dream among those that were recorded longest.
    """
    errors = dreams.features if dreams.obs is None else dreams.obs
    length = dreams.recorded.sum(1)
    longest = np.flatnonzero(length >= np.quantile(length, 0.5))
    mean = np.nanmean(errors["dream"][longest, 0], 1)
    order = longest[np.argsort(mean)]
    return {"best": int(order[0]), "median": int(order[len(order) // 2]), "worst": int(order[-1])}
