"""EvoTorch's PGPE with ClipUp, on a linear policy.

python benchmarks/libraries/with_evotorch.py train --steps 5000000
python benchmarks/libraries/with_evotorch.py speed

Writes results.csv and speed.csv into runs/libraries. Two and a half minutes a seed on one core. `--lanes` is the
population; with one return a solution, evolution needs more steps than PPO.
"""

from __future__ import annotations

import random

import torch
from evotorch.algorithms import PGPE
from evotorch.neuroevolution import VecGymNE
from evotorch.neuroevolution.net.vecrl import TorchWrapper, make_vector_env
from measure import Speed, Step, Train, main

from dreamgym.bridges.evotorch import DreamFactory, export_policy
from dreamgym.core.policy import Policy


def train(options: Train, seed: int) -> Policy:
    """Return what PGPE learned: the centre of the last population."""
    torch.manual_seed(seed)
    random.seed(seed)
    factory = DreamFactory(options.dream, **options.env)
    problem = VecGymNE(factory, "Linear(obs_length, act_length)", observation_normalization=True)
    searcher = PGPE(problem, popsize=options.lanes, center_learning_rate=0.1, stdev_learning_rate=0.1, stdev_init=0.1,
                    optimizer="clipup", optimizer_config={"max_speed": 0.2})  # fmt: skip
    while problem.interaction_count < options.steps:
        searcher.step()
    return export_policy(problem, searcher.status["center"], options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole, as an evaluation makes them."""
    wrapping = {"force_classic_api": True, "discrete_to_continuous_act": True, "clip_actions": True}
    dreams = TorchWrapper(DreamFactory(options.dream)(options.lanes), **wrapping)
    few = make_vector_env("gym::CartPole-v1", num_envs=16, gym_kwargs={"empty_info": True}, **wrapping)
    return {"bridge": stepper(dreams), "CartPole, 16 lanes": stepper(few)}


def stepper(envs: TorchWrapper) -> Step:
    """Return a function that steps all lanes with the same actions."""
    envs.reset()
    actions = torch.rand(envs.num_envs, *envs.single_action_space.shape)

    @torch.no_grad()
    def step() -> None:
        envs.step(actions)

    return step, envs.num_envs


if __name__ == "__main__":
    main("EvoTorch", "PGPE", train, speed)
