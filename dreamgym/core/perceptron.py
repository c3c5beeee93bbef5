"""Perceptrons of models, agents and policies, and the activations and normalisations that they know by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from dreamgym.errors import InvalidArgument

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "layer": lambda width: nn.LayerNorm(width, eps=1e-3),
    "rms": lambda width: nn.RMSNorm(width, eps=1e-4),
}


def make_perceptron(
    input_dim: int,
    output_dim: int,
    hidden: Sequence[int] = (),
    activation: str = "tanh",
    norm: str = "none",
    linear: Callable[[int, int], nn.Linear] = nn.Linear,
) -> nn.Sequential:
    """Return layers `[..., input_dim]` -> `[..., output_dim]`.

    Args:
        input_dim, output_dim: widths of what goes in and out.
        hidden: widths of the hidden layers.
        activation: of the hidden layers, a name in `ACTIVATIONS`.
        norm: of the hidden layers before the activation, a name in `NORMS`; with "none" there is no such layer.
        linear: makes a linear layer of two widths.

    Raises:
        InvalidArgument: if activation or norm is unknown.
    """
    for name, value, known in (("activation", activation, ACTIVATIONS), ("norm", norm, NORMS)):
        if value not in known:
            raise InvalidArgument(f"{name} is {value!r}; expected one of {', '.join(known)}.")
    layers: list[nn.Module] = []
    widths = [input_dim, *hidden]
    for width_in, width in pairwise(widths):
        layers.append(linear(width_in, width))
        if norm != "none":
            layers.append(NORMS[norm](width))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers, linear(widths[-1], output_dim))
