"""The CartPole challenge: balance from 1,000 transitions of random play, by planning in a model learned from them.

    python benchmarks/cart_pole_challenge.py                  # one set of transitions, about two minutes on a free core
    python benchmarks/cart_pole_challenge.py --seeds 0 1 2    # three sets

A network learns next state and reward; that an episode has ended is read off the next state by CartPole's published
rule, but for one row, where it is learned too. At every step 50 random sequences of 20 actions are imagined, and one
action is done. Beside that: tabular Q-learning on a discretised state and SB3's DQN, stopped at the first evaluation
(20 episodes, every 5,000 or 2,000 steps) whose mean reaches 475. Prints how many real steps each had seen, and what it
scored on 20 episodes that no choice was made on; draws both.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

from dreamgym.cli.output import print_table
from dreamgym.core import noise
from dreamgym.core.filter import observe_real
from dreamgym.core.model import Obs, StageConfig, Transition, WorldModel
from dreamgym.core.starts import StartBank
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.evaluation.lockstep import play_in_lockstep
from dreamgym.hub import LoadedDream
from dreamgym.models.known import cart_pole_ending
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble
from dreamgym.planners.first_action import Rollout, RolloutConfig
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.planners.planner import Planner
from dreamgym.planners.shooting import RandomShooting, ShootingConfig
from dreamgym.training import TrainConfig, fit

ENV, GOAL, EPISODES = "CartPole-v1", 475.0, 20
VALIDATION, REPORT = 500_000, 980_000
"""Seeds of the episodes that say when a baseline stops, and of those that are reported, plus 100 for each seed."""
TRANSITIONS, OWN_EPISODES = 1000, 3
MODEL = Config(num_members=5, probabilistic=False, hidden_dim=64, layers=2, termination="cart_pole")
TRAINING = StageConfig(steps=1500, batch_size=128, sequence_length=1)
EDGES = ([-0.8, 0.8], [-0.5, 0.5], np.linspace(-0.17, 0.17, 7), np.linspace(-1.5, 1.5, 7))
"""Between the boxes of the discretised position, speed, angle and turning."""
BEST = RandomShooting(ShootingConfig(num_candidates=50, horizon=20))
MEAN = Rollout(RolloutConfig(num_candidates=50, horizon=20))


@dataclass
class Result:
    """What one agent of one seed reached."""

    steps: int | None
    """Real steps that it had seen; None if no evaluation reached the goal."""
    returns: np.ndarray
    """`[EPISODES]` of the report."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """Real steps and the mean return of each evaluation."""
    note: str = ""


def record(folder: Path, seed: int) -> Dataset:
    """Return 1,000 transitions of random play; the last episode is cut off."""
    if folder.exists():
        return Dataset(folder)
    env, left = gym.make(ENV), TRANSITIONS
    env.action_space.seed(seed)
    seen, actions = [env.reset(seed=seed)[0]], []
    with DatasetWriter(folder, ENV, env.observation_space, env.action_space) as writer:
        while left > 0:
            actions.append(env.action_space.sample())
            obs, _, ended, _, _ = env.step(actions[-1])
            seen.append(obs)
            left -= 1
            if ended or left == 0:
                reward = np.ones(len(actions), np.float32)
                episode = Episode(np.stack(seen), np.array(actions), reward, bool(ended), not ended)
                writer.add(episode, key=f"{left:04d}")  # of their keys hangs which are held out
                seen, actions = [env.reset()[0]], []
    return Dataset(folder)


def learn(config: Config, dataset: Dataset, out: Path, seed: int) -> MlpEnsemble:
    """Return a model of recorded transitions."""
    torch.manual_seed(seed)
    model = MlpEnsemble(config, dataset.observation_space, dataset.action_space)
    settings = TrainConfig(seed=seed, progress=False, tensorboard=False, checkpoint_every=TRAINING.steps)
    return fit(model, dataset, out, stages={"ensemble": TRAINING}, config=settings).model


def members_of(model: MlpEnsemble) -> list[MlpEnsemble]:
    """Return models that are one member each."""
    alone = [copy.deepcopy(model) for _ in model.elites]
    for member, elite in zip(alone, model.elites, strict=True):
        member.elites = elite[None].clone()
    return alone


@dataclass(frozen=True)
class Place:
    """A state of the exact world."""

    obs: Tensor
    """`[B, 4]` position, speed, angle and turning, as the env shows them."""


class ExactCartPole(WorldModel[Place]):
    """CartPole itself, to tell what the planner loses from what the model loses."""

    noise_dim, feature_dim = 0, 4

    def __init__(self) -> None:
        env = gym.make(ENV)
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def initial(self, batch_size: int) -> Place:
        """Return upright poles at rest."""
        return Place(torch.zeros(batch_size, 4))

    def observe(self, state: Place, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> Place:
        """Return what is seen."""
        assert isinstance(obs, Tensor)
        return Place(obs.clone())

    def step(
        self, state: Place, action: Tensor, noise: Tensor | None = None, temperature: Any = 1.0
    ) -> Transition[Place]:
        """Return the next state, as Gymnasium's CartPole-v1 computes it."""
        _, speed, angle, turning = state.obs.unbind(1)
        sin, cos, force = angle.sin(), angle.cos(), 10 * (action[:, 1] - action[:, 0])
        push = (force + 0.05 * turning.square() * sin) / 1.1
        bend = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos.square() / 1.1))
        gain = push - 0.05 * bend * cos / 1.1
        change = torch.stack([speed, gain, turning, bend], 1)
        after = state.obs + 0.02 * change
        return Transition(Place(after), torch.ones_like(speed), cart_pole_ending(state.obs, action, after))

    def features(self, state: Place) -> Tensor:
        """Return the observation."""
        return state.obs.clone()


class Agreeing:
    """Acts by the members of an ensemble, each of which judges the same 50 sequences.

    Where all prefer the same first action, it is done. Elsewhere the action is done that is worth most on average.
    """

    def __init__(self, members: Sequence[WorldModel[Any]], planner: Planner) -> None:
        self.members, self.planner = members, planner
        self.decisions = self.agreed = 0
        self._seed = torch.empty(0, dtype=torch.int64)
        self._count = 0

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode for each seed."""
        self._seed, self._count = torch.tensor(list(seeds), dtype=torch.int64), 0

    def keep(self, lanes: Tensor) -> None:
        """Go on with these lanes alone."""
        self._seed = self._seed[lanes]

    def act_on(self, state: Any) -> np.ndarray:
        """Return an action for each lane."""
        seed = noise.fold(self._seed, noise.PLAN, torch.full_like(self._seed, self._count))
        self._count += 1
        worth = torch.stack([self.planner.plan(member, state, seed).info["worth"] for member in self.members])
        votes = worth.argmax(2)  # [members, B]
        agreed = (votes == votes[0]).all(0)
        self.decisions += len(agreed)
        self.agreed += int(agreed.sum())
        return torch.where(agreed, votes[0], worth.mean(0).argmax(1)).numpy()


def planned(model: WorldModel[Any], actor: Any, first: int, episodes: int = EPISODES) -> np.ndarray:
    """Return what real episodes earn that an actor on a model's states plays."""
    starts = StartBank(model.initial(1), torch.ones(1, dtype=torch.bool))
    dream = LoadedDream(model, starts, {"id": "challenge", "real": ENV, "max_episode_steps": 500})
    outcomes = play_in_lockstep(dream, actor, range(first, first + episodes), episodes)
    return np.array([outcome.total_reward for outcome in outcomes])


def played(act: Callable[[np.ndarray], np.ndarray], first: int) -> np.ndarray:
    """Return what 20 real episodes earn in which `act` answers observations `[B, 4]` with actions `[B]`."""
    envs = [gym.make(ENV) for _ in range(EPISODES)]
    seen = {i: env.reset(seed=first + i)[0] for i, env in enumerate(envs)}
    returns = np.zeros(EPISODES)
    while seen:
        for i, action in zip(list(seen), act(np.stack(list(seen.values()))), strict=True):
            seen[i], reward, ended, cut, _ = envs[i].step(int(action))
            returns[i] += float(reward)
            if ended or cut:
                del seen[i]
    return returns


def q_learning(seed: int, first: int, most: int = 400_000, every: int = 5000) -> Result:
    """Return what tabular Q-learning on boxes of the state needs: step size 0.2 to 0.02, exploration 1 to 0.05."""
    env, rng = gym.make(ENV), np.random.default_rng(seed)
    table = np.zeros([len(edges) + 1 for edges in EDGES] + [2])

    def box(obs: np.ndarray) -> tuple[Any, ...]:
        return tuple(np.searchsorted(edges, obs[..., i]) for i, edges in enumerate(EDGES))

    def act(obs: np.ndarray) -> np.ndarray:
        return table[box(obs)].argmax(-1)

    curve, at = [], box(env.reset(seed=seed)[0])
    for t in range(1, most + 1):
        explores = rng.random() < max(0.05, 1 - t / 100_000)
        action = int(rng.integers(2)) if explores else int(table[at].argmax())
        obs, reward, ended, cut, _ = env.step(action)
        after = box(obs)
        target = float(reward) + (0.0 if ended else 0.99 * table[after].max())
        table[(*at, action)] += max(0.02, 0.2 * (1 - t / most)) * (target - table[(*at, action)])
        at = box(env.reset()[0]) if ended or cut else after
        if t % every == 0:
            curve.append((t, float(played(act, VALIDATION).mean())))
            if curve[-1][1] >= GOAL:
                return Result(t, played(act, first), curve)
    return Result(None, played(act, first), curve)


def dqn(seed: int, first: int, most: int = 50_000, every: int = 2000) -> Result:
    """Return what SB3's DQN needs, with the settings of RL Baselines3 Zoo for this env."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback

    settings: dict[str, Any] = {
        "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "gamma": 0.99,
        "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04, "policy_kwargs": {"net_arch": [256, 256]},
    }  # fmt: skip
    agent = DQN("MlpPolicy", gym.make(ENV), seed=seed, device="cpu", **settings)
    curve: list[tuple[int, float]] = []

    def act(obs: np.ndarray) -> np.ndarray:
        return agent.predict(obs, deterministic=True)[0]

    class Evaluated(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % every == 0:
                curve.append((self.num_timesteps, float(played(act, VALIDATION).mean())))
            return not curve or curve[-1][1] < GOAL

    agent.learn(most, callback=Evaluated())
    return Result(curve[-1][0] if curve[-1][1] >= GOAL else None, played(act, first), curve)


def challenge(seed: int, first: int, runs: Path) -> dict[str, Result]:
    """Return what each planner scores with the transitions of one seed."""
    dataset = record(runs / f"data_{seed}", seed)
    one = replace(MODEL, num_members=1)
    exact = ExactCartPole()
    regression = learn(one, dataset, runs / f"one_{seed}", seed)
    blind = learn(replace(one, termination="learned"), dataset, runs / f"blind_{seed}", seed)
    ensemble = learn(MODEL, dataset, runs / f"five_{seed}", seed)
    agreeing = Agreeing(members_of(ensemble), MEAN)

    def control(model: WorldModel[Any], planner: Planner) -> ModelPredictiveControl:
        return ModelPredictiveControl(model, planner, warm=False)

    found = {
        "best sequence": Result(TRANSITIONS, planned(regression, control(regression, BEST), first)),
        "best sequence, exact model": Result(0, planned(exact, control(exact, BEST), first)),
        "mean of 25": Result(TRANSITIONS, planned(regression, control(regression, MEAN), first)),
        "mean of 25, exact model": Result(0, planned(exact, control(exact, MEAN), first)),
        "mean, endings learned too": Result(TRANSITIONS, planned(blind, control(blind, MEAN), first)),
        "ensemble of 5, agreeing": Result(TRANSITIONS, planned(ensemble, agreeing, first)),
    }
    found["ensemble of 5, agreeing"].note = f"all agreed on {agreeing.agreed / agreeing.decisions:.0%}"
    return found


def with_own_episodes(seed: int, first: int, runs: Path) -> Result:
    """Return what the ensemble scores that was learned again after each of a few real episodes of its own."""
    record(runs / f"data_{seed}", seed)
    own, folders = runs / f"own_{seed}", [runs / f"data_{seed}"]
    shutil.rmtree(own, ignore_errors=True)
    for i in range(OWN_EPISODES + 1):
        dataset = Dataset(folders)
        ensemble = learn(MODEL, dataset, own / f"learned_{i}", seed)
        actor = Agreeing(members_of(ensemble), MEAN)
        if i < OWN_EPISODES:
            folders.append(own / f"episode_{i}")
            add_episode(folders[-1], ensemble, actor, VALIDATION - 1000 + 10 * seed + i)
    lengths = ", ".join(str(len(Dataset(folder)[0])) for folder in folders[1:])
    found = Result(dataset.num_steps, planned(ensemble, actor, first))
    found.note = f"own episodes of {lengths} steps; all agreed on {actor.agreed / actor.decisions:.0%}"
    return found


def add_episode(folder: Path, model: WorldModel[Any], actor: Any, seed: int) -> None:
    """Record a real episode that an actor on a model's states plays."""
    env = gym.make(ENV)
    seen, actions, over = [env.reset(seed=seed)[0]], [], False
    actor.reset([seed])
    while not over:
        actions.append(int(actor.act_on(observe_real(model, None, [seen[-1]]))[0]))
        obs, _, ended, cut, _ = env.step(actions[-1])
        seen.append(obs)
        over = ended or cut
    with DatasetWriter(folder, ENV, env.observation_space, env.action_space) as writer:
        episode = Episode(np.stack(seen), np.array(actions), np.ones(len(actions), np.float32), bool(ended), bool(cut))
        writer.add(episode, key=f"own-{seed}")


def draw(results: Sequence[dict[str, Result]], out: Path) -> None:
    """Draw the score by the real steps that it took: curves of those who learn by doing, points of those who plan."""
    figure = Figure((9, 5), layout="constrained")
    axes = figure.subplots()
    names = list(results[0])
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for found in results:
        for name, result in found.items():
            if result.curve:
                axes.plot(*zip(*result.curve, strict=True), color=colours[name], linewidth=1, alpha=0.7)
    planners = [name for name in names if not results[0][name].curve]
    for i, name in enumerate(planners):
        means = [found[name].returns.mean() for found in results]
        aside = 1.09 ** (i - (len(planners) - 1) / 2)  # side by side
        steps = [found[name].steps or TRANSITIONS for found in results]
        x = [aside * step if step == TRANSITIONS else step for step in steps]
        hollow = "none" if results[0][name].steps == 0 else colours[name]
        axes.plot(x, means, "o", color=colours[name], markerfacecolor=hollow, label=name, clip_on=False)
    for name in set(names) - set(planners):
        axes.plot([], [], color=colours[name], label=name)
    axes.axhline(GOAL, color="0.5", linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="real steps seen (dots: planners; hollow: none seen, the exact model)")
    axes.set(ylabel="mean return of 20 episodes", ylim=(0, 510))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def everybody(seed: int, runs: Path) -> dict[str, Result]:
    """Return what planners and baselines reach with one seed."""
    first = REPORT + 100 * seed
    learners = {"Q-learning, 576 boxes": q_learning(seed, first), "DQN": dqn(seed, first)}
    own = {"ensemble of 5, own episodes": with_own_episodes(seed, first, runs)}
    return challenge(seed, first, runs) | own | learners


def kept(path: Path, make: Callable[[], dict[str, Result]]) -> dict[str, Result]:
    """Return results from a file, which is written if it is not there."""
    if not path.exists():
        found = {name: asdict(result) | {"returns": result.returns.tolist()} for name, result in make().items()}
        path.write_text(json.dumps(found))
    found = json.loads(path.read_text())
    return {name: Result(**result | {"returns": np.array(result["returns"])}) for name, result in found.items()}


def main(
    seeds: tuple[int, ...] = (0,),
    out: Path = Path("runs/cart_pole_challenge/curves.png"),
    runs: Path = Path("runs/cart_pole_challenge"),
) -> None:
    """Print and draw what everybody needs.

    Args:
        seeds: of the random transitions, the networks and the baselines.
        out: the picture.
        runs: where transitions and models are kept; what is there already is not made again.
    """
    torch.set_num_threads(1)
    results, since = [], time.perf_counter()
    for seed in seeds:
        results.append(kept(runs / f"results_{seed}.json", lambda seed=seed: everybody(seed, runs)))  # type: ignore[misc]
        print(f"seed {seed}: " + ", ".join(f"{k} {r.returns.mean():.0f}" for k, r in results[-1].items()), flush=True)
    rows = []
    for name in results[0]:
        found = [each[name] for each in results]
        scores = [result.returns for result in found]
        steps = " / ".join("never" if r.steps is None else f"{r.steps:,}" for r in found)
        means = " / ".join(f"{score.mean():.1f}" for score in scores)
        spread, worst = np.std(np.concatenate(scores)), min(score.min() for score in scores)
        notes = " / ".join(result.note for result in found if result.note)
        rows.append([name, steps, means, f"{spread:.1f}", f"{worst:.0f}", notes])
    print_table(["who", "real steps", "mean of 20 episodes", "std", "worst", ""], rows)
    draw(results, out)
    print(f"{out}; {time.perf_counter() - since:.0f} s for {len(seeds)} seeds")


if __name__ == "__main__":
    tyro.cli(main)
