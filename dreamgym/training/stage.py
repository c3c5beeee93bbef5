"""One stage of a world model under its optimiser: batches, steps, held-out losses."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dreamgym.core import optimizer
from dreamgym.core.cuda_graph import record
from dreamgym.core.model import SequenceBatch, StageConfig, StageHooks
from dreamgym.core.share import Share, shared
from dreamgym.core.tree import clone, leaves
from dreamgym.data.episodes import Dataset
from dreamgym.data.sequences import SequenceSampler, iterate_obs
from dreamgym.errors import TrainingFailed
from dreamgym.training.ranks import Ranks

Gradient: TypeAlias = tuple[Tensor, Tensor, Mapping[str, Tensor]]
"""The loss, the norm of its gradient, and the terms of the loss."""


class StageTrainer:
    """Optimises one stage of a model; whatever is random depends on seed, stage and step alone.

    Args:
        model: a `Trainable` world model.
        stage: one of its stages.
        config: how the stage is optimised.
        train: episodes to learn from.
        held_out: episodes to validate on; may be none.
        device: where the model lies.
        seed: of batches and losses.
        bf16: whether pictures are computed under bfloat16 autocast.
        moments: what `moments` of an interrupted trainer returned; empty for a new one.
        capture: whether a GPU replays the step as a CUDA graph, if the loss can be recorded.
        bars: whether progress is shown.
        ranks: the processes that optimise it together; each computes its share of a batch.
    """

    def __init__(
        self,
        model: Any,
        stage: str,
        config: StageConfig,
        train: Dataset,
        held_out: Dataset,
        *,
        device: torch.device,
        seed: int,
        bf16: bool,
        capture: bool,
        moments: Mapping[str, Tensor],
        bars: bool,
        ranks: Ranks,
    ) -> None:
        self._model, self._stage, self._config = model, stage, config
        self._device, self._seed, self._bars, self._share = device, seed, bars, ranks.share
        self._parameters = [parameter.requires_grad_() for parameter in model.stage_parameters(stage)]
        self._loss = ranks.parallel(_Loss(model, stage, self._parameters))
        # pictures alone: the products of a memory are too small to gain, and its errors add up over a dream
        self._bf16 = bf16 and any(parameter.ndim >= 4 for parameter in self._parameters)
        # DistributedDataParallel averages gradients beside the stream that would be recorded
        self._capture = capture and device.type == "cuda" and ranks.world == 1
        self._captured: CapturedGradient | None = None
        self._optimizer = torch.optim.Adam(self._parameters, fused=True)
        optimizer.load_moments(self._optimizer, moments)
        self._train = self._sampler(train, ranks.share)
        self._held_out = self._sampler(held_out, Share()) if len(held_out) else None
        self._next: tuple[int, SequenceBatch] | None = None
        self.frames = config.batch_size * (config.sequence_length + 1)
        """Observations in a batch."""

    def step(self, step: int) -> tuple[Mapping[str, Tensor], float]:
        """Return the terms of the loss and the learning rate of an optimiser step, counted from 1.

        Raises:
            TrainingFailed: if the loss or its gradient is not finite; the weights are then those before the step.
        """
        batch = self._next[1] if self._next and self._next[0] == step else self._train.batch(step)
        rate = learning_rate(self._config, step)
        self._model.train()
        if self._capture and self._captured is None:
            self._captured = self._record(batch)
        torch.manual_seed(derive_seed(self._seed, self._stage, step))  # a resumed run draws what the killed one would
        loss, norm, terms = (self._captured or self._gradient)(batch)
        if step < self._config.steps:  # before the loss is read, while an accelerator still computes
            self._next = (step + 1, self._train.batch(step + 1))
        self._check_finite(torch.stack([loss, norm]).tolist(), terms, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        # the fused step forgets to, and layers that keep values derived from their weights look at it
        torch.autograd.graph.increment_version(self._parameters)
        return terms, rate

    def _gradient(self, batch: SequenceBatch) -> Gradient:
        """Leave the clipped gradient of the loss in the parameters."""
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16), shared(self._share):
            loss, terms = self._loss(batch)
        loss.backward()
        return loss.detach(), nn.utils.clip_grad_norm_(self._parameters, self._config.grad_clip), terms

    def _record(self, batch: SequenceBatch) -> CapturedGradient | None:
        """Return `_gradient` as a CUDA graph; None, and a warning, if it cannot be recorded."""
        try:
            return CapturedGradient(self._gradient, batch)
        except RuntimeError as error:
            self._capture = False
            warnings.warn(
                f"stage {self._stage!r} is trained without a CUDA graph, which can be several times slower: its step "
                f"cannot be recorded, most often because the loss makes the host wait for the GPU. {error}",
                stacklevel=2,
            )
            return None

    @torch.no_grad()
    def validate(self, num_batches: int) -> dict[str, float]:
        """Return the means of the terms over batches of held-out episodes, always the same, in float32."""
        if self._held_out is None:
            return {}
        self._model.eval()
        sums = Sums()
        for i in range(num_batches):
            torch.manual_seed(derive_seed(self._seed, f"validation of {self._stage}", i))
            sums.add(self._model.loss(self._held_out.batch(i), self._stage)[1])
        return sums.means()

    @torch.no_grad()
    def end(self) -> None:
        """Let the model look at the held-out episodes, or else at those of training, if it wants to."""
        self._model.eval()
        if isinstance(self._model, StageHooks):
            self._model.end_stage(self._stage, (self._held_out or self._train).in_order())

    def moments(self) -> dict[str, Tensor]:
        """Return the optimiser's state as named tensors."""
        return optimizer.moments(self._optimizer)

    @torch.no_grad()
    def _sampler(self, dataset: Dataset, share: Share) -> SequenceSampler:
        self._model.eval()
        torch.manual_seed(derive_seed(self._seed, f"inputs of {self._stage}", 0))
        inputs: list[Tensor] = []
        hide = None if self._bars else True  # None: shown on a terminal
        total = dataset.num_steps + len(dataset)
        with tqdm(total=total, desc=f"inputs of {self._stage}", unit="frame", disable=hide, leave=False) as bar:
            for obs in iterate_obs(dataset, 256, self._device):
                answer = self._model.stage_inputs(obs, self._stage)
                if answer is None:
                    break
                inputs.append(answer)
                bar.update(len(answer))
        return SequenceSampler(
            dataset,
            self._config.sequence_length,
            self._config.batch_size,
            self._config.ending_share,
            seed=derive_seed(self._seed, self._stage, 0),
            inputs=torch.cat(inputs) if inputs else None,
            device=self._device,
            share=share,
        )

    def _check_finite(self, loss_and_norm: list[float], terms: Mapping[str, Tensor], step: int) -> None:
        loss, norm = loss_and_norm
        if math.isfinite(loss) and math.isfinite(norm):
            return
        values = {name: float(term) for name, term in terms.items()}
        values |= {"loss": loss, "the norm of the gradient": norm}
        name, value = next(item for item in values.items() if not math.isfinite(item[1]))
        raise TrainingFailed(
            f"{name} is {value} at step {step} of stage {self._stage!r}; expected a finite number. The last checkpoint "
            "is intact; lower learning_rate or grad_clip of the stage and begin it anew with resume=False. The batch: "
            f"{'; '.join(self._train.sources(step))}."
        )


class _Loss(nn.Module):
    """The loss of a stage as a module that has the stage's own parameters and no others."""

    def __init__(self, model: Any, stage: str, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.own = nn.ParameterList(parameters)
        self._call = partial(model.loss, stage=stage)  # hides the model, and with it the parameters of other stages

    def forward(self, batch: SequenceBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss and its terms."""
        return self._call(batch)


class CapturedGradient:
    """What computes a gradient, as a CUDA graph: the host launches it at once, not operator by operator.

    Args:
        gradient: takes a batch and returns tensors.
        batch: of the shapes that all later ones have.

    Raises:
        RuntimeError: if `gradient` makes the host wait for the device.
    """

    def __init__(self, gradient: Callable[[SequenceBatch], Gradient], batch: SequenceBatch) -> None:
        self._batch = clone(batch)
        self._result: Any = None

        def call() -> None:
            self._result = gradient(self._batch)

        self._graph = record(call)

    def __call__(self, batch: SequenceBatch) -> Gradient:
        """Return what `gradient` returns, until the next call overwrites it."""
        for ours, theirs in zip(leaves(self._batch), leaves(batch), strict=True):
            ours.copy_(theirs)
        self._graph.replay()
        return self._result


class Sums:
    """Running sums of the terms of a loss, which stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Count the terms of one step."""
        self._sums = {name: self._sums.get(name, 0) + term.double() for name, term in terms.items()}
        self._count += 1

    def means(self) -> dict[str, float]:
        """Return the mean of each term over the steps that were counted."""
        return {name: float(total) / self._count for name, total in self._sums.items()}


def learning_rate(config: StageConfig, step: int) -> float:
    """Return the rate of a step, counted from 1: constant for the first 60%, then linear to a tenth."""
    late = max(0.0, (step / config.steps - 0.6) / 0.4)
    return config.learning_rate * (1 - 0.9 * late)


def derive_seed(seed: int, purpose: str, step: int) -> int:
    """Return 63 random bits that depend on the three values alone."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
