"""What the scripts of this folder share: train in the dream with one library, score in the real twin, count the time.

Each `with_LIBRARY.py` gives two functions to `main`:

    python benchmarks/libraries/with_sb3.py train --dream DreamDodge-v0 --seeds 0 1 2
    python benchmarks/libraries/with_sb3.py speed
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import torch
import tyro
from torch import nn

from dreamgym.bench.speed import sample_actions
from dreamgym.cli.policy import parse_wrap
from dreamgym.core.codec import encode_action
from dreamgym.core.policy import Policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.evaluation.policies import Actor
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import load


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """What every library's PPO is told as far as it knows it; beside it: rollouts of 32, lambda 0.95, clip 0.2."""

    hidden: int = 64
    """Width of the two hidden layers of policy and value, tanh."""
    gamma: float = 0.97
    epochs: int = 4
    """Over a rollout, in minibatches of 2,048 decisions."""
    learning_rate: float = 5e-4
    """Adam's."""
    entropy: float = 0.005
    """Weight of the entropy bonus."""
    log_std: float = 0.0
    """Log of the first standard deviation of a Box action, in the library's own units."""


GAME = PPOSettings()
CAR = PPOSettings(hidden=128, gamma=0.98, epochs=3, learning_rate=4e-4, entropy=2e-3, log_std=-1.0)
"""As `dreamgym.bridges.sb3_ppo` has them, but for the floor under the deviation, which is no library's own."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train in the dream, score in the real twin."""

    dream: str = "DreamDodge-v0"
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of training."""
    steps: int = 2_000_000
    """Dreamed decisions of all lanes."""
    lanes: int = 256
    horizon: int = 100
    """Decisions after which a dream begins anew."""
    wrap: tuple[str, ...] = ()
    """Model wrappers of the training, the innermost first, e.g. tent:peak=4.2"""
    episodes: int = 100
    """Real ones, and as many dreamed ones."""
    first_seed: int = 710_000
    """Of these episodes; used for no choice."""
    out: Path = Path("runs/libraries")
    """Folder of results.csv."""

    @property
    def ppo(self) -> PPOSettings:
        """Settings for this dream."""
        return CAR if self.dream.startswith("DreamCarRacing") else GAME

    @property
    def env(self) -> dict[str, Any]:
        """Options of the lanes that a library trains in."""
        return {"max_episode_steps": self.horizon, "wrap": parse_wrap(self.wrap)}


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Time steps through the bridge, beside the simulator's own and a trivial env of the library's."""

    dream: str = "DreamDodge-v0"
    lanes: int = 1024
    steps: int = 100
    """Of each, in turns."""
    out: Path = Path("runs/libraries")
    """Folder of speed.csv."""


@dataclass(frozen=True)
class Run:
    """One training, as a row of results.csv; returns are those of whole episodes."""

    library: str
    algorithm: str
    dream: str
    seed: int
    steps: int
    seconds: float
    """Of training: of this process, so that other load on the machine does not count."""
    steps_per_second: float
    dream_return: float
    real_return: float
    real_std: float
    real_min: float


SYNC = 16  # lanes
Trainer = Callable[[Train, int], Policy | Actor]
"""From options and a training seed to what acts."""
Step = tuple[Callable[[], object], int]
"""Steps some lanes once, and how many these are."""


def main(library: str, algorithm: str, train: Trainer, speed: Callable[[Speed], dict[str, Step]]) -> None:
    """Run one of the two commands.

    Args:
        library: its name in the table.
        algorithm: its name in the table.
        train: returns what was trained.
        speed: returns `{"bridge": step, ...}`: the dream through the bridge and, for comparison, others such as
            CartPole as the library steps it.
    """
    torch.set_num_threads(1)
    options = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")] | Annotated[Speed, tyro.conf.subcommand("speed")],
        description=f"{library} in a dream.",
    )
    if isinstance(options, Train):
        _train(library, algorithm, train, options)
    else:
        _speed(library, speed(options), options)


def orthogonal(net: nn.Module, gain: float) -> nn.Module:
    """Draw a perceptron's first weights anew as SB3 does, and return it.

    For libraries that leave networks to their users, who get torch's own first weights otherwise.

    Args:
        net: its Linear layers in the order of `modules()`; sqrt(2) is the gain of all but the last, biases are 0.
        gain: of the last layer: 0.01 for a policy, 1 for a value.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return net


def _train(library: str, algorithm: str, train: Trainer, options: Train) -> None:
    for seed in options.seeds:
        since = time.process_time()
        actor = train(options, seed)
        seconds = time.process_time() - since
        torch.set_num_threads(1)  # some libraries set their own
        figures = evaluate(options.dream, actor, episodes=options.episodes, seed=options.first_seed)
        real = figures["real"]
        row = Run(library, algorithm, options.dream, seed, options.steps, round(seconds, 1),
                  round(options.steps / seconds), round(figures["dream"]["mean"], 2), round(real["mean"], 2),
                  round(real["std"], 2), round(real["min"], 2))  # fmt: skip
        print(row)
        _append(options.out / "results.csv", asdict(row))


def _speed(library: str, steps: dict[str, Step], options: Speed) -> None:
    env = DreamVectorEnv(load(options.dream), options.lanes, observation="features", output="torch",
                         autoreset_mode="SameStep")  # fmt: skip
    env.reset(seed=0)
    model = env.dream.model
    action = encode_action(model.action_space, sample_actions(model, options.lanes))

    @torch.no_grad()
    def simulate() -> None:
        env.set_state(env.simulator.step(env.lanes, action)[0])

    sync = gym.make_vec(options.dream, SYNC, vectorization_mode="sync", observation="features")
    sync.reset(seed=0)
    same = sync.action_space.sample()
    everyone: dict[str, Step] = {
        "simulator": (simulate, options.lanes),
        f"sync, {SYNC} single dreams": (lambda: sync.step(same), SYNC),
        **steps,
    }
    times: dict[str, list[float]] = {name: [] for name in everyone}
    for turn in range(options.steps + 20):
        for name, (step, _) in everyone.items():  # in turns, so that other load on the machine strikes all alike
            since = time.process_time()
            step()
            if turn >= 20:
                times[name].append(time.process_time() - since)
    limit = statistics.median(times["simulator"])
    for name, measured in times.items():
        median, lanes = statistics.median(measured), everyone[name][1]
        row: dict[str, Any] = {
            "library": library, "what": name, "dream": options.dream, "lanes": lanes,
            "microseconds": round(median * 1e6), "steps_per_second": round(lanes / median),
            "of_simulator": round(median / lanes / (limit / options.lanes), 3),
        }  # fmt: skip
        print(row)
        _append(options.out / "speed.csv", row)


def _append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
