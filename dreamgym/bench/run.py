"""What `dreamgym bench` measures, all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dreamgym.bench.learning import imagined_speed, training_speed
from dreamgym.bench.planning import planning_speed
from dreamgym.bench.report import aims
from dreamgym.bench.speed import LANES, UNTRAINED, bench, open_benched
from dreamgym.bench.steady import drift, memory_by_lanes, memory_by_steps


def run(
    dream: str = UNTRAINED,
    variant: str | None = None,
    lanes: Sequence[int] = LANES,
    seconds: float = 0.5,
    device: str = "cpu",
    precision: str = "fp32",
    memory: bool = False,
    training: bool = False,
    planning: bool = False,
) -> dict[str, Any]:
    """Return all figures, ready for JSON; the other arguments are those of `bench`.

    Args:
        memory: whether memory by lanes and by steps is measured.
        training: whether training and imagined rollouts with gradients are measured.
        planning: whether the time of plans is measured.
    """
    loaded = open_benched(dream, variant, device)
    figures: dict[str, Any] = {}
    if memory:  # first: peak memory never falls
        figures["memory_by_lanes"] = memory_by_lanes(loaded, lanes, device)
        figures["memory_by_steps"] = memory_by_steps(loaded, device=device)
    figures |= bench(loaded, None, lanes, seconds, device, precision)
    if precision != "fp32":
        figures["drift"] = drift(loaded, precision, device=device)
    if training:
        figures["training"] = training_speed(loaded, seconds, device)
        figures["imagined"] = imagined_speed(loaded, seconds, device)
    if planning:
        figures["planning"] = planning_speed(loaded, seconds, device)
    return {**figures, "aims": aims(figures)}
