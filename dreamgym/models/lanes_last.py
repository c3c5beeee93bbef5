"""A step of an `mlp_ensemble` on a processor while no gradient is wanted: the same numbers with the lanes laid last.

Products of small matrices, sums over members and the few numbers of an observation are all faster that way round, and
lanes that are sorted by who dreams them need no other member's answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtri

from dreamgym.core.sampling import PerLane

Activation = Callable[[Tensor], Tensor]

_LANES = 256
"""Lanes of all members whose hidden numbers stay in the processor's cache from layer to layer."""
_FEW = 48
"""Lanes up to which it costs less to ask all members than to sort the lanes."""


@dataclass(frozen=True)
class Net:
    """Perceptrons that share nothing but their shape, the biases of the first layer among its weights."""

    weights: list[Tensor]
    """`[E, n, k]` of each layer; the first one's last column meets a 1."""
    biases: list[Tensor]
    """`[E, n, 1]` of each layer but the first."""

    def __call__(self, x: Tensor, activation: Activation) -> Tensor:
        """Return the answers `[E, n, L]` to `x [E, k, L]`, or to the same `[1, k, L]` for all of them."""
        first, *others = self.weights
        one = len(x) == 1  # then a single product serves all of them
        out = torch.mm(first.flatten(0, 1), x[0]).view(*first.shape[:2], -1) if one else torch.bmm(first, x)
        for weight, bias in zip(others, self.biases, strict=True):
            out = torch.baddbmm(bias, weight, activation(out))
        return out

    def by_parts(self, x: Tensor, activation: Activation, lanes: int) -> Tensor:
        """Return the same, some lanes at a time."""
        if x.shape[2] <= lanes:
            return self(x, activation)
        return torch.cat([self(part, activation) for part in x.split(lanes, 2)], 2)


@dataclass(frozen=True)
class Folded:
    """What an ensemble computes with: O numbers of an observation, M that are predicted."""

    members: Net
    """Of those that dream; reads observation, action in env units, and 1."""
    ending: Net | float
    """Reads the observation that is reached, and what the members read; or the share of transitions that end."""
    variance: tuple[Tensor, Tensor, Tensor] | None
    """`[O, 1]` each: highest log-variance; the exponentials of the lowest and of the highest."""
    change: tuple[Tensor, Tensor]
    """`[O, 1]` each, shift and gain of a predicted change."""
    reward: tuple[Tensor, float] | None
    """Mean `[]` and standard deviation of it, if the members predict it: after the changes."""
    varies: Tensor
    """`[E * O]`, 1 / (E * O) for what varies, else 0."""


def fold(
    probabilistic: bool,
    layers: int,
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
    weights, biases, others = others[:layers], others[layers : 2 * layers], others[2 * layers :]
    obs_std, action_std = (torch.where(std > 0, std, 1) for std in (obs_std, action_std))

    def reading(weight: Tensor, bias: Tensor) -> Tensor:
        """Return `[E, n, O + A + 1]` first weights that read an action in env units and have the biases `[E, n]`."""
        weight, bias = weight.double(), bias.double()
        acting = weight[:, :, width:] / action_std
        return torch.cat([weight[:, :, :width], acting, (bias - acting @ action_mean)[:, :, None]], 2).to(dtype)

    turned = [weight[elites].transpose(1, 2).contiguous() for weight in weights]
    across = [bias[elites].transpose(1, 2).contiguous() for bias in biases]
    members = Net([reading(turned[0], across[0][:, :, 0]), *turned[1:]], across[1:])
    ending: Net | float = float(ending_mean)
    if tells and float(ending_std) > 0:
        (first, *later), (bias, *later_biases) = others[::2], others[1::2]
        now, after = first[:, :-width], first[:, -width:]
        top = torch.cat([after, reading(now[None], bias[None])[0]], 1)
        ending = Net([top[None], *(w[None] for w in later)], [b[None, :, None] for b in later_biases])
    variance = None
    if bounds:
        highest, lowest = (bound[:width, None].double() for bound in bounds)
        variance = highest.to(dtype), lowest.exp().to(dtype), highest.exp().to(dtype)
    shift, gain = ((x / obs_std)[:, None].to(dtype) for x in (change_mean, change_std))
    varies = ((gain > 0) / (len(elites) * width)).flatten().repeat(len(elites)).to(dtype)
    reward = (reward_mean[0].to(dtype), float(reward_std)) if pays else None
    return Folded(members, ending, variance, (shift, gain), reward, varies)


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
    count = len(folded.members.weights[0])
    now = obs.t()
    read = torch.cat([now, action.t(), obs.new_ones(1, lanes)])  # [O + A + 1, L]
    disagreement = None
    if count == 1:
        chosen = folded.members.by_parts(read[None], activation, _LANES)[0]
    elif report or lanes <= _FEW:
        out = folded.members.by_parts(read[None], activation, _LANES)  # [E, ..., L]
        chosen = out.gather(0, member.expand(1, out.shape[1], lanes))[0]  # [..., L]
        if report:
            means = out[:, :width]
            squares = (means - means.mean(0)).square_().flatten(0, 1)  # [E * O, L]
            disagreement = torch.mv(squares.t(), folded.varies).sqrt_()
    else:
        columns, places, each = _sorted(member.numpy(), count)
        asked = read.index_select(1, columns).view(len(read), count, each).transpose(0, 1)  # [E, O + A + 1, each]
        out = folded.members.by_parts(asked, activation, _LANES)  # [E, ..., each]
        chosen = out.transpose(0, 1).flatten(1).index_select(1, places)
    (shift, gain), change = folded.change, chosen[:width]
    if folded.variance is not None:
        highest, low, high = folded.variance
        # a softplus within a softplus, as an exponent: a sigmoid between the exponentials of the bounds
        raw = chosen[len(chosen) // 2 :][:width]
        std = torch.addcmul(low, high, (raw - highest).sigmoid_()).sqrt_()
        if isinstance(temperature, Tensor):
            std *= temperature.sqrt().t()
        elif temperature != 1:
            std *= math.sqrt(temperature)
        change = std.mul_(noise[:, :width].t()).add_(change)
    after = torch.addcmul(now + shift, gain, change)  # [O, L]
    if isinstance(folded.ending, Net):
        ending = folded.ending.by_parts(torch.cat([after, read])[None], activation, count * _LANES)[0, 0].sigmoid_()
    else:
        ending = obs.new_full((lanes,), folded.ending)
    reward = None
    if folded.reward is not None:
        mean, scale = folded.reward
        reward = torch.add(mean, chosen[width], alpha=scale)
    return Dreamed(after.t().contiguous(), reward, ending, disagreement)


def draw_members(noise: Tensor, count: int) -> Tensor:
    """Return `[L]` int64, members that standard normals `[L]` draw."""
    return torch.from_numpy(np.searchsorted(_cuts(count), noise.numpy(), side="right"))


@lru_cache(maxsize=16)
def _cuts(count: int) -> np.ndarray:
    """Return what divides the standard normals into as many equally likely parts."""
    return ndtri(torch.arange(1, count, dtype=torch.float64) / count).float().numpy()


def _sorted(member: np.ndarray, count: int) -> tuple[Tensor, Tensor, int]:
    """Return which lanes each member dreams, and where each lane is found among them.

    Returns:
        `[E * each]` int64 lanes, those of a member side by side, filled up with the first lane; `[L]` int64 places
        among these; each.
    """
    member = member.astype(np.int16)  # NumPy sorts these by counting
    order, counts = np.argsort(member, kind="stable"), np.bincount(member, minlength=count)
    each = -(-int(counts.max()) // 16) * 16
    places_of = np.arange(len(member)) + np.repeat(np.arange(count) * each - (np.cumsum(counts) - counts), counts)
    columns, places = np.zeros(count * each, np.int64), np.empty(len(member), np.int64)
    columns[places_of], places[order] = order, places_of
    return torch.from_numpy(columns), torch.from_numpy(places), each
