"""Stepping on a GPU: compiled and as a CUDA graph, which is the proof that a step never waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dreamgym.bench.speed import sample_actions
from dreamgym.core.codec import encode_action
from dreamgym.core.cuda_graph import record
from dreamgym.core.tree import clone, named_leaves
from dreamgym.envs.simulator import Lanes, Simulator
from dreamgym.hub import LoadedDream


def gpu_calls(dream: LoadedDream, lanes: int, device: str) -> dict[str, Callable[[], object]]:
    """Return calls that step a simulator compiled and as a captured CUDA graph; the plain one is "simulator".

    Raises:
        RuntimeError: if a step makes the host wait for the device.
    """
    simulator: Simulator[Any] = Simulator(dream.model, dream.starts, max_episode_steps=250)
    action = encode_action(dream.model.action_space, sample_actions(dream.model, lanes)).to(device)
    start = simulator.begin(torch.arange(lanes, device=device))
    start, _ = simulator.step(start, action)  # derived weights are made
    compiled_step = torch.compile(simulator.step, fullgraph=True)
    now = start

    def compiled() -> None:
        nonlocal now
        now = compiled_step(now, action)[0]

    return {"compiled": compiled, "graph": capture(simulator, clone(start), action).replay}


def capture(simulator: Simulator[Any], lanes: Lanes[Any], action: torch.Tensor) -> torch.cuda.CUDAGraph:
    """Return a graph whose every replay steps `lanes` in place with what `action` holds at that time."""

    def step() -> None:
        after, _ = simulator.step(lanes, action)
        for leaf, new in zip(named_leaves(lanes).values(), named_leaves(after).values(), strict=True):
            leaf.copy_(new)

    return record(step)
