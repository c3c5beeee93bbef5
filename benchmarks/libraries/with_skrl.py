"""skrl's PPO.

python benchmarks/libraries/with_skrl.py train
python benchmarks/libraries/with_skrl.py speed

Writes results.csv and speed.csv into runs/libraries. One and a half minutes a seed on one core.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from measure import Speed, Step, Train, main, orthogonal
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import Wrapper, wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import categorical_model, deterministic_model, gaussian_model

from dreamgym.bridges.skrl import DreamWrapper, export_policy, use_final_obs
from dreamgym.core.policy import Policy

NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "tanh"}]


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    set_seed(seed)
    env = DreamWrapper(options.dream, options.lanes, **options.env)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    policy = categorical_model if isinstance(env.action_space, gym.spaces.Discrete) else gaussian_model
    models = {
        "policy": policy(**spaces, network=NETWORK, output="ACTIONS"),
        "value": deterministic_model(**spaces, network=NETWORK, output="ONE"),
    }
    for role, model in models.items():
        model.init_state_dict(role=role)
        orthogonal(model, 0.01 if role == "policy" else 1.0)  # skrl leaves torch's
    config = PPO_CFG(rollouts=32, learning_epochs=4, mini_batches=max(1, 32 * options.lanes // 2048),
                     discount_factor=0.97, learning_rate=5e-4, entropy_loss_scale=0.005, value_loss_scale=0.5,
                     value_clip=0.0,  # the others do not clip values
                     time_limit_bootstrap=True, experiment={"write_interval": 0, "checkpoint_interval": 0})  # fmt: skip
    agent = PPO(models=models, memory=RandomMemory(memory_size=32, num_envs=options.lanes, device=env.device),
                cfg=config, **spaces)  # fmt: skip
    trainer = SequentialTrainerCfg(timesteps=options.steps // options.lanes, headless=True, disable_progressbar=True,
                                   close_environment_at_exit=False)  # fmt: skip
    SequentialTrainer(cfg=trainer, env=env, agents=use_final_obs(agent)).train()
    return export_policy(agent, options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole, as skrl's trainers make them."""
    few = wrap_env(gym.make_vec("CartPole-v1", 16, vectorization_mode="sync"), wrapper="gymnasium", verbose=False)
    return {"bridge": stepper(DreamWrapper(options.dream, options.lanes)), "CartPole, 16 lanes": stepper(few)}


def stepper(env: Wrapper) -> Step:
    """Return a function that steps all lanes with the same actions."""
    env.reset()
    actions = torch.tensor([env.action_space.sample() for _ in range(env.num_envs)]).reshape(env.num_envs, -1)
    return lambda: env.step(actions), env.num_envs


if __name__ == "__main__":
    main("skrl", "PPO", train, speed)
