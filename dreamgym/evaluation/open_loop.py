"""How long a dream stays true with its eyes closed, and how many of the recorded endings it sees coming."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.model import Obs, WorldModel
from dreamgym.core.noise import normal
from dreamgym.core.tree import leaves, tree_map
from dreamgym.data.episodes import Dataset
from dreamgym.data.sequences import SequenceSampler
from dreamgym.errors import InvalidArgument

_NOISE_STREAM = 7


@torch.no_grad()
def open_loop(
    model: WorldModel[Any], dataset: Dataset, *, context: int = 8, horizon: int = 32, windows: int = 256, seed: int = 0
) -> dict[str, Any]:
    """Return how a model's dreams of recorded episodes part from them, the recorded actions given.

    Args:
        model: it must decode.
        dataset: episodes that it was not trained on.
        context: observations that the model sees before it dreams; shorter episodes are left out.
        horizon: H, dreamed steps.
        windows: stretches of episodes, drawn at random; what reaches beyond an end does not count.
        seed: of the stretches and of the dreams' noise.

    Returns:
        `"error"`, `"reward_error"`: lists of H, squared error of an observation (a mean over its numbers, in model
        units) and absolute error of the reward after 1 to H dreamed steps; `"still"`: the error of repeating the last
        frame seen; `"posterior"`: the error of drawing what is seen. `"endings"`: recorded in the windows;
        `"expected"`: the sum of the probabilities that the model, up to date until one step before, gave to endings;
        `"recall"`: share of the recorded ones that it gave more than 0.5; `"false_alarms"`: share of the other steps.

    Raises:
        InvalidArgument: if no episode is longer than the context.
    """
    if context < 1 or horizon < 1:
        raise InvalidArgument(f"context is {context} and horizon {horizon}; expected at least 1 each.")
    model_device = next(leaves(model.initial(1))).device
    batch = SequenceSampler(dataset, context + horizon, windows, seed=seed, device=model_device).batch(0)
    if not bool(batch.mask[:, context].any()):
        raise InvalidArgument(f"no window has more than {context} steps; lower context, or record longer episodes.")
    lanes = torch.arange(windows, device=model_device) + seed * windows
    at = lambda t: tree_map(lambda x: x[:, t], batch.obs)  # noqa: E731
    zeros = torch.zeros(windows, model.noise_dim, device=model_device)
    never, always = torch.zeros_like(lanes, dtype=torch.bool), torch.ones_like(lanes, dtype=torch.bool)
    seen = model.observe(model.initial(windows), torch.zeros_like(batch.action[:, 0]), at(0), always, zeros)
    dreamed, still = seen, at(0)
    error, idle, drawn, rewards = (np.full(horizon, np.nan) for _ in range(4))
    chances: list[Tensor] = []
    for t in range(context + horizon):
        action, noise = batch.action[:, t], normal(lanes, _NOISE_STREAM, torch.full_like(lanes, t), model.noise_dim)
        chances.append(model.step(seen, action, noise).termination)
        seen = model.observe(seen, action, at(t + 1), never, zeros)
        if t < context:
            dreamed, still = seen, at(t + 1)
            continue
        out, mask, now = model.step(dreamed, action, noise), batch.mask[:, t], t - context
        dreamed = out.state
        error[now] = _mean(_error(model.decode(dreamed), at(t + 1)), mask)
        drawn[now] = _mean(_error(model.decode(seen), at(t + 1)), mask)
        idle[now] = _mean(_error(still, at(t + 1)), mask)
        rewards[now] = _mean((out.reward - batch.reward[:, t]).abs(), mask)
    chance, ended = torch.stack(chances, 1)[batch.mask > 0], batch.terminated[batch.mask > 0] > 0
    return {
        "error": error.tolist(),
        "still": idle.tolist(),
        "posterior": drawn.tolist(),
        "reward_error": rewards.tolist(),
        "steps": len(ended),
        "endings": int(ended.sum()),
        "expected": float(chance.sum()),
        "recall": float((chance[ended] > 0.5).double().mean()),
        "false_alarms": float((chance[~ended] > 0.5).double().mean()),
    }


def _error(ours: Obs, theirs: Obs) -> Tensor:
    """Return `[B]` squared errors, each a mean over all numbers of an observation."""
    pairs = list(zip(leaves(ours), leaves(theirs), strict=True))
    total = torch.stack([(a - b).square().flatten(1).sum(1) for a, b in pairs]).sum(0)
    return total / sum(a[0].numel() for a, _ in pairs)


def _mean(values: Tensor, mask: Tensor) -> float:
    return float((values * mask).sum() / mask.sum()) if bool(mask.any()) else float("nan")
