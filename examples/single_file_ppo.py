"""PPO in one file, in the manner of CleanRL: no library between the learner and the dream's tensors.

    python examples/single_file_ppo.py            # three minutes on one core
    python examples/single_file_ppo.py --smoke    # seconds

Prints the reward of a dreamed decision as it grows; the last number is what the policy earns in the real environment.
"""

import sys

import gymnasium as gym
import torch
from torch import nn
from torch.distributions import Categorical

import dreamgym
from dreamgym.bridges.export import export_perceptron

SMOKE, DREAM = "--smoke" in sys.argv, "DreamDodge-v0"
LANES, ROLLOUT, UPDATES, EPISODES = (16, 8, 2, 2) if SMOKE else (256, 32, 122, 20)
EPOCHS, MINIBATCH, GAMMA, LAMBDA, CLIP, ENTROPY, RATE = 4, 2048, 0.97, 0.95, 0.2, 0.005, 5e-4


def perceptron(inputs, outputs, gain):
    """Return layers from features to numbers, orthogonal as PPO likes them."""
    layers = nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    for layer, scale in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def train(envs, updates, seed=0, progress=print):
    """Return the layers of a policy, from features to preferences; `envs` is in mode "SameStep" and gives tensors."""
    torch.manual_seed(seed)
    actor = perceptron(envs.single_observation_space.shape[0], int(envs.single_action_space.n), 0.01)
    critic = perceptron(envs.single_observation_space.shape[0], 1, 1.0)
    weights = [*actor.parameters(), *critic.parameters()]
    adam = torch.optim.Adam(weights, RATE, eps=1e-5)
    obs, _ = envs.reset(seed=seed)
    for update in range(updates):
        steps = []
        with torch.no_grad():
            for _ in range(ROLLOUT):
                policy = Categorical(logits=actor(obs))
                action = policy.sample()
                after, reward, terminated, truncated, info = envs.step(action)
                last = info.get("final_obs", after)  # where an episode ended, `after` is the next one's first
                value = critic(obs)[:, 0]
                delta = reward + GAMMA * critic(last)[:, 0] * ~terminated - value
                steps.append((obs, action, policy.log_prob(action), value, delta, terminated | truncated, reward))
                obs = after
        seen, actions, log_probs, values, deltas, ends, rewards = map(torch.stack, zip(*steps, strict=True))
        advantages, ahead = torch.zeros_like(deltas), torch.zeros(len(obs))
        for t in reversed(range(ROLLOUT)):
            advantages[t] = ahead = deltas[t] + GAMMA * LAMBDA * ahead * ~ends[t]
        batch = [x.flatten(0, 1) for x in (seen, actions, log_probs, advantages, advantages + values)]
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(batch[0])).split(MINIBATCH):
                x, action, before, advantage, target = (part[rows] for part in batch)
                policy = Categorical(logits=actor(x))
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (policy.log_prob(action) - before).exp()
                gain = torch.min(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                loss = 0.5 * (critic(x)[:, 0] - target).square().mean() - gain - ENTROPY * policy.entropy().mean()
                adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 0.5)
                adam.step()
        progress(f"update {update + 1:3d}: reward of a decision {rewards.mean():.3f}")
    return actor


if __name__ == "__main__":
    torch.set_num_threads(1)  # small batches are slower with more
    options = {"observation": "features", "output": "torch", "autoreset_mode": "SameStep", "max_episode_steps": 100}
    layers = train(gym.make_vec(DREAM, LANES, **options), UPDATES)
    real = dreamgym.evaluate(DREAM, export_perceptron(layers, DREAM), side="real", episodes=EPISODES, seed=1000)["real"]
    print(f"real return of a policy that was trained in a dream alone: {real['mean']:.1f}")
