"""How far one belief about a latent is from another, in nats."""

from __future__ import annotations

from torch import Tensor


def kl_categorical(logits: Tensor, other: Tensor) -> Tensor:
    """Return `[...]` KL(p || q) of groups of categoricals, summed over the groups.

    Args:
        logits: `[..., G, K]` normalised log-probabilities of p.
        other: `[..., G, K]` of q.
    """
    return (logits.exp() * (logits - other)).sum((-2, -1))


def kl_normal(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """Return `[...]` KL(p || q) of diagonal Gaussians `[..., Z]`, summed over the latent."""
    ratio = (std / other_std).square()
    shift = ((mean - other_mean) / other_std).square()
    return 0.5 * (ratio + shift - 1 - ratio.log()).sum(-1)
