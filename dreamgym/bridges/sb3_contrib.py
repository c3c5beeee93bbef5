"""SB3's contrib package: its algorithms train in a `DreamVecEnv`; a policy with a memory acts as an `Actor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dreamgym.envs.open import Model, open_dream
from dreamgym.errors import InvalidArgument, MissingExtra, PolicyMismatch

try:
    from sb3_contrib import RecurrentPPO
except ImportError as error:
    raise MissingExtra("the bridge to sb3-contrib", "sb3-contrib", "sb3-contrib") from error


class RecurrentActor:
    """A trained `RecurrentPPO` that acts in many lanes, each with an LSTM memory of its own.

    `dreamgym.evaluate` takes it like a policy. It cannot be saved as one: a dreamgym policy has no memory.

    Args:
        algorithm: trained in a `DreamVecEnv` with the default `observation="features"`.
        dream: the dream that it was trained in.
        deterministic: the likeliest action; else one is drawn, from torch's generator.

    Raises:
        InvalidArgument: if it is no `RecurrentPPO`, or its observations are normalised.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """

    def __init__(self, algorithm: RecurrentPPO, dream: Model, deterministic: bool = True) -> None:
        loaded = open_dream(dream, None, (), "cpu")
        name, model = loaded.name, loaded.model
        if not isinstance(algorithm, RecurrentPPO):
            raise InvalidArgument(
                f"algorithm is a {type(algorithm).__name__}; expected a RecurrentPPO. Without a memory: "
                "dreamgym.bridges.sb3.export_policy."
            )
        normalizer = algorithm.get_vec_normalize_env()
        if normalizer is not None and normalizer.norm_obs:
            raise InvalidArgument("VecNormalize changes what the policy sees; train with norm_obs=False to let it act.")
        if algorithm.observation_space.shape != (model.feature_dim,):
            raise PolicyMismatch(
                f"the policy sees observations of shape {algorithm.observation_space.shape}; {name} has "
                f"{model.feature_dim} features. Train it with observation='features'."
            )
        if algorithm.action_space != model.action_space:
            raise PolicyMismatch(f"the policy acts in {algorithm.action_space}; {name} expects {model.action_space}.")
        self.policy, self.deterministic = algorithm.policy, deterministic
        self._memory: Any = None
        self._begin = np.ones(0, bool)

    def reset(self, seeds: Sequence[int]) -> None:
        """Forget everything: as many lanes as there are seeds begin an episode."""
        self._memory, self._begin = None, np.ones(len(seeds), bool)

    def act(self, features: Tensor) -> np.ndarray:
        """Return `[B, ...]` actions in env units for features `[B, F]`, and remember what was seen."""
        action, self._memory = self.policy.predict(
            features.numpy(force=True), self._memory, self._begin, self.deterministic
        )
        self._begin = np.zeros(len(features), bool)
        return action
