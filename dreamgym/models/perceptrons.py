"""Several perceptrons of one shape, computed together: one batched product a layer instead of one for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dreamgym.core.perceptron import ACTIVATIONS
from dreamgym.errors import InvalidArgument
from dreamgym.models.packed import PRECISIONS, Derived, plain_torch

_LANES = 256
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "elu": partial(nn.functional.elu, inplace=True),
    "silu": partial(nn.functional.silu, inplace=True),
}


class Perceptrons(nn.Module):
    """N perceptrons `[B, input_dim]` -> `[N, B, output_dim]` that share nothing but their shape.

    Args:
        num: N, how many.
        input_dim, output_dim: widths of what goes in and out.
        hidden_dim: width of the hidden layers.
        layers: how many hidden layers.
        activation: of the hidden layers, a name in `core.perceptron.ACTIVATIONS`.

    Raises:
        InvalidArgument: if the activation is unknown.
    """

    precision = "fp32"
    """Of the products while no gradient is wanted: `packed.set_precision` says what there is."""

    def __init__(
        self, num: int, input_dim: int, output_dim: int, *, hidden_dim: int, layers: int, activation: str
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise InvalidArgument(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}.")
        self.num, self.activation = num, ACTIVATIONS[activation]()
        self.in_place = _IN_PLACE[activation]
        self.unit = float(self.activation(torch.ones(())))
        widths = [input_dim, *[hidden_dim] * layers, output_dim]
        self.weights = nn.ParameterList(_uniform(num, k, n, k) for k, n in pairwise(widths))  # [N, k, n]
        self.biases = nn.ParameterList(_uniform(num, 1, n, k) for k, n in pairwise(widths))  # [N, 1, n]
        self._few = Derived(_select)

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Return what the perceptrons say, `[E, B, output_dim]`.

        Args:
            x: `[B, input_dim]`.
            members: `[E]` int64, which of the perceptrons; None is all of them in order.
        """
        plain, dtype = plain_torch(), torch.float32 if plain_torch() else PRECISIONS[self.precision]
        parameters = [*self.weights, *self.biases]
        if plain and members is not None:
            parameters = [parameter[members] for parameter in parameters]
        elif members is not None or dtype != torch.float32:
            chosen = torch.arange(self.num, device=x.device) if members is None else members
            parameters = self._few(dtype, *parameters, chosen)
        layers = list(zip(parameters[: len(self.weights)], parameters[len(self.weights) :], strict=True))
        if plain or not x.is_cpu:
            return self._answer(x.to(dtype), layers, self.activation).float()
        # a few lanes at a time, whose numbers stay in the processor's cache from layer to layer
        parts = [self._answer(part, layers, self.in_place) for part in x.to(dtype).split(_LANES)]
        return torch.cat(parts, 1).float() if len(parts) > 1 else parts[0].float()

    def _answer(self, x: Tensor, layers: Any, activation: Callable[[Tensor], Tensor]) -> Tensor:
        hidden = x.expand(len(layers[0][0]), *x.shape)  # [E, B, input_dim]
        for weight, bias in layers[:-1]:
            hidden = activation(torch.baddbmm(bias, hidden, weight))  # [E, B, hidden_dim]
        weight, bias = layers[-1]
        return torch.baddbmm(bias, hidden, weight)


def _uniform(num: int, rows: int, columns: int, fan_in: int) -> Tensor:
    """Return the first weights as torch draws those of one linear layer of `fan_in` inputs."""
    bound = fan_in**-0.5
    return torch.empty(num, rows, columns).uniform_(-bound, bound)


def _select(dtype: torch.dtype, *parameters_and_members: Any) -> list[Tensor]:
    *parameters, members = parameters_and_members
    return [parameter[members].to(dtype) for parameter in parameters]
