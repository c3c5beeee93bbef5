"""Bring your own world model: CartPole as a linear map, fitted to 5,000 random steps, and PPO trained inside it.

`python examples/bring_your_own_world_model.py [--smoke]` takes 15 (4) seconds and prints PPO's real return; 500 is all.
"""

import sys
from dataclasses import dataclass

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from dreamgym import StartBank, Transition, WorldModel, check_world_model
from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.hub import LoadedDream

UPDATES, EPISODES = (1, 2) if "--smoke" in sys.argv else (30, 20)
torch.manual_seed(0)
env, rows, over = gym.make("CartPole-v1"), [], [True]
for step in range(5000):
    obs = env.reset(seed=step)[0] if any(over) else rows[-1][6:]
    action = int(torch.randint(2, ()))
    after, _, *over, _ = env.step(action)  # over is [terminated, truncated]
    rows.append([*obs, 1 - action, action, *after])
before, after = torch.tensor(rows).split([6, 4], 1)


@dataclass(frozen=True)
class State:
    x: torch.Tensor  # [B, 4]: position and speed of the cart, angle and speed of the pole


class LinearCartPole(WorldModel[State]):
    observation_space, action_space, noise_dim, feature_dim = env.observation_space, env.action_space, 4, 4
    weights = torch.linalg.lstsq(before, after).solution  # [4 + 2, 4]: actions arrive one-hot
    std = (after - before @ weights).std(0)

    def initial(self, batch_size):
        return State(torch.zeros(batch_size, 4))

    def observe(self, state, action, obs, is_first, noise=None):
        return State(obs)  # an observation tells everything: there is nothing to remember

    def step(self, state, action, noise=None, temperature=1.0):
        noise = torch.randn_like(state.x) if noise is None else noise
        x = torch.cat([state.x, action], 1) @ self.weights + temperature**0.5 * self.std * noise
        inside = torch.minimum(1 - x[:, 0].abs() / 2.4, 1 - x[:, 2].abs() / 0.2095)  # below 0 it has fallen
        return Transition(State(x), reward=torch.ones(len(x)), termination=torch.sigmoid(-100 * inside))

    def features(self, state):
        return state.x.clone()


check_world_model(LinearCartPole())
dream = LoadedDream(LinearCartPole(), StartBank(State(before[:, :4]), torch.ones(5000) > 0), {"max_episode_steps": 500})
policy = PPO("MlpPolicy", DreamVecEnv(dream, 64), n_steps=32, batch_size=256, gamma=0.98, seed=0, device="cpu")
policy.learn(UPDATES * 64 * 32)
print("real return: {:.1f} +- {:.1f}".format(*evaluate_policy(policy, env, EPISODES, warn=False)))
