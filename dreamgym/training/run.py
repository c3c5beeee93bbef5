"""Training of world models: stages, checkpoints, resume, logs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from dreamgym.core.model import OnePass, StageConfig, StageHooks, Trainable, WorldModel
from dreamgym.core.threads import use_threads
from dreamgym.data.episodes import Dataset
from dreamgym.data.sequences import SequenceSampler
from dreamgym.errors import InvalidArgument, InvalidDataset, InvalidModel, TrainingFailed, UnknownName
from dreamgym.training.checkpoints import Checkpoint, newest_checkpoint, prune_checkpoints, write_checkpoint
from dreamgym.training.identity import check_identity, complete, identity_of
from dreamgym.training.log import SilentLog, StageLog
from dreamgym.training.one_pass import learn_in_one_pass
from dreamgym.training.ranks import Ranks, join
from dreamgym.training.stage import StageTrainer, Sums
from dreamgym.training.strips import write_strips

_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a run is done; how each stage is optimised is in its `StageConfig`."""

    seed: int = 0
    """Of batches and of the losses' own randomness; the model's first weights are the caller's."""
    device: str = "auto"
    """"auto" takes CUDA when present, or a torch device."""
    threads: int = 1
    """Of torch on the CPU; more than the cores that are free makes training many times slower."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """"bf16" computes the losses of stages that train convolutions under bfloat16 autocast, about twice as fast, with
    float32 weights; "auto" does so where the hardware has it; "fp32" never."""
    capture: bool = True
    """On a GPU, record a step once as a CUDA graph and replay it, several times faster where a memory is unrolled;
    losses that wait for the GPU, and several processes, do without."""
    holdout: float = 0.05
    """Share of episodes that are never trained on, in [0, 1)."""
    log_every: int = 50
    """Steps; a row of the log is the mean over them."""
    checkpoint_every: int = 500
    """Steps; rounded up to a logged step."""
    checkpoint_seconds: float = 300.0
    """A checkpoint is written at the first logged step after so long, too."""
    validation_batches: int = 8
    """Batches of held-out episodes that are evaluated at each checkpoint."""
    strip_episodes: int = 3
    """Episodes in the picture of real and dreamed frames at each checkpoint; 0 for none."""
    progress: bool = True
    """Show progress bars on a terminal."""
    tensorboard: bool = True
    """Write for TensorBoard where it is installed."""


@dataclass(frozen=True)
class FitResult:
    """What `fit` reached."""

    model: Any
    """The trained model, in evaluation mode."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Stage -> optimiser steps taken in all, earlier runs in the same folder included."""
    terms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Stage -> the last row of its log."""
    validation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Stage -> the same terms over held-out episodes at the last step; empty without such episodes."""
    seconds: float = 0.0
    """Wall time of this call."""


def fit(
    model: Any,
    dataset: Dataset,
    out: str | Path,
    *,
    stages: Mapping[str, StageConfig] | None = None,
    only: Sequence[str] | None = None,
    resume: bool = True,
    config: TrainConfig | None = None,
) -> FitResult:
    """Return `model` trained on `dataset`; the run lives in the folder `out` and goes on from its newest checkpoint.

    On the CPU a run that was killed and resumed has the same losses and weights as one that was not, bit for bit. To
    train an already trained model further, pass it with a new `out` and, if wanted, other `stages`.

    Several processes that `torchrun` started train together: each computes its share of every batch, their gradients
    are averaged, and the first one writes. The losses are those of one process, within rounding, so that a run may be
    resumed on another number of them; a family of your own draws and averages through `dreamgym.core.share` for that.

    Args:
        model: a `WorldModel` and `nn.Module` that is `Trainable`; it is trained in place. One that learns in a single
            pass over the data (`core.model.OnePass`) is shown them once, and leaves nothing in `out`.
        dataset: episodes of the model's spaces.
        out: holds `checkpoints/`, `logs/` and `strips/`.
        stages: replaces the model's own settings of the stages that it names.
        only: the stages to train; the others keep their weights, which come from the newest checkpoint in `out` if
            there is one.
        resume: False trains the stages anew from the weights of `model`, replacing what `out` holds of them and of the
            stages after them.
        config: everything else.

    Raises:
        InvalidDataset: if the data are not finite, or of other spaces than the model's.
        InvalidModel: if the model cannot be trained.
        TrainingFailed: if a loss is not finite, the disk is full, or `out` holds another run; the last complete
            checkpoint is intact.
    """
    begin = time.perf_counter()
    config = config or TrainConfig()
    _check_config(config)
    _check(model, dataset)
    if isinstance(model, OnePass):
        known = learn_in_one_pass(model, *dataset.split(config.holdout))
        cast(nn.Module, model).eval()
        return FitResult(model, validation={"one pass": known}, seconds=time.perf_counter() - begin)
    selected, stages = _select(model, only), _merge(model, stages)
    device = choose_device(config.device)
    try:
        with (
            use_threads(config.threads),
            join(device.type == "cuda") as ranks,
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            run = _Run(model, dataset, Path(out), stages, config, device, ranks)
            run.fit(selected, resume)
            ranks.wait()
    except OSError as error:
        raise TrainingFailed(
            f"{error.filename or out} cannot be written ({error.strerror or error}); the last complete checkpoint in "
            f"{run.checkpoints} is intact. Free some space and run the same command again to resume."
        ) from error
    finally:
        model.eval()
    return FitResult(model, run.steps, run.terms, run.validation, time.perf_counter() - begin)


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        model: Any,
        dataset: Dataset,
        out: Path,
        stages: Mapping[str, StageConfig],
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.device, self.ranks = device, ranks
        self.model = model.to(self.device)
        self.out, self.stages, self.config = out, stages, config
        self.checkpoints = out / "checkpoints"
        self.train, self.held_out = dataset.split(config.holdout)
        if not len(self.train):
            raise InvalidDataset(f"all {len(dataset)} episodes are held out; record more, or lower holdout.")
        self.bf16 = _wants_bf16(config.precision, self.device)
        self.identity = identity_of(
            model, dataset, stages, seed=config.seed, holdout=config.holdout, precision=config.precision
        )
        self.steps: dict[str, Any] = {}
        self.terms: dict[str, Any] = {}
        self.validation: dict[str, Any] = {}

    def fit(self, selected: Sequence[str], resume: bool) -> None:
        order = list(self.stages)
        newest = newest_checkpoint(self.checkpoints)
        self.ranks.wait()  # until all have read it, before the first writes
        if newest is not None and (resume or len(selected) < len(order)):
            self._restore(newest, [] if resume else selected)
        reached = -1 if newest is None or not resume else order.index(newest.stage)
        done = [stage for stage in selected if order.index(stage) <= reached]
        if newest is not None and done:
            self._check_identity(newest, done)
        for stage in selected:
            if newest is not None and stage in done:
                if stage == newest.stage:
                    self._train_stage(stage, newest.step, newest.optimizer)
            else:
                self._train_stage(stage, 0, {})

    def _restore(self, checkpoint: Checkpoint, fresh: Sequence[str]) -> None:
        """Load a checkpoint's weights, but not those that the stages `fresh` train, and its figures."""
        keep = {id(parameter) for stage in fresh for parameter in self.model.stage_parameters(stage)}
        own = {name for name, parameter in self.model.named_parameters() if id(parameter) in keep}
        weights = {**checkpoint.weights, **{k: v for k, v in self.model.state_dict().items() if k in own}}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise TrainingFailed(
                f"{checkpoint.folder} holds another model; train into a new folder. {error}"
            ) from error
        figures = checkpoint.record
        self.steps, self.terms, self.validation = (dict(figures[key]) for key in ("steps", "terms", "validation"))

    def _check_identity(self, checkpoint: Checkpoint, stages: Sequence[str]) -> None:
        recorded = {**checkpoint.record["identity"]}
        if recorded["model"]["config"] is not None:
            config = complete(recorded["model"]["config"], getattr(self.model, "config", None))
            recorded["model"] = {**recorded["model"], "config": config}
        before, now = (
            {**identity, "stages": {stage: identity["stages"].get(stage) for stage in stages}}
            for identity in (recorded, self.identity)
        )
        cure = "Use the same settings, train into a new folder, or begin the stage anew with resume=False."
        check_identity(self.out, before, now, cure)

    def _train_stage(self, stage: str, start: int, moments: Mapping[str, Tensor]) -> None:
        stage_config, config = self.stages[stage], self.config
        if start >= stage_config.steps:
            return
        if start == 0:
            self._begin_stage(stage)
        trainer = StageTrainer(
            self.model,
            stage,
            stage_config,
            self.train,
            self.held_out,
            device=self.device,
            seed=config.seed,
            bf16=self.bf16,
            capture=config.capture,
            moments=moments,
            bars=config.progress and self.ranks.first,
            ranks=self.ranks,
        )
        with self._log(stage, start) as log:
            clock = time.perf_counter
            saved, saved_at = start, clock()
            sums, logged, logged_at = Sums(), start, clock()
            for step in range(start + 1, stage_config.steps + 1):
                terms, rate = trainer.step(step)
                sums.add(terms)
                log.advance()
                last = step == stage_config.steps
                if last:
                    trainer.end()
                if step % config.log_every and not last:
                    continue
                speed = trainer.frames * (step - logged) / (clock() - logged_at)
                means = self.terms[stage] = self.ranks.means(sums.means(), self.device)
                sums = Sums()
                if not self.ranks.first:
                    continue
                due = step - saved >= config.checkpoint_every or clock() - saved_at >= config.checkpoint_seconds
                held_out = trainer.validate(config.validation_batches) if due or last else {}
                checks = {f"validation_{name}": held_out.get(name) for name in means}
                log.write(step, {**means, **checks, "frames_per_second": speed, "learning_rate": rate})
                if due or last:
                    self.steps[stage], self.validation[stage] = step, held_out
                    self._checkpoint(stage, step, trainer.moments())
                    prune_checkpoints(self.checkpoints, {stage: _KEPT})
                    episodes = self.held_out if len(self.held_out) else self.train
                    picture, shown = self.out / "strips" / f"{stage}-{step}.png", config.strip_episodes
                    write_strips(picture, self.model.eval(), episodes, shown, self.device)
                    saved, saved_at = step, clock()
                logged, logged_at = step, clock()

    def _log(self, stage: str, start: int) -> StageLog | SilentLog:
        if not self.ranks.first:
            return SilentLog()
        return StageLog(self.out, stage, start, self.stages[stage].steps, self.config.progress, self.config.tensorboard)

    def _begin_stage(self, stage: str) -> None:
        """Keep the weights that the stage starts from; what the run held of it and of later stages no longer counts.

        On a full disk this fails at once, not after the first hour.
        """
        order = list(self.stages)
        later = order[order.index(stage) + 1 :]
        for name in (stage, *later):
            for figures in (self.steps, self.terms, self.validation):
                figures.pop(name, None)
        if isinstance(self.model, StageHooks):
            length, size = self.stages[stage].sequence_length, self.stages[stage].batch_size
            self.model.begin_stage(stage, SequenceSampler(self.train, length, size, device=self.device).in_order())
        if not self.ranks.first:
            return
        self._checkpoint(stage, 0, {})
        prune_checkpoints(self.checkpoints, {stage: 1, **dict.fromkeys(later, 0)})

    def _checkpoint(self, stage: str, step: int, moments: Mapping[str, Tensor]) -> None:
        record = {
            "identity": self.identity,
            "steps": self.steps,
            "terms": self.terms,
            "validation": self.validation,
        }
        write_checkpoint(self.checkpoints, stage, step, record, self.model.state_dict(), moments)


def _check(model: Any, dataset: Dataset) -> None:
    learns = isinstance(model, Trainable | OnePass)
    if not (isinstance(model, WorldModel) and isinstance(model, nn.Module) and learns):
        raise InvalidModel(
            f"{type(model).__name__} cannot be trained; expected a WorldModel and torch.nn.Module with "
            "stages, stage_parameters, stage_inputs and loss (dreamgym.core.model.Trainable)."
        )
    for name in ("observation_space", "action_space"):
        if getattr(model, name) != getattr(dataset, name):
            raise InvalidDataset(
                f"the dataset's {name} is {getattr(dataset, name)}; the model expects {getattr(model, name)}."
            )
    dataset.validate()


def _check_config(config: TrainConfig) -> None:
    if config.log_every < 1:
        raise InvalidArgument(f"log_every is {config.log_every}; expected at least 1 step.")
    if not 0 <= config.holdout < 1:
        raise InvalidArgument(f"holdout is {config.holdout}; expected a share of the episodes in [0, 1).")


def _merge(model: Any, stages: Mapping[str, StageConfig] | None) -> dict[str, StageConfig]:
    for name, stage_config in (stages or {}).items():
        if name not in model.stages:
            raise UnknownName("stage", name, model.stages)
        if stage_config.steps < 1:
            raise InvalidArgument(f"steps of stage {name!r} is {stage_config.steps}; expected at least 1.")
    return {**model.stages, **(stages or {})}


def _select(model: Any, only: Sequence[str] | None) -> list[str]:
    for name in only or ():
        if name not in model.stages:
            raise UnknownName("stage", name, model.stages)
    return [stage for stage in model.stages if only is None or stage in only]


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA when present, of several processes a GPU each.

    Raises:
        InvalidArgument: if it is not to be had.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # torchrun: each process a GPU of its own
    if name == "auto":
        return torch.device("cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch says that it was built without CUDA by an AssertionError
        raise InvalidArgument(
            f"device is {name!r}, which is not to be had here; use 'auto' or 'cpu'. {error}"
        ) from error


def _wants_bf16(precision: str, device: torch.device) -> bool:
    if precision not in ("auto", "bf16", "fp32"):
        raise InvalidArgument(f"precision is {precision!r}; expected 'auto', 'bf16' or 'fp32'.")
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # not torch's own test, which is also true where bfloat16 is emulated, and slow
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
