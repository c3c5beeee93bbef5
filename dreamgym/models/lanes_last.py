"""A step of an `mlp_ensemble` on a processor while no gradient is wanted: the same numbers with the lanes laid last.

Products of small matrices, sums over members and the few numbers of an observation are all faster that way round, and
lanes that are sorted by who dreams them need no other member's answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtri

from dreamgym.core.sampling import PerLane

Activation = Callable[[Tensor], Tensor]

_LANES = 1024
"""Lanes of one member whose hidden numbers stay in the processor's cache from layer to layer."""
_TOGETHER = 256
"""Lanes up to which it costs less to ask all members in one product a layer than one after the other."""
_FEW = 48
"""Lanes up to which it costs less to ask all members than to sort the lanes."""


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
        if x.shape[2] > _LANES:
            return torch.cat([self(part, activation) for part in x.split(_LANES, 2)], 2)
        if x.shape[2] <= _TOGETHER:
            return self._together(x, activation)
        out = x.new_empty(len(self.apart), self.weights[-1].shape[1], x.shape[2])
        asked = x.unbind() * (len(out) // len(x))
        for (*hidden, last), numbers, answer in zip(self.apart, asked, out.unbind(), strict=True):
            for weight in hidden:
                numbers = activation(torch.mm(weight, numbers))
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
    pays: bool
    """Whether the reward is predicted."""
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
    return Folded(members, variance, ending, pays, centre, weight.repeat(count).to(dtype))


@dataclass(frozen=True)
class Dreamed:
    """What follows in L lanes."""

    obs: Tensor
    """`[L, O]` standardised."""
    reward: Tensor | None
    """`[L]` env units; None where the members predict none."""
    ending: Tensor
    """`[L]`, the probability, as far as the perceptron of endings tells it."""
    disagreement: Tensor | None
    """`[L]`; None if not asked for, or of one member."""


def dream(
    folded: Folded,
    activation: Activation,
    obs: Tensor,
    action: Tensor,
    member: Tensor,
    noise: Tensor,
    temperature: PerLane,
    report: bool,
) -> Dreamed:
    """Return what `MlpEnsemble.step` returns, within rounding.

    Args:
        folded: what `fold` returned.
        activation: of the hidden layers, in place.
        obs: `[L, O]` standardised.
        action: `[L, A]` env units.
        member: `[L]` int64 in [0, E), who dreams.
        noise: `[L, O]` standard normals or more; not looked at without variances.
        temperature: of the dream, a number or `[L, 1]`.
        report: whether the disagreement is wanted.
    """
    lanes, width = obs.shape
    now = obs.t()
    read = torch.cat([now, action.t(), _ones(lanes)])  # [O + A + 1, L]
    if report:
        out = folded.members(read[None], activation)  # [E, ..., L]
        chosen = out.gather(0, member.expand(1, out.shape[1], lanes))[0]  # [..., L]
    else:
        chosen = _ask(folded.members, activation, read, _sort(member[None].numpy(), folded), 0)
    after = _moved(folded, now, chosen, noise[:, :width].t(), _spread(temperature))
    disagreement = None
    if report:
        squares = torch.mm(folded.centre, out.flatten(1)[:, : width * lanes]).square_()  # [E, O * L]
        disagreement = torch.mv(squares.view(-1, lanes).t(), folded.weight).sqrt_()
    reward = chosen[width] if folded.pays else None
    return Dreamed(after.t().contiguous(), reward, _endings(folded, activation, after, read), disagreement)


@lru_cache(maxsize=16)
def _ones(lanes: int) -> Tensor:
    """Return `[1, L]`, which nobody writes to."""
    return torch.ones(1, lanes)


@dataclass(frozen=True)
class Unfolded:
    """What follows in L lanes in H steps."""

    obs: Tensor
    """`[H + 1, O, L]` standardised, the first ones as well."""
    reward: Tensor | None
    """`[H, L]` env units; None where the members predict none."""
    ending: Tensor
    """`[H, L]`, the probability, as far as the perceptron of endings tells it."""


def unroll(
    folded: Folded,
    activation: Activation,
    obs: Tensor,
    actions: Tensor,
    members: Tensor,
    noise: Tensor,
    temperature: PerLane,
) -> Unfolded:
    """Return what so many calls of `dream` return; what does not hang on the step before is done for all at once.

    Args:
        folded: what `fold` returned.
        activation: of the hidden layers, in place.
        obs: `[L, O]` standardised.
        actions: `[H, L, A]` env units.
        members: `[H, L]` int64 in [0, E), who dreams.
        noise: `[H, L, O]` standard normals or more.
        temperature: of the dream, a number or `[L, 1]`.
    """
    (steps, lanes), width = members.shape, obs.shape[1]
    known = torch.cat([actions.transpose(1, 2), actions.new_ones(steps, 1, lanes)], 1)  # [H, A + 1, L]
    luck = noise[:, :, :width].transpose(1, 2).contiguous() if folded.variance is not None else [obs] * steps
    order, spread = _sort(members.numpy(), folded), _spread(temperature)
    now, seen, read, rewards = obs.t().contiguous(), [], [], []
    seen.append(now)
    for t in range(steps):
        read.append(torch.cat([now, known[t]]))
        chosen = _ask(folded.members, activation, read[-1], order, t)
        now = _moved(folded, now, chosen, luck[t], spread)
        seen.append(now)
        rewards.append(chosen[width] if folded.pays else now)
    whole = torch.cat(seen[1:], 1), torch.cat(read, 1)  # [..., H * L]
    ending = _endings(folded, activation, *whole).view(steps, lanes)
    return Unfolded(torch.stack(seen), torch.stack(rewards) if folded.pays else None, ending)


def _moved(folded: Folded, now: Tensor, chosen: Tensor, noise: Tensor, spread: float | Tensor) -> Tensor:
    """Return the observations `[O, L]` that follow `now [O, L]`, by what the chosen members say `[..., L]`."""
    width = len(now)
    if folded.variance is None:
        return now + chosen[:width]
    std = torch.addcmul(*folded.variance[:1], folded.variance[1], chosen[-width:].sigmoid()).sqrt_()
    if isinstance(spread, Tensor) or spread != 1:
        std *= spread
    return torch.addcmul(now + chosen[:width], std, noise)


def _spread(temperature: PerLane) -> float | Tensor:
    """Return what the temperature multiplies standard deviations with, a number or `[1, L]`."""
    return temperature.sqrt().t() if isinstance(temperature, Tensor) else math.sqrt(temperature)


def _endings(folded: Folded, activation: Activation, after: Tensor, read: Tensor) -> Tensor:
    """Return `[L]` the probability that the episode ends with observations `[O, L]`, and what the members had read."""
    if not isinstance(folded.ending, Net):
        return after.new_full(after.shape[1:], folded.ending)
    return folded.ending(torch.cat([after, read])[None], activation)[0, 0].sigmoid_()


def draw_members(noise: Tensor, count: int) -> Tensor:
    """Return int64 members `[...]` that standard normals `[...]` draw."""
    return torch.bucketize(noise.contiguous(), _cuts(count), right=True)


@lru_cache(maxsize=16)
def _cuts(count: int) -> Tensor:
    """Return what divides the standard normals into as many equally likely parts."""
    return ndtri(torch.arange(1, count, dtype=torch.float64) / count).float()


@dataclass(frozen=True)
class _Order:
    """Which lanes each of E members dreams in each of H steps."""

    columns: Tensor | None
    """`[H, E * each]` int64 lanes, those of a member side by side, filled up with the first one; None if not sorted."""
    places: Tensor
    """`[H, L]` int64, where a lane is found among these; the members, if not sorted."""
    each: int


def _sort(members: np.ndarray, folded: Folded) -> _Order:
    """Return the order of lanes by who dreams them, `[H, L]`."""
    (steps, lanes), count = members.shape, len(folded.members.weights[0])
    if count == 1 or lanes <= _FEW:
        return _Order(None, torch.from_numpy(members), lanes)
    order = np.argsort(members.astype(np.int16), axis=1, kind="stable")  # NumPy sorts these by counting
    row = np.arange(steps)[:, None]
    counts = np.bincount((members + count * row).ravel(), minlength=steps * count).reshape(steps, count)
    each = -(-int(counts.max()) // 16) * 16
    ahead = np.arange(count) * each - (np.cumsum(counts, 1) - counts)  # [H, E]
    places_of = np.arange(lanes) + np.repeat(ahead.ravel(), counts.ravel()).reshape(steps, lanes)
    columns, places = np.zeros((steps, count * each), np.int64), np.empty((steps, lanes), np.int64)
    columns[row, places_of], places[row, order] = order, places_of
    return _Order(torch.from_numpy(columns), torch.from_numpy(places), each)


def _ask(members: Net, activation: Activation, read: Tensor, order: _Order, t: int) -> Tensor:
    """Return `[..., L]` what those who dream say of what they read, `[O + A + 1, L]`."""
    count = len(members.weights[0])
    if order.columns is None:
        out = members(read[None], activation)  # [E, ..., L]
        return out[0] if count == 1 else out.gather(0, order.places[t].expand(1, *out.shape[1:]))[0]
    asked = read.index_select(1, order.columns[t]).view(len(read), count, order.each).transpose(0, 1)
    out = members(asked, activation)  # [E, ..., each]
    return out.transpose(0, 1).flatten(1).index_select(1, order.places[t])
