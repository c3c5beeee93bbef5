"""One course of events: a world, what was earned in it, and how far back it can be wound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dreamgym.core.tree import gather
from dreamgym.viewer.trail import Trail
from dreamgym.viewer.worlds import DreamWorld, Moment, World

RING = 600
"""Moments that can be wound back: 48 seconds of CarRacing, a few megabytes."""


@dataclass(frozen=True)
class Lane:
    """What happened to one lane in its present episode."""

    trail: Trail
    earned: float = 0.0
    last: Moment | None = None

    @property
    def over(self) -> str:
        """How the episode ended: "terminated", "truncated", "diverged", or "" while it goes on."""
        if self.last is None:
            return ""
        for name in ("diverged", "terminated", "truncated"):
            if getattr(self.last, name):
                return name
        return ""


@dataclass(frozen=True)
class Mark:
    """A moment of a dream, and how far its trails went."""

    moment: Any
    lanes: list[Lane]
    lengths: list[int]

    def only(self, lane: int) -> Mark:
        """Return what concerns one of the lanes."""
        return Mark(gather(self.moment, torch.tensor([lane])), [self.lanes[lane]], [self.lengths[lane]])


@dataclass
class Line:
    """A world being played.

    Args:
        world: what is played.
        ended: called with the trail of an episode of one lane when it is left, whether it has ended or not.
    """

    world: World
    ended: Callable[[Trail], object] = lambda trail: None
    lanes: list[Lane] = field(default_factory=list)
    _ring: deque[Mark] = field(default_factory=lambda: deque(maxlen=RING))

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.leave()
        self.world.reset(seed)
        self.lanes = [Lane(Trail(obs, {"seed": seed})) for obs in self.world.observations()]
        self._ring.clear()

    def leave(self) -> None:
        """Hand in the episode that is being played, if it is one of a single lane that has begun."""
        if len(self.lanes) == 1 and len(self.lanes[0].trail):
            self.ended(self.lanes[0].trail)

    @property
    def over(self) -> str:
        """How the last of the lanes ended, or "" while one goes on."""
        return self.lanes[-1].over if all(lane.over for lane in self.lanes) else ""

    def step(self, action: Any) -> None:
        """Go on by one step; lanes that have ended stay where they are."""
        if self.over:
            return
        if isinstance(self.world, DreamWorld):
            self._ring.append(self._mark())
        moments = self.world.step(action)
        for i, (lane, moment, obs) in enumerate(zip(self.lanes, moments, self.world.observations(), strict=True)):
            if not lane.over:
                lane.trail.add(action, moment.reward, moment.terminated, moment.truncated or moment.diverged, obs)
                self.lanes[i] = replace(lane, earned=lane.earned + moment.reward, last=moment)

    def keep(self) -> tuple[Mark, ...]:
        """Return this moment of a dream and those that led to it, for `restore`."""
        return (*self._ring, self._mark())

    def restore(self, kept: tuple[Mark, ...]) -> None:
        """Return to a kept moment; what has happened since in its episode is forgotten, another episode is left."""
        *before, now = kept
        if self.lanes[0].trail.meta != now.lanes[0].trail.meta:
            self.leave()
        self._ring.clear()
        self._ring.extend(before)
        self._go_back(now)

    def rewind(self) -> bool:
        """Go back by one step; False if there is none to take back."""
        if not self._ring:
            return False
        self._go_back(self._ring.pop())
        return True

    def _mark(self) -> Mark:
        assert isinstance(self.world, DreamWorld)
        return Mark(self.world.moment, list(self.lanes), [len(lane.trail) for lane in self.lanes])

    def _go_back(self, mark: Mark) -> None:
        assert isinstance(self.world, DreamWorld)
        self.world.moment = mark.moment
        self.lanes = [replace(lane, trail=lane.trail.copy()) for lane in mark.lanes]
        for lane, length in zip(self.lanes, mark.lengths, strict=True):
            lane.trail.cut(length)

    def follow(self, state: Any, elapsed: int) -> None:
        """Go on from a filter's state, so many steps into its episode; what is recorded begins anew there."""
        assert isinstance(self.world, DreamWorld)
        self.leave()
        self.world.follow(state, elapsed)
        (obs,) = self.world.observations()
        self.lanes = [Lane(Trail(obs), self.lanes[0].earned)]
        self._ring.clear()

    def fork(self, num: int, seed: int) -> Line:
        """Return as many futures of a dream's situation."""
        assert isinstance(self.world, DreamWorld)
        (lane,) = self.lanes
        lanes = [replace(lane, trail=lane.trail.copy()) for _ in range(num)]
        return Line(self.world.fork(num, seed), self.ended, lanes)

    def only(self, lane: int, past: Line) -> Line:
        """Return one of the futures as a line of its own, which can be wound back into the past that it came from."""
        assert isinstance(self.world, DreamWorld)
        chosen = Line(self.world.only(lane), self.ended, [self.lanes[lane]])
        chosen._ring.extend((*past._ring, *(mark.only(lane) for mark in self._ring)))
        return chosen
