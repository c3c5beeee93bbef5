"""How long a plan takes: CEM's time a decision for one env and for many at once, beside the real env's own pace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from dreamgym.bench.speed import measure, real_step
from dreamgym.cli.output import print_table
from dreamgym.core.threads import use_threads
from dreamgym.hub import LoadedDream
from dreamgym.planners.shooting import Cem, CemConfig

ENVS = (1, 16, 256)
ROUNDS = 3
"""A plan for 256 envs imagines ten million steps: fewer rounds than what takes a millisecond."""
AIM = "CartPole-v1", 30.0
"""Milliseconds that a decision for one env of it may take."""


@torch.no_grad()
def planning_speed(
    dream: LoadedDream,
    seconds: float = 0.5,
    device: str = "cpu",
    envs: Sequence[int] = ENVS,
    config: CemConfig | None = None,
) -> dict[str, Any]:
    """Return the time of CEM's plans for some numbers of envs at once, measured in turns with a step of the real env.

    Args:
        dream: whose model is planned with, from states of its start bank.
        seconds: how long each figure is measured at least.
        device: where the dream is computed.
        envs: B, for how many envs at once.
        config: of CEM; by default 5 rounds of 400 candidates, 20 steps ahead.
    """
    planner = Cem(config or CemConfig())
    calls: dict[str, Callable[[], object]] = {}
    for count in envs:
        state = dream.starts.sample(torch.rand(count, generator=torch.Generator().manual_seed(0)).to(device))
        seed = torch.arange(count, device=device)
        calls[str(count)] = lambda state=state, seed=seed: planner.plan(dream.model, state, seed)  # type: ignore[misc]
    with ExitStack() as stack, use_threads():
        if real := real_step(dream, stack):
            calls["real"] = real
        taken = measure(calls, seconds, device, ROUNDS)
    size = planner.config
    each = size.num_iterations * planner.width * size.horizon
    rows = [
        {
            "envs": count,
            "milliseconds": 1e3 * taken[str(count)],
            "milliseconds_each": 1e3 * taken[str(count)] / count,
            "imagined_steps_per_second": count * each / taken[str(count)],
            "of_real": count * each / taken[str(count)] * taken["real"] if real else None,
        }
        for count in envs
    ]
    return {
        "planner": f"CEM, {size.num_iterations} rounds of {size.num_candidates} candidates, {size.horizon} steps ahead",
        "rows": rows,
        "aim_milliseconds": AIM[1] if dream.card.get("real") == AIM[0] and config is None else None,
    }


def print_planning(figures: dict[str, Any]) -> None:
    """Print what `planning_speed` returned."""
    print(f"\n{figures['planner']}: milliseconds of planning, imagined steps a second, times the real env's own steps")
    print_table(
        ["envs at once", "ms a decision of all", "ms of each", "imagined steps/s", "times the real env"],
        [
            [
                str(row["envs"]),
                f"{row['milliseconds']:,.1f}",
                f"{row['milliseconds_each']:.1f}",
                f"{row['imagined_steps_per_second']:,.0f}",
                f"{row['of_real']:.2f}" if row["of_real"] else "",
            ]
            for row in figures["rows"]
        ],
    )
    if aim := figures["aim_milliseconds"]:
        reached = figures["rows"][0]["milliseconds_each"]
        print(f"aim: {aim:.0f} ms for one env; {reached:.0f} ms: {'met' if reached <= aim else 'missed'}")
