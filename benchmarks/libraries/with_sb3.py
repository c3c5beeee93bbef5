"""Stable-Baselines3's PPO.

python benchmarks/libraries/with_sb3.py train
python benchmarks/libraries/with_sb3.py speed

Writes results.csv and speed.csv into runs/libraries. A minute a seed on one core.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from measure import Speed, Step, Train, main
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from dreamgym.bridges.sb3 import DreamVecEnv, export_policy
from dreamgym.core.policy import Policy


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    envs = DreamVecEnv(options.dream, options.lanes, **options.env)
    settings = options.ppo
    ppo = PPO("MlpPolicy", envs, n_steps=32, batch_size=2048, n_epochs=settings.epochs, gamma=settings.gamma,
              ent_coef=settings.entropy, learning_rate=settings.learning_rate, seed=seed, device="cpu",
              policy_kwargs={"net_arch": [settings.hidden] * 2, "log_std_init": settings.log_std})  # fmt: skip
    return export_policy(ppo.learn(options.steps), options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole, as PPO's rollout makes them."""
    few = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 16)
    return {"bridge": stepper(DreamVecEnv(options.dream, options.lanes)), "CartPole, 16 lanes": stepper(few)}


def stepper(envs: VecEnv) -> Step:
    """Return a function that steps all lanes with the same actions."""
    envs.reset()
    actions = np.array([envs.action_space.sample() for _ in range(envs.num_envs)])
    return lambda: envs.step(actions), envs.num_envs


if __name__ == "__main__":
    main("Stable-Baselines3", "PPO", train, speed)
