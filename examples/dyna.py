"""Find the way through a maze, learning from every real step and, between two of them, from dreamed ones (Dyna).

    python examples/dyna.py            # under a minute on one core
    python examples/dyna.py --smoke    # seconds

Prints how many real steps an episode takes with 0, 5 and 50 dreamed steps for every real one, and then the way that was
learned with 50; the last number is its length (14 is the shortest).
"""

import sys

import gymnasium as gym
import numpy as np
import torch

import dreamgym  # noqa: F401  registers the mazes
from dreamgym.agents.dyna import Dyna, DynaConfig
from dreamgym.models.tabular import Config, Tabular
from dreamgym.real.maze import MAZES

SMOKE = "--smoke" in sys.argv
EPISODES, SEEDS = (12, 1) if SMOKE else (25, 3)
SHOWN = [2, 3, 5, 10] if SMOKE else [2, 3, 5, 10, 25]

torch.set_num_threads(1)
env = gym.make("DynaMaze-v0")


def live(planning_steps: int, seed: int) -> tuple[Dyna, list[int]]:
    """Return an agent after a number of episodes, and how long they were."""
    model = Tabular(Config(), env.observation_space, env.action_space)  # the world model: a table of what followed what
    agent = Dyna(model, DynaConfig(planning_steps=planning_steps), seed)
    lengths = []
    for episode in range(EPISODES):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        begun, terminated = agent.steps, False
        while not terminated:
            action = agent.act(obs)
            next_obs, reward, terminated, _, _ = env.step(action)
            agent.learn(obs, action, float(reward), terminated, next_obs)  # and dreams planning_steps times
            obs = next_obs
        lengths.append(agent.steps - begun)
    return agent, lengths


for planning_steps in (0, 5, 50):
    lives = [live(planning_steps, seed) for seed in range(SEEDS)]
    mean = np.mean([lengths for _, lengths in lives], 0)
    told = ", ".join(f"{mean[episode - 1]:.0f} in episode {episode}" for episode in SHOWN)
    print(f"{planning_steps:2} dreamed steps for each real one: {told} real steps")

agent, _ = lives[0]  # of those with 50
obs, _ = env.reset()
way, terminated = [int(obs)], False
while not terminated and len(way) < 200:
    obs, _, terminated, _, _ = env.step(agent.act(obs, greedy=True))
    way.append(int(obs))
for row, fields in enumerate(MAZES["dyna"].before):  # an observation is a field, counted row by row
    print("".join("o" if row * len(fields) + i in way else field for i, field in enumerate(fields)))
print(f"steps from the start to the goal: {len(way) - 1}")
