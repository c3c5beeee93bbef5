"""Records episodes of any Gymnasium env, in one process or several, and continues where it was interrupted."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from dreamgym.data.drivers import Driver, DriverLike, check_mixture, find_drivers, is_function, make_driver
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.layout import read_index
from dreamgym.data.ray_pool import RayPool
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import DreamgymError, InvalidArgument
from dreamgym.registry import import_target

if TYPE_CHECKING:
    from typing_extensions import Self


def collect(
    make_env: str,
    out: str | Path,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    driver: str | Mapping[str, float] | None = None,
    drivers: Mapping[str, DriverLike] | None = None,
    seed: int = 0,
    num_workers: int = 1,
    max_episode_steps: int | None = None,
    progress: bool = True,
    ray: bool = False,
) -> dict[str, Any]:
    """Record episodes into the dataset folder `out` and return `summarize` of it.

    Episode i is played with env seed `seed + i`, which also decides its driver and that driver's random choices: the
    same command records the same episodes whatever the number of workers. Interrupted, even by SIGKILL, it keeps every
    finished episode, and the same command continues with those that are missing. To add others to a folder, use
    another seed or another driver's name: an episode is known by these two.

    Args:
        make_env: a Gymnasium id, or `"module:function"` of a function that makes the env.
        out: the folder; a new one, or a dataset of the same spaces.
        episodes: how many.
        steps: or as many episodes as it takes for this many steps; several workers may record a few more.
        driver: a driver's name or shares by name; by default the env's own `MIXTURE`, else `"random"`.
        drivers: further drivers by name, for example policies.
        seed: of the first episode.
        num_workers: processes with one torch thread each; 1 records in this process.
        max_episode_steps: truncates longer episodes; needed for an env without an end.
        progress: shows a bar.
        ray: plays in Ray actors, as many as workers, on the machines of its cluster; see `RayPool`.

    Raises:
        InvalidArgument: if a count is not positive.
        UnknownName: if there is no such driver.
        InvalidDataset: if `out` holds something else.
        OSError: if the disk is full; finished episodes are kept.
    """
    if episodes is None and steps is None:
        raise InvalidArgument("neither episodes nor steps is given; say how much to record.")
    counts = {"episodes": episodes, "steps": steps, "num_workers": num_workers, "max_episode_steps": max_episode_steps}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InvalidArgument(f"{name} is {count}; expected at least 1.")
    if seed < 0:
        raise InvalidArgument(f"seed is {seed}; expected at least 0.")
    known, mixture = find_drivers(make_env)
    shares = check_mixture(
        {driver: 1.0} if isinstance(driver, str) else driver or mixture, {**known, **(drivers or {})}
    )
    recipe = (make_env, Path(out), tuple(shares), dict(drivers or {}), max_episode_steps)
    recorder = _Recorder(*recipe)  # made even if others record: it finds faults before any process starts
    if ray:
        play = partial(_player, make_env, tuple(shares), dict(drivers or {}), max_episode_steps)
        pool: Executor = RayPool(num_workers, play, recorder.write)
        record = recorder.record
    elif num_workers == 1:
        pool = _ThisProcess()
        record = recorder.record
    else:
        pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _start_worker, recipe)
        record = _record
    try:
        _run(pool, record, Path(out), shares, seed, episodes, steps, num_workers, progress)
    except BrokenProcessPool as error:
        raise DreamgymError(
            f"a worker process died; {out} keeps the finished episodes. Was the memory full? Then run the same command "
            "again with fewer workers. A script that records needs `if __name__ == '__main__':`."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the episodes under way, so that they are kept too
        recorder.close()
    return summarize(Dataset(out))


def summarize(dataset: Dataset) -> dict[str, Any]:
    """Return how many episodes and steps there are, with mean and spread of the return, in all and for each driver."""

    def figures(indices: list[int]) -> dict[str, Any]:
        returns, lengths = dataset.returns[indices], dataset.lengths[indices]
        return {
            "episodes": len(indices),
            "steps": int(lengths.sum()),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
        }

    names = [str(meta.get("driver", "unknown")) for meta in dataset.metas]
    by_driver = {name: [i for i, other in enumerate(names) if other == name] for name in sorted(set(names))}
    drivers = {name: figures(indices) for name, indices in by_driver.items()}
    return {**figures(list(range(len(dataset)))), "drivers": drivers}


def record_episode(
    env: gym.Env[Any, Any],
    driver: Driver,
    seed: int,
    max_episode_steps: int | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Episode:
    """Return one episode, which `seed` decides: it seeds the env and, in a stream of its own, the driver."""
    obs, _ = env.reset(seed=seed)
    driver.reset(env, np.random.default_rng([seed, 1]))
    all_obs, actions, rewards = [_copy(obs)], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = driver.act(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        all_obs.append(_copy(obs))
        actions.append(_copy(action))
        rewards.append(float(reward))
        truncated = truncated or len(rewards) == max_episode_steps
    return Episode(
        obs=_stack(env.observation_space, all_obs),
        action=_stack(env.action_space, actions),
        reward=np.array(rewards, np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated),
        meta=dict(meta or {}),
    )


class _Player:
    """An env and its drivers: what one process plays with."""

    def __init__(
        self, make_env: str, names: Sequence[str], drivers: Mapping[str, DriverLike], max_episode_steps: int | None
    ) -> None:
        known = {**find_drivers(make_env)[0], **drivers}
        self._max_episode_steps = max_episode_steps
        self._drivers = {name: make_driver(known[name]) for name in names}
        self.env = import_target(make_env)() if is_function(make_env) else gym.make(make_env)

    def play(self, seed: int, name: str) -> Episode:
        meta = {"driver": name, "seed": seed}
        return record_episode(self.env, self._drivers[name], seed, self._max_episode_steps, meta)


class _Recorder:
    """A player and a writer."""

    def __init__(self, make_env: str, out: Path, *of_player: Any) -> None:
        self._player = _Player(make_env, *of_player)
        env = self._player.env
        self._writer = DatasetWriter(out, make_env, env.observation_space, env.action_space)

    def record(self, seed: int, name: str) -> tuple[int, float]:
        """Record an episode and return its length and return."""
        return self.write(self._player.play(seed, name), seed, name)

    def write(self, episode: Episode, seed: int, name: str) -> tuple[int, float]:
        """Write an episode that was played anywhere and return its length and return."""
        self._writer.add(episode, key=_key(seed, name))
        return len(episode), episode.total_reward

    def close(self) -> None:
        self._writer.close()
        self._player.env.close()


def _run(
    pool: Executor,
    record: Callable[[int, str], tuple[int, float]],
    out: Path,
    shares: Mapping[str, float],
    seed: int,
    episodes: int | None,
    steps: int | None,
    num_workers: int,
    progress: bool,
) -> None:
    """Record the episodes that `out` does not hold yet, in order, until there are enough of them."""
    lines = [line for index in out.glob("shard-*/index.jsonl") for line in read_index(index)]
    recorded = {line["key"]: (line["length"], line["return"]) for line in lines}
    pending: set[Future[tuple[int, float]]] = set()
    with _Bar(episodes, steps, progress) as bar:
        for episode_seed in itertools.count(seed):
            while len(pending) >= num_workers:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    bar.add(*future.result())
            if episode_seed - seed == episodes or (steps is not None and bar.steps >= steps):
                break
            name = _choose(shares, episode_seed)
            if _key(episode_seed, name) in recorded:
                bar.add(*recorded[_key(episode_seed, name)], new=False)
            else:
                pending.add(pool.submit(record, episode_seed, name))
        for future in pending:
            bar.add(*future.result())


class _Bar:
    """Counts what is recorded and shows it: decisions a second and the mean return of the last 100 episodes."""

    def __init__(self, episodes: int | None, steps: int | None, progress: bool) -> None:
        self.steps = self._new_steps = 0
        self._counts_steps = steps is not None
        unit = "step" if self._counts_steps else "episode"
        self._tqdm = tqdm(total=steps or episodes, unit=unit, desc="collect", disable=not progress)
        self._returns: deque[float] = deque(maxlen=100)
        self._began = time.monotonic()

    def add(self, length: int, total_reward: float, new: bool = True) -> None:
        """Count an episode; `new` if it was recorded just now."""
        self.steps += length
        self._new_steps += length * new
        self._returns.append(total_reward)
        rate = self._new_steps / max(time.monotonic() - self._began, 1e-9)
        postfix = {"decisions/s": f"{rate:.0f}", "return": f"{np.mean(self._returns):.1f}"}
        self._tqdm.set_postfix(postfix, refresh=False)
        self._tqdm.update(length if self._counts_steps else 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tqdm.close()


def _player(*recipe: Any) -> Callable[[int, str], Episode]:
    """Return what a Ray actor does."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return _Player(*recipe).play


class _ThisProcess(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


_worker: _Recorder | None = None  # of a worker process


def _start_worker(*recipe: Any) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted parent lets the episode under way finish
    threading.Thread(target=die_with_parent, daemon=True).start()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # for a torch that a driver may yet import
    _worker = _Recorder(*recipe)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _record(seed: int, name: str) -> tuple[int, float]:
    assert _worker is not None
    return _worker.record(seed, name)


def die_with_parent() -> None:
    """End this process when the one that spawned it ends; the target of a daemon thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # a pool's processes would outlive a parent that was killed


def _key(seed: int, driver: str) -> str:
    return f"{seed:010d}-{driver}"


def _choose(shares: Mapping[str, float], seed: int) -> str:
    """Return the driver of the episode with this seed."""
    names = list(shares)
    edges = np.cumsum([shares[name] for name in names])
    drawn = np.random.default_rng([seed, 0]).random()
    return names[min(int(np.searchsorted(edges, drawn, side="right")), len(names) - 1)]


def _copy(value: Any) -> Any:
    """Return a copy: an env may reuse its arrays, and a driver its action."""
    return {name: np.array(part) for name, part in value.items()} if isinstance(value, dict) else np.array(value)


def _stack(space: gym.Space[Any], values: list[Any]) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {name: _stack(part, [value[name] for value in values]) for name, part in space.items()}
    return np.stack(values).astype(space.dtype)
