"""Train Stable-Baselines3's PPO inside a dream, and score it in the real environment, which it has never seen.

    python examples/train_ppo_in_a_dream.py            # two minutes on one core
    python examples/train_ppo_in_a_dream.py --smoke    # seconds

Prints what random actions and PPO earn in the dream and in the real environment; the last number is PPO's real one.
"""

import sys

import torch
from stable_baselines3 import PPO

import dreamgym
from dreamgym.bridges.sb3 import DreamVecEnv, export_policy

SMOKE = "--smoke" in sys.argv
DREAM = "DreamDodge-v0"
LANES, ROLLOUT = (16, 16) if SMOKE else (512, 32)
DECISIONS = LANES * ROLLOUT * (1 if SMOKE else 60)
EPISODES = 2 if SMOKE else 20

torch.set_num_threads(1)  # small batches are slower with more

# 512 dreams at once. PPO sees features, a few numbers that stand for what is happening, instead of pictures.
envs = DreamVecEnv(DREAM, LANES)
model = PPO(
    "MlpPolicy", envs, n_steps=ROLLOUT, batch_size=min(2048, LANES * ROLLOUT), n_epochs=3, gamma=0.98,
    learning_rate=4e-4, policy_kwargs={"net_arch": [128, 128]}, seed=0, device="cpu",
)  # fmt: skip
model.learn(DECISIONS)

# As a plain perceptron in a safetensors file, the policy acts wherever the dream's features are to be had:
# `make_real` filters real pictures through the world model.
policy = export_policy(model, DREAM, "runs/ppo/policy.safetensors")
for name, who in {"random": "random", "PPO": policy}.items():
    scores = dreamgym.evaluate(DREAM, who, episodes=EPISODES, seed=1000)
    dream, real = scores["dream"], scores["real"]
    print(f"{name:>6}: dream {dream['mean']:.1f}, real {real['mean']:.1f} +- {real['std']:.1f}")
print(f"real return of a policy that was trained in a dream alone: {real['mean']:.1f}")
