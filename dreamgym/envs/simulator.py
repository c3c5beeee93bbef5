"""Everything that counts episodes, written once: autoreset, time limit, terminations, seeding, diverged lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import Transition, WorldModel, check_heads
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import concatenate, finite_lanes, gather, known_finite, tree_map, where
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


@dataclass(frozen=True)
class Lanes(Generic[S]):
    """All that a simulator knows about its lanes: what `get_state` returns and `set_state` takes."""

    state: S
    """The world model's state."""
    seed: Tensor
    """`[B]` int64."""
    count: Tensor
    """`[B]` int64, steps since seeding: with the seed it names every random number of the next step."""
    episode: Tensor
    """`[B]` int64, episodes begun since seeding, the present one not counted."""
    elapsed: Tensor
    """`[B]` int64, steps of the present episode."""
    done: Tensor
    """`[B]` bool, the episode has ended and the lane waits for its reset."""


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """What one step of a simulator produced; `[B]` each."""

    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    diverged: Tensor
    """The model left the finite numbers: the lane was truncated in its last finite state."""
    info: Mapping[str, Tensor]
    """What the model reported, and `"termination"`, the probability behind `terminated`."""
    final: S | None = None
    """SAME_STEP only: the states before the lanes that ended were reset; None if it is known that none ended."""


def parse_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the mode; strings are Gymnasium's values ("NextStep") or names ("NEXT_STEP"), so that a spec stays JSON.

    Raises:
        InvalidArgument: if it is no mode.
    """
    for candidate in AutoresetMode:
        if mode in (candidate, candidate.value, candidate.name):
            return candidate
    known = ", ".join(repr(candidate.value) for candidate in AutoresetMode)
    raise InvalidArgument(f"autoreset_mode is {mode!r}; expected one of {known}.")


def _any(mask: Tensor) -> bool:
    """Return False if the mask is known to be empty; on an accelerator the host does not wait to know."""
    return mask.device.type != "cpu" or bool(mask.any())


class Simulator(Generic[S]):
    """Steps `B` lanes of a dream; a pure function of `Lanes`, so that any moment can be kept, restored and branched.

    Args:
        model: the world model.
        starts: where episodes begin.
        max_episode_steps: the time limit in steps; it sets only `truncated`. None is no limit.
        autoreset_mode: what happens to a lane whose episode has ended, as Gymnasium defines it.
        termination: `"draw"` terminates with the probability that the model gives, `"threshold"` where it exceeds 0.5,
            `"never"` leaves it to the caller, who reads it in the outcome's info.

    Raises:
        InvalidArgument: if an option is not one of those.
    """

    def __init__(
        self,
        model: WorldModel[S],
        starts: StartBank[S],
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        termination: str = "draw",
    ) -> None:
        if termination not in ("draw", "threshold", "never"):
            raise InvalidArgument(f"termination is {termination!r}; expected 'draw', 'threshold' or 'never'.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise InvalidArgument(f"max_episode_steps is {max_episode_steps}; expected at least 1, or None.")
        self.model = model
        self.starts = starts
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.termination = termination
        self._blocks = noise.Blocks()

    def begin(self, seed: Tensor) -> Lanes[S]:
        """Return lanes at the start of their first episodes.

        Args:
            seed: `[B]` int64; a lane's dream depends on its own seed and actions alone.
        """
        zeros = torch.zeros_like(seed)
        return Lanes(self._start(seed, zeros), seed, zeros, zeros, zeros, torch.zeros_like(seed, dtype=torch.bool))

    def reset(self, lanes: Lanes[S], mask: Tensor) -> Lanes[S]:
        """Return the lanes with a new episode begun where `mask [B]` holds; the other lanes are what they were."""
        episode = lanes.episode + mask
        return replace(
            lanes,
            state=where(mask, self._start(lanes.seed, episode), lanes.state),
            episode=episode,
            elapsed=lanes.elapsed.masked_fill(mask, 0),
            done=lanes.done & ~mask,
        )

    def fork(self, lanes: Lanes[S], lane: int, seed: Tensor) -> Lanes[S]:
        """Return one lane's present situation with as many different futures as there are seeds."""
        copies = gather(lanes, torch.full_like(seed, lane))
        return replace(copies, seed=seed, count=torch.zeros_like(seed), episode=torch.zeros_like(seed))

    def step(self, lanes: Lanes[S], action: Tensor, active: Tensor | None = None) -> tuple[Lanes[S], Outcome[S]]:
        """Return the lanes after one step, and what it produced.

        Args:
            lanes: before the step.
            action: `[B, A]` in model units.
            active: `[B]` bool, the lanes to be stepped; the others stay as they are. None steps all.

        Raises:
            MissingHead: if the model predicts no reward or no termination.
        """
        transition, diverged = self._dream(lanes, action)
        reward, termination = transition.reward, transition.termination
        if self.termination == "draw":
            terminated = self._blocks.uniform(lanes.seed, noise.TERMINATION, lanes.count) < termination
        else:
            terminated = termination > (0.5 if self.termination == "threshold" else math.inf)
        elapsed = lanes.elapsed + 1
        limit = self.max_episode_steps
        truncated = torch.zeros_like(terminated) if limit is None else elapsed >= limit
        if transition.truncated is not None:
            truncated = truncated | transition.truncated
        if diverged is None:
            diverged = torch.zeros_like(terminated)
        else:
            truncated = truncated | diverged
        done, state, episode, final = terminated | truncated, transition.state, lanes.episode, None
        info: Mapping[str, Tensor] = {**transition.info, "termination": termination}
        count = self._blocks.advance(lanes.seed, lanes.count)

        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if _any(done):
                final, episode = state, episode + done
                state = where(done, self._start(lanes.seed, episode), state)
                elapsed = elapsed.masked_fill(done, 0)
            done = torch.zeros_like(done)
        elif _any(lanes.done):  # these did not act: NEXT_STEP begins their next episode, DISABLED leaves them alone
            asleep, idle_state = lanes.done, lanes.state
            if self.autoreset_mode is AutoresetMode.NEXT_STEP:
                episode = episode + asleep
                idle_state = self._start(lanes.seed, episode)
                elapsed, done = elapsed.masked_fill(asleep, 0), done & ~asleep
            else:
                elapsed, done = torch.where(asleep, lanes.elapsed, elapsed), done | asleep
            state = where(asleep, idle_state, state)
            count = lanes.count + ~asleep  # a reset draws no dynamics: the lane's dream is the same in every mode
            reward, info = reward.masked_fill(asleep, 0), _blank(asleep, info)
            terminated, truncated, diverged = terminated & ~asleep, truncated & ~asleep, diverged & ~asleep

        after = Lanes(state, lanes.seed, count, episode, elapsed, done)
        outcome = Outcome(reward, terminated, truncated, diverged, info, final)
        return (after, outcome) if active is None else _only(active, lanes, after, outcome)

    def _dream(self, lanes: Lanes[S], action: Tensor) -> tuple[Transition[S], Tensor | None]:
        """Return the model's transition with diverged lanes held in their last finite state, and which they are.

        None says that no lane diverged: steps are many, and each operator less counts.
        """
        draws = self._blocks.normal(lanes.seed, noise.DYNAMICS, lanes.count, self.model.noise_dim)
        out = check_heads(self.model, self.model.step(lanes.state, action, draws))
        numbers = {"state": out.state, "reward": out.reward, "termination": out.termination}
        if known_finite(numbers):
            return out, None
        diverged = ~finite_lanes(numbers)
        if _any(diverged):
            state = where(diverged, lanes.state, out.state)
            reward, termination = (x.masked_fill(diverged, 0) for x in (out.reward, out.termination))
            info = _blank(diverged, out.info)
            out = replace(out, state=state, reward=reward, termination=termination, info=info)
        return out, diverged

    def _start(self, seed: Tensor, episode: Tensor) -> S:
        return self.starts.sample(noise.uniform(seed, noise.START, episode))


def _blank(mask: Tensor, info: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the info with zeros where `mask [B]` holds."""
    return where(mask, tree_map(torch.zeros_like, info), info)


def _only(active: Tensor, before: Lanes[S], after: Lanes[S], outcome: Outcome[S]) -> tuple[Lanes[S], Outcome[S]]:
    idle = ~active
    outcome = replace(
        outcome,
        reward=outcome.reward.masked_fill(idle, 0),
        terminated=outcome.terminated & active,
        truncated=outcome.truncated & active,
        diverged=outcome.diverged & active,
        info=_blank(idle, outcome.info),
    )
    return where(active, after, before), outcome


def join(lanes: list[Lanes[S]]) -> Lanes[S]:
    """Return the lanes of several simulators of one model side by side."""
    return concatenate(lanes)
