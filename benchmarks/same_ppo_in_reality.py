"""The same PPO trained in a dream and in the real environment, for the same number of decisions, on the same features.

    python benchmarks/same_ppo_in_reality.py --decisions 1000000 --seeds 0 1

Takes about four minutes a seed on one core. Prints both real scores over fresh episodes, and their ratio.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3.common.vec_env import VecEnv

from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, learn_ppo, train_ppo
from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.tree import where
from dreamgym.envs.twin import real_id
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import LoadedDream, load


@dataclass(frozen=True, kw_only=True)
class Options:
    """The same PPO in a dream and in the real environment."""

    dream: str = "DreamDodge-v0"
    """Id or folder; its real twin must have a vector entry point."""
    decisions: int = 1_000_000
    """Of all lanes together, on each side."""
    lanes: int = 512
    horizon: int = 100
    """Decisions after which a dream begins anew; the real env has its own time limit."""
    gamma: float = 0.97
    entropy: float = 5e-3
    seeds: tuple[int, ...] = (0,)
    """Of training."""
    episodes: int = 100
    """Real episodes that score each policy, from seed 800,000 on."""


class RealFeatures(VecEnv):
    """A real vector env seen as a dream sees it: every lane filtered through the dream's model."""

    def __init__(self, dream: LoadedDream, num_envs: int, reward_scale: float) -> None:
        self.model, self.scale = dream.model, reward_scale
        self.envs = gym.make_vec(real_id(dream), num_envs, autoreset_mode="SAME_STEP")
        space = gym.spaces.Box(-np.inf, np.inf, (self.model.feature_dim,), np.float32)
        self.render_mode = None
        super().__init__(num_envs, space, self.envs.single_action_space)

    @torch.no_grad()
    def _observe(self, state: Any, action: Any, obs: np.ndarray, first: np.ndarray) -> Any:
        zeros = torch.zeros(len(obs), self.model.noise_dim)
        encoded = encode_obs(self.model.observation_space, obs)
        return self.model.observe(
            state, encode_action(self.action_space, action), encoded, torch.from_numpy(first), zeros
        )

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        obs, _ = self.envs.reset(seed=self._seeds[0])
        empty, idle = self.model.initial(self.num_envs), np.zeros_like(self.envs.action_space.sample())
        self.state = self._observe(empty, idle, obs, np.ones(self.num_envs, bool))
        return self.model.features(self.state).numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions."""
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step, and filter what was seen; a lane that ended is filtered up to its last picture, then begins anew."""
        obs, reward, terminated, truncated, info = self.envs.step(self.actions)
        done, infos = terminated | truncated, [{} for _ in range(self.num_envs)]
        last = obs.copy()
        for row in done.nonzero()[0]:
            last[row] = info["final_obs"][row]
        state = self._observe(self.state, self.actions, last, np.zeros(self.num_envs, bool))
        if done.any():
            final = self.model.features(state).numpy()
            infos_of = done.nonzero()[0]
            for row in infos_of:
                infos[row] = {"terminal_observation": final[row],
                              "TimeLimit.truncated": bool(truncated[row] and not terminated[row])}  # fmt: skip
            fresh = self._observe(state, self.actions, obs, done)
            state = where(torch.from_numpy(done), fresh, state)
        self.state = state
        return self.model.features(state).numpy(), (reward * self.scale).astype(np.float32), done, infos

    def close(self) -> None:
        """Close the env."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, which all lanes share."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute, which all lanes share."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not needed by PPO."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each lane."""
        return [False] * self.num_envs


def main(options: Options) -> None:
    """Train on both sides and print the scores as JSON."""
    torch.set_num_threads(1)
    dream, config = load(options.dream), PPOConfig(gamma=options.gamma, entropy=options.entropy)
    rows = []
    for seed in options.seeds:
        dreamed, curve = train_ppo(
            dream, decisions=options.decisions, lanes=options.lanes, horizon=options.horizon, seed=seed, config=config
        )
        awake, real_curve = learn_ppo(
            RealFeatures(dream, options.lanes, config.reward_scale),
            decisions=options.decisions,
            seed=seed,
            config=config,
        )
        row: dict[str, Any] = {"seed": seed}
        for name, algorithm, rows_of in (("dream", dreamed, curve), ("real", awake, real_curve)):
            figures = evaluate(
                dream, export_policy(algorithm, dream), side="real", episodes=options.episodes, seed=800_000
            )["real"]
            row[name] = {key: figures[key] for key in ("mean", "std", "min", "max", "episodes")}
            row[name]["decisions_per_second"] = float(np.mean([step.decisions_per_second for step in rows_of]))
        row["ratio"] = row["dream"]["mean"] / row["real"]["mean"]
        rows.append(row)
        print(json.dumps(row), flush=True)
    print("dream / real:", np.mean([row["ratio"] for row in rows]).round(3))


if __name__ == "__main__":
    main(tyro.cli(Options))
