"""A step of an `mlp_ensemble` on a processor while no gradient is wanted: the same numbers with the lanes laid last.

Products of small matrices, sums over members and the few numbers of an observation are all faster that way round, and
lanes that are sorted by who dreams them need no other member's answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
_MANY = 4096
"""Lanes up to which the numbers of many steps do not leave the cache all the time."""
_SLOTS = 8
"""Members are asked about a multiple of so many lanes: products of odd widths take longer."""


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
    disagreement = None
    if report or not (order := _sorted(member[None], folded)):
        out = folded.members(read[None], activation)  # [E, ..., L]
        chosen = _of_lanes(out, member)
        if report:
            squares = torch.mm(folded.centre, out.flatten(1)[:, : width * lanes]).square_()  # [E, O * L]
            disagreement = torch.mv(squares.view(-1, lanes).t(), folded.weight).sqrt_()
    else:
        (asked,) = order.lay(read)
        chosen = _of_slots(folded, activation, asked).index_select(1, order.places)
    change, reward, doubt = chosen.split(folded.parts)
    after = _moved(folded, now, change, doubt, _luck(folded, noise[:, :width].t(), temperature))
    ending = _endings(folded, activation, after, read)
    return Dreamed(after.t().contiguous(), reward[0] if len(reward) else None, ending, disagreement)


@lru_cache(maxsize=16)
def _ones(lanes: int) -> Tensor:
    """Return `[1, L]`, which nobody writes to."""
    return torch.ones(1, lanes)


@dataclass(frozen=True)
class Unfolded:
    """What follows in L lanes in H steps."""

    obs: Tensor
    """`[O, H + 1, L]` standardised, the first ones as well."""
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
    if lanes > _MANY:
        some = [obs.split(_MANY), *(x.split(_MANY, 1) for x in (actions, members, noise))]
        heats = temperature.split(_MANY) if isinstance(temperature, Tensor) else [temperature] * len(some[0])
        parts = [unroll(folded, activation, *given) for given in zip(*some, heats, strict=True)]
        paid = [part.reward for part in parts if part.reward is not None]
        reached, ending = torch.cat([part.obs for part in parts], 2), torch.cat([part.ending for part in parts], 1)
        return Unfolded(reached, torch.cat(paid, 1) if paid else None, ending)
    known = torch.cat([actions.permute(2, 0, 1).flatten(1), actions.new_ones(1, steps * lanes)])  # [A + 1, H * L]
    luck = _luck(folded, noise[:, :, :width].permute(2, 0, 1), temperature)  # [O, H, L]
    order = _sorted(members, folded)
    lay = order.lay if order else lambda rows: rows.split(lanes, 1)
    known_then, luck_then = lay(known), [None] * steps if luck is None else lay(luck.flatten(1))
    now, seen, rewards = obs.t(), [], []
    for t in range(steps):
        if order:
            now = now.index_select(1, order.before[t])
        read = torch.cat([now, known_then[t]])  # [O + A + 1, slots]
        if order:
            chosen = _of_slots(folded, activation, read)
        else:
            chosen = _of_lanes(folded.members(read[None], activation), members[t])
        change, reward, doubt = chosen.split(folded.parts)
        now = _moved(folded, now, change, doubt, luck_then[t])
        seen.append(now)
        rewards.append(reward)
    after, reward = torch.cat(seen, 1), torch.cat(rewards, 1)
    if order:
        after, reward = (x.index_select(1, order.places) for x in (after, reward))  # [O, H * L], [1, H * L]
    whole = torch.cat([obs.t(), after], 1)  # [O, (H + 1) * L]
    ending = _endings(folded, activation, after, torch.cat([whole[:, : steps * lanes], known]))
    rewarded = reward.view(steps, lanes) if len(reward) else None
    return Unfolded(whole.view(width, -1, lanes), rewarded, ending.view(steps, lanes))


def _of_lanes(out: Tensor, member: Tensor) -> Tensor:
    """Return of what all members say, `[E, ..., L]`, what those say who dream, `[..., L]`."""
    return out[0] if len(out) == 1 else out.gather(0, member.expand(1, *out.shape[1:]))[0]


def _of_slots(folded: Folded, activation: Activation, read: Tensor) -> Tensor:
    """Return `[..., slots]` what members say of what they read, `[O + A + 1, slots]`, laid by an `_Order`."""
    asked = read.view(len(read), len(folded.centre), -1).transpose(0, 1)  # [E, O + A + 1, each]
    return folded.members(asked, activation).transpose(0, 1).flatten(1)


def _luck(folded: Folded, normals: Tensor, temperature: PerLane) -> Tensor | None:
    """Return what standard deviations are multiplied with, `[O, ..., L]` like `normals`; None without variances."""
    if folded.variance is None:
        return None
    if isinstance(temperature, Tensor):
        return normals * temperature.sqrt()[:, 0]
    return normals if temperature == 1 else normals * math.sqrt(temperature)


def _moved(folded: Folded, now: Tensor, change: Tensor, doubt: Tensor, luck: Tensor | None) -> Tensor:
    """Return the observations `[O, L]` that follow `now [O, L]`, by what members say of change and variance."""
    after = now + change
    if luck is None or folded.variance is None:
        return after
    variance = torch.addcmul(*folded.variance[:1], folded.variance[1], doubt.sigmoid())
    return after.addcmul_(variance.sqrt_(), luck)


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


def _sorted(members: Tensor, folded: Folded) -> _Order | None:
    """Return the order of lanes by who dreams them, `[H, L]`; None where it costs less to ask everybody."""
    count = len(folded.centre)
    return _Order(members.numpy(), count) if count > 1 and members.shape[1] > _FEW else None


class _Order:
    """Where the L lanes of H steps are dreamed: those of a member side by side, as many slots in a step for each.

    Args:
        members: `[H, L]` int64 in [0, E), who dreams.
        count: E.
    """

    before: Sequence[Tensor]
    """H of `[slots]` int64, in which slot of the step before the lane of a slot was; at first, which lane it is."""
    places: Tensor
    """`[H * L]` int64, the slot of each, those of all steps counted through."""

    def __init__(self, members: np.ndarray, count: int) -> None:
        steps, lanes = members.shape
        row = np.arange(steps)[:, None]
        order = np.argsort(members.astype(np.int16), axis=1, kind="stable")  # NumPy sorts these by counting
        order = (order + lanes * row).ravel()  # of H * L: by step, then by who dreams
        counts = np.bincount((members + count * row).ravel(), minlength=steps * count).reshape(steps, count)
        each = -(-counts.max(1, keepdims=True) // _SLOTS) * _SLOTS  # [H, 1]
        self._sizes = (count * each[:, 0]).tolist()
        begins = np.cumsum([0, *self._sizes])
        ahead = (begins[:-1, None] + np.arange(count) * each).ravel() - (np.cumsum(counts) - counts.ravel())
        slots = np.arange(steps * lanes) + np.repeat(ahead, counts.ravel())
        places = np.empty_like(slots)
        places[order] = slots
        source = np.repeat(lanes * row, self._sizes)  # what is left over dreams a step's first lane
        source[slots] = order
        first, within = self._sizes[0], places.reshape(steps, lanes) - begins[:-1, None]
        before = np.concatenate([source[:first], within.ravel()[source[first:] - lanes]])
        self._source, self.places = torch.from_numpy(source), torch.from_numpy(places)
        self.before = torch.from_numpy(before).split(self._sizes)

    def lay(self, rows: Tensor) -> Sequence[Tensor]:
        """Return of numbers `[n, H * L]` for each step `[n, slots]`."""
        return rows.index_select(1, self._source).split(self._sizes, 1)
