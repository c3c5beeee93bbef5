"""The figures of dreams with closed eyes: curves over the horizon, and how far ahead a dream is worth more than none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamgym.report.open_loop import Dreams
from dreamgym.report.statistics import coverage, ratios

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
        "by_chance": bool(np.nanmax(np.nanstd(dreams.features["dream"], 1)) > 1e-6),
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
    mean = lambda x: ratios(np.where(recorded, x, 0), recorded.astype(float))  # noqa: E731
    dream = mean(errors["dream"].mean(1))
    curves = {
        "after": after,
        "windows": recorded.sum(0),
        "dream": dream["value"],
        "low": dream["low"],
        "high": dream["high"],
        "still": mean(errors["still"])["value"],
        "other": mean(errors["other"].mean(1))["value"],
        "best": mean(errors["dream"].min(1))["value"],
        "other_best": mean(errors["other"].min(1))["value"],
        "covered": mean(errors["covered"])["value"],
    }
    cut: dict[str, Any] = {name: values[:last].tolist() for name, values in curves.items()}
    tiny = 1e-9  # a world without change: nothing can be better than its last moment
    baseline = np.fmin(curves["still"], curves["other"])[:last]
    better = curves["dream"][:last] <= np.maximum(baseline, tiny)
    cut["trusted"] = (
        int(after[(len(better) if better.all() else int(np.argmin(better))) - 1]) if better[:1].any() else 0
    )
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
