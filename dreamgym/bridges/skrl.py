"""skrl: a dream as its `Wrapper`, agents that see how episodes ended, and their policies as dreamgym's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gymnasium import Space, spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from dreamgym.bridges.export import export_perceptron
from dreamgym.bridges.open import open_envs, step_envs
from dreamgym.core.policy import Policy, save_policy
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, MissingExtra

try:
    from skrl import config
    from skrl.agents.torch import Agent
    from skrl.envs.wrappers.torch import Wrapper
    from skrl.utils.spaces.torch import flatten_tensorized_space
except ImportError as error:
    raise MissingExtra("the bridge to skrl", "skrl", "skrl") from error


class DreamWrapper(Wrapper):  # type: ignore[misc]
    """Many lanes of a dream as skrl's `Wrapper`: its trainers and agents take it, and no tensor leaves the device.

    A lane whose episode ends begins the next one in the same step. The infos of such a step hold `"final_obs"`, what
    the step led to in all lanes; see `use_final_obs`. `truncated` means that only the time limit ended the episode.
    Box actions are clipped to their space, since skrl's policies draw from unbounded Gaussians.

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv` in mode "SameStep" with torch output.
        num_envs: the number of lanes.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" here unless you say otherwise.

    Raises:
        InvalidArgument: if another autoreset mode or numpy output is asked for, or options are given beside an env.
        UnsupportedSpace: if actions are integers that do not start at 0.
    """

    def __init__(self, model: Model | DreamVectorEnv, num_envs: int | None = None, **kwargs: Any) -> None:
        self.envs = open_envs(model, num_envs, AutoresetMode.SAME_STEP, "skrl", **kwargs)
        super().__init__(self.envs)
        self._obs: Tensor | None = None
        space = self.envs.single_action_space
        self._bounds = None
        if isinstance(space, spaces.Box):
            self._bounds = tuple(torch.as_tensor(side, device=self.envs.device) for side in (space.low, space.high))

    @property
    def observation_space(self) -> Space[Any]:
        """The space of one lane."""
        return self.envs.single_observation_space

    @property
    def action_space(self) -> Space[Any]:
        """The space of one lane."""
        return self.envs.single_action_space

    def reset(self) -> tuple[Tensor, dict[str, Any]]:
        """Begin episodes at the first call, seeded as `skrl.utils.set_seed` says; later return where the lanes stand.

        Trainers call it again before an evaluation, and with one lane at each end, where the next episode has begun.
        """
        if self._obs is None:
            self._obs = _flat(self.envs.reset(seed=config.torch.key)[0])
        return self._obs, {}

    @torch.no_grad()
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Dream one step of every lane and return observations, rewards, flags, `[B, 1]` each, and infos.

        Raises:
            InvalidAction: if the actions are not a batch of `action_space`.
        """
        actions = actions.reshape(self.envs.num_envs, *(self.action_space.shape or ()))
        if self._bounds is not None:
            actions = actions.clamp(*self._bounds)
        obs, outcome = step_envs(self.envs, actions)
        self._obs = _flat(obs)
        infos = {"diverged": outcome.diverged}
        if outcome.final is not None:
            infos["final_obs"] = _flat(self.envs.view.observe(outcome.final))
        reward = outcome.reward.clone()  # skrl writes into it
        truncated = outcome.truncated & ~outcome.terminated  # skrl adds the value of what follows where it holds
        return self._obs, reward[:, None], outcome.terminated[:, None], truncated[:, None], infos

    def state(self) -> None:
        """Return None: a dream has no observations for critics alone."""

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `DreamVectorEnv.render` does."""
        return self.envs.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self.envs.close()


def use_final_obs(agent: Agent) -> Agent:
    """Return the agent, from now on told the true successor of each step, also of one that ended its episode.

    skrl's trainers hand over what the lane shows after its reset instead. Where an episode was truncated, agents add
    the value of it to the return: SAC, TD3, DDPG and DQN always, PPO and A2C with `time_limit_bootstrap=True`. Without
    that option PPO and A2C take the next episode for the rest of this one.
    """
    record = agent.record_transition

    def record_transition(*, next_observations: Tensor, infos: Any, **others: Any) -> None:
        record(next_observations=infos.get("final_obs", next_observations), infos=infos, **others)

    agent.record_transition = record_transition
    return agent


@torch.no_grad()
def export_policy(agent: Agent, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a trained agent does deterministically, as a dreamgym policy.

    Args:
        agent: whose policy, or Q-network, is a perceptron of a dream's features, its output clipped to the action
            space or stretched over it by a tanh.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the policy computes something else, or its observations are normalised.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """
    loaded = open_dream(dream, None, (), "cpu")
    if getattr(agent.cfg, "observation_preprocessor", None) is not None:
        name = agent.cfg.observation_preprocessor.__name__
        raise InvalidArgument(
            f"{name} changes what the policy sees; train without observation_preprocessor to export it."
        )
    role = "policy" if agent.models.get("policy") is not None else "q_network"
    model = agent.models[role]
    layers = [module for module in model.modules() if not list(module.children())]
    policy = export_perceptron(layers, loaded, agent.action_space)
    features = 3 * torch.randn(256, loaded.model.feature_dim, generator=torch.Generator().manual_seed(0))
    raw = model.compute({"observations": features.to(model.device), "states": None}, role)[0].cpu()
    if not torch.allclose(policy.net(features), raw, atol=1e-4):
        policy = export_perceptron(layers, loaded, agent.action_space, output="tanh")
        if isinstance(agent.action_space, spaces.Discrete) or not torch.allclose(policy.act(features), raw, atol=1e-4):
            raise InvalidArgument(
                f"{type(model).__name__}.compute does more than its layers, {[type(x).__name__ for x in layers]}; "
                "expected their output, or its tanh stretched over the action space."
            )
    if path is not None:
        save_policy(policy, path)
    return policy


def _flat(obs: Any) -> Tensor:
    """Return `[B, n]` float32 as skrl keeps observations, the parts of a dict in the order of their names."""
    parts = {name: part.float() for name, part in obs.items()} if isinstance(obs, dict) else obs.float()
    return flatten_tensorized_space(parts)
