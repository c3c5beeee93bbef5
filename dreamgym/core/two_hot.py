"""Numbers of unknown scale as a network's output: symmetric logarithms and two-hot histograms."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

NUM_BINS = 255


def symlog(x: Tensor) -> Tensor:
    """Return `sign(x) ln(1 + |x|)`, which keeps small numbers and shrinks large ones.

    >>> symlog(torch.tensor([-1.0, 0.0, 999.0]))
    tensor([-0.6931,  0.0000,  6.9078])

    Source: Hafner et al. 2023 (Dreamer V3), equation 9.
    """
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Return the inverse of `symlog`, `sign(x) (exp(|x|) - 1)`."""
    return x.sign() * x.abs().expm1()


def two_hot(x: Tensor) -> Tensor:
    """Return `[..., K]` weights of the two bins around each number of `x [...]`, whose mean is that number.

    Numbers beyond the last bin, about 4.85e8, count as the last bin.

    Source: Hafner et al. 2023 (Dreamer V3), equation 10. The weights are linear in the number itself, not in its
    logarithm, so that the mean of a prediction is unbiased.
    """
    bins = _bins(x.device)
    x = x.detach().clamp(bins[0], bins[-1])
    above = torch.searchsorted(bins, x.contiguous(), right=True).clamp(1, NUM_BINS - 1)  # [...]
    low, high = bins[above - 1], bins[above]
    weights = x.new_zeros(*x.shape, NUM_BINS)
    # neither as 1 minus the other, which would round a number of -1e-6 by half a percent
    weights.scatter_(-1, (above - 1)[..., None], ((high - x) / (high - low))[..., None])
    return weights.scatter_(-1, above[..., None], ((x - low) / (high - low))[..., None])  # [..., K]


def two_hot_mean(logits: Tensor) -> Tensor:
    """Return `[...]` the mean of the histograms whose logits `[..., K]` a network gave.

    Bins of equal size are subtracted first: their weights, small but not nothing, would otherwise add up to rounding
    errors of 1e8.
    """
    weights = logits.softmax(-1)
    half = NUM_BINS // 2
    positive = _bins(logits.device)[half + 1 :]
    return ((weights[..., half + 1 :] - weights[..., :half].flip(-1)) * positive).sum(-1)


def two_hot_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return `[...]` the cross-entropy, in nats, of histograms `[..., K]` with the two-hot `target [...]`."""
    return -(two_hot(target) * logits.log_softmax(-1)).sum(-1)


@lru_cache(maxsize=8)
def _bins(device: torch.device) -> Tensor:
    half = symexp(torch.linspace(-20, 0, NUM_BINS // 2 + 1))
    return torch.cat([half, -half[:-1].flip(0)]).to(device)  # exactly symmetric
