"""Cold dreams are easy and teach little: a policy learns in a dream at each of three temperatures, and meets reality.

    python examples/temperature_table.py            # three minutes on one core
    python examples/temperature_table.py --smoke    # seconds

Prints what each policy earns in dreams at its own temperature and in the real game, 300 at most. The last number is
what a player earns in the coldest dream who does nothing at all. docs/temperature.md has the whole table.
"""

import sys

import torch

import dreamgym
from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, train_ppo
from dreamgym.envs.open import open_dream

SMOKE = "--smoke" in sys.argv
DREAM = "DreamDodge-v0"
TEMPERATURES = (0.1, 1.0) if SMOKE else (0.1, 1.0, 1.3)
LANES, DECISIONS = (16, 512) if SMOKE else (256, 500_000)
EPISODES = 2 if SMOKE else 50
CONFIG = PPOConfig(hidden=(64, 64), gamma=0.97, entropy=0.005)

torch.set_num_threads(1)  # small batches are slower with more


def at(temperature):
    """Return the dream at a temperature, as something that can be evaluated."""
    return open_dream(DREAM, None, [("temperature", {"temperature": temperature})], "cpu")


print("temperature   in the dream at it   real")
for temperature in TEMPERATURES:
    wrap = [("temperature", {"temperature": temperature})]
    algorithm, _ = train_ppo(DREAM, decisions=DECISIONS, lanes=LANES, horizon=100, wrap=wrap, config=CONFIG)
    policy = export_policy(algorithm, DREAM)
    dreamed = dreamgym.evaluate(at(temperature), policy, side="dream", episodes=EPISODES, seed=2000)["dream"]
    real = dreamgym.evaluate(DREAM, policy, side="real", episodes=EPISODES, seed=2000)["real"]
    print(f"{temperature:11.2f}   {dreamed['mean']:18.0f}   {real['mean']:.0f} +- {real['std'] / EPISODES**0.5:.0f}")

# In the paper's cold dreams monsters forget to shoot; here things forget to come.
idle = dreamgym.evaluate(at(TEMPERATURES[0]), "constant:0", side="dream", episodes=EPISODES, seed=2000)["dream"]
print(f"doing nothing in a dream at {TEMPERATURES[0]}: {idle['mean']:.0f}")
