"""What every planner is called with and what it answers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.model import WorldModel
from dreamgym.core.sampling import check_temperature
from dreamgym.core.tree import concatenate, gather, num_lanes
from dreamgym.errors import InvalidArgument, UnsupportedSpace

ValueFn = Callable[[Tensor], Tensor]
"""Features `[B, F]` -> `[B]`, what is still to be earned after the horizon, in the real env's reward units."""

MOST_IMAGINED = 8192
"""Lanes imagined at once: more leave the processor's cache and cost memory, fewer gain nothing."""


@dataclass(frozen=True)
class Plan:
    """What a planner would do in `B` lanes; every leaf has the lane axis first."""

    actions: Tensor
    """`[B, H, A]` model units: one action for each step of the horizon, the first is to be done now.

    A row of a Discrete space that is spread evenly means that the planner has no preference there.
    """
    value: Tensor
    """`[B]` the return that the planner expects, discounted, env units; NaN where no imagined return was finite."""
    finite: Tensor
    """`[B]` bool: some imagined return was finite. Elsewhere `actions` are those of the last plan, or idle ones."""
    imagined: Tensor
    """`[B]` int64: how many steps of the model this lane's plan took."""
    info: Mapping[str, Tensor] = field(default_factory=dict)
    """`[B, ...]` each, what one planner knows and others do not, for example `"visits"` of a tree search."""

    @property
    def action(self) -> Tensor:
        """`[B, A]` model units: what to do now."""
        return self.actions[:, 0]


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """What all planners have to be told."""

    horizon: int = 20
    """H, steps that are looked ahead."""
    discount: float = 1.0
    """Of each further step's reward, in (0, 1]; 1 counts all steps of the horizon alike."""
    temperature: float = 1.0
    """Of the dream; above 1 it is less certain."""


class Planner(ABC):
    """Finds what to do by imagining; it keeps no memory, so that one planner serves any number of models and lanes.

    Args:
        config: sizes and settings.
        value_fn: what is still to be earned beyond the horizon; nothing if None.

    Raises:
        InvalidArgument: if a setting cannot be meant.
    """

    config_class: ClassVar[type[PlannerConfig]]

    def __init__(self, config: Any = None, value_fn: ValueFn | None = None) -> None:
        self.config: Any = self.config_class() if config is None else config
        self.value_fn = value_fn
        check_counts(self.config, "horizon")
        if not 0 < self.config.discount <= 1:
            raise InvalidArgument(f"discount is {self.config.discount}; expected a number in (0, 1].")
        check_temperature(self.config.temperature)

    @property
    @abstractmethod
    def width(self) -> int:
        """How many lanes are imagined for each lane that is planned."""

    @abstractmethod
    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        """Return the plan; `before` is `[B, H, A]`, the last plan moved up by one step, its end repeated."""

    @torch.no_grad()
    def plan(self, model: WorldModel[Any], state: Any, seed: Tensor, warm: Plan | None = None) -> Plan:
        """Return what to do in each lane of a state; a lane's plan depends on its own state, seed and last plan alone.

        Args:
            model: what is imagined with.
            state: `B` lanes of it.
            seed: `[B]` int64, of all that is drawn; the same seed gives the same plan.
            warm: the last step's plan for the same lanes, to begin with, moved up by one step; None begins afresh.

        Raises:
            InvalidArgument: if seeds or last plan are not for these lanes.
            UnsupportedSpace: if the planner cannot act in the model's action space.
            MissingHead: if the model predicts no reward or no termination.
        """
        lanes = num_lanes(state)
        if tuple(seed.shape) != (lanes,):
            raise InvalidArgument(f"seed has shape {tuple(seed.shape)}; expected ({lanes},), one for each lane.")
        model = model.without_info()  # nobody looks at it here
        before = None if warm is None else _moved_up(warm.actions, lanes, self.config.horizon)
        part = max(1, MOST_IMAGINED // self.width)
        plans = []
        for rows in torch.arange(lanes, device=seed.device).split(part):
            few = state if len(rows) == lanes else gather(state, rows)
            plans.append(self._plan(model, few, seed[rows], None if before is None else before[rows]))
        return concatenate(plans)


def _moved_up(actions: Tensor, lanes: int, horizon: int) -> Tensor:
    """Return the actions `[B, H, A]` of the last plan that are still to come, the last of them repeated."""
    if len(actions) != lanes:
        raise InvalidArgument(f"warm is a plan for {len(actions)} lanes; expected one for {lanes}.")
    index = torch.arange(1, horizon + 1, device=actions.device).clamp(max=actions.shape[1] - 1)
    return actions[:, index]


def check_counts(config: Any, *names: str) -> None:
    """Return if these settings of a config are at least 1.

    Raises:
        InvalidArgument: if one is not; the message names it.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise InvalidArgument(f"{name} is {getattr(config, name)}; expected at least 1.")


def check_positive(config: Any, *names: str) -> None:
    """Return if these settings of a config are finite numbers above 0.

    Raises:
        InvalidArgument: if one is not; the message names it.
    """
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise InvalidArgument(f"{name} is {getattr(config, name)}; expected a finite number above 0.")


def idle_actions(space: Space[Any], lanes: int, horizon: int, device: torch.device) -> Tensor:
    """Return `[B, H, A]` the middle of a Box (0 where it has no bounds), and no preference in a Discrete space.

    Raises:
        UnsupportedSpace: if it is neither.
    """
    if isinstance(space, spaces.Discrete):
        return torch.full((lanes, horizon, int(space.n)), 1 / int(space.n), device=device)
    low, high = bounds(space, device)
    bounded = low.isfinite() & high.isfinite()
    middle = torch.where(bounded, (low + high) / 2, torch.zeros_like(low).clamp(low, high))
    return middle.expand(lanes, horizon, -1).clone()


def bounds(space: Space[Any], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the least and the largest action `[A]` of a Box, in model units.

    Raises:
        UnsupportedSpace: if it is none.
    """
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpace(f"action space {space} is not supported; expected a Box or a Discrete.")
    low, high = (
        torch.as_tensor(side.flatten(), dtype=torch.float32, device=device) for side in (space.low, space.high)
    )
    return low, high


def half_range(space: Space[Any], device: torch.device) -> Tensor:
    """Return `[A]` half of what each number of a Box ranges over, 1 where it has no bounds."""
    low, high = bounds(space, device)
    return torch.where(low.isfinite() & high.isfinite(), (high - low) / 2, 1.0)
