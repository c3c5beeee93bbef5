"""Adam with a clipped gradient, whose state is named tensors that a checkpoint can hold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from dreamgym.errors import TrainingFailed


class ClippedAdam:
    """Minimises a loss over some weights and touches no others, whatever else the loss depends on.

    Args:
        parameters: the weights.
        learning_rate: Adam's.
        grad_clip: largest norm of the gradient of all weights together.
        eps: Adam's, added to the root of the second moment.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, grad_clip: float, eps: float = 1e-8
    ) -> None:
        self._parameters = [parameter.requires_grad_() for parameter in parameters]
        self._grad_clip = grad_clip
        self._optimizer = torch.optim.Adam(self._parameters, lr=learning_rate, eps=eps, fused=True)

    def step(
        self, loss: Tensor, terms: Mapping[str, Tensor] | None = None, when: str = "", advice: Callable[[], str] = str
    ) -> None:
        """Take a step down the gradient of `loss`.

        Args:
            loss: what to minimise.
            terms: what it was computed from, for the message if something is not finite.
            when: for that message, e.g. "at update 7 of the agent".
            advice: returns what to do then.

        Raises:
            TrainingFailed: if the loss or its gradient is not finite; the weights are then those before the step.
        """
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.contiguous()  # a sum's is one number, expanded
        norm = nn.utils.clip_grad_norm_(self._parameters, self._grad_clip)
        values = {**(terms or {}), "loss": loss, "the norm of the gradient": norm}
        for name, value in zip(values, torch.stack([x.detach() for x in values.values()]).tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingFailed(f"{name} is {value} {when}; expected a finite number. {advice()}".strip())
        self._optimizer.step()
        # the fused step forgets to, and layers that keep values derived from their weights look at it
        torch.autograd.graph.increment_version(self._parameters)
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return the moments as named tensors."""
        return moments(self._optimizer)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `state` returned."""
        load_moments(self._optimizer, tensors)


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, slots in state.items() for name, value in slots.items()}


def load_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state that `moments` returned."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state[int(index)][name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
