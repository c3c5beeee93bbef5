"""PPO in a single file, in the manner of CleanRL: `examples/single_file_ppo.py`.

python benchmarks/libraries/with_cleanrl.py train
python benchmarks/libraries/with_cleanrl.py speed

Writes results.csv and speed.csv into runs/libraries. A minute a seed on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
from measure import Speed, Step, Train, main

from dreamgym.bridges.export import export_perceptron
from dreamgym.core.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import single_file_ppo


def make(dream: str, lanes: int, **options: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Return lanes that give tensors."""
    return gym.make_vec(dream, lanes, observation="features", output="torch", autoreset_mode="SameStep", **options)


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    updates = max(1, options.steps // (options.lanes * single_file_ppo.ROLLOUT))
    envs = make(f"dreamgym:{options.dream}", options.lanes, **options.env)
    layers = single_file_ppo.train(envs, updates, seed, progress=lambda text: None)
    return export_perceptron(layers, options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream as the file makes them, and of CartPole as Gymnasium's fastest env."""
    envs, few = make(f"dreamgym:{options.dream}", options.lanes), gym.make_vec("CartPole-v1", 1024)
    return {"bridge": stepper(envs), "CartPole, 1024 lanes": stepper(few)}


def stepper(envs: gym.vector.VectorEnv[Any, Any, Any]) -> Step:
    """Return a function that steps all lanes with the same actions."""
    envs.reset()
    actions = envs.action_space.sample()
    return lambda: envs.step(actions), envs.num_envs


if __name__ == "__main__":
    main("single file", "PPO", train, speed)
