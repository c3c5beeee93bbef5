"""Draw the picture of the README: a policy drives the real environment, and, from one of its moments on, a dream.

python benchmarks/draw_strip.py --dream DreamCarRacing-v0 --out docs/pictures/real_and_dreamed.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

import dreamgym
from dreamgym.core.codec import decode_obs, encode_action
from dreamgym.core.tree import concatenate
from dreamgym.hub import load, load_policy


def main(
    dream: str, out: Path, seed: int = 700_000, noise: int = 0, first: int = 60, length: int = 48, columns: int = 10
) -> None:
    """Draw three rows: real frames, what the model remembers of each, and the dream that begins in the first one.

    Args:
        dream: id or folder of a dream that ships a policy.
        out: PNG file.
        seed: of the real episode.
        noise: seed of the dream.
        first: decision with which the picture begins.
        length: decisions that it shows.
        columns: pictures side by side.
    """
    torch.set_num_threads(1)
    torch.manual_seed(noise)
    loaded = load(dream)
    model, policy = loaded.model, load_policy("shipped", loaded)
    env = dreamgym.make_real(dream, observation="both")
    obs, _ = env.reset(seed=seed)
    real, states = [], []
    for _ in range(first + length + 1):
        real.append(obs["pixels"])
        states.append(env.state)  # type: ignore[attr-defined]
        with torch.no_grad():
            action = policy.act(torch.from_numpy(obs["features"])[None])
        obs, *_ = env.step(action[0].numpy())
    dreamed = [states[first]]
    with torch.no_grad():
        for _ in range(length):
            action = encode_action(model.action_space, policy.act(model.features(dreamed[-1])))
            dreamed.append(model.step(dreamed[-1], action).state)
        shown = np.linspace(0, length, columns).round().astype(int)
        rows = [np.stack([real[first + t] for t in shown])]
        for row in ([states[first + t] for t in shown], [dreamed[t] for t in shown]):
            rows.append(decode_obs(model.observation_space, model.decode(concatenate(row))).numpy())
    tiled = np.pad(np.stack(rows), ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)  # [3, N, h, w, 3]
    picture = tiled.transpose(0, 2, 1, 3, 4).reshape(-1, tiled.shape[1] * tiled.shape[3], 3)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.repeat(2, 0).repeat(2, 1)).save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
