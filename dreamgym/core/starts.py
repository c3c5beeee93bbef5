"""Where dreams begin: states of real situations, encoded once and shipped with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import action_dim, encode_action, encode_obs
from dreamgym.core.model import WorldModel
from dreamgym.core.tree import compact, concatenate, gather, leaves, num_lanes, to_device, tree_map, widen
from dreamgym.errors import InvalidArgument, InvalidDataset

S = TypeVar("S")

_TOGETHER = 64
"""Episodes filtered side by side: a batch of pictures costs little more than one."""

STARTS = ("all", "first")
"""Which states of a bank a dream begins in: any recorded situation, or only those that open an episode."""


@dataclass(frozen=True)
class StartBank(Generic[S]):
    """Real states from which a dream can begin; a reset is one gather."""

    states: S
    """`[N, ...]` each leaf; numbers as `compact` makes them, so that a bank of thousands stays small."""
    is_first: Tensor
    """`[N]` bool: the state opens an episode."""

    def __len__(self) -> int:
        return num_lanes(self.states)

    def only(self, which: str) -> StartBank[S]:
        """Return the bank of the states that `which` names, one of `STARTS`.

        Raises:
            InvalidArgument: if `which` is another word, or no state is left.
        """
        if which not in STARTS:
            raise InvalidArgument(f"starts is {which!r}; expected one of {', '.join(map(repr, STARTS))}.")
        if which == "all":
            return self
        index = self.is_first.nonzero()[:, 0]
        if len(index) == 0:
            raise InvalidArgument("starts is 'first', but no state of the start bank opens an episode; use 'all'.")
        return StartBank(gather(self.states, index), self.is_first[index])

    def sample(self, uniform: Tensor) -> S:
        """Return the states that `uniform [B]`, numbers in [0, 1), choose, in float32."""
        index = (uniform * len(self)).long().clamp_(max=len(self) - 1)
        return tree_map(widen, gather(self.states, index))

    def to(self, device: torch.device | str) -> StartBank[S]:
        """Return the bank on `device`."""
        return StartBank(to_device(self.states, device), self.is_first.to(device))


@torch.no_grad()
def observe_moments(model: WorldModel[S], episodes: Sequence[Any], wanted: Sequence[np.ndarray]) -> list[S]:
    """Return the posterior's mean states, one lane each, at some moments of episodes, which are filtered side by side.

    Args:
        model: the world model.
        episodes: B, with `obs` `[T + 1, ...]` and `action` `[T, ...]` in env units; `action[t]` leads from `obs[t]` to
            `obs[t + 1]`.
        wanted: of each episode the moments, numbers of observations, in the order in which they are returned.
    """
    state = model.initial(len(episodes))
    device = next(leaf.device for leaf in leaves(state) if isinstance(leaf, Tensor))
    noise = torch.zeros(len(episodes), model.noise_dim, device=device)
    action = torch.zeros(len(episodes), action_dim(model.action_space), device=device)
    found: dict[tuple[int, int], S] = {}
    for t in range(1 + max(int(moments.max()) for moments in wanted)):
        # a lane that is through sees its last moment again; nobody looks
        seen = tree_map(lambda *obs, t=t: np.stack([x[min(t, len(x) - 1)] for x in obs]), *(e.obs for e in episodes))
        if t:
            acted = np.stack([e.action[min(t, len(e.action)) - 1] for e in episodes])
            action = encode_action(model.action_space, acted).to(device)
        first = torch.full((len(episodes),), t == 0, device=device)
        state = model.observe(state, action, encode_obs(model.observation_space, seen, device), first, noise)
        for lane, moments in enumerate(wanted):
            if t in moments:
                found[lane, t] = gather(state, torch.tensor([lane], device=device))
    return [found[lane, int(t)] for lane, moments in enumerate(wanted) for t in moments]


@torch.no_grad()
def make_start_bank(
    model: WorldModel[S], episodes: Sequence[Any], num_states: int = 2000, first_share: float = 0.1, seed: int = 0
) -> StartBank[S]:
    """Return a bank of posterior states of recorded episodes.

    Args:
        model: the world model that encodes them.
        episodes: recorded episodes with `obs` `[T + 1, ...]` and `action` `[T, ...]` in env units.
        num_states: N, how many states the bank holds at most.
        first_share: share of the states that open an episode.
        seed: chooses episodes and moments. A state in which an episode ended is never chosen.

    Raises:
        InvalidDataset: if there is no episode.
    """
    if len(episodes) == 0:
        raise InvalidDataset("a start bank needs recorded episodes; got none.")
    rng = np.random.default_rng(seed)
    num_first = min(len(episodes), max(1, round(first_share * num_states)))
    firsts = [(int(index), np.zeros(1, np.int64)) for index in rng.permutation(len(episodes))[:num_first]]
    per_episode = max(1, -(-(num_states - num_first) // len(episodes)))
    per_episode = max(per_episode, 16)  # filtering an episode costs the same for one state of it as for sixteen
    later: list[tuple[int, np.ndarray]] = []
    left = num_states - num_first
    for index in rng.permutation(len(episodes)):
        if left <= 0:
            break
        moments = np.arange(1, len(episodes[int(index)].action))
        chosen = rng.permutation(moments)[: min(per_episode, left)]
        if len(chosen):
            later.append((int(index), chosen))
            left -= len(chosen)
    parts = [part[i : i + _TOGETHER] for part in (firsts, later) for i in range(0, len(part), _TOGETHER)]
    states = [
        state
        for part in parts
        for state in observe_moments(model, [episodes[i] for i, _ in part], [moments for _, moments in part])
    ]
    is_first = torch.arange(len(states)) < num_first
    return StartBank(to_device(tree_map(compact, concatenate(states)), "cpu"), is_first)
