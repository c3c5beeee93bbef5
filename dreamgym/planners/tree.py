"""The trees of a search, one a lane, as tensors: all lanes descend, grow and are updated at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dreamgym.core.tree import gather, leaves

ROOT = 0


@dataclass(frozen=True)
class Descent:
    """Where each lane's descent ended; `[B]` each."""

    node: Tensor
    """The last node of the path."""
    action: Tensor
    """What to try there."""
    depth: Tensor
    """Steps from the root to `node`."""
    grows: Tensor
    """bool: `action` has not been tried there, so it leads to a node that is not yet in the tree."""


class Trees:
    """`L` trees of at most `M` nodes; node 0 is the root. The tensors are edited in place: they are the search's own.

    Args:
        state: `L` lanes of a world model, the roots.
        prior: `[L, A]` how likely each action of the roots is held to be good, summing to 1.
        num_nodes: M.
    """

    def __init__(self, state: Any, prior: Tensor, num_nodes: int) -> None:
        lanes, actions = prior.shape
        new, self._lane = prior.new_zeros, torch.arange(lanes, device=prior.device)
        self.visits = new(lanes, num_nodes)
        """`[L, M]` how often a node was evaluated or passed."""
        self.value = new(lanes, num_nodes)
        """`[L, M]` mean return from a node on."""
        self.reward = new(lanes, num_nodes)
        """`[L, M]` of the step that led to a node."""
        self.discount = new(lanes, num_nodes)
        """`[L, M]` of what comes after it; the probability that the episode goes on is in it."""
        self.parent = torch.full((lanes, num_nodes), -1, device=prior.device)
        self.action = torch.zeros_like(self.parent)
        """`[L, M]` the parent's action that led to a node."""
        self.child = torch.full((lanes, num_nodes, actions), -1, device=prior.device)
        """`[L, M, A]` the node that an action leads to; -1 before it was tried."""
        self.barred = torch.zeros_like(self.child, dtype=torch.bool)
        """`[L, M, A]` the action leads to what is not finite."""
        self.prior = new(lanes, num_nodes, actions)
        self.prior[:, ROOT] = prior
        self.states = gather(state, self._lane.repeat_interleave(num_nodes))  # of `L * M` lanes
        self._num_nodes = num_nodes

    def children(self, node: Tensor) -> tuple[Tensor, Tensor]:
        """Return how often each action of the nodes `[L]` was tried, and what it is worth, NaN if never; `[L, A]`."""
        lane = self._lane[:, None]
        child = self.child[self._lane, node]  # [L, A]
        known = child >= 0
        child = child.clamp(min=0)
        worth = self.reward[lane, child] + self.discount[lane, child] * self.value[lane, child]
        return torch.where(known, self.visits[lane, child], 0.0), torch.where(known, worth, torch.nan)

    def descend(self, horizon: int, c_init: float, c_base: float) -> Descent:
        """Return where the search goes next: down the best bounds to an action that is new, or to the horizon."""
        node = torch.full_like(self._lane, ROOT)
        depth, action, grows = torch.zeros_like(node), torch.zeros_like(node), torch.zeros_like(node, dtype=torch.bool)
        going = torch.ones_like(grows)
        for _ in range(horizon):
            visits, worth = self.children(node)
            barred = self.barred[self._lane, node]
            bound = puct(self.visits[self._lane, node], self.value[self._lane, node], visits, worth,
                         self.prior[self._lane, node], c_init, c_base)  # fmt: skip
            best = bound.masked_fill(barred, -torch.inf).argmax(1)  # [L]
            alive = going & ~barred.all(1)  # a node whose actions are all barred is an end
            below = self.child[self._lane, node, best]
            action, grows = torch.where(alive, best, action), grows | (alive & (below < 0))
            going = alive & (below >= 0)
            node, depth = torch.where(going, below, node), depth + going
            if not bool(going.any()):
                break
        return Descent(node, action, depth, grows)

    def state_of(self, node: Tensor) -> Any:
        """Return the states of the nodes `[L]`."""
        return gather(self.states, self._row(node))

    def grow(
        self, where: Tensor, at: Descent, new: int, state: Any, reward: Tensor, discount: Tensor, prior: Tensor
    ) -> None:
        """Add node `new` below `at` in the lanes `where [L]` holds; `[L, ...]` each."""
        lane, node, action = self._lane[where], at.node[where], at.action[where]
        self.child[lane, node, action] = new
        self.parent[lane, new], self.action[lane, new] = node, action
        self.reward[lane, new], self.discount[lane, new] = reward[where], discount[where]
        self.prior[lane, new] = prior[where]
        rows = lane * self._num_nodes + new
        for mine, given in zip(leaves(self.states), leaves(state), strict=True):
            mine[rows] = given[where]

    def update(self, where: Tensor, node: Tensor, value: Tensor) -> None:
        """Tell the nodes `[L]` and all above them of a return `[L]` from there on, in the lanes `where [L]` holds."""
        lane, node, value = self._lane[where], node[where], value[where]
        while len(lane):
            count = self.visits[lane, node]
            self.value[lane, node] = (self.value[lane, node] * count + value) / (count + 1)
            self.visits[lane, node] = count + 1
            value = self.reward[lane, node] + self.discount[lane, node] * value
            node = self.parent[lane, node]
            up = node >= 0
            lane, node, value = lane[up], node[up], value[up]

    def bar(self, where: Tensor, at: Descent) -> None:
        """Never try an action again in the lanes `where [L]` holds; a node without any other is barred as well."""
        lane, node, action = self._lane[where], at.node[where], at.action[where]
        while len(lane):
            self.barred[lane, node, action] = True
            up = self.barred[lane, node].all(1) & (node != ROOT)
            lane, node, action = lane[up], self.parent[lane, node][up], self.action[lane, node][up]

    def path(self, first: Tensor, horizon: int) -> Tensor:
        """Return `[L, H, A]` the path of most visits that begins with `first [L]`: one-hots, then zeros."""
        hot = torch.eye(self.child.shape[2], device=first.device)
        rows, node, known = [], torch.full_like(first, ROOT), torch.ones_like(first, dtype=torch.bool)
        for t in range(horizon):
            action = first
            if t > 0:
                visits, action = self.usable_visits(node).max(1)
                known = known & (visits > 0)
            rows.append(hot[action] * known[:, None])
            below = self.child[self._lane, node, action]
            known = known & (below >= 0)
            node = below.clamp(min=0)
        return torch.stack(rows, 1)

    def usable_visits(self, node: Tensor) -> Tensor:
        """Return `[L, A]` how often the actions of nodes `[L]` were tried, 0 for those that are barred."""
        return self.children(node)[0].masked_fill(self.barred[self._lane, node], 0)

    def _row(self, node: Tensor) -> Tensor:
        return self._lane * self._num_nodes + node


def puct(
    node_visits: Tensor, node_value: Tensor, visits: Tensor, worth: Tensor, prior: Tensor, c_init: float, c_base: float
) -> Tensor:
    """Return `[L, A]` how promising each action is: what it is known to be worth, and how little that is known.

    Worth is brought to [0, 1] by the least and the largest number among the node's value and its actions' worth, so
    that the scale of the rewards does not matter; an action that was never tried counts as the least.

    Args:
        node_visits, node_value: `[L]`.
        visits: `[L, A]` of the actions.
        worth: `[L, A]` of the actions, NaN if never tried.
        prior: `[L, A]`.
        c_init, c_base: how much the prior counts.

    Source: Schrittwieser et al. 2020 (MuZero), equation 2; Rosin 2011. MuZero takes the range from the whole tree.
    """
    known = ~worth.isnan()
    low = torch.minimum(node_value, worth.masked_fill(~known, torch.inf).amin(1))[:, None]
    high = torch.maximum(node_value, worth.masked_fill(~known, -torch.inf).amax(1))[:, None]
    scaled = torch.where(known, (worth - low) / (high - low).clamp(min=1e-8), 0.0)
    weight = c_init + ((node_visits + c_base + 1) / c_base).log()
    return scaled + (weight * node_visits.sqrt())[:, None] * prior / (1 + visits)
