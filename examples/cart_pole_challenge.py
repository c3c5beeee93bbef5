"""Balance CartPole after 1,000 random steps: learn next state and reward, imagine 50 sequences of 20, do one action.

    python examples/cart_pole_challenge.py            # about a minute on one core
    python examples/cart_pole_challenge.py --smoke    # seconds

Prints what real episodes earn if the best sequence decides, then if the mean over all that begin alike does; the last
number is that second mean (500 is the most, random play earns 22). `benchmarks/cart_pole_challenge.py` says why.
"""

import sys
import tempfile

import gymnasium as gym
import numpy as np
import torch

from dreamgym.core.filter import observe_real
from dreamgym.core.model import StageConfig
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble
from dreamgym.planners.first_action import Rollout, RolloutConfig
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.planners.shooting import RandomShooting, ShootingConfig
from dreamgym.training import TrainConfig, fit

SMOKE = "--smoke" in sys.argv
TRANSITIONS, TRAINING, EPISODES, STEPS = (100, 20, 1, 20) if SMOKE else (1000, 1500, 5, 500)

torch.set_num_threads(1)
torch.manual_seed(0)
env = gym.make("CartPole-v1")
env.action_space.seed(0)

with tempfile.TemporaryDirectory() as folder:
    with DatasetWriter(f"{folder}/data", "CartPole-v1", env.observation_space, env.action_space) as writer:
        seen, actions = [env.reset(seed=0)[0]], []
        for t in range(TRANSITIONS):
            actions.append(env.action_space.sample())
            obs, _, ended, _, _ = env.step(actions[-1])
            seen.append(obs)
            if ended or t == TRANSITIONS - 1:
                reward = np.ones(len(actions), np.float32)
                writer.add(Episode(np.stack(seen), np.array(actions), reward, bool(ended), not ended), key=f"{t:04d}")
                seen, actions = [env.reset()[0]], []

    # The plain regression of the textbooks; that an episode has ended is read off the next state by CartPole's rule.
    config = Config(num_members=1, probabilistic=False, hidden_dim=64, layers=2, termination="cart_pole")
    model = MlpEnsemble(config, env.observation_space, env.action_space)
    stages = {"ensemble": StageConfig(steps=TRAINING, batch_size=128, sequence_length=1)}
    fit(model, Dataset(f"{folder}/data"), f"{folder}/run", stages=stages, config=TrainConfig(tensorboard=False))

for name, planner in {
    "the best sequence": RandomShooting(ShootingConfig(num_candidates=50, horizon=20)),
    "the mean over sequences": Rollout(RolloutConfig(num_candidates=50, horizon=20)),
}.items():
    control = ModelPredictiveControl(model, planner, warm=False)
    lengths = []
    for episode in range(EPISODES):
        obs, _ = env.reset(seed=1000 + episode)
        control.reset([episode])
        for length in range(1, STEPS + 1):  # noqa: B007
            obs, _, ended, _, _ = env.step(control.act_on(observe_real(model, None, [obs]))[0])
            if ended:
                break
        lengths.append(length)
    print(f"{name} decides: {lengths}, mean {np.mean(lengths):.1f}")
