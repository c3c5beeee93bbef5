"""Makes the offline datasets of an env: random, medium and replay, as Minari datasets with their reference returns.

    python benchmarks/offline/make_datasets.py --env Pendulum-v1 --out runs/offline
    python benchmarks/offline/make_datasets.py --env Hopper-v5 --out runs/offline    # needs dreamgym[mujoco]

Five minutes for Pendulum on a busy core, 50 for Hopper. Started again, it
goes on where it was stopped. As D4RL does (Fu et al. 2020), SAC learns in the real env: `random` are random actions,
`medium` is what a policy does that got some of the way to SAC's best, with its exploration noise, and `replay` is all
that SAC saw until that policy, or for as long as the recipe says. The returns of the best policy and of random actions,
which normalised scores are taken from, are measured on fresh episodes and kept as Minari's `ref_max_score` and
`ref_min_score`. Minari's own folder is used if MINARI_DATASETS_PATH is set, else the folder `minari` in --out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import SAC

import dreamgym  # noqa: F401
from dreamgym.data.collect import collect, record_episode
from dreamgym.data.drivers import Driver, RandomDriver
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.minari import to_minari
from dreamgym.data.writer import DatasetWriter

KINDS = ("random", "medium", "replay")
MEDIUM = 0.4
"""How far between random actions and the best policy the medium one should be."""
CHOICE_SEED, REFERENCE_SEED, DATA_SEED = 100_000, 200_000, 300_000
"""First seeds of the episodes that choose policies, that give the reference returns, and that are recorded."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How SAC learns in an env, and how much is recorded."""

    steps: int
    """Real steps of SAC."""
    every: int
    """Real steps between two kept policies."""
    recorded: int
    """Steps of the random and of the medium dataset."""
    replayed: int | None = None
    """Real steps of SAC in the replay dataset; None is until the medium policy, as D4RL has it."""
    sac: dict[str, Any] = field(default_factory=dict)


RECIPES = {  # after the RL Baselines3 Zoo, but for the widths and the number of steps
    "Pendulum-v1": Recipe(
        steps=10_000,
        every=200,
        recorded=10_000,
        replayed=5000,  # it is learned within three episodes: until the medium policy there is hardly a good one
        sac={"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}},
    ),
    "Hopper-v5": Recipe(
        steps=150_000,
        every=5000,
        recorded=50_000,
        sac={"learning_starts": 10_000, "policy_kwargs": {"net_arch": [128, 128]}},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Offline datasets of one env."""

    env: str = "Pendulum-v1"
    """One of RECIPES."""
    out: Path = Path("runs/offline")
    """Policies, recordings and references; Minari's datasets too, unless MINARI_DATASETS_PATH is set."""
    seed: int = 0
    """Of SAC."""
    steps: int | None = None
    """Real steps of SAC; by default the recipe's."""


def dataset_id(env: str, kind: str) -> str:
    """Return what Minari calls a dataset.

    >>> dataset_id("Hopper-v5", "replay")
    'hopper/replay-v0'
    """
    return f"{env.partition('-')[0].lower()}/{kind}-v0"


def use_minari(out: Path) -> None:
    """Keep Minari's datasets in `out`, unless the user has a folder for them."""
    os.environ.setdefault("MINARI_DATASETS_PATH", str((out / "minari").resolve()))


class SacDriver:
    """Records what an SB3 policy does, with or without its exploration noise."""

    def __init__(self, path: Path, deterministic: bool) -> None:
        self.policy, self.deterministic = SAC.load(path, device="cpu"), deterministic

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """Begin an episode; its noise depends on its seed alone."""
        torch.manual_seed(int(rng.integers(2**31)))

    def act(self, obs: Any) -> Any:
        """Return the policy's action."""
        return self.policy.predict(obs, deterministic=self.deterministic)[0]


def learn(options: Options, folder: Path) -> list[Path]:
    """Return the policies that SAC had on its way; the newest has all its experience beside it."""
    recipe = RECIPES[options.env]
    steps = options.steps or recipe.steps
    folder.mkdir(parents=True, exist_ok=True)
    kept = [path for path in sorted(folder.glob("sac-*.zip")) if _experience(path).exists()]
    if kept:
        sac = SAC.load(kept[-1], gym.make(options.env), device="cpu")
        sac.load_replay_buffer(_experience(kept[-1]))
    else:
        sac = SAC("MlpPolicy", gym.make(options.env), seed=options.seed, buffer_size=steps, device="cpu", **recipe.sac)
    while sac.num_timesteps < steps:
        sac.learn(min(recipe.every, steps - sac.num_timesteps), reset_num_timesteps=False)
        path = folder / f"sac-{sac.num_timesteps:07d}.zip"
        sac.save(path)
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            sac.save_replay_buffer(file)
        unfinished.replace(_experience(path))
        for old in kept:
            _experience(old).unlink(missing_ok=True)
        kept = [path]
        print(f"SAC: {sac.num_timesteps:,} of {steps:,} real steps", flush=True)
    return sorted(folder.glob("sac-*.zip"))


def _experience(policy: Path) -> Path:
    return policy.with_suffix(".experience.pkl")


def mean_return(env: gym.Env[Any, Any], driver: Driver, seed: int, episodes: int) -> float:
    """Return what a driver earns in an episode."""
    return float(np.mean([record_episode(env, driver, seed + i).total_reward for i in range(episodes)]))


def choose(env: gym.Env[Any, Any], policies: list[Path]) -> dict[str, Any]:
    """Return the medium and the best policy, and the reference returns.

    Policies are chosen by ten episodes each; the references are the means of 100 others.
    """
    scores = [mean_return(env, SacDriver(path, True), CHOICE_SEED, 10) for path in policies]
    low = mean_return(env, RandomDriver(), REFERENCE_SEED, 100)
    best = int(np.argmax(scores))
    share = (np.array(scores[: best + 1]) - low) / (scores[best] - low)
    medium = int(np.abs(share - MEDIUM).argmin())
    return {
        "random": low,
        "expert": mean_return(env, SacDriver(policies[best], True), REFERENCE_SEED, 100),
        "medium": policies[medium].name,
        "best": policies[best].name,
        "scores": {path.name: score for path, score in zip(policies, scores, strict=True)},
    }


def replayed(env: gym.Env[Any, Any], sac: SAC, num_steps: int) -> Iterator[Episode]:
    """Yield the whole episodes among the first steps that SAC's replay buffer holds, as the real env saw them."""
    buffer: Any = sac.replay_buffer
    obs, following = buffer.observations[:num_steps, 0], buffer.next_observations[:num_steps, 0]
    over = buffer.dones[:num_steps, 0] > 0
    cut = np.append((following[:-1] != obs[1:]).any(1), False)  # where a training was stopped and begun again
    action = sac.policy.unscale_action(buffer.actions[:num_steps, 0])
    ends = (over | cut).nonzero()[0] + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        timed_out = bool(buffer.timeouts[end - 1, 0])
        yield Episode(
            obs=np.concatenate([obs[start:end], following[end - 1 : end]]),
            action=action[start:end].astype(env.action_space.dtype),
            reward=buffer.rewards[start:end, 0].astype(np.float32),
            terminated=bool(over[end - 1]) and not timed_out,
            truncated=timed_out or not over[end - 1],
            meta={"driver": "replay", "step": int(start)},
        )


def record(options: Options, kind: str, folder: Path, references: dict[str, Any], newest: Path) -> Dataset:
    """Return the recordings of one kind; those that a killed run left behind are taken up."""
    out, sac_folder = folder / "recorded" / kind, folder / "sac"
    medium = sac_folder / references["medium"]
    if kind == "replay":
        env = gym.make(options.env)
        sac = SAC.load(newest, device="cpu")
        sac.load_replay_buffer(_experience(newest))
        kept = set(Dataset(out).keys) if any(out.glob("shard-*/index.jsonl")) else set()
        with DatasetWriter(out, options.env, env.observation_space, env.action_space) as writer:
            until = RECIPES[options.env].replayed or int(medium.stem.rpartition("-")[2])
            for episode in replayed(env, sac, until):
                key = f"{episode.meta['step']:010d}"
                if key not in kept:
                    writer.add(episode, key=key)
    else:
        drivers = {"medium": SacDriver(medium, False)} if kind == "medium" else {}
        steps = RECIPES[options.env].recorded
        collect(options.env, out, steps=steps, driver=kind, drivers=drivers, seed=DATA_SEED, progress=False)
    return Dataset(out)


def main(options: Options) -> None:
    """Learn, choose, record, and write what Minari does not have yet."""
    import minari

    torch.set_num_threads(1)
    use_minari(options.out)
    folder = options.out / options.env
    policies = learn(options, folder / "sac")
    file = folder / "references.json"
    if not file.exists():
        references = choose(gym.make(options.env), policies)
        file.write_text(json.dumps(references, indent=1))
    references = json.loads(file.read_text())
    print({name: value for name, value in references.items() if name != "scores"}, flush=True)
    for kind in KINDS:
        id_ = dataset_id(options.env, kind)
        if id_ not in minari.list_local_datasets():
            to_minari(
                record(options, kind, folder, references, policies[-1]),
                id_,
                env=options.env,
                ref_min_score=references["random"],
                ref_max_score=references["expert"],
                num_episodes_average_score=100,
                algorithm_name="random actions" if kind == "random" else "SAC of Stable-Baselines3",
                description=f"{kind} actions in {options.env}; made by benchmarks/offline/make_datasets.py of dreamgym",
            )
        data = minari.load_dataset(id_)
        returns = np.array([episode.rewards.sum() for episode in data.iterate_episodes()])
        scores = 100 * minari.get_normalized_score(data, returns)
        print(f"{id_}: {len(returns)} episodes, {data.total_steps:,} steps, return {returns.mean():.0f}, "
              f"normalised score {scores.mean():.1f}, best episode {scores.max():.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options))
