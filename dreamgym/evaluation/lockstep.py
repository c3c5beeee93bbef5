"""Real episodes played by something that acts on the world model's whole state, such as a planner; several at once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.filter import observe_real
from dreamgym.core.tree import gather
from dreamgym.envs.twin import make_real
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.transfer import Outcome
from dreamgym.hub import LoadedDream


@runtime_checkable
class StateActor(Protocol):
    """Acts for several lanes at once, on their states; an `Actor` sees features alone."""

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin as many episodes as there are seeds; what a lane does depends on its own seed alone."""

    def keep(self, lanes: Tensor) -> None:
        """Go on with these lanes `[K]` alone: the episodes of the others have ended."""

    def act_on(self, state: Any) -> np.ndarray:
        """Return `[B, ...]` actions in env units for the states of `B` lanes."""


@torch.no_grad()
def play_in_lockstep(dream: LoadedDream, actor: StateActor, seeds: Sequence[int], lanes: int = 1) -> list[Outcome]:
    """Return one real episode a seed, in order, `lanes` of them played at once so that the actor serves them together.

    The real observations are filtered through the dream's model, by the posterior's mean. An episode depends on its own
    seed alone, within rounding.

    Args:
        dream: its real twin is played; its model, wrapped or not, filters.
        actor: what acts.
        seeds: of the episodes.
        lanes: how many are played at once.

    Raises:
        InvalidArgument: if no lane is wanted.
        MissingExtra: if the real env needs a package that is not installed.
    """
    if lanes < 1:
        raise InvalidArgument(f"lanes is {lanes}; expected at least 1.")
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        envs = [stack.enter_context(contextlib.closing(make_real(dream))) for _ in range(min(lanes, len(seeds)))]
        for first in range(0, len(seeds), lanes):
            outcomes += _play(dream, actor, envs, seeds[first : first + lanes])
    return outcomes


def _play(dream: LoadedDream, actor: StateActor, envs: Sequence[Any], seeds: Sequence[int]) -> list[Outcome]:
    """Return the episodes of one set of seeds; a lane whose episode has ended is planned for no more."""
    running = list(range(len(seeds)))
    outcomes = [Outcome(0.0, 0, False)] * len(seeds)
    actor.reset(seeds)
    state = observe_real(
        dream.model, None, [env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=False)]
    )
    while running:
        actions = actor.act_on(state)
        obs, going_on = [], []
        for lane, action in zip(running, actions, strict=True):
            seen, reward, terminated, truncated, _ = envs[lane].step(action)
            before = outcomes[lane]
            outcomes[lane] = Outcome(before.total_reward + float(reward), before.length + 1, bool(terminated))
            obs.append(seen)
            going_on.append(not (terminated or truncated))
        state = observe_real(dream.model, state, obs, actions)
        if not all(going_on):
            kept = torch.tensor(going_on).nonzero()[:, 0]
            running = [lane for lane, goes_on in zip(running, going_on, strict=True) if goes_on]
            state = gather(state, kept)
            actor.keep(kept)
    return outcomes
