"""rl_games' PPO.

python benchmarks/libraries/with_rl_games.py train
python benchmarks/libraries/with_rl_games.py speed

Writes results.csv and speed.csv into runs/libraries, and its own logs beside them. A minute a seed on one core.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from measure import Speed, Step, Train, main, orthogonal
from rl_games.torch_runner import Runner
from torch import nn

from dreamgym.bridges.rl_games import DreamVecEnv, export_policy
from dreamgym.core.policy import Policy
from dreamgym.hub import load

GAUSSIAN = {"mu_activation": "None", "sigma_activation": "None", "mu_init": {"name": "default"},
            "sigma_init": {"name": "const_initializer", "val": 0}, "fixed_sigma": True}  # fmt: skip


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    discrete = isinstance(load(options.dream).model.action_space, gym.spaces.Discrete)
    rollout = 32
    config: dict[str, Any] = {
        "name": "dream", "env_name": "dream", "num_actors": options.lanes, "horizon_length": rollout,
        "env_config": {"model": options.dream, **options.env},
        "minibatch_size": 2048, "mini_epochs": 4, "gamma": 0.97, "tau": 0.95, "entropy_coef": 0.005,
        "learning_rate": 5e-4, "lr_schedule": None, "e_clip": 0.2, "clip_value": False,
        "critic_coef": 1.0,  # the loss halves it
        "truncate_grads": True, "grad_norm": 0.5, "bounds_loss_coef": 0.0, "normalize_input": False,
        "normalize_advantage": True, "reward_shaper": {"scale_value": 1.0},
        "max_epochs": -(-options.steps // (options.lanes * rollout)), "device": "cpu", "torch_compile": False,
        "print_stats": False, "train_dir": str(options.out / "rl_games"),
    }  # fmt: skip
    runner = Runner()
    runner.load({"params": {
        "seed": seed, "torch_threads": 1, "config": config,
        "algo": {"name": "a2c_discrete" if discrete else "a2c_continuous"},
        "model": {"name": "discrete_a2c" if discrete else "continuous_a2c_logstd"},
        "network": {"name": "actor_critic", "separate": True,
                    "space": {"discrete": None} if discrete else {"continuous": GAUSSIAN},
                    "mlp": {"units": [64, 64], "activation": "tanh", "initializer": {"name": "default"}}},
    }})  # fmt: skip
    agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
    if discrete:  # the config's `orthogonal_initializer` has one gain for hidden layers and heads
        net = agent.model.a2c_network
        orthogonal(nn.Sequential(net.actor_mlp, net.logits), 0.01)
        orthogonal(nn.Sequential(net.critic_mlp, net.value), 1.0)
    agent.train()
    return export_policy(agent, options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream, as PPO's rollout makes them; rl_games has no vector env of CartPole in one process."""
    dreams = DreamVecEnv(options.dream, options.lanes)
    dreams.reset()
    actions = torch.randint(dreams.action_space.n, (dreams.num_envs,))
    return {"bridge": (lambda: dreams.step(actions), dreams.num_envs)}


if __name__ == "__main__":
    main("rl_games", "PPO", train, speed)
