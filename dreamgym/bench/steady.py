"""What a dream costs besides time: memory by lanes and by length of the run, and the drift of a reduced precision."""

from __future__ import annotations

import copy
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import torch

from dreamgym.bench.speed import clock_of, sample_actions
from dreamgym.core.codec import encode_action
from dreamgym.core.tree import named_leaves
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.hub import LoadedDream

STEPS = (100, 1000, 10_000)


def memory_by_lanes(
    dream: LoadedDream, lanes: Sequence[int], device: str = "cpu", steps: int = 20
) -> list[dict[str, float]]:
    """Return bytes of state a lane, and the peak memory of the process in MB after some steps, for each number."""
    rows = []
    for count in sorted(lanes):
        env, _ = _run(dream, count, device, steps)
        size = sum(leaf.numel() * leaf.element_size() for leaf in named_leaves(env.lanes).values())
        rows.append({"lanes": count, "bytes_per_lane": size / count, "peak_mb": peak_memory(device)})
    return rows


def memory_by_steps(
    dream: LoadedDream, lanes: int = 64, steps: Sequence[int] = STEPS, device: str = "cpu"
) -> list[dict[str, float]]:
    """Return the time of a step and the peak memory of the process in MB, after ever more steps of one env."""
    (env, action), clock = _run(dream, lanes, device, 0), clock_of(device)
    rows, done = [], 0
    for target in steps:
        times = []
        for _ in range(target - done):
            since = clock()
            env.step(action)
            times.append(clock() - since)
        done = target
        row = {"steps": target, "microseconds": statistics.median(times[-100:]) * 1e6, "peak_mb": peak_memory(device)}
        rows.append(row)
    return rows


def peak_memory(device: str = "cpu") -> float:
    """Return the most memory that this process has held, in MB, on the host or on a GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@torch.no_grad()
def drift(
    dream: LoadedDream, precision: str, lanes: int = 256, steps: int = 100, device: str = "cpu"
) -> list[dict[str, float]]:
    """Return how far dreams in a reduced precision go from those in fp32: same starts, actions and noise, open loop.

    `features` and `reward` are mean absolute differences, those of the reward in env units; `unrelated_features` and
    `unrelated_reward` are the same between two dreams in fp32 that differ in their noise: where drift reaches them,
    nothing is left of the trajectory, though its statistics may be the same.
    """
    from dreamgym.models.packed import set_precision

    exact: Any = dream.model
    reduced = copy.deepcopy(exact)
    set_precision(reduced, precision)
    generator = torch.Generator().manual_seed(0)
    start = dream.starts.sample(torch.rand(lanes, generator=generator).to(device))
    action = encode_action(exact.action_space, sample_actions(exact, lanes)).to(device)
    models, states, rows = (exact, reduced, exact), [start] * 3, []
    for step in range(1, steps + 1):
        noise, other = (torch.randn(lanes, exact.noise_dim, generator=generator).to(device) for _ in range(2))
        outs = [
            model.step(state, action, draws)
            for model, state, draws in zip(models, states, (noise, noise, other), strict=True)
        ]
        states = [out.state for out in outs]
        features = [exact.features(state) for state in states]
        if step in (1, 3, 10, 30, steps):
            row: dict[str, float] = {"step": step}
            for prefix, index in (("", 1), ("unrelated_", 2)):
                row[f"{prefix}features"] = float((features[index] - features[0]).abs().mean())
                row[f"{prefix}reward"] = float((outs[index].reward - outs[0].reward).abs().mean())
            rows.append(row)
    return rows


def _run(dream: LoadedDream, lanes: int, device: str, steps: int) -> tuple[DreamVectorEnv, torch.Tensor]:
    env = DreamVectorEnv(dream, lanes, observation="features", output="torch", device=device)
    action = torch.from_numpy(sample_actions(dream.model, lanes)).to(device)
    env.reset(seed=0)
    for _ in range(steps):
        env.step(action)
    return env, action
