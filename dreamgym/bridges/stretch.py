"""Policies whose outputs -1 and 1 stand for the bounds of a Box."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import Space, spaces
from torch import nn

from dreamgym.errors import UnsupportedSpace


def stretch(last: nn.Linear, space: Space[Any]) -> nn.Linear:
    """Return a last layer that gives env units where the given one gives -1 to 1.

    Many libraries let a policy act in [-1, 1] and stretch that over the bounds of the action space afterwards; this
    puts it into the weights, so that clipping to the bounds is all that remains.

    Args:
        last: `[A]` outputs, one for each number of an action.
        space: of the actions.

    Raises:
        UnsupportedSpace: if it is no Box, or has no bounds to stretch over.
    """
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        raise UnsupportedSpace(f"action space {space} has no bounds to stretch -1 to 1 over; expected a bounded Box.")
    low, high = (torch.as_tensor(side.reshape(-1)).to(last.weight) for side in (space.low, space.high))
    half = (high - low) / 2
    layer = nn.Linear(last.in_features, last.out_features)
    bias = torch.zeros_like(low) if last.bias is None else last.bias
    layer.load_state_dict({"weight": last.weight * half[:, None], "bias": bias * half + low + half})
    return layer
