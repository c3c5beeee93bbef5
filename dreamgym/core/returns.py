"""What an agent hopes to earn: lambda returns, and the scale on which returns differ."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_returns(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    """Return `[H, B]` mixtures of returns over 1 to H steps, each completed by a value.

    `returns[t] = reward[t] + discount[t] * ((1 - lambda_) * value[t + 1] + lambda_ * returns[t + 1])`, and beyond the
    last step the value itself.

    Args:
        reward: `[H, B]`, of each step.
        discount: `[H, B]` of what comes after each step; 0 where it ended the episode.
        value: `[H + 1, B]` of the states before each step and after the last.
        lambda_: 0 trusts the values, 1 the rewards.

    Source: Hafner et al. 2020 (Dreamer V1), equation 6; Sutton & Barto 2018, section 12.1.
    """
    later = value[-1]
    inputs = reward + discount * (1 - lambda_) * value[1:]  # [H, B]
    returns = []
    for now, keep in zip(inputs.flip(0).unbind(0), (lambda_ * discount).flip(0).unbind(0), strict=True):
        later = now + keep * later
        returns.append(later)
    return torch.stack(returns[::-1])


def update_range(before: Tensor, returns: Tensor, decay: float = 0.99, share: float = 0.05) -> Tensor:
    """Return `[2]` the running low and high ends of the returns, of which `share` lie beyond each.

    Args:
        before: `[2]` what this function returned for earlier batches; NaN before the first.
        returns: `[...]` a batch of returns.
        decay: weight of the earlier batches.
        share: of the returns beyond each end, so that outliers do not count.

    Source: Hafner et al. 2023 (Dreamer V3), equation 12. The first batch counts fully, where theirs is averaged with 0.
    """
    ends = torch.quantile(returns.detach().flatten().float(), returns.new_tensor([share, 1 - share]))
    return torch.where(before.isnan(), ends, decay * before + (1 - decay) * ends)


def return_scale(ends: Tensor, limit: float = 1.0) -> Tensor:
    """Return `[]` what advantages are divided by: the range between `ends [2]`, but at least `limit`.

    Small differences are not blown up where there is little to be had, as with sparse rewards.
    """
    return (ends[1] - ends[0]).clamp(min=limit)
