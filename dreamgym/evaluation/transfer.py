"""What a policy scores in a dream and in the real environment, episode beside episode."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

from dreamgym.core.codec import encode_action
from dreamgym.core.threads import use_threads
from dreamgym.data.collect import die_with_parent
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import make_real
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import DreamgymError, InvalidArgument
from dreamgym.evaluation.policies import Actor, PolicyLike, make_policy

SIDES = ("both", "real", "dream")


@dataclass(frozen=True)
class Outcome:
    """One episode."""

    total_reward: float
    length: int
    """Decisions."""
    terminated: bool


def evaluate(
    dream: Model,
    policy: PolicyLike = "shipped",
    *,
    side: str = "both",
    episodes: int = 20,
    seed: int = 0,
    variant: str | None = None,
    num_workers: int = 1,
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return what a policy scores: `{"real": figures, "dream": figures}`, or one of them; see `summarize`.

    Episode i is seeded with `seed + i` on both sides, and its outcome depends on nothing else. Dreamed episodes begin
    where recorded ones began, and end by the dream's own terminations and time limit.

    Args:
        dream: a registered dream's id, a folder that `dreamgym train` wrote, or a `LoadedDream`.
        policy: see `make_policy`.
        side: "real", "dream" or "both".
        episodes: how many, on each side.
        seed: of the first episode.
        variant: which of a registered dream's variants.
        num_workers: processes that play real episodes, each with one torch thread.
        progress: show a bar.

    Raises:
        UnknownName: if there is no such dream or variant.
        InvalidArgument: if an option cannot be meant, or the dream has no time limit.
        PolicyMismatch: if the policy was made for another dream.
        FileNotFoundError: if there is no such policy.
    """
    if side not in SIDES:
        raise InvalidArgument(f"side is {side!r}; expected one of {', '.join(map(repr, SIDES))}.")
    for name, count, least in (("episodes", episodes, 1), ("num_workers", num_workers, 1), ("seed", seed, 0)):
        if count < least:
            raise InvalidArgument(f"{name} is {count}; expected at least {least}.")
    opened = open_dream(dream, variant, (), "cpu")
    seeds = range(seed, seed + episodes)
    figures = {}
    with use_threads():  # as workers do: sums in another order would be other episodes
        actor = make_policy(policy, opened)  # finds faults before an episode or a process begins
        if side != "dream":
            recipe = (dream, policy, variant)
            figures["real"] = summarize(_play_real(recipe, actor, seeds, num_workers, progress))
        if side != "real":
            figures["dream"] = summarize(dream_episodes(dream, actor, seeds, variant))
    return figures


def summarize(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of some episodes.

    Returns:
        `mean`, `std`, `min`, `max` of the return; `episodes`, how many; `reward_per_decision`, which compares sides
        whose episodes end differently; `ended`, the share that terminated; and each episode's `returns`, `lengths`.
    """
    returns = np.array([outcome.total_reward for outcome in outcomes])
    lengths = [outcome.length for outcome in outcomes]
    return {
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "episodes": len(outcomes),
        "reward_per_decision": float(returns.sum() / sum(lengths)),
        "ended": float(np.mean([outcome.terminated for outcome in outcomes])),
        "returns": returns.tolist(),
        "lengths": lengths,
    }


def real_episode(env: gym.Env[Any, Any], actor: Actor, seed: int) -> Outcome:
    """Return one episode of a real twin that shows features."""
    features, _ = env.reset(seed=seed)
    actor.reset([seed])
    total, length, terminated, truncated = 0.0, 0, False, False
    while not (terminated or truncated):
        action = actor.act(torch.from_numpy(features)[None])[0]
        features, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        length += 1
    return Outcome(total, length, bool(terminated))


@torch.no_grad()
def dream_episodes(
    dream: Model, actor: Actor, seeds: range, variant: str | None = None, first: Any = None
) -> list[Outcome]:
    """Return dreamed episodes, all played at once as lanes of one dream.

    Args:
        dream: as for `evaluate`.
        actor: what acts.
        seeds: one an episode.
        variant: which of a registered dream's variants.
        first: the model's states in which the episodes begin, one lane a seed; by default those of recorded ones.

    Raises:
        InvalidArgument: if neither the registered id nor the card sets a time limit.
    """
    env = DreamVectorEnv(dream, len(seeds), variant=variant, observation="features", starts="first",
                         autoreset_mode="Disabled")  # fmt: skip
    simulator, model = env.simulator, env.dream.model
    if simulator.max_episode_steps is None:
        raise InvalidArgument(f"{env.dream.name} has no time limit; give its card max_episode_steps.")
    env.reset(seed=seeds.start)
    lanes = env.get_state()
    if first is not None:
        lanes = replace(lanes, state=first)
    actor.reset(seeds)
    total = torch.zeros(len(seeds), dtype=torch.float64)
    terminated = torch.zeros(len(seeds), dtype=torch.bool)
    while not bool(lanes.done.all()):  # the simulator, unlike the env, leaves lanes alone whose episode has ended
        action = encode_action(model.action_space, actor.act(model.features(lanes.state)))
        lanes, outcome = simulator.step(lanes, action)
        total += outcome.reward
        terminated |= outcome.terminated
    return [Outcome(*row) for row in zip(total.tolist(), lanes.elapsed.tolist(), terminated.tolist(), strict=True)]


Recipe = tuple[Model, PolicyLike, str | None]
"""What a worker needs to play: dream, policy and variant."""


def _play_real(recipe: Recipe, actor: Actor, seeds: range, num_workers: int, progress: bool) -> list[Outcome]:
    bar = tqdm(total=len(seeds), desc="real episodes", unit="episode", disable=not progress, leave=False)
    with bar:
        if num_workers == 1:
            env = make_real(recipe[0], variant=recipe[2], observation="features")
            try:
                return [_count(bar, real_episode(env, actor, seed)) for seed in seeds]
            finally:
                env.close()
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(num_workers, len(seeds)), spawn, _start_worker, recipe)
        try:
            return [_count(bar, outcome) for outcome in pool.map(_work, seeds)]
        except BrokenProcessPool as error:
            raise DreamgymError("a worker process died (out of memory?); try again with num_workers=1.") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _count(bar: Any, outcome: Outcome) -> Outcome:
    bar.update()
    return outcome


_worker: tuple[gym.Env[Any, Any], Actor] | None = None  # of a worker process


def _start_worker(dream: Model, policy: PolicyLike, variant: str | None) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    threading.Thread(target=die_with_parent, daemon=True).start()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    torch.set_num_threads(1)
    opened = open_dream(dream, variant, (), "cpu")
    _worker = make_real(dream, variant=variant, observation="features"), make_policy(policy, opened)


def _work(seed: int) -> Outcome:
    assert _worker is not None
    return real_episode(*_worker, seed)
