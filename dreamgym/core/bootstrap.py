"""Different views of the same data for the members of an ensemble, decided by the data alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dreamgym.core.noise import uniform

_STREAM = 11
_MOST = 8
"""More than this often a transition counts for a member once in a million times."""


def poisson_weights(rows: Tensor, num_members: int) -> Tensor:
    """Return `[N, R]` float, how often each row counts for each member: Poisson numbers of mean 1.

    They are drawn by a hash of the row, so that a row counts the same whenever it is drawn: 37% of the data are never
    seen by a member, as in a bootstrap. Nothing has to be kept or resumed.

    Args:
        rows: `[R, ...]` float32, all that is recorded of a transition.
        num_members: N.

    Source: Oza & Russell 2001, "Online Bagging and Boosting".
    """
    bits = rows.contiguous().view(torch.int32).long()  # [R, K]
    places = torch.arange(1, bits.shape[1] + 1, device=rows.device)
    hashed = (bits * (2 * places * 0x9E3779B97F4A7C1 + 1)).sum(1)  # [R], wraps; `uniform` scrambles it
    member = torch.arange(num_members, device=rows.device).repeat_interleave(len(rows))
    drawn = uniform(hashed.repeat(num_members), _STREAM, member)  # [N * R]
    chances = torch.tensor([math.exp(-1) / math.factorial(k) for k in range(_MOST)], device=rows.device)
    return (drawn[:, None] >= chances.cumsum(0)).sum(1).float().view(num_members, len(rows))
