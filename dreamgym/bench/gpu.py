"""Stepping on a GPU: eager, compiled and as a CUDA graph, and the proof that a step never waits for the device.

Not run where it was written: there was no GPU. The CPU's tests trace the same step without data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dreamgym.bench.speed import sample_actions
from dreamgym.core.codec import encode_action
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
    torch.cuda.set_sync_debug_mode("error")
    try:
        simulator.step(start, action)
    finally:
        torch.cuda.set_sync_debug_mode("default")
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

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # a capture must not be the first use of a kernel
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph
