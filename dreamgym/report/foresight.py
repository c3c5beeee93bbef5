"""Rewards and endings that a model expects one step ahead, beside those that came."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamgym.report.one_step import Steps
from dreamgym.report.statistics import by_group, ratio

EDGES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of the bins of a probability."""
ALARM = 0.5
"""A probability above it is an alarm."""


def reward_figures(steps: Steps, bins: int = 10) -> dict[str, Any]:
    """Return how well the reward of a step is known beforehand.

    Returns:
        `calibration`, a row for each bin of equally many steps, by what was expected: `steps`, `predicted`, and the
        mean `real` reward with `low` and `high`; `calibration_error`, the mean distance of the two; `mean_error`, of
        absolute errors; `error_quantiles`, of the same; `bias`, the mean of what was expected too much; `varies`,
        whether the real reward does; `scale`, its standard deviation, or its mean size if it never changes.
    """
    order = np.argsort(steps.predicted, kind="stable")
    rows = [_calibrate(steps, part, steps.reward, steps.predicted) for part in np.array_split(order, bins) if len(part)]
    error = np.abs(steps.predicted - steps.reward)
    num = int(steps.episode.max()) + 1
    count = by_group(np.ones(len(error)), steps.episode, num)
    spread, size = float(steps.reward.std()), float(np.abs(steps.reward).mean())
    varies = spread > 1e-6 * max(size, 1e-12)
    return {
        "calibration": rows,
        "calibration_error": _weighted(rows, "predicted"),
        "mean_error": ratio(by_group(error, steps.episode, num), count),
        "error_quantiles": {f"{q:g}": float(np.quantile(error, q)) for q in (0.5, 0.9, 0.99)},
        "bias": ratio(by_group(steps.predicted - steps.reward, steps.episode, num), count),
        "mean": float(steps.reward.mean()),
        "varies": varies,
        "scale": spread if varies else size,
    }


def ending_figures(steps: Steps) -> dict[str, Any]:
    """Return how well endings are known one step before them.

    Returns:
        `calibration`, a row for each bin of `EDGES`, as in `reward_figures`; `endings`, how many came; `expected`, how
        many the probabilities add up to, and `rate`, the second over the first; `recall`, share of the endings with an
        alarm; `precision`, share of the alarms with an ending; `false_alarms`, of an episode.
    """
    num = int(steps.episode.max()) + 1
    ended = steps.terminated.astype(float)
    place = np.clip(np.searchsorted(EDGES, steps.chance, side="right") - 1, 0, len(EDGES) - 2)
    parts = [np.flatnonzero(place == i) for i in range(len(EDGES) - 1)]
    alarm = steps.chance > ALARM
    of_episodes = lambda values: by_group(values, steps.episode, num)  # noqa: E731
    seen = of_episodes(np.ones(len(ended))) > 0
    return {
        "calibration": [_calibrate(steps, part, ended, steps.chance) for part in parts if len(part)],
        "steps": len(ended),
        "episodes": int(seen.sum()),
        "endings": int(ended.sum()),
        "expected": float(steps.chance.sum()),
        "rate": ratio(of_episodes(steps.chance), of_episodes(ended)),
        "recall": ratio(of_episodes(ended * alarm), of_episodes(ended)),
        "precision": ratio(of_episodes(ended * alarm), of_episodes(alarm)),
        "false_alarms": ratio(of_episodes(alarm * (1 - ended)), seen.astype(float)),
    }


def _calibrate(steps: Steps, part: np.ndarray, real: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the row of some steps; the interval resamples their episodes."""
    _, group = np.unique(steps.episode[part], return_inverse=True)
    num = int(group.max()) + 1
    estimate = ratio(by_group(real[part], group, num), by_group(np.ones(len(part)), group, num))
    return {
        "steps": len(part),
        "predicted": float(predicted[part].mean()),
        "real": estimate["value"],
        "low": estimate["low"],
        "high": estimate["high"],
    }


def _weighted(rows: list[dict[str, float]], name: str) -> float:
    """Return the mean distance of what was expected from what came, over bins."""
    weights = [row["steps"] for row in rows]
    return float(np.average([abs(row[name] - row["real"]) for row in rows], weights=weights))
