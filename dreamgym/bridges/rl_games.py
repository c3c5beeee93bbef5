"""rl_games: a dream as its vector env, under the name "dream" in its configurations, and its policies as dreamgym's.

    env_name: dream
    num_actors: 256
    env_config: {model: DreamDodge-v0, max_episode_steps: 100}

Importing this module makes rl_games know the name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn

from dreamgym.bridges.export import export_perceptron
from dreamgym.bridges.open import open_envs, step_envs
from dreamgym.bridges.stretch import stretch
from dreamgym.core.policy import Policy
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, MissingExtra, UnsupportedSpace

try:
    from rl_games.algos_torch.network_builder import A2CBuilder
    from rl_games.common import env_configurations, vecenv
    from rl_games.common.ivecenv import IVecEnv
except ImportError as error:
    raise MissingExtra("the bridge to rl_games", "rl_games", "rl-games") from error


class DreamVecEnv(IVecEnv):  # type: ignore[misc]  # rl_games has no types
    """Many lanes of a dream as rl_games' `IVecEnv`; tensors stay on the dream's device, which must be the learner's.

    A lane whose episode ends begins the next one in the same step. `infos["time_outs"]` marks the lanes whose episode
    ended although the dream did not; rl_games then adds the value of what it saw before that step.

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv` in mode "SameStep" with output "torch".
        num_envs: the number of lanes.
        seed: of the first episodes; None draws it.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" by default.

    Raises:
        InvalidArgument: if another autoreset mode or output is asked for, or options are given beside an existing env.
        UnsupportedSpace: if actions are integers that do not start at 0, or have no bounds to be stretched over.
    """

    def __init__(
        self, model: Model | DreamVectorEnv, num_envs: int | None = None, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        self.envs = open_envs(model, num_envs, AutoresetMode.SAME_STEP, "rl_games", **kwargs)
        self.num_envs = self.envs.num_envs
        self.observation_space, self.action_space = self.envs.single_observation_space, self.envs.single_action_space
        if isinstance(self.action_space, spaces.Box) and not self.action_space.is_bounded():
            raise UnsupportedSpace(
                f"action space {self.action_space} has no bounds; rl_games stretches its actions over them."
            )
        self._seed = seed

    def reset(self) -> Any:
        """Begin new episodes in all lanes and return the observations."""
        obs, _ = self.envs.reset(seed=self._seed)
        self._seed = None  # the next reset goes on with other dreams
        return obs

    def step(self, actions: Tensor) -> tuple[Any, Tensor, Tensor, dict[str, Tensor]]:
        """Dream one step of every lane and return observations, rewards, dones and infos.

        Raises:
            InvalidAction: if the actions are not a batch of `action_space`.
        """
        if self.num_envs == 1:
            actions = actions.reshape(1, *self.action_space.shape)  # type: ignore[misc]  # its player drops the lanes
        obs, outcome = step_envs(self.envs, actions)
        done = outcome.terminated | outcome.truncated
        return obs, outcome.reward, done, {"time_outs": done & ~outcome.terminated}

    def get_env_info(self) -> dict[str, Any]:
        """Return the spaces of a lane."""
        return {"observation_space": self.observation_space, "action_space": self.action_space}

    def seed(self, seed: int) -> None:
        """Seed the episodes that the next reset begins."""
        self._seed = seed

    def render(self, mode: str = "human") -> Any:
        """Return pictures of the lanes, or show them, as the `render_mode` among the options says."""
        return self.envs.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self.envs.close()


vecenv.register("DREAM", lambda name, num_actors, **config: DreamVecEnv(num_envs=num_actors, **config))
env_configurations.register("dream", {"vecenv_type": "DREAM", "env_creator": DreamVecEnv})


def export_policy(agent: Any, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a trained PPO does deterministically, as a dreamgym policy.

    Args:
        agent: of `a2c_discrete` or `a2c_continuous`, or the player that restored its checkpoint; with the network
            "actor_critic" on a dream's features.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the policy is no plain perceptron, or its observations are normalised.
        PolicyMismatch: if it was trained on something else than this dream's features.
    """
    loaded = open_dream(dream, None, (), "cpu")
    model = getattr(agent.model, "_orig_mod", agent.model)  # what torch.compile was given
    net: Any = getattr(model, "a2c_network", None)
    if type(net) is not A2CBuilder.Network or net.has_cnn or net.has_rnn or net.is_d2rl:
        raise InvalidArgument(
            f"a {type(net or model).__name__} cannot be exported; expected PPO's 'actor_critic' without pictures, "
            "memory or d2rl."
        )
    if model.normalize_input:
        raise InvalidArgument(
            "normalize_input clips what the policy sees, which no perceptron can; train with normalize_input: False."
        )
    space = agent.env_info["action_space"]
    if net.is_discrete:
        return export_perceptron([*net.actor_mlp, net.logits], loaded, space, path=path)
    if type(net.mu_act) is not nn.Identity:
        raise InvalidArgument(f"mu_activation is {type(net.mu_act).__name__}; expected None to export the policy.")
    last = stretch(net.mu, space) if agent.clip_actions else net.mu
    return export_perceptron([*net.actor_mlp, last], loaded, space, path=path)
