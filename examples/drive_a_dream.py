"""Drive a dream with the arrow keys: every picture comes out of the world model, there is no game behind it.

    python examples/drive_a_dream.py                          # a drive of 20 seconds, in a window
    python examples/drive_a_dream.py --dream DreamDodge-v0    # another dream: left and right
    python examples/drive_a_dream.py --smoke                  # seconds, without a window: nobody drives

Prints the return of the dreamed episode; the shipped policy's is in `dreamgym list`.
"""

import argparse
import os

parser = argparse.ArgumentParser()
parser.add_argument("--dream", default="DreamCarRacing-v0")
parser.add_argument("--smoke", action="store_true")
arguments = parser.parse_args()
if arguments.smoke:
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    arguments.dream = "DreamDodge-v0"

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
import pygame  # noqa: E402

import dreamgym  # noqa: E402, F401  registers the dreams


def pressed_action(space: gym.Space):
    """Return the action that the pressed keys mean."""
    keys = pygame.key.get_pressed()
    left, right, up, down = (keys[key] for key in (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN))
    if isinstance(space, gym.spaces.Discrete):
        return 1 if left else 2 if right else 0
    return np.array([right - left, up, 0.8 * down], np.float32)


env = gym.wrappers.HumanRendering(gym.make(arguments.dream, render_mode="rgb_array", starts="first"))
env.reset()
episode_return, decisions, over = 0.0, 0, False
while not over and decisions < (10 if arguments.smoke else 1000):
    _, reward, terminated, truncated, _ = env.step(pressed_action(env.action_space))
    over = terminated or truncated
    episode_return += reward
    decisions += 1
env.close()
print(f"{decisions} dreamed decisions, return {episode_return:.1f}")
