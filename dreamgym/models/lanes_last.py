"""A step of an `mlp_ensemble` on a processor while no gradient is wanted: the same numbers with the lanes laid last.

Products of small matrices, sums over members and the few numbers of an observation are all faster that way round, and
lanes that are sorted by who dreams them need no other member's answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtri

from dreamgym.core.sampling import PerLane
from dreamgym.models.folded import Activation, Folded, Net

_FEW = 48
"""Lanes up to which it costs less to ask all members than to sort the lanes."""
_MANY = 4096
"""Lanes up to which the numbers of many steps do not leave the cache all the time."""
_SLOTS = 8
"""Members are asked about a multiple of so many lanes: products of odd widths take longer."""


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
    if len(obs) > _MANY:
        some = [obs.split(_MANY), *(x.split(_MANY, 1) for x in (actions, members, noise))]
        heats = temperature.split(_MANY) if isinstance(temperature, Tensor) else [temperature] * len(some[0])
        parts = [unroll(folded, activation, *given) for given in zip(*some, heats, strict=True)]
        paid = [part.reward for part in parts if part.reward is not None]
        reached, ending = torch.cat([part.obs for part in parts], 2), torch.cat([part.ending for part in parts], 1)
        return Unfolded(reached, torch.cat(paid, 1) if paid else None, ending)
    found = _unroll(folded, activation, obs, actions, members, noise, temperature)
    # no gradient can pass what was made in inference mode
    reward = None if found.reward is None else found.reward.clone()
    return Unfolded(found.obs.clone(), reward, found.ending.clone())


@torch.inference_mode()  # its operators cost less to begin
def _unroll(
    folded: Folded,
    activation: Activation,
    obs: Tensor,
    actions: Tensor,
    members: Tensor,
    noise: Tensor,
    temperature: PerLane,
) -> Unfolded:
    """Return what `unroll` returns, all lanes at once."""
    (steps, lanes), width = members.shape, obs.shape[1]
    known = torch.cat([actions.permute(2, 0, 1).flatten(1), actions.new_ones(1, steps * lanes)])  # [A + 1, H * L]
    luck = _luck(folded, noise[:, :, :width].permute(2, 0, 1), temperature)  # [O, H, L]
    order = _sorted(members, folded)
    lay = order.lay if order else lambda rows: rows.split(lanes, 1)
    known_then, luck_then = lay(known), [None] * steps if luck is None else lay(luck.flatten(1))
    before = order.before() if order else ()
    now, seen, rewards = obs.t(), [], []
    for t in range(steps):
        if before:
            now = now.index_select(1, before[t])
        read = torch.cat([now, known_then[t]])  # [O + A + 1, slots]
        if before:
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
        self._within = places.reshape(steps, lanes) - begins[:-1, None]
        self._source, self.places = torch.from_numpy(source), torch.from_numpy(places)

    def before(self) -> Sequence[Tensor]:
        """Return H of `[slots]` int64, in which slot of the step before the lane of a slot was; at first, the lane."""
        source, first = self._source.numpy(), self._sizes[0]
        moved = self._within.ravel()[source[first:] - self._within.shape[1]]
        return torch.from_numpy(np.concatenate([source[:first], moved])).split(self._sizes)

    def lay(self, rows: Tensor) -> Sequence[Tensor]:
        """Return of numbers `[n, H * L]` for each step `[n, slots]`."""
        return rows.index_select(1, self._source).split(self._sizes, 1)
