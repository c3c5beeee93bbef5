"""The whole agent: act in the real env, record, learn the world model, imagine, learn from that, repeat."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import TimeLimit

from dreamgym.agents.dreamer import Dreamer
from dreamgym.agents.dreamer_config import DreamerConfig
from dreamgym.core.codec import decode_action
from dreamgym.core.filter import Filter, observe_batch
from dreamgym.core.optimizer import ClippedAdam
from dreamgym.core.starts import make_start_bank
from dreamgym.core.threads import use_threads
from dreamgym.core.tree import branch, gather, named_leaves
from dreamgym.data.collect import record_episode, summarize
from dreamgym.data.drivers import is_function
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.layout import read_index
from dreamgym.data.sequences import SequenceSampler
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidDataset, InvalidModel, TrainingFailed
from dreamgym.evaluation.policies import PolicyActor
from dreamgym.evaluation.transfer import real_episode
from dreamgym.evaluation.transfer import summarize as summarize_outcomes
from dreamgym.hub import build_model, load, save_dream, ship_policy
from dreamgym.online.config import FREE, OnlineConfig
from dreamgym.registry import import_target
from dreamgym.training.checkpoints import Checkpoint, newest_checkpoint, prune_checkpoints, write_checkpoint
from dreamgym.training.identity import check_identity, complete
from dreamgym.training.log import StageLog
from dreamgym.training.run import choose_device
from dreamgym.training.stage import Sums, derive_seed
from dreamgym.wrappers.feature_observation import FeatureObservation

DATA, TRAINING, STAGE = "data", "training", "online"
"""Folders inside a dream's folder: the recorded episodes, and checkpoints and logs of the stage with this name."""
_KEPT = 2


@dataclass(frozen=True)
class OnlineResult:
    """What `train_online` reached."""

    folder: Path
    """A dream that `DreamEnv-v0` loads, with its policy."""
    policy: Path
    """The policy's file."""
    steps: int
    """Real steps, earlier calls included."""
    updates: int
    """Of the world model and of the agent."""
    score: Mapping[str, Any]
    """The last evaluation in the real env; see `evaluation.transfer.summarize`."""
    seconds: float
    """Wall time of this call."""


def train_online(
    env: str,
    out: str | Path,
    *,
    family: str = "rssm",
    model: Any = None,
    agent: DreamerConfig | None = None,
    config: OnlineConfig | None = None,
    card: Mapping[str, Any] | None = None,
) -> OnlineResult:
    """Return what a Dreamer reached in a real env; its dream, policy, recordings and logs are in the folder `out`.

    Killed at any moment, the same call goes on from the last checkpoint with all episodes that were finished; the
    updates that they are worth are made up for. On the CPU the same seed gives the same run.

    Args:
        env: a Gymnasium id, or `"module:function"` of a function that makes the env.
        out: a new folder, or that of an earlier call with the same settings.
        family: of the world model; it must be learned in one stage.
        model: the family's config; by default its own.
        agent: which Dreamer; by default the third in a size for one core.
        config: everything else.
        card: what else the dream's card should say.

    Raises:
        UnsupportedSpace: before the first step, if model or agent cannot see or act in the env's spaces.
        InvalidModel: if the family has several stages.
        TrainingFailed: if a loss is not finite, the disk is full, or `out` holds another run; the last complete
            checkpoint is intact.
    """
    begin, config = time.perf_counter(), config or OnlineConfig()
    device = choose_device(config.device)
    try:
        with (
            use_threads(config.threads),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            make_env(env, config.max_episode_steps) as real,
            make_env(env, config.max_episode_steps) as other,
        ):
            torch.manual_seed(derive_seed(config.seed, "weights", 0))
            fields = {} if model is None else asdict(model)
            world = build_model(family, fields, real.observation_space, real.action_space).to(device).eval()
            run = _Run(env, Path(out), real, other, world, agent or DreamerConfig(), config)
            run.run()
            folder, policy = run.save(card or {})
    except OSError as error:
        raise TrainingFailed(
            f"{error.filename or out} cannot be written ({error.strerror or error}); the last complete checkpoint is "
            "intact. Free some space and run the same command again to resume."
        ) from error
    return OnlineResult(folder, policy, run.steps, run.updates, run.score, time.perf_counter() - begin)


class _Run:
    """One call of `train_online`."""

    def __init__(
        self,
        env_id: str,
        out: Path,
        env: gym.Env[Any, Any],
        eval_env: gym.Env[Any, Any],
        model: Any,
        agent: DreamerConfig,
        config: OnlineConfig,
    ) -> None:
        if len(getattr(model, "stages", ())) != 1:
            raise InvalidModel(
                f"{type(model).__name__} is learned in the stages {', '.join(getattr(model, 'stages', ())) or 'none'}; "
                "an online agent needs a world model that is learned in one, e.g. rssm."
            )
        (self.stage,) = model.stages
        self.env_id, self.out, self.env, self.eval_env = env_id, out, env, eval_env
        self.model, self.config = model, config
        self.device = next(iter(model.parameters())).device
        self.agent = Dreamer(agent, model.feature_dim, model.action_space).to(self.device)
        self.adam = ClippedAdam(model.stage_parameters(self.stage), config.learning_rate, config.grad_clip, 1e-5)
        fixed = {name: value for name, value in asdict(config).items() if name not in FREE}
        identity = {"env": env_id, "family": type(model).__name__, "model": asdict(model.config),
                    "agent": asdict(agent), "run": fixed}  # fmt: skip
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.checkpoints = out / TRAINING / "checkpoints"
        self.steps = self.updates = self.episodes = 0
        self.score: dict[str, Any] = {}
        self.sampler: SequenceSampler | None = None
        self.sums = Sums()

    def run(self) -> None:
        """Act and learn until the real steps are spent."""
        config = self.config
        newest = newest_checkpoint(self.checkpoints)
        start = 0 if newest is None else newest.step
        if newest is not None:
            self._restore(newest)
        writer = DatasetWriter(self.out / DATA, self.env_id, self.env.observation_space, self.env.action_space)
        lines = [line for index in (self.out / DATA).glob("shard-*/index.jsonl") for line in read_index(index)]
        self.steps, self.episodes = sum(line["length"] for line in lines), len(lines)
        if newest is None:
            self._checkpoint()  # on a full disk this fails at once, not after the first hour
        self._read()
        if self.steps >= config.steps and start == self.steps:
            return
        returns: list[float] = []
        logged = saved = scored = start
        logged_at = saved_at = time.perf_counter()
        with (
            writer,
            StageLog(self.out / TRAINING, STAGE, start, config.steps, config.progress, config.tensorboard) as log,
        ):
            while True:
                if self.steps < config.steps:
                    episode = self._play(log)
                    writer.add(episode, key=f"{self.episodes:08d}")
                    self.episodes += 1
                    self._read()
                    returns.append(episode.total_reward)
                self._learn()
                last, now = self.steps >= config.steps, time.perf_counter()
                score = last or self.steps // config.eval_every > scored // config.eval_every
                if score:
                    self.score, scored = self._evaluate(), self.steps
                if self.updates and (score or self.steps - logged >= config.log_every):
                    found = {"mean": None, "std": None} if not score else self.score
                    log.write(self.steps, {
                        "episode_return": float(np.mean(returns)) if returns else None,
                        "evaluation": found["mean"], "evaluation_std": found["std"], **self.sums.means(),
                        "episodes": self.episodes, "updates": self.updates,
                        "steps_per_second": (self.steps - logged) / (now - logged_at),
                    })  # fmt: skip
                    returns, logged, logged_at, self.sums = [], self.steps, time.perf_counter(), Sums()
                if last or self.steps - saved >= config.checkpoint_every or now - saved_at >= config.checkpoint_seconds:
                    self._checkpoint()
                    saved, saved_at = self.steps, time.perf_counter()
                if last:
                    break

    def _play(self, log: StageLog) -> Episode:
        """Return the next real episode, learning as it goes; its seed and the seed of its actions are its own."""
        number, config = self.episodes, self.config
        driver = _Driver(self, log, by_chance=self.steps < config.prefill)
        left = config.steps - self.steps  # the last episode ends where the steps do
        seed = derive_seed(config.seed, "episode", number) % config.eval_seed
        meta = {"driver": "random" if driver.by_chance else "dreamer", "seed": seed, "updates": self.updates}
        episode = record_episode(self.env, driver, seed, left, meta)
        self._count(log)  # the last step, after which nobody acts
        parts = episode.obs if isinstance(episode.obs, dict) else {"obs": episode.obs}
        for name, values in {**parts, "reward": episode.reward}.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise InvalidDataset(
                    f"{self.env_id} gave a {name} that is not finite in episode {number}; mend the env."
                )
        return episode

    def _count(self, log: StageLog) -> None:
        self.steps += 1
        log.advance()

    def learn_from_step(self, log: StageLog) -> None:
        """Count a real step and do the updates that it is worth."""
        self._count(log)
        self._learn()

    def _learn(self) -> None:
        while self.sampler is not None and self.updates < self.config.updates_due(self.steps):
            self.updates += 1
            torch.manual_seed(derive_seed(self.config.seed, "update", self.updates))
            batch = self.sampler.batch(self.updates)
            loss, terms = self.model.loss(batch, self.stage)
            when = f"at update {self.updates} of the world model, after {self.steps} real steps"
            self.adam.step(loss, terms, when, self._advise)
            states, valid = observe_batch(self.model, batch)
            index = valid.nonzero()[:, 0]
            chosen = index[torch.randperm(len(index), device=self.device)[: self.config.starts_per_update]]
            self.sums.add({**terms, **self.agent.update(self.model, gather(states, chosen))})

    def _advise(self) -> str:
        assert self.sampler is not None
        sources = "; ".join(self.sampler.sources(self.updates))
        advice = "lower learning_rate or grad_clip in a new folder"
        return f"The last checkpoint is intact; {advice}. The batch: {sources}."

    def _read(self) -> None:
        """Let the sampler know of all episodes on disk."""
        if self.episodes:
            config = self.config
            self.sampler = SequenceSampler(
                Dataset(self.out / DATA), config.sequence_length, config.batch_size, config.ending_share,
                seed=derive_seed(config.seed, "batches", 0), device=self.device,
            )  # fmt: skip

    def _evaluate(self) -> dict[str, Any]:
        env = FeatureObservation(self.eval_env, self.model)
        seeds = range(self.config.eval_seed, self.config.eval_seed + self.config.eval_episodes)
        return summarize_outcomes([real_episode(env, PolicyActor(self.agent.export()), seed) for seed in seeds])

    def _checkpoint(self) -> None:
        record = {"identity": self.identity, "updates": self.updates, "score": self.score}
        weights = named_leaves({"model": self.model.state_dict(), "agent": self.agent.state_dict()})
        optimizer = named_leaves({"model": self.adam.state(), "agent": self.agent.moments()})
        write_checkpoint(self.checkpoints, STAGE, self.steps, record, weights, optimizer)
        prune_checkpoints(self.checkpoints, {STAGE: _KEPT})

    def _restore(self, checkpoint: Checkpoint) -> None:
        recorded = dict(checkpoint.record["identity"])
        for name, config in (("model", self.model.config), ("agent", self.agent.config)):
            recorded[name] = complete(recorded[name], config)
        check_identity(self.out, recorded, self.identity, "Use the same settings, or a new folder.")
        self.model.load_state_dict(branch(checkpoint.weights, "model"))
        self.agent.load_state_dict(branch(checkpoint.weights, "agent"))
        self.adam.load_state(branch(checkpoint.optimizer, "model"))
        self.agent.load_moments(branch(checkpoint.optimizer, "agent"))
        self.updates, self.score = int(checkpoint.record["updates"]), dict(checkpoint.record["score"])

    def save(self, card: Mapping[str, Any]) -> tuple[Path, Path]:
        """Write the dream and its policy, and return the folder and the policy's file."""
        dataset, model = Dataset(self.out / DATA), self.model.cpu()
        limit = self.config.max_episode_steps
        if not is_function(self.env_id):
            card = {"real": self.env_id.rpartition(":")[2], **card}
            limit = limit or gym.spec(self.env_id).max_episode_steps
        card = {
            "id": self.out.resolve().name,
            "max_episode_steps": int(limit or dataset.lengths.max()),
            **card,
            "data": {"env": self.env_id, **summarize(dataset)},
            "training": {"steps": self.steps, "updates": self.updates,
                         "score": {name: self.score[name] for name in ("mean", "std", "min", "max", "episodes")}},
        }  # fmt: skip
        bank = make_start_bank(model, dataset, self.config.num_starts, seed=self.config.seed)
        folder = save_dream(self.out, model, bank, card)
        saved = load(folder)
        return folder, ship_policy(folder, self.agent.export(saved.name, saved.model_sha256))


class _Driver:
    """Acts in the real env for `record_episode`, and lets the run learn between its decisions."""

    def __init__(self, run: _Run, log: StageLog, by_chance: bool) -> None:
        self.by_chance = by_chance
        self._run, self._log = run, log
        self._filter = Filter(run.model)
        self._action: Any = None

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        seed = int(rng.integers(2**31))
        self._space = env.action_space
        self._space.seed(seed)
        self._generator = torch.Generator(self._run.device).manual_seed(seed)

    def act(self, obs: Any) -> Any:
        run = self._run
        if self._action is not None:
            run.learn_from_step(self._log)
        if self.by_chance:
            self._action = self._space.sample()
            return self._action
        noise = torch.randn(run.model.noise_dim, generator=self._generator, device=run.device)
        features = torch.from_numpy(self._filter.observe(obs, self._action, noise))[None].to(run.device)
        self._action = decode_action(run.model.action_space, run.agent.act(features, self._generator))[0].cpu().numpy()
        return self._action


@contextmanager
def make_env(env: str, max_episode_steps: int | None = None) -> Iterator[gym.Env[Any, Any]]:
    """Make the env that an id or `"module:function"` names, cut its episodes off if wanted, and close it."""
    made: gym.Env[Any, Any] = import_target(env)() if is_function(env) else gym.make(env)
    if max_episode_steps is not None:
        made = TimeLimit(made, max_episode_steps)
    try:
        yield made
    finally:
        made.close()
