"""How a dream draws what happens next; temperature has its meaning here and nowhere else."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from dreamgym.errors import InvalidTemperature

PerLane = float | Tensor
"""One number for all lanes, or `[B, 1]`, one for each."""


def check_temperature(temperature: float) -> float:
    """Return `temperature` as a float.

    Raises:
        InvalidTemperature: if it is not a positive finite number.
    """
    if not isinstance(temperature, numbers.Real) or not 0 < temperature < math.inf:
        raise InvalidTemperature(f"temperature is {temperature!r}; expected a number above 0, 1.0 dreams as learned.")
    return float(temperature)


def sample_normal(mean: Tensor, std: Tensor, noise: Tensor, temperature: PerLane = 1.0) -> Tensor:
    """Return one draw of a Gaussian whose variance is multiplied by the temperature.

    Args:
        mean, std: `[B, Z]`.
        noise: `[B, Z]` standard normal.
        temperature: above 1 makes the dream less certain.
    """
    return mean + std * noise * (temperature.sqrt() if isinstance(temperature, Tensor) else math.sqrt(temperature))


def sample_categorical(logits: Tensor, noise: Tensor, temperature: PerLane = 1.0, unimix: float = 0.0) -> Tensor:
    """Return one draw per group of categoricals as one-hots; gradients pass straight through to the probabilities.

    Args:
        logits: `[B, G, K]` unnormalised log-weights.
        noise: `[B, G]` standard normal.
        temperature: divides the logits; above 1 makes the dream less certain.
        unimix: share of the probability that is then spread evenly over the classes.

    Returns:
        `[B, G, K]` float.

    Source: Hafner et al. 2021 (Dreamer V2), algorithm 1, for the gradient. The class is chosen by inverting the
    cumulative weights, which needs one number where the Gumbel trick needs K.
    """
    weights = logits.transpose(1, 2)  # [B, K, G]: torch reduces over a short last axis twenty times slower
    if isinstance(temperature, Tensor):
        weights = weights / temperature[:, :, None]
    elif temperature != 1:
        weights = weights / temperature
    weights = weights.softmax(1)
    if unimix > 0:
        weights = (1 - unimix) * weights + unimix / weights.shape[1]
    below = torch.special.ndtr(noise)[:, None] > weights.cumsum(1)[:, :-1]  # [B, K - 1, G]
    classes = below.sum(1, keepdim=True)  # [B, 1, G]
    chosen = torch.zeros_like(weights).scatter_(1, classes, 1)
    if torch.is_grad_enabled():
        chosen = chosen + (weights - weights.detach())
    return chosen.transpose(1, 2)


def log_probs(logits: Tensor, unimix: float = 0.0, dim: int = -1) -> Tensor:
    """Return the log-probabilities of categoricals over the axis `dim`, as `sample_categorical` draws from them."""
    if unimix == 0:
        return logits.log_softmax(dim)
    return ((1 - unimix) * logits.softmax(dim) + unimix / logits.shape[dim]).log()


def most_likely(logits: Tensor) -> Tensor:
    """Return `[B, G, K]` one-hots of the likeliest class of each group."""
    return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1)


def sample_mixture(logits: Tensor, mean: Tensor, std: Tensor, noise: Tensor, temperature: PerLane = 1.0) -> Tensor:
    """Return one draw per latent dimension from a mixture of Gaussians.

    Args:
        logits: `[B, Z, K]` unnormalised log-weights.
        mean, std: `[B, Z, K]`, latent units.
        noise: `[B, 2 * Z]` standard normal: the first half picks the component, the second the offset.
        temperature: divides the logits and multiplies the variance; above 1 makes the dream less certain.

    Returns:
        `[B, Z]`, latent units. Gradients reach the chosen component's mean and std, not the weights.

    Source: Ha & Schmidhuber 2018, appendix A.2. The component is chosen by inverting the cumulative weights, which
    needs one number where the Gumbel trick needs K.
    """
    choice, offset = noise.chunk(2, 1)  # [B, Z] each
    # K in the middle: torch reduces over a short last axis twenty times slower
    logits, mean, std = (x.transpose(1, 2) for x in (logits, mean, std))  # [B, K, Z]
    heat = temperature[:, :, None] if isinstance(temperature, Tensor) else temperature
    cumulative = (logits / heat).softmax(1).cumsum(1)[:, :-1]  # [B, K - 1, Z]
    component = (torch.special.ndtr(choice)[:, None] > cumulative).sum(1, keepdim=True)  # [B, 1, Z]
    mean, std = mean.gather(1, component).squeeze(1), std.gather(1, component).squeeze(1)
    return sample_normal(mean, std, offset, temperature)


def mixture_nll(logits: Tensor, mean: Tensor, log_std: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of each target under its mixture, in nats.

    Args:
        logits, mean, log_std: `[..., Z, K]`.
        target: `[..., Z]`.

    Returns:
        `[..., Z]`.

    Source: Graves 2013, equation 26, one-dimensional components.
    """
    logits, mean, log_std = (x.transpose(-1, -2) for x in (logits, mean, log_std))  # [..., K, Z]: fast to reduce
    scaled = (target[..., None, :] - mean) * (-log_std).exp()
    log_density = -0.5 * scaled.square() - log_std - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(logits.log_softmax(-2) + log_density, -2)
