"""What an `mlp_ensemble` computes with on a processor: its weights, with all scales and constants put into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

_LANES = 1024
"""Lanes of one member whose hidden numbers stay in the processor's cache from layer to layer."""
_TOGETHER = 256
"""Lanes up to which it costs less to ask all members in one product a layer than one after the other."""


@dataclass(frozen=True)
class Net:
    """Perceptrons that share nothing but their shape; biases are weights of a number that is never 0."""

    weights: list[Tensor]
    """`[E, n, k]` of each layer. The first one's last column meets a 1, each other one's the last hidden number, which
    is always what the activation makes of 1."""

    @cached_property
    def apart(self) -> list[tuple[Tensor, ...]]:
        """The same of each of the E, `[n, k]` of each layer."""
        return list(zip(*(layer.unbind() for layer in self.weights), strict=True))

    def __call__(self, x: Tensor, activation: Activation) -> Tensor:
        """Return the answers `[E, n, L]` to `x [E, k, L]`, or to the same `[1, k, L]` for all of them."""
        lanes = x.shape[2]
        if lanes <= _TOGETHER:
            return self._together(x, activation)
        out = x.new_empty(len(self.apart), self.weights[-1].shape[1], lanes)
        each = -(-lanes // -(-lanes // _LANES))
        # one place for all: memory that is asked for again and again may be handed back and zeroed in between
        rooms = [x.new_empty(weight.shape[1], each) for weight in self.weights[:-1]]
        for given, answers in zip(x.split(each, 2), out.split(each, 2), strict=True):
            some = rooms if given.shape[2] == each else [room[:, : given.shape[2]] for room in rooms]
            asked = given.unbind() * (len(out) // len(x))
            for (*hidden, last), numbers, answer in zip(self.apart, asked, answers.unbind(), strict=True):
                for weight, room in zip(hidden, some, strict=True):
                    numbers = activation(torch.mm(weight, numbers, out=room))
                torch.mm(last, numbers, out=answer)
        return out

    def _together(self, x: Tensor, activation: Activation) -> Tensor:
        first, *others = self.weights
        one = len(x) == 1  # then a single product serves all of them
        out = torch.mm(first.flatten(0, 1), x[0]).view(*first.shape[:2], -1) if one else torch.bmm(first, x)
        for weight in others:
            out = torch.bmm(weight, activation(out))
        return out


def _net(weights: list[Tensor], biases: list[Tensor], unit: float, dtype: torch.dtype) -> Net:
    """Return perceptrons of weights `[E, n, k]` and biases `[E, n, 1]`, of which the first layer reads a 1 as well.

    Args:
        weights, biases: of each layer.
        unit: what the activation makes of 1.
        dtype: of the products.
    """
    joined: list[Tensor] = []
    read = 1.0
    for weight, bias in zip(weights, biases, strict=True):
        layer = torch.cat([weight, bias / read], 2)
        if len(joined) < len(weights) - 1:
            row = layer.new_zeros(len(layer), 1, layer.shape[2])
            row[:, :, -1] = 1 / read
            layer = torch.cat([layer, row], 1)
        joined.append(layer.to(dtype))
        read = unit
    return Net(joined)


@dataclass(frozen=True)
class Folded:
    """What an ensemble computes with: the weights that dream, with all scales and constants put into them."""

    members: Net
    """Of E members; reads observation, action in env units, and 1. It answers the mean changes of the O numbers of an
    observation, the reward in env units if it is predicted, and what `variance` takes, if variances are."""
    variance: tuple[Tensor, Tensor] | None
    """`[O, 1]` each, a and b: the variance of a change is a + b * sigmoid of what a member says."""
    ending: Net | float
    """Reads the observation that is reached, and what the members read; or the share of transitions that end."""
    parts: tuple[int, int, int]
    """How many of a member's numbers are changes (O), rewards (0 or 1), and for variances (O or 0)."""
    centre: Tensor
    """`[E, E]`, takes the members' mean from what each of them says."""
    weight: Tensor
    """`[E * O]`, of squared deviations in the square of the disagreement."""


def fold(
    probabilistic: bool,
    layers: int,
    unit: float,
    pays: bool,
    tells: bool,
    dtype: torch.dtype,
    elites: Tensor,
    obs_mean: Tensor,
    obs_std: Tensor,
    action_mean: Tensor,
    action_std: Tensor,
    change_mean: Tensor,
    change_std: Tensor,
    reward_mean: Tensor,
    reward_std: Tensor,
    ending_mean: Tensor,
    ending_std: Tensor,
    *others: Tensor,
) -> Folded:
    """Return an ensemble's constants.

    Args:
        probabilistic: whether variances are predicted.
        layers: of each member.
        unit: what the activation makes of 1.
        pays: whether the members predict the reward.
        tells: whether a perceptron tells endings.
        dtype: float32.
        elites: `[E]`, the members that dream.
        obs_mean, obs_std, action_mean, action_std, change_mean, change_std, reward_mean, reward_std, ending_mean,
            ending_std: float64, the recordings'.
        others: highest and lowest log-variance `[M]`, if variances are predicted; weights `[N, k, n]`, then biases
            `[N, 1, n]` of the members' layers; of each layer of the perceptron of endings weights `[n, k]` and biases
            `[n]`, if there is one.
    """
    width, bounds, others = len(obs_std), others[: 2 * probabilistic], others[2 * probabilistic :]
    obs_std, action_std = (torch.where(std > 0, std, 1) for std in (obs_std, action_std))

    def reading(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return first weights `[E, n, O + A]` and biases `[E, n, 1]` that read an action in env units."""
        acting = weight[:, :, width:] / action_std
        return torch.cat([weight[:, :, :width], acting], 2), bias - acting @ action_mean[:, None]

    shift, gain = change_mean / obs_std, change_std / obs_std
    weights = [weight[elites].double().transpose(1, 2) for weight in others[:layers]]
    biases = [bias[elites].double().transpose(1, 2) for bias in others[layers : 2 * layers]]
    weights[0], biases[0] = reading(weights[0], biases[0])
    scales, offsets = [gain, *[reward_std] * pays], [shift, *[reward_mean] * pays]
    rows, variance = len(torch.cat(scales)), None
    keep = [*range(rows)]
    if bounds:
        highest, lowest = (bound[:width].double() for bound in bounds)
        # e^x of a softplus within a softplus, as log-variances have it, is a sigmoid between the bounds' exponentials
        low, high = ((gain.square() * bound.exp())[:, None].to(dtype) for bound in (lowest, highest))
        variance = low, high
        keep += range(rows, rows + width)
        scales, offsets = [*scales, torch.ones_like(gain)], [*offsets, -highest]
    scale, offset = torch.cat(scales)[:, None], torch.cat(offsets)[:, None]
    weights[-1], biases[-1] = weights[-1][:, keep] * scale, biases[-1][:, keep] * scale + offset
    members = _net(weights, biases, unit, dtype)
    ending: Net | float = float(ending_mean)
    if tells and float(ending_std) > 0:
        weights = [weight[None].double() for weight in others[2 * layers :: 2]]
        biases = [bias[None, :, None].double() for bias in others[2 * layers + 1 :: 2]]
        now, after = weights[0].tensor_split([weights[0].shape[2] - width], 2)
        now, biases[0] = reading(now, biases[0])
        ending = _net([torch.cat([after, now], 2), *weights[1:]], biases, unit, dtype)
    count = len(elites)
    centre = torch.eye(count, dtype=dtype) - 1 / count
    weight = torch.where(gain > 0, 1 / gain.square(), 0) / (count * width)
    parts = width, int(pays), width * bool(bounds)
    return Folded(members, variance, ending, parts, centre, weight.repeat(count).to(dtype))
