"""How fast a world model learns, and how fast an agent learns in it: training frames and imagined steps a second."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import Space, spaces
from gymnasium.vector.utils import batch_space
from torch import nn

from dreamgym.bench.speed import measure, plain_copy
from dreamgym.core.codec import action_dim, encode_action, encode_obs
from dreamgym.core.cuda_graph import record
from dreamgym.core.imagine import imagine
from dreamgym.core.model import SequenceBatch, StageConfig, Trainable
from dreamgym.core.threads import use_threads
from dreamgym.core.tree import gather, tree_map
from dreamgym.hub import LoadedDream

LANES, HORIZON = 256, 15


@torch.enable_grad()
def training_speed(dream: LoadedDream, seconds: float = 0.5, device: str = "cpu") -> list[dict[str, Any]]:
    """Return the frames a second of each stage of a model, forward and backward, by precision.

    A batch is of the stage's own size and holds random numbers. Stages without convolutions are trained in fp32 alone.
    On a GPU the step as a CUDA graph stands beside them, and one whose parts are compiled too, with the peak memory of
    the process in MB.
    """
    if not isinstance(dream.model, Trainable):
        return []
    rows = []
    for stage, config in dream.model.stages.items():
        calls = training_calls(dream, stage, config, device)
        with use_threads():
            taken = measure(calls, seconds, device)
        frames = config.batch_size * (config.sequence_length + 1)
        row: dict[str, Any] = {"stage": stage, "frames_per_second": {name: frames / t for name, t in taken.items()}}
        if device.startswith("cuda"):
            row["peak_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
        rows.append(row)
    return rows


def training_calls(dream: LoadedDream, stage: str, config: StageConfig, device: str) -> dict[str, Callable[[], object]]:
    """Return calls that each compute a loss and its gradients once."""
    model: Any = copy.deepcopy(dream.model).train()  # type: ignore[attr-defined]
    batch = random_batch(model, stage, config, device)

    def gradient_of(model: Any, bf16: bool) -> Callable[[], None]:
        parameters = [parameter.requires_grad_() for parameter in model.stage_parameters(stage)]

        def gradient() -> None:
            for parameter in parameters:
                parameter.grad = None
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                loss, _ = model.loss(batch, stage)
            loss.backward()

        return gradient

    calls: dict[str, Callable[[], object]] = {"fp32": gradient_of(model, False)}
    if reduced := any(parameter.ndim >= 4 for parameter in model.stage_parameters(stage)):
        calls["bf16"] = gradient_of(model, True)
    if device.startswith("cuda"):
        calls["graph"] = record(gradient_of(model, reduced)).replay
        calls["compiled"] = record(gradient_of(_compiled_parts(model), reduced)).replay
    return calls


def _compiled_parts(model: nn.Module) -> nn.Module:
    """Return a copy whose parts are compiled one by one: a memory once, and not every step that it is unrolled for."""
    compiled = copy.deepcopy(model)
    for part in compiled.children():
        part.compile()
    return compiled


@torch.no_grad()
def random_batch(model: Any, stage: str, config: StageConfig, device: str) -> SequenceBatch:
    """Return a batch of a stage's size, in model units, without padding."""
    lanes, length = config.batch_size, config.sequence_length
    obs: Any = encode_obs(model.observation_space, _sample(model.observation_space, lanes * (length + 1)), device)
    inputs = model.stage_inputs(obs, stage)
    obs = tree_map(lambda x: x.unflatten(0, (lanes, length + 1)), obs if inputs is None else inputs)
    action = encode_action(model.action_space, _sample(model.action_space, max(1, lanes * length))).to(device)
    zeros = torch.zeros(lanes, length, device=device)
    return SequenceBatch(
        obs, action[: lanes * length].unflatten(0, (lanes, length)), torch.randn_like(zeros), zeros, zeros + 1,
        torch.ones(lanes, dtype=torch.bool, device=device),
    )  # fmt: skip


@torch.enable_grad()
def imagined_speed(dream: LoadedDream, seconds: float = 0.5, device: str = "cpu") -> dict[str, float] | None:
    """Return the steps a second of rollouts whose rewards' gradients reach a policy; None if none flow.

    `LANES` rollouts of `HORIZON` steps, forward and backward, with a policy of one layer, whose time is negligible.
    """
    model = plain_copy(dream.model)
    if not model.differentiable:
        return None
    policy = nn.Linear(model.feature_dim, action_dim(model.action_space), device=device)
    squash = torch.softmax if isinstance(model.action_space, spaces.Discrete) else lambda x, _: x.tanh()
    start = dream.starts.sample(torch.rand(LANES, device=device))

    def step() -> None:
        rollout = imagine(model, start, lambda features: squash(policy(features), -1), HORIZON)
        rollout.reward.sum().backward()
        policy.zero_grad()

    with use_threads():
        taken = measure({"imagined": step}, seconds, device)["imagined"]
    return {"lanes": LANES, "horizon": HORIZON, "steps_per_second": LANES * HORIZON / taken}


def _sample(space: Space[Any], count: int) -> Any:
    """Return `count` entries of a space, the first few over and over: drawing pictures takes longer than a step."""
    few = batch_space(space, min(count, 32))
    few.seed(0)
    return gather(few.sample(), torch.arange(count) % 32)
