"""Acting by planning: at every step a new plan, of which only the first action is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.codec import decode_action
from dreamgym.core.model import WorldModel
from dreamgym.core.tree import gather, named_leaves, num_lanes
from dreamgym.errors import InvalidArgument
from dreamgym.planners.planner import Plan, Planner


class ModelPredictiveControl:
    """Acts in `B` lanes by a plan for each state, begun with the last step's plan.

    What happens is not its business: in a dream the states are the simulator's, in a real env those of a `Filter`.

    Args:
        model: what is imagined with.
        planner: finds the plans.
        warm: begin each plan with the last one; otherwise all afresh.
        on_plan: is told of each plan.
    """

    def __init__(
        self,
        model: WorldModel[Any],
        planner: Planner,
        warm: bool = True,
        on_plan: Callable[[Plan], object] | None = None,
    ) -> None:
        self.model, self.planner = model, planner
        self.plan: Plan | None = None
        """The last step's."""
        self.seconds = 0.0
        """Time spent planning, by the wall's clock."""
        self.decisions = self.imagined = self.blind = 0
        """Actions chosen; steps of the model imagined for them; actions for which no imagined return was finite."""
        self._warm, self._on_plan = warm, on_plan
        self._seed = torch.empty(0, dtype=torch.int64)
        self._count = 0

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin as many episodes as there are seeds; what a lane does depends on its own seed and states alone."""
        self._seed = torch.tensor([int(seed) for seed in seeds], dtype=torch.int64)
        self._count, self.plan = 0, None

    def keep(self, lanes: Tensor) -> None:
        """Go on with these lanes `[K]` alone: the episodes of the others have ended."""
        self._seed = self._seed[lanes]
        self.plan = None if self.plan is None else gather(self.plan, lanes)

    def act_on(self, state: Any) -> np.ndarray:
        """Return `[B, ...]` actions in env units for the states of all lanes.

        Raises:
            InvalidArgument: if there are other than the lanes that `reset` began.
        """
        if num_lanes(state) != len(self._seed):
            raise InvalidArgument(
                f"state has {num_lanes(state)} lanes; {len(self._seed)} episodes were begun by reset."
            )
        device = next(leaf.device for leaf in named_leaves(state).values() if isinstance(leaf, Tensor))
        since = time.perf_counter()
        seed = noise.fold(self._seed, noise.PLAN, torch.full_like(self._seed, self._count)).to(device)
        self.plan = self.planner.plan(self.model, state, seed, self.plan if self._warm else None)
        action = decode_action(self.model.action_space, self.plan.action).cpu().numpy()
        self.seconds += time.perf_counter() - since
        self._count += 1
        self.decisions += len(action)
        self.imagined += int(self.plan.imagined.sum())
        self.blind += int((~self.plan.finite).sum())
        if self._on_plan is not None:
            self._on_plan(self.plan)
        return action
