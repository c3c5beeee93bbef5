"""Deep Dyna (MBPO) beside the same algorithm of Stable-Baselines3 without dreams: return over real steps.

    python benchmarks/mbpo_curves.py --seeds 20 21 22 23 24 25 26 27 28 29 --out docs/pictures/mbpo_curves.png

Eight minutes a seed on a busy core; started again, it goes on where it was stopped. SAC on Pendulum-v1: with one update
for each real step, with as many updates as MBPO, with twice as many, and with MBPO's dreams. All have the same seeds,
the same real steps and the same settings but for what `AGENTS` says. Prints the real steps until the mean of five fixed
episodes first reached a score and held it for two evaluations, and draws the curves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from dreamgym.hub import build_model
from dreamgym.online.mbpo import Mbpo, MbpoConfig

ENV, SCORE, HELD = "Pendulum-v1", -250.0, 2
STEPS, EVERY, EPISODES, FIRST_SEED = 800, 50, 5, 11_000_000
"""Real steps; those between two evaluations, which do not count; their episodes and the seed of the first."""
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "learning_starts": 200,
    "tau": 0.02,
    "policy_kwargs": {"net_arch": [64, 64]},
}
MODEL = {"hidden_dim": 64, "layers": 2, "reward": "pendulum"}
DREAMS = MbpoConfig(every=50, starts=1000, horizon=20, kept_rounds=4, first_updates=2000, updates=1000)


@dataclass(frozen=True)
class Agent:
    """One of those that are compared."""

    updates: int
    """For each real step."""
    dreams: bool
    colour: str


AGENTS = {
    "SAC, 1 update a step": Agent(1, False, "#8c8c8c"),
    "SAC, 32 updates a step": Agent(32, False, "#4c72b0"),
    "SAC, 64 updates a step": Agent(64, False, "#55a868"),
    "SAC, 32 updates a step, fed with dreams (MBPO)": Agent(32, True, "#dd8452"),
}


class Evaluation(BaseCallback):
    """Scores the deterministic policy on fixed seeds."""

    def __init__(self) -> None:
        super().__init__()
        self.env, self.curve = gym.make(ENV), list[float]()

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY == 0:
            self.curve.append(float(np.mean([self._play(FIRST_SEED + i) for i in range(EPISODES)])))
        return True

    def _play(self, seed: int) -> float:
        obs, _ = self.env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = self.env.step(self.model.predict(obs, deterministic=True)[0])
            total, over = total + float(reward), terminated or truncated
        return total


def learn(agent: Agent, seed: int) -> list[float]:
    """Return the evaluations of one training."""
    env, evaluation = gym.make(ENV), Evaluation()
    algorithm = SAC("MlpPolicy", env, seed=seed, device="cpu", gradient_steps=agent.updates, **SETTINGS)
    with TemporaryDirectory() as folder:
        callbacks: list[BaseCallback] = [evaluation]
        if agent.dreams:
            torch.manual_seed(seed)
            model = build_model("mlp_ensemble", MODEL, env.observation_space, env.action_space)
            callbacks.append(Mbpo(model, Path(folder) / "data", replace(DREAMS, seed=seed)))
        algorithm.learn(STEPS, callback=callbacks)
    return evaluation.curve


def kept(path: Path, agent: Agent, seed: int) -> np.ndarray:
    """Return the curve in a file, or train and write it."""
    if not path.exists():
        np.save(path, learn(agent, seed))
    return np.load(path)


def steps_to(curve: np.ndarray) -> float:
    """Return the real steps of the first of `HELD` evaluations in a row that reach the score; else infinity."""
    reached = [mean >= SCORE for mean in curve]
    first = (EVERY * (1 + i) for i in range(len(curve) - HELD + 1) if all(reached[i : i + HELD]))
    return next(first, float("inf"))


def draw(found: dict[str, list[np.ndarray]], path: Path) -> None:
    """Draw a thin line for each seed and a thick one for their mean."""
    figure = Figure(figsize=(7.5, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for name, curves in found.items():
        x = EVERY * np.arange(1, len(curves[0]) + 1)
        for curve in curves:
            axes.plot(x, curve, color=AGENTS[name].colour, linewidth=0.7, alpha=0.3)
        axes.plot(x, np.mean(curves, 0), color=AGENTS[name].colour, linewidth=2.2, label=name)
    axes.axhline(SCORE, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_title(f"{ENV}, {len(curves)} seeds and their mean", loc="left", fontsize=11)
    axes.set_xlabel("real steps")
    axes.set_ylabel("mean return of five episodes")
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=8)
    figure.savefig(path)


def main(
    seeds: tuple[int, ...] = (20, 21, 22),
    out: Path = Path("runs/mbpo_curves.png"),
    folder: Path = Path("runs/mbpo_curves"),
) -> None:
    """Train all agents, print a table and draw the curves.

    Args:
        seeds: of the trainings.
        out: PNG file.
        folder: where the curves are kept; name a new one after a change of settings.
    """
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[np.ndarray]] = {name: [] for name in AGENTS}
    for seed in seeds:
        for name, agent in AGENTS.items():
            found[name].append(kept(folder / f"{name}, seed {seed}.npy", agent, seed))
            print(f"seed {seed} | {name} | {' '.join(f'{mean:.0f}' for mean in found[name][-1])}", flush=True)
    print(f"agent | real steps to {SCORE:g} by seed | mean of the last {HELD} evaluations +- standard error over seeds")
    for name, curves in found.items():
        needed = ", ".join(f"{n:.0f}" if n < float("inf") else f"> {STEPS}" for n in map(steps_to, curves))
        ends = np.array([np.mean(curve[-HELD:]) for curve in curves])
        error = ends.std(ddof=1) / len(ends) ** 0.5 if len(ends) > 1 else float("nan")
        print(f"{name} | {needed} | {ends.mean():.0f} +- {error:.0f}", flush=True)
    draw(found, out)


if __name__ == "__main__":
    tyro.cli(main)
