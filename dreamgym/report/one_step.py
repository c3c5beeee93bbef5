"""One step ahead of what really happened: what a model, up to date, expects of the next step of recorded episodes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import action_dim
from dreamgym.core.model import WorldModel
from dreamgym.core.noise import normal
from dreamgym.core.tree import gather
from dreamgym.data.episodes import Dataset
from dreamgym.report.data import Stretches

_STREAM = 21  # of the draws of a step
_TOGETHER = 64  # episodes filtered side by side


@dataclass(frozen=True)
class Steps:
    """All recorded steps, in the order of their episodes; `[M]` each, if nothing else is said."""

    episode: np.ndarray
    """int, the episode's place in the dataset."""
    features: np.ndarray
    """`[M, F]` of the posterior's mean, before the step."""
    error: np.ndarray
    """Squared distance of the expected features from those of the posterior after the step; a mean over draws."""
    reward: np.ndarray
    """Earned, env units."""
    predicted: np.ndarray
    """Expected: a mean over draws."""
    terminated: np.ndarray
    """bool."""
    chance: np.ndarray
    """Probability that the model gave to that: a mean over draws."""
    disagreement: np.ndarray | None
    """Of the model's members; None if it tells none."""


@torch.no_grad()
def one_step_ahead(model: WorldModel[Any], dataset: Dataset, draws: int = 4, seed: int = 0) -> Steps:
    """Return what a model expects of every recorded step, having seen all that came before it.

    Args:
        model: it need not decode.
        dataset: held-out episodes.
        draws: of the next step, over which expectations are means.
        seed: of the draws.
    """
    order = np.argsort(dataset.lengths, kind="stable")  # similar lengths side by side: little is padded
    parts = [
        part
        for first in range(0, len(order), _TOGETHER)
        for part in _filter(model, dataset, order[first : first + _TOGETHER], draws, seed)
    ]
    parts.sort(key=lambda part: part["episode"][0])
    columns: dict[str, Any] = {
        field.name: None if parts[0][field.name] is None else np.concatenate([part[field.name] for part in parts])
        for field in fields(Steps)
    }
    return Steps(**columns)


def _filter(model: WorldModel[Any], dataset: Dataset, index: np.ndarray, draws: int, seed: int) -> list[dict[str, Any]]:
    """Return the arrays of some episodes, one dict an episode."""
    episodes = [dataset[int(i)] for i in index]
    length = max(map(len, episodes))
    lanes = Stretches(model, episodes, [0] * len(episodes), length)
    num = len(episodes)
    zeros = torch.zeros(num, model.noise_dim)
    seeds = (torch.from_numpy(index.copy())[:, None] * draws + torch.arange(draws)).flatten() + (seed << 20)  # [B * N]
    repeated = torch.arange(num).repeat_interleave(draws)
    first = torch.ones(num, dtype=torch.bool)
    nothing = torch.zeros(num, action_dim(model.action_space))
    state = model.observe(model.initial(num), nothing, lanes.obs(0), first, zeros)
    rows: dict[str, list[Any]] = {name: [] for name in ("features", "error", "predicted", "chance", "disagreement")}
    for t in range(length):
        action = lanes.action(t)
        noise = normal(seeds, _STREAM, torch.full_like(seeds, t), model.noise_dim)
        out = model.step(gather(state, repeated), action[repeated], noise)
        rows["features"].append(model.features(state))
        state = model.observe(state, action, lanes.obs(t + 1), ~first, zeros)
        far = (model.features(out.state) - model.features(state)[repeated]).square().sum(1)
        told = out.info.get("disagreement")
        for name, values in (("error", far), ("predicted", out.reward), ("chance", out.termination),
                             ("disagreement", told)):  # fmt: skip
            rows[name].append(None if values is None else values.view(num, draws).mean(1))
    stacked = {name: None if parts[0] is None else _array(torch.stack(parts, 1)) for name, parts in rows.items()}
    return [
        {
            "episode": np.full(len(episode), index[lane]),
            "reward": lanes.reward[lane, : len(episode)],
            "terminated": lanes.terminated[lane, : len(episode)],
            **{name: None if x is None else x[lane, : len(episode)] for name, x in stacked.items()},
        }
        for lane, episode in enumerate(episodes)
    ]


def _array(x: Tensor) -> np.ndarray:
    return x.float().cpu().numpy()
